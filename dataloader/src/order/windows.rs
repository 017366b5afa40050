//! The shuffle for slow storage: shards in random order, and samples in random order within a window of shards.

use random::{Key, Permutation};

/// Tag of the order of the shards among an epoch's keys; the windows' tags follow it.
const SHARDS: u64 = 1 << 32;

/// The shards of a source, and how those of one epoch follow on one another.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    /// Where each shard ends in the source.
    ends: Vec<u64>,
    /// Shards of a window.
    width: usize,
    epoch: Option<Epoch>,
}

/// One epoch's order of the shards: a function of its key alone, kept so that a position is found by bisection.
#[derive(Clone, Debug)]
struct Epoch {
    number: u64,
    key: Key,
    /// The shards in their order.
    shards: Vec<usize>,
    /// Where each of them ends among the epoch's places.
    ends: Vec<u64>,
    /// The window looked at last, and the order of its places.
    window: Option<(usize, Permutation)>,
}

impl Windows {
    /// Windows of `width` shards over a source of `len` samples; `groups` are the ends of its shards, none for one shard.
    pub(super) fn new(groups: &[usize], len: u64, width: u64) -> Windows {
        let ends = if groups.is_empty() { vec![len] } else { groups.iter().map(|&end| end as u64).collect() };
        let width = usize::try_from(width).unwrap_or(usize::MAX).clamp(1, ends.len());
        Windows { ends, width, epoch: None }
    }

    /// The sample at `place` of epoch `number`, whose key is `key`.
    pub(super) fn at(&mut self, number: u64, key: Key, place: u64) -> u64 {
        if self.epoch.as_ref().is_none_or(|epoch| epoch.number != number) {
            self.epoch = Some(self.epoch(number, key));
        }
        let width = self.width;
        let epoch = self.epoch.as_mut().expect("set above");
        let place = epoch.shuffled(place, width);
        let order = epoch.ends.partition_point(|&end| end <= place);
        let shard = epoch.shards[order];
        begin(&self.ends, shard) + (place - begin(&epoch.ends, order))
    }

    fn epoch(&self, number: u64, key: Key) -> Epoch {
        let order = Permutation::new(key.child(SHARDS), self.ends.len() as u64);
        let shards: Vec<usize> = (0..order.len()).map(|place| order.at(place) as usize).collect();
        let lengths = shards.iter().map(|&shard| self.ends[shard] - begin(&self.ends, shard));
        let ends = lengths.scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        Epoch { number, key, ends: ends.collect(), shards, window: None }
    }
}

impl Epoch {
    /// The place in the order of the shards that `place` has been shuffled to, in the same window.
    fn shuffled(&mut self, place: u64, width: usize) -> u64 {
        let window = self.ends.partition_point(|&end| end <= place) / width;
        let first = begin(&self.ends, window * width);
        let last = self.ends[self.ends.len().min((window + 1) * width) - 1];
        if self.window.as_ref().is_none_or(|(kept, _)| *kept != window) {
            let key = self.key.child(SHARDS + 1 + window as u64);
            self.window = Some((window, Permutation::new(key, last - first)));
        }
        first + self.window.as_ref().expect("set above").1.at(place - first)
    }
}

fn begin(ends: &[u64], index: usize) -> u64 {
    index.checked_sub(1).map_or(0, |before| ends[before])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(lengths: &[usize]) -> Vec<usize> {
        lengths
            .iter()
            .scan(0, |end, length| {
                *end += length;
                Some(*end)
            })
            .collect()
    }

    proptest! {
        /// Every sample once; at no time samples of more than a window's shards; empty shards do no harm.
        #[test]
        fn an_epoch_is_a_permutation_that_keeps_to_windows(
            seed: u64, lengths in prop::collection::vec(0usize..9, 1..20), width in 1u64..6, number in 0u64..9,
        ) {
            let groups = ends(&lengths);
            let len = *groups.last().unwrap() as u64;
            let mut windows = Windows::new(&groups, len, width);
            let samples: Vec<u64> = (0..len).map(|place| windows.at(number, Key::root(seed), place)).collect();
            let mut sorted = samples.clone();
            sorted.sort_unstable();
            prop_assert!(sorted.into_iter().eq(0..len));

            // Each shard's samples lie within one window, which is at most as long as the longest shards.
            let shard = |sample: u64| groups.partition_point(|&end| end as u64 <= sample);
            let mut sizes = lengths.clone();
            sizes.sort_unstable_by(|a, b| b.cmp(a));
            let longest: usize = sizes.iter().take(width as usize).sum();
            for wanted in 0..lengths.len() {
                let places = samples.iter().positions_of(|&sample| shard(sample) == wanted);
                if let (Some(first), Some(last)) = (places.first(), places.last()) {
                    prop_assert!(last - first < longest, "shard {wanted} from {first} to {last}");
                }
            }
            // Looked up in any order, from any place, the answers are the same.
            let mut fresh = Windows::new(&groups, len, width);
            for place in (0..len).rev().step_by(3) {
                prop_assert_eq!(fresh.at(number, Key::root(seed), place), samples[place as usize]);
            }
        }
    }

    trait PositionsOf: Iterator + Sized {
        fn positions_of(self, wanted: impl Fn(Self::Item) -> bool) -> Vec<usize> {
            self.enumerate().filter_map(|(place, item)| wanted(item).then_some(place)).collect()
        }
    }

    impl<I: Iterator> PositionsOf for I {}

    #[test]
    fn shards_and_samples_are_shuffled_anew_every_epoch() {
        let groups = ends(&[10; 12]);
        let mut windows = Windows::new(&groups, 120, 3);
        let mut epoch = |number: u64| -> Vec<u64> {
            (0..120).map(|place| windows.at(number, Key::root(1).child(number), place)).collect()
        };
        let (first, second) = (epoch(0), epoch(1));
        assert_ne!(first, second);
        assert_eq!(first, epoch(0));
        let shards = |samples: &[u64]| samples.iter().map(|sample| sample / 10).collect::<Vec<_>>();
        assert_ne!(shards(&first), shards(&second));
        assert!(!shards(&first).is_sorted());
    }
}
