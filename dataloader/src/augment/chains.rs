//! AutoAugment's tables and AugMix's operations and sums against timm's (`tests/fixtures/make_augment_figures.py`).

use std::collections::BTreeMap;

use random::Key;
use serde::Deserialize;

use super::figures::{from_hex, rgb, rgbx};
use super::mix::{KINDS, SHIFT, mix};
use super::{AugMix, Op, Policy, Sampling, Scratch, Spread, Warp};

const FILL: [u8; 3] = [124, 116, 104];

/// Name, probability and magnitude of an operation.
type Step = (String, f64, f64);

#[derive(Deserialize)]
struct Figures {
    auto: BTreeMap<String, Vec<[Step; 2]>>,
    augmix: Mixing,
}

#[derive(Deserialize)]
struct Mixing {
    kinds: Vec<String>,
    shift_at_full: f64,
    width: usize,
    image: String,
    cases: Vec<MixCase>,
}

#[derive(Deserialize)]
struct MixCase {
    weights: Vec<f32>,
    share: f32,
    pixels: String,
}

fn figures() -> Figures {
    serde_json::from_str(include_str!("../../tests/fixtures/augment.json")).expect("the fixture is JSON")
}

fn parse(policy: &str) -> Policy {
    Policy::parse(policy, FILL, Some(Sampling::Bicubic)).expect(policy)
}

#[test]
fn auto_augments_pairs_are_those_of_timm() {
    let auto = figures().auto;
    assert_eq!(auto.len(), 4);
    for (name, pairs) in auto {
        let Policy::Auto(found) = parse(&name) else { panic!("{name}") };
        assert_eq!((found.spread, found.table.pairs().len()), (0.0, pairs.len()), "{name}");
        for (found, expected) in found.table.pairs().zip(pairs) {
            let found = found.map(|(kind, probability, magnitude)| (format!("{kind:?}"), probability, magnitude));
            assert_eq!(found, expected, "{name}");
        }
    }
    let Policy::Auto(noisy) = parse("v0-mstd0.5") else { panic!("no AutoAugment") };
    assert_eq!(noisy.spread, 0.5);
}

/// The pair with both operations certain comes in a 25th of the draws, and none has more than two.
#[test]
fn auto_augment_draws_every_pair_as_often() {
    const DRAWS: u64 = 20_000;
    let Policy::Auto(policy) = parse("originalr") else { panic!("no AutoAugment") };
    let mut turned = 0_u64;
    for seed in 0..DRAWS {
        let mut ops = Vec::new();
        policy.draw(&mut Key::root(seed).rng(), |op| ops.push(op));
        assert!(ops.len() <= 2, "{ops:?}");
        turned += u64::from(ops.iter().any(|op| matches!(op, Op::Warp(_))));
    }
    // Rotations and the shear: 0.6 + 0.8 + 0.2 + 0.8 + 0.4 + 0.8 + 0.6 of 25 pairs.
    let expected = DRAWS as f64 * 4.2 / 25.0;
    assert!((turned as f64 - expected).abs() < 5.0 * expected.sqrt(), "{turned}, not about {expected}");
}

#[test]
fn augmix_chains_are_summed_as_timm_sums_them() {
    let Mixing { kinds, shift_at_full, width, image, cases } = figures().augmix;
    assert_eq!(KINDS.map(|kind| format!("{kind:?}")).to_vec(), kinds);
    assert_eq!(SHIFT, shift_at_full);
    let warp = Warp::shear_x(0.2, Sampling::Bilinear, FILL);
    let chains = [
        vec![Op::AutoContrast, Op::Posterise { bits: 3 }],
        vec![Op::Warp(warp), Op::Saturation(1.6)],
        vec![Op::Equalise, Op::Solarise { threshold: 128.0 }],
    ];
    for MixCase { weights, share, pixels } in cases {
        let mut found = rgbx(&from_hex(&image));
        mix(&mut found, width, weights.into_iter().zip(chains.clone()), share, &mut Scratch::default());
        assert_eq!(rgb(&found), from_hex(&pixels), "share {share}");
    }
}

#[test]
fn augmixs_grammar_and_draws() {
    let Policy::Mix(plain) = parse("augmix") else { panic!("no AugMix") };
    assert_eq!((plain.magnitude, plain.spread, plain.width, plain.depth), (3.0, Spread::Uniform, 3, None));
    let Policy::Mix(set) = parse("augmix-m5-mstd1-w4-d2-a0.5") else { panic!("no AugMix") };
    let expected =
        AugMix { magnitude: 5.0, spread: Spread::Normal(1.0), width: 4, depth: Some(2), alpha: 0.5, ..plain };
    assert_eq!(set, expected);
    for alpha in [0.05, 0.5, 1.0, 40.0] {
        let policy = AugMix { alpha, ..set.clone() };
        for seed in 0..50 {
            let mut pixels = vec![77; 8 * 8 * 4];
            policy.change(&mut pixels, 8, &mut Key::root(seed).rng(), &mut Scratch::default());
            assert_eq!(pixels.len(), 8 * 8 * 4);
        }
    }
}
