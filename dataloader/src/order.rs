//! Which sample stands where: positions of the stream, the shares of ranks, and the keys of random choices.

mod classes;
mod windows;

use std::ops::Range;

use random::{Key, Permutation, Purpose};

use crate::Source;
use crate::order::classes::Classes;
use crate::order::windows::Windows;

/// The ways through a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Endless: a new permutation every epoch, one epoch after the other without a gap.
    Shuffled,
    /// Endless, for storage that is slow to jump about: every epoch the source's shards ([`Source::groups`]) come in a new
    /// order, and samples are shuffled within windows of so many shards that follow on one another. Every sample comes
    /// once an epoch. A source of one shard is shuffled as a whole.
    Windowed {
        /// Shards of a window, at least 1.
        shards: u64,
    },
    /// Endless: every class equally often. An epoch has as many positions as the source has samples, but shows those of
    /// rare classes several times, each once before any comes again, and those of frequent classes not all.
    Balanced,
    /// Once, in the order of the source; the ranks' shares are contiguous, disjoint and complete.
    Sequential,
}

/// The place of a sample in the stream. Every random choice made for the sample follows from it and from the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SampleKey {
    /// Which pass over the source, from 0.
    pub epoch: u64,
    /// The global position in the endless stream, from 0: `epoch · N` to `epoch · N + N − 1`.
    pub position: u64,
    /// The sample's index in the source (of the planned sample, also where a bad image was replaced).
    pub sample: u64,
}

impl SampleKey {
    /// The key of the choices made for this sample for one purpose; its children are the draws.
    pub fn key(&self, seed: u64, purpose: Purpose) -> Key {
        Key::root(seed).child(purpose as u64).child(self.epoch).child(self.position).child(self.sample)
    }
}

/// The choices that transforms make for a sample: children of [`SampleKey::key`] for [`Purpose::Augment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Draw {
    /// The box of a random resized crop.
    Crop = 0,
    /// Whether to mirror.
    Flip = 1,
    /// The operations of an augmentation policy.
    Policy = 2,
    /// Colour jitter.
    Jitter = 3,
    /// Random erasing.
    Erase = 4,
}

/// One rank's part of the stream, as a pure function of the batch's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Endless or once.
    pub order: Order,
    /// Samples of a step over all ranks (endless orders only).
    pub global_batch: u64,
    /// This rank.
    pub rank: u64,
    /// How many ranks there are.
    pub world_size: u64,
    /// Samples of a delivered batch.
    pub micro_batch: u64,
    /// The first step.
    pub start_step: u64,
}

impl Share {
    /// The global positions of this rank's batch `index`, counted from the first one delivered; `None` after the end.
    pub fn positions(&self, index: u64, source_len: u64) -> Option<Range<u64>> {
        match self.order {
            Order::Sequential => self.sequential(index, source_len),
            Order::Shuffled | Order::Windowed { .. } | Order::Balanced => Some(self.endless(index)),
        }
    }

    /// How many batches this rank gets; `None` where the order is endless.
    pub fn batches(&self, source_len: u64) -> Option<u64> {
        let samples = self.edge(self.rank + 1, source_len) - self.edge(self.rank, source_len);
        let batches = samples.div_ceil(self.micro_batch).saturating_sub(self.start_step);
        (self.order == Order::Sequential).then_some(batches)
    }

    fn endless(&self, index: u64) -> Range<u64> {
        let rank_batch = self.global_batch / self.world_size;
        let accumulation = rank_batch / self.micro_batch;
        let step = self.start_step + index / accumulation;
        let start = step * self.global_batch + self.rank * rank_batch + index % accumulation * self.micro_batch;
        start..start + self.micro_batch
    }

    fn sequential(&self, index: u64, source_len: u64) -> Option<Range<u64>> {
        let end = self.edge(self.rank + 1, source_len);
        let start = self.edge(self.rank, source_len) + (self.start_step + index) * self.micro_batch;
        (start < end).then(|| start..end.min(start + self.micro_batch))
    }

    /// Where a rank's contiguous share of a sequential order begins.
    fn edge(&self, rank: u64, source_len: u64) -> u64 {
        (u128::from(rank) * u128::from(source_len) / u128::from(self.world_size)) as u64
    }
}

/// The sample at each global position of a source.
#[derive(Clone, Debug)]
pub struct Stream {
    seed: u64,
    order: Order,
    len: u64,
    epoch: Option<(u64, Permutation)>,
    windows: Option<Windows>,
    classes: Option<Classes>,
}

impl Stream {
    /// The stream over `len` samples of one shard and one class.
    pub fn new(seed: u64, order: Order, len: u64) -> Stream {
        Stream::arranged(seed, order, len, &[], |_| 0)
    }

    /// The stream over a source, with its shards and classes.
    pub fn over(seed: u64, order: Order, source: &dyn Source) -> Stream {
        Stream::arranged(seed, order, source.len() as u64, source.groups(), |sample| source.label(sample as usize))
    }

    fn arranged(seed: u64, order: Order, len: u64, groups: &[usize], label: impl Fn(u64) -> u32) -> Stream {
        let windows = match order {
            Order::Windowed { shards } => Some(Windows::new(groups, len, shards)),
            _ => None,
        };
        let classes = (order == Order::Balanced).then(|| Classes::new(len, label));
        Stream { seed, order, len, epoch: None, windows, classes }
    }

