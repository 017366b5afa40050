//! Boxes and weights against timm's figures (`fixtures/make_mix_figures.py`), frequencies, and what must not matter.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Figures {
    boxes: Vec<Around>,
}

#[derive(Deserialize)]
struct Around {
    size: u32,
    weight: f64,
    center: [u32; 2],
    #[serde(rename = "box")]
    patch: [u32; 4],
    corrected: f64,
}

const BOTH: Mixing = Mixing {
    seed: 5,
    mixup_alpha: 0.8,
    cutmix_alpha: 1.0,
    cutmix_minmax: None,
    probability: 1.0,
    switch_probability: 0.5,
    mode: MixMode::Batch,
    group: 8,
};

fn keys(positions: std::ops::Range<u64>) -> Vec<SampleKey> {
    positions.map(|position| SampleKey { epoch: position / 1000, position, sample: position * 7 % 1000 }).collect()
}

#[test]
fn boxes_and_their_weights_are_timms() {
    let Figures { boxes } = serde_json::from_str(include_str!("../../tests/fixtures/mix.json")).expect("the fixture");
    assert!(boxes.len() > 50);
    for Around { size, weight, center, patch: [top, left, height, width], corrected } in boxes {
        let found = box_around(size, weight, center);
        assert_eq!(found, CropBox { top, left, height, width }, "{size}, {weight}, {center:?}");
        assert!((patch(found, size).weight - corrected).abs() < 1e-12, "{size}, {weight}, {center:?}");
    }
}

#[test]
fn partners_are_the_group_in_reverse() {
    let partners = |len: u64| BOTH.plan(&keys(16..16 + len), 32).iter().map(|mix| mix.partner).collect::<Vec<_>>();
    assert_eq!(partners(16), [7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8]);
    assert_eq!(partners(3), [2, 1, 0], "a group that is cut off is mixed within itself");
    assert!(partners(0).is_empty());
}

#[test]
fn modes_share_as_they_say() {
    let drawn = |mode| -> Vec<u64> {
        let mixes = Mixing { mode, ..BOTH }.plan(&keys(0..16), 32);
        mixes.iter().map(|mix| mix.weight.to_bits()).collect()
    };
    let batch = drawn(MixMode::Batch);
    assert!(batch[..8].iter().all(|weight| *weight == batch[0]) && batch[8..].iter().all(|weight| *weight == batch[8]));
    assert_ne!(batch[0], batch[8]);
    let pair = drawn(MixMode::Pair);
    assert!((0..8).all(|place| pair[place] == pair[7 - place]) && pair[0] != pair[1]);
    let mut elem = drawn(MixMode::Elem);
    elem.sort_unstable();
    elem.dedup();
    assert!(elem.len() > 14, "{elem:?}");
}

#[test]
fn another_seed_position_or_sample_is_mixed_in_another_way() {
    let weight = |mixing: &Mixing, key: SampleKey| mixing.plan(&[key, key], 224)[0].weight;
    let key = SampleKey { epoch: 1, position: 8, sample: 3 };
    let first = weight(&BOTH, key);
    for other in [SampleKey { position: 16, ..key }, SampleKey { sample: 4, ..key }, SampleKey { epoch: 2, ..key }] {
        assert_ne!(weight(&BOTH, other), first);
    }
    assert_ne!(weight(&Mixing { seed: 6, ..BOTH }, key), first);
}

