//! The stream is a pure function: ranks, workers, buffers and restarts do not change a sample or a pixel.

mod support;

use dataloader::{LoaderSpec, Order, SampleKey};
use proptest::prelude::*;
use support::{Noise, Seen, take, training};

/// One global batch after the other, put together from the ranks' parts.
fn gather(source: &Noise, spec: &LoaderSpec, world_size: usize, steps: usize) -> Vec<Seen> {
    let rank_batch = spec.global_batch / world_size;
    let parts: Vec<Vec<Seen>> = (0..world_size)
        .map(|rank| {
            let spec = LoaderSpec { rank, world_size, micro_batch: rank_batch, ..spec.clone() };
            take(source, &spec, steps).expect("good images")
        })
        .collect();
    (0..steps)
        .flat_map(|step| parts.iter().flat_map(move |part| part[step * rank_batch..][..rank_batch].to_vec()))
        .collect()
}

fn keys(seen: &[Seen]) -> Vec<SampleKey> {
    seen.iter().map(|(key, ..)| *key).collect()
}

/// Every endless order, over 31 samples in shards of 4.
fn orders() -> (Noise, Vec<LoaderSpec>) {
    let orders = [Order::Shuffled, Order::Windowed { shards: 3 }, Order::Balanced];
    (Noise::in_shards(31, 4), orders.map(|order| LoaderSpec { order, ..training(24) }).to_vec())
}

#[test]
fn any_number_of_ranks_sees_the_same_global_batches() {
    let (source, specs) = orders();
    for spec in specs {
        let alone = gather(&source, &spec, 1, 3);
        assert_eq!(alone.len(), 72, "more than two epochs, the batches run over the ends");
        for world_size in [2, 3, 8] {
            assert_eq!(gather(&source, &spec, world_size, 3), alone, "{world_size} ranks, {:?}", spec.order);
        }
    }
}

#[test]
fn starting_later_is_skipping_what_came_before() {
    let (source, specs) = orders();
    for spec in specs {
        let whole = take(&source, &spec, 8).expect("good images");
        for start_step in 1..8 {
            let resumed = LoaderSpec { start_step, ..spec.clone() };
            let steps = 8 - start_step as usize;
            let tail = take(&source, &resumed, steps).expect("good images");
            assert_eq!(tail, whole[start_step as usize * 24..], "from step {start_step}, {:?}", spec.order);
        }
    }
}

/// Three shards of four samples are open at a time, so a shard's samples come within twelve.
#[test]
fn a_window_keeps_the_samples_of_a_shard_together() {
    let (source, specs) = orders();
    let seen = keys(&take(&source, &specs[1], 2).expect("good images"));
    let epoch: Vec<u64> = seen[..31].iter().map(|key| key.sample).collect();
    for shard in 0..8 {
        let places: Vec<usize> = (0..31).filter(|&place| epoch[place] / 4 == shard).collect();
        assert!(places[places.len() - 1] - places[0] < 12, "shard {shard} at {places:?}");
    }
    assert!(!epoch.is_sorted());
}

#[test]
fn a_balanced_order_shows_every_class_equally_often() {
    let (source, specs) = orders();
    let seen = take(&source, &specs[2], 4).expect("good images");
    for batch in seen.chunks_exact(24) {
        assert_eq!(batch.iter().filter(|(_, label, _)| *label == 1).count(), 12);
    }
}

#[test]
fn accumulation_cuts_a_step_without_changing_it() {
    let (source, spec) = (Noise::new(31), training(12));
    let whole = take(&source, &LoaderSpec { start_step: 2, ..spec.clone() }, 3).expect("good images");
    let pieces = LoaderSpec { micro_batch: 4, start_step: 2, ..spec };
    assert_eq!(take(&source, &pieces, 9).expect("good images"), whole);
}

#[test]
fn workers_and_readers_change_nothing() {
    let (source, spec) = (Noise::new(40), training(8));
    let alone = take(&source, &spec, 12).expect("good images");
    for (workers, readers) in [(2, 1), (5, 3), (0, 0)] {
        let spec = LoaderSpec { workers, readers, ..spec.clone() };
        assert_eq!(take(&source, &spec, 12).expect("good images"), alone, "{workers} workers, {readers} readers");
    }
}

/// Two epochs show the same samples, but not the same crops and flips.
#[test]
fn augmentation_differs_between_epochs() {
    let (source, spec) = (Noise::new(10), training(10));
    let mut seen = take(&source, &spec, 2).expect("good images");
    seen.sort_by_key(|(key, ..)| (key.sample, key.epoch));
    assert!(seen.chunks_exact(2).all(|pair| pair[0].0.sample == pair[1].0.sample && pair[0].2 != pair[1].2));
    let other_seed = take(&source, &LoaderSpec { seed: 8, ..spec.clone() }, 2).expect("good images");
    assert_ne!(keys(&other_seed), keys(&take(&source, &spec, 2).expect("good images")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Evaluation sees every sample once, with its own label, whatever the ranks, workers and batch size.
    #[test]
    fn evaluation_is_exact(len in 1usize..40, world_size in 1usize..6, batch in 1usize..9, workers in 1usize..4) {
        let source = Noise::new(len);
        let mut seen = Vec::new();
        for rank in 0..world_size {
            let spec = LoaderSpec { rank, world_size, workers, ..LoaderSpec::once(support::augmented(), batch) };
            seen.extend(take(&source, &spec, usize::MAX).expect("good images"));
        }
        prop_assert!(seen.iter().map(|(key, ..)| key.sample as usize).eq(0..len));
        prop_assert!(seen.iter().all(|(key, label, _)| *label == (key.sample % 2) as i64));
    }

    /// Every epoch's positions hold every sample once, put together from all ranks.
    #[test]
    fn every_sample_comes_once_an_epoch(
        len in 1usize..30, world_size in 1usize..5, epochs in 1usize..4, shard in 1usize..9, shards in 0u64..5,
    ) {
        let source = Noise::in_shards(len, shard);
        let order = if shards == 0 { Order::Shuffled } else { Order::Windowed { shards } };
        let global_batch = 2 * world_size;
        let steps = (epochs * len).div_ceil(global_batch);
        let seen = gather(&source, &LoaderSpec { order, ..training(global_batch) }, world_size, steps);
        for epoch in 0..epochs {
            let mut samples: Vec<u64> = seen[epoch * len..(epoch + 1) * len].iter().map(|(key, ..)| key.sample).collect();
            samples.sort_unstable();
            prop_assert!(samples.into_iter().eq(0..len as u64));
        }
    }
}