    /// The sample at a global position.
    ///
    /// # Panics
    /// When the source is empty.
    pub fn at(&mut self, position: u64) -> SampleKey {
        let (epoch, place) = (position / self.len, position % self.len);
        let key = Key::root(self.seed).child(Purpose::Order as u64);
        let sample = match (self.order, &mut self.windows, &mut self.classes) {
            (Order::Windowed { .. }, Some(windows), _) => windows.at(epoch, key.child(epoch), place),
            (Order::Balanced, _, Some(classes)) => classes.at(key, position),
            (Order::Sequential, ..) => place,
            _ => self.permutation(epoch).at(place),
        };
        SampleKey { epoch, position, sample }
    }

    fn permutation(&mut self, epoch: u64) -> &Permutation {
        if self.epoch.as_ref().is_none_or(|(kept, _)| *kept != epoch) {
            let key = Key::root(self.seed).child(Purpose::Order as u64).child(epoch);
            self.epoch = Some((epoch, Permutation::new(key, self.len)));
        }
        &self.epoch.as_ref().expect("set above").1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(order: Order, rank: u64, world_size: u64, micro_batch: u64, accumulation: u64) -> Share {
        let global_batch = world_size * micro_batch * accumulation;
        Share { order, global_batch, rank, world_size, micro_batch, start_step: 0 }
    }

    proptest! {
        /// Over any number of ranks, the positions of `steps` steps are each there exactly once and without a gap.
        #[test]
        fn ranks_cut_every_global_batch_into_disjoint_parts(
            world_size in 1u64..6, micro_batch in 1u64..9, accumulation in 1u64..4, start_step in 0u64..50, steps in 1u64..5,
        ) {
            let mut positions: Vec<u64> = (0..world_size)
                .map(|rank| Share { start_step, ..share(Order::Shuffled, rank, world_size, micro_batch, accumulation) })
                .flat_map(|share| (0..steps * accumulation).flat_map(move |index| share.positions(index, 1).unwrap()))
                .collect();
            positions.sort_unstable();
            let global_batch = world_size * micro_batch * accumulation;
            prop_assert!(positions.into_iter().eq(start_step * global_batch..(start_step + steps) * global_batch));
        }

        /// Every sample stands exactly once among the positions of an epoch, for any length.
        #[test]
        fn an_epoch_holds_every_sample_once(seed: u64, len in 1u64..300, epoch in 0u64..1000) {
            let mut stream = Stream::new(seed, Order::Shuffled, len);
            let keys: Vec<SampleKey> = (epoch * len..(epoch + 1) * len).map(|position| stream.at(position)).collect();
            prop_assert!(keys.iter().all(|key| key.epoch == epoch));
            let mut samples: Vec<u64> = keys.iter().map(|key| key.sample).collect();
            samples.sort_unstable();
            prop_assert!(samples.into_iter().eq(0..len));
        }

        /// The same global batch holds the same samples for 1, 2, 3 and 4 ranks.
        #[test]
        fn global_batches_do_not_depend_on_ranks(seed: u64, len in 1u64..100, step in 0u64..40) {
            let batch = |world_size: u64| -> Vec<SampleKey> {
                let mut stream = Stream::new(seed, Order::Shuffled, len);
                let shares = (0..world_size).map(|rank| share(Order::Shuffled, rank, world_size, 12 / world_size, 1));
                shares.flat_map(|share| share.positions(step, len).unwrap()).map(|position| stream.at(position)).collect()
            };
            let alone = batch(1);
            for world_size in 2..=4 {
                prop_assert_eq!(&batch(world_size), &alone);
            }
        }

        /// An evaluation sees every sample exactly once, in batches of at most the asked size, for any number of ranks.
        #[test]
        fn evaluation_sees_every_sample_once(len in 1u64..200, world_size in 1u64..9, micro_batch in 1u64..20) {
            let mut seen = Vec::new();
            for rank in 0..world_size {
                let share = share(Order::Sequential, rank, world_size, micro_batch, 1);
                let batches: Vec<_> = (0..).map_while(|index| share.positions(index, len)).collect();
                prop_assert_eq!(share.batches(len), Some(batches.len() as u64));
                prop_assert!(batches.iter().all(|batch| (1..=micro_batch).contains(&(batch.end - batch.start))));
                seen.extend(batches.into_iter().flatten());
            }
            prop_assert!(seen.into_iter().eq(0..len));
        }
    }

    #[test]
    fn epochs_and_seeds_have_orders_of_their_own() {
        let order = |seed, epoch: u64| -> Vec<u64> {
            let mut stream = Stream::new(seed, Order::Shuffled, 50);
            (epoch * 50..(epoch + 1) * 50).map(|position| stream.at(position).sample).collect()
        };
        assert_eq!(order(1, 3), order(1, 3));
        assert_ne!(order(1, 3), order(1, 4));
        assert_ne!(order(1, 3), order(2, 3));
    }

    #[test]
    fn keys_differ_where_any_part_differs() {
        let place = SampleKey { epoch: 1, position: 2, sample: 3 };
        let key = place.key(0, Purpose::Augment);
        for other in [
            SampleKey { epoch: 0, ..place }.key(0, Purpose::Augment),
            SampleKey { position: 0, ..place }.key(0, Purpose::Augment),
            SampleKey { sample: 0, ..place }.key(0, Purpose::Augment),
            place.key(1, Purpose::Augment),
            place.key(0, Purpose::Mix),
        ] {
            assert_ne!(key, other);
        }
    }
}