/// How often each blend comes, and the mean and variance of mixup's weights.
#[test]
fn switching_is_as_often_as_it_says() {
    let mixing = Mixing { probability: 0.8, switch_probability: 0.3, mode: MixMode::Elem, ..BOTH };
    let mixes = mixing.plan(&keys(0..20_000), 224);
    let n = mixes.len() as f64;
    let share = |wanted: fn(&Blend) -> bool| mixes.iter().filter(|mix| wanted(&mix.blend)).count() as f64 / n;
    let near = |found: f64, expected: f64| (found - expected).abs() < 5.0 * (expected * (1.0 - expected) / n).sqrt();
    assert!(near(share(|blend| *blend == Blend::Alone), 0.2));
    assert!(near(share(|blend| *blend == Blend::Whole), 0.8 * 0.7));
    assert!(near(share(|blend| matches!(blend, Blend::Patch(_))), 0.8 * 0.3));
    assert!(mixes.iter().all(|mix| mix.blend != Blend::Alone || mix.weight == 1.0));
    let whole: Vec<f64> = mixes.iter().filter(|mix| mix.blend == Blend::Whole).map(|mix| mix.weight).collect();
    let mean = whole.iter().sum::<f64>() / whole.len() as f64;
    let variance = whole.iter().map(|weight| (weight - mean).powi(2)).sum::<f64>() / whole.len() as f64;
    assert!(
        (mean - 0.5).abs() < 0.015 && (variance * 4.0 * 2.6 - 1.0).abs() < 0.05,
        "mean {mean}, variance {variance}"
    );
}

#[test]
fn one_kind_alone_needs_no_switch() {
    let only = |mixing: Mixing, wanted: fn(&Blend) -> bool| {
        let mixing = Mixing { mode: MixMode::Elem, ..mixing };
        mixing.plan(&keys(0..200), 32).iter().all(|mix| wanted(&mix.blend))
    };
    assert!(only(Mixing { cutmix_alpha: 0.0, switch_probability: 1.0, ..BOTH }, |blend| *blend == Blend::Whole));
    let patched: fn(&Blend) -> bool = |blend| matches!(blend, Blend::Patch(_));
    assert!(only(Mixing { mixup_alpha: 0.0, switch_probability: 0.0, ..BOTH }, patched));
    let minmax = Mixing { mixup_alpha: 0.0, cutmix_alpha: 0.0, cutmix_minmax: Some([0.25, 0.75]), ..BOTH };
    assert!(only(minmax, |blend| match blend {
        Blend::Patch(from) => (8..24).contains(&from.height) && (8..24).contains(&from.width),
        _ => false,
    }));
    for off in [Mixing { probability: 0.0, ..BOTH }, Mixing { mixup_alpha: 0.0, cutmix_alpha: 0.0, ..BOTH }] {
        assert!(!off.is_on());
        assert!(only(off, |blend| *blend == Blend::Alone));
    }
}

proptest! {
    /// However a global batch is cut into micro-batches of whole groups, its samples are mixed alike.
    #[test]
    fn cutting_a_batch_between_groups_changes_nothing(
        start in 0u64..1000, groups in 1u64..5, group in 1usize..9, mode in 0usize..3, size in 1u32..300,
    ) {
        let mode = [MixMode::Batch, MixMode::Pair, MixMode::Elem][mode];
        let mixing = Mixing { mode, group, ..BOTH };
        let samples = keys(start * group as u64..(start + groups) * group as u64);
        let whole = mixing.plan(&samples, size);
        let parts: Vec<Mix> = samples.chunks(group).enumerate().flat_map(|(index, part)| {
            let mixes = mixing.plan(part, size);
            mixes.into_iter().map(move |mix| Mix { partner: mix.partner + index * group, ..mix })
        }).collect();
        prop_assert_eq!(whole, parts);
    }

    /// Boxes lie inside the image, and weights are what they leave of it.
    #[test]
    fn boxes_lie_inside(seed: u64, size in 1u32..300, low in 0.0f64..1.0, high in 0.0f64..1.0, minmax: bool) {
        let cutmix_minmax = minmax.then_some([low.min(high), low.max(high)]);
        let mixing = Mixing { seed, mixup_alpha: 0.0, cutmix_minmax, mode: MixMode::Elem, ..BOTH };
        for mix in mixing.plan(&keys(0..8), size) {
            let Blend::Patch(from) = mix.blend else { continue };
            prop_assert!(from.top + from.height <= size && from.left + from.width <= size);
            let outside = f64::from(size * size - from.height * from.width) / f64::from(size * size);
            prop_assert!((mix.weight - outside).abs() < 1e-12 && (0.0..=1.0).contains(&mix.weight));
        }
    }
}
