//! What is drawn: strengths and sets against timm's and torchvision's tables, distributions, and pure functions of keys.

use std::collections::BTreeMap;

use random::Key;
use serde::Deserialize;

use super::figures::rgbx;
use super::policy::{TRIVIAL_BINS, three, trivial};
use super::rand::SHIFT;
use super::{
    Augment, ColorJitter, EraseMode, Erasure, Op, Policy, RandAugment, RandomErasing, Sampling, Scratch, Set, Spread,
    Warp, half_normal,
};

const FILL: [u8; 3] = [124, 116, 104];
const DRAWS: u64 = 20_000;

#[derive(Deserialize)]
struct Figures {
    levels: Levels,
    trivial: BTreeMap<String, Bins>,
}

#[derive(Deserialize)]
struct Levels {
    sets: BTreeMap<String, Vec<String>>,
    arguments: BTreeMap<String, Vec<Vec<f64>>>,
    weights: BTreeMap<String, Vec<f64>>,
}

#[derive(Deserialize)]
struct Bins {
    bins: Vec<f64>,
    signed: bool,
}

fn figures() -> Figures {
    serde_json::from_str(include_str!("../../tests/fixtures/augment.json")).expect("the fixture is JSON")
}

/// The operation that timm's function of this name does with this argument.
fn timm(name: &str, argument: f64) -> Op {
    let warp = |make: fn(f64, Sampling, [u8; 3]) -> Warp| Op::Warp(make(argument, Sampling::Bicubic, FILL));
    match name.trim_end_matches("Increasing") {
        "AutoContrast" => Op::AutoContrast,
        "Equalize" => Op::Equalise,
        "Invert" => Op::Invert,
        "Rotate" => warp(Warp::rotate),
        "Posterize" => Op::Posterise { bits: argument as u8 },
        "Solarize" => Op::Solarise { threshold: argument },
        "SolarizeAdd" => Op::SolariseAdd { add: argument as u8 },
        "Color" => Op::Saturation(argument),
        "Contrast" => Op::Contrast(argument),
        "Brightness" => Op::Brightness(argument),
        "Sharpness" => Op::Sharpness(argument),
        "ShearX" => warp(Warp::shear_x),
        "ShearY" => warp(Warp::shear_y),
        "TranslateXRel" => warp(Warp::shift_x_by),
        "TranslateYRel" => warp(Warp::shift_y_by),
        "Desaturate" => Op::Saturation((1.0 - argument).clamp(0.0, 1.0)),
        "GaussianBlur" => Op::Blur { radius: argument },
        other => panic!("unknown operation {other}"),
    }
}

/// With 12 decimal places: a number read from JSON may be off in its last bit.
fn shown(op: impl std::fmt::Debug) -> String {
    format!("{op:.12?}").replace("-0.000000000000", "0.000000000000")
}

fn draw(policy: &Policy, seed: u64) -> Vec<Op> {
    let mut ops = Vec::new();
    let mut rng = Key::root(seed).rng();
    match policy {
        Policy::Rand(rand) => rand.draw(&mut rng, |op| ops.push(op)),
        Policy::Auto(auto) => auto.draw(&mut rng, |op| ops.push(op)),
        Policy::Three => ops.push(three(&mut rng)),
        other => panic!("{other:?} is no list of operations"),
    }
    ops
}

fn parse(policy: &str) -> Policy {
    Policy::parse(policy, FILL, Some(Sampling::Bicubic)).expect(policy)
}

#[test]
fn sets_weights_and_strengths_are_those_of_timm() {
    let Levels { sets, arguments, weights } = figures().levels;
    assert_eq!(sets.len(), 5);
    for (policy, names) in sets {
        let Policy::Rand(RandAugment { set, .. }) = parse(&policy) else { panic!("{policy}") };
        let table = set.table();
        assert_eq!(table.iter().map(|(kind, _)| format!("{kind:?}")).collect::<Vec<_>>(), names, "{policy}");
        let total: f64 = table.iter().map(|(_, weight)| weight).sum();
        for (place, (_, weight)) in table.iter().enumerate() {
            let expected = weights.get(&policy).map_or(1.0 / names.len() as f64, |weights| weights[place]);
            assert!((weight / total - expected).abs() < 1e-12, "{policy}: {}", names[place]);
        }
        for (kind, name) in table.iter().map(|(kind, _)| *kind).zip(&names) {
            for case in &arguments[name] {
                let expected = timm(name, case.get(1).copied().unwrap_or(0.0));
                assert_eq!(
                    shown(kind.at(case[0], false, SHIFT, Sampling::Bicubic, FILL)),
                    shown(expected),
                    "{name} at {}",
                    case[0]
                );
            }
        }
    }
}

#[test]
fn trivial_augments_strengths_are_those_of_torchvision() {
    const NAMES: [&str; 14] = [
        "Identity",
        "ShearX",
        "ShearY",
        "TranslateX",
        "TranslateY",
        "Rotate",
        "Brightness",
        "Color",
        "Contrast",
        "Sharpness",
        "Posterize",
        "Solarize",
        "AutoContrast",
        "Equalize",
    ];
    let space = figures().trivial;
    for (kind, name) in NAMES.into_iter().enumerate() {
        let Bins { bins, signed } = &space[name];
        for bin in 0..TRIVIAL_BINS {
            let strength = bins.get(bin as usize).copied().unwrap_or(0.0);
            for (turned, strength) in [(false, strength), (true, if *signed { -strength } else { strength })] {
                let warp =
                    |make: fn(f64, Sampling, [u8; 3]) -> Warp, value| Op::Warp(make(value, Sampling::Nearest, [0; 3]));
                let expected = match name {
                    "Identity" => None,
                    "ShearX" => Some(warp(Warp::shear_x, strength)),
                    "ShearY" => Some(warp(Warp::shear_y, strength)),
                    "TranslateX" => Some(warp(Warp::shift_x, -strength.trunc())),
                    "TranslateY" => Some(warp(Warp::shift_y, -strength.trunc())),
                    "Rotate" => Some(warp(Warp::rotate, strength)),
                    "Posterize" => Some(Op::Posterise { bits: strength as u8 }),
                    "Solarize" => Some(Op::Solarise { threshold: strength }),
                    "AutoContrast" | "Equalize" => Some(timm(name, 0.0)),
                    _ => Some(timm(name, 1.0 + strength)),
                };
                assert_eq!(shown(trivial(kind as u64, bin, turned)), shown(expected), "{name} in bin {bin}");
            }
        }
    }
}

#[test]
fn policies_are_read_and_others_refused_with_the_nearest() {
    let Policy::Rand(deit) = parse("rand-m9-mstd0.5-inc1") else { panic!("no RandAugment") };
    assert_eq!((deit.magnitude, deit.spread, deit.set), (9.0, Spread::Normal(0.5), Set::Increasing));
    assert_eq!((deit.layers, deit.probability, deit.magnitude_max), (2, 0.5, 10.0));
    let Policy::Rand(other) = parse("rand-n3-p0.25-mmax20-mstd101-tweights") else { panic!("no RandAugment") };
    assert_eq!((other.layers, other.probability, other.magnitude_max), (3, 0.25, 20.0));
    assert_eq!((other.spread, other.set), (Spread::Uniform, Set::Weighted));
    assert_eq!(
        [parse("none"), parse("3-augment"), parse("trivial-wide")],
        [Policy::None, Policy::Three, Policy::TrivialWide]
    );
    for (policy, hint) in [
        ("3-augmnet", "the nearest is \"3-augment\""),
        ("random-m9", "the nearest is \"rand\""),
        ("orginal", "the nearest is \"original\""),
        ("augmix-b1", "one of m, mstd, w, d, a"),
        ("augmix-w2.5", "a whole number"),
        ("v0-std1", "the nearest is mstd"),
        ("none-m9", "the nearest is \"none\""),
        ("rand-mst0.5", "the nearest is mstd"),
        ("rand-incr1", "the nearest is inc"),
        ("rand-tweight", "the nearest is tweights"),
        ("rand-m9x", "section \"m9x\""),
        ("rand-m", "section \"m\""),
        ("rand-p1.5", "from 0 to 1"),
        ("rand-n2.5", "a whole number"),
    ] {
        let error = Policy::parse(policy, FILL, None).expect_err(policy).to_string();
        assert!(error.contains(hint), "{policy}: {error}");
    }
}

/// Two layers, each applied half the time; each operation as often as any other; magnitudes around 9.
#[test]
fn rand_augment_draws_as_often_as_it_says() {
    let policy = parse("rand-m9-mstd0.5-inc1");
    let (mut numbers, mut kinds) = ([0_u64; 3], BTreeMap::new());
    let (mut turned, mut degrees) = (0_u64, 0_u64);
    for seed in 0..DRAWS {
        let ops = draw(&policy, seed);
        numbers[ops.len()] += 1;
        for op in ops {
            let shown = format!("{op:?}");
            if shown.contains("Turn") {
                degrees += 1;
                turned += u64::from(shown.contains('-'));
            }
            let name = shown.split([' ', '(']).next().unwrap_or_default();
            *kinds.entry(name.to_owned()).or_insert(0_u64) += 1;
        }
    }
    let near = |count: u64, expected: f64| (count as f64 - expected).abs() < 5.0 * expected.sqrt();
    let draws = DRAWS as f64;
    assert!(near(numbers[0], draws / 4.0) && near(numbers[1], draws / 2.0) && near(numbers[2], draws / 4.0));
    assert!(near(degrees, draws / 15.0) && near(turned, degrees as f64 / 2.0), "{degrees} turns, {turned} back");
    assert!(near(kinds["AutoContrast"], draws / 15.0) && near(kinds["Equalise"], draws / 15.0), "{kinds:?}");
}

#[test]
fn weighted_operations_are_drawn_without_repetition() {
    let policy = parse("rand-n14-p1-t3aw");
    for seed in 0..50 {
        let ops = draw(&policy, seed);
        assert_eq!(ops.len(), 14);
        assert!(ops.iter().enumerate().all(|(place, op)| !ops[..place].contains(op)), "{ops:?}");
    }
    let first = (0..DRAWS).filter(|seed| matches!(draw(&parse("rand-n1-p1-t3aw"), *seed)[..], [Op::Invert])).count();
    let expected = DRAWS as f64 / 33.0;
    assert!((first as f64 - expected).abs() < 5.0 * expected.sqrt(), "{first}, not about {expected}");
}

#[test]
fn three_augment_draws_each_of_its_three_as_often() {
    let mut counts = [0_u64; 3];
    for seed in 0..DRAWS {
        match draw(&Policy::Three, seed)[..] {
            [Op::Grayscale] => counts[0] += 1,
            [Op::Solarise { threshold: 128.0 }] => counts[1] += 1,
            [Op::Blur { radius }] if (0.1..2.0).contains(&radius) => counts[2] += 1,
            ref other => panic!("{other:?}"),
        }
    }
    let third = DRAWS as f64 / 3.0;
    assert!(counts.iter().all(|&count| (count as f64 - third).abs() < 5.0 * third.sqrt()), "{counts:?}");
}

#[test]
fn jitter_keeps_its_ranges_and_changes_its_order() {
    let jitter = ColorJitter { brightness: 0.4, contrast: 1.5, saturation: 0.0, hue: 0.1 };
    let mut first = [0_u64; 3];
    for seed in 0..DRAWS {
        let mut ops = Vec::new();
        jitter.draw(&mut Key::root(seed).rng(), |op| ops.push(op));
        assert_eq!(ops.len(), 3);
        for (place, op) in ops.into_iter().enumerate() {
            let (kind, fits) = match op {
                Op::Brightness(factor) => (0, (0.6..1.4).contains(&factor)),
                Op::Contrast(factor) => (1, (0.0..2.5).contains(&factor)),
                Op::Hue(share) => (2, (-0.1..0.1).contains(&share)),
                other => panic!("{other:?}"),
            };
            assert!(fits, "{op:?}");
            first[kind] += u64::from(place == 0);
        }
    }
    let third = DRAWS as f64 / 3.0;
    assert!(first.iter().all(|&count| (count as f64 - third).abs() < 5.0 * third.sqrt()), "{first:?}");
}

#[test]
fn erasing_fills_rectangles_with_what_its_mode_says() {
    const SIDE: usize = 64;
    for (mode, probability) in [(EraseMode::Const, 0.25), (EraseMode::Rand, 0.25), (EraseMode::Pixel, 1.0)] {
        let erasing = RandomErasing::new(probability, mode);
        let (mut erased, mut area, mut sum, mut squares) = (0_u64, 0.0, 0.0, 0.0);
        for seed in 0..2000 {
            let mut values = vec![f32::INFINITY; 3 * SIDE * SIDE];
            erasing.erase(&mut values, SIDE, &mut Key::root(seed).rng());
            let (first, rest) = values.split_at(SIDE * SIDE);
            let places = |channel: &[f32]| -> Vec<usize> {
                (0..SIDE * SIDE).filter(|&place| channel[place].is_finite()).collect()
            };
            let hit = places(first);
            assert!(rest.chunks_exact(SIDE * SIDE).all(|channel| places(channel) == hit), "channels differ");
            let Some((low, high)) = hit.first().zip(hit.last()) else { continue };
            let rows = high / SIDE - low / SIDE + 1;
            assert_eq!(rows * (high % SIDE - low % SIDE + 1), hit.len(), "no rectangle");
            erased += 1;
            area += hit.len() as f64 / (SIDE * SIDE) as f64;
            let plain = hit.iter().all(|&place| first[place] == first[hit[0]]);
            assert_eq!(plain, mode != EraseMode::Pixel || hit.len() == 1);
            assert_eq!(mode == EraseMode::Const, first[hit[0]] == 0.0);
            let value = f64::from(first[hit[0]]);
            sum += value;
            squares += value * value;
        }
        let (count, expected) = (erased as f64, 2000.0 * probability);
        assert!((count - expected).abs() <= 5.0 * (expected * (1.0 - probability)).sqrt(), "{erased} erased");
        assert!((0.12..0.2).contains(&(area / count)), "mean area {}", area / count);
        if mode != EraseMode::Const {
            assert!((sum / count).abs() < 5.0 / count.sqrt(), "mean {}", sum / count);
            assert!((squares / count - 1.0).abs() < 5.0 * (2.0 / count).sqrt(), "variance {}", squares / count);
        }
    }
    let most = RandomErasing { count: [3, 3], ..RandomErasing::new(1.0, EraseMode::Const) };
    let mut values = vec![1.0; 3 * SIDE * SIDE];
    most.erase(&mut values, SIDE, &mut Key::root(3).rng());
    let erased = values.iter().filter(|&&value| value == 0.0).count();
    assert!(erased > 0 && erased <= SIDE * SIDE + 3 * SIDE, "the area is shared among three: {erased}");
}

/// A device that follows the records of [`RandomErasing::note`] writes what
/// [`RandomErasing::erase`] writes.
#[test]
fn noted_rectangles_are_those_that_are_erased() {
    // By random access, as a device computes it.
    let value = |mode: EraseMode, of: &Erasure, [channel, row, column]: [usize; 3]| {
        let [_, _, height, width] = of.place.map(|length| length as usize);
        let draw = match mode {
            EraseMode::Const => return 0.0,
            EraseMode::Rand => channel,
            EraseMode::Pixel => (channel * height + row) * width.div_ceil(2) + column / 2,
        };
        let mut rng = of.rng();
        rng.skip(draw as u64);
        let bits = rng.next_u32() >> if mode == EraseMode::Pixel { 16 * (column % 2) } else { 0 };
        let size = half_normal()[bits as usize % 4096];
        if bits >> 12 & 1 == 0 { size } else { -size }
    };
    let mut seen = 0;
    for (mode, count) in [(EraseMode::Const, [1, 1]), (EraseMode::Rand, [1, 3]), (EraseMode::Pixel, [1, 4])] {
        let erasing = RandomErasing { count, ..RandomErasing::new(0.7, mode) };
        for (seed, side) in (0..60).map(|seed| (seed, [1, 2, 7, 16, 33][seed as usize % 5])) {
            let key = Key::root(seed);
            let mut expected = vec![9.0; 3 * side * side];
            Augment { erasing: Some(erasing), ..Augment::default() }.erase(&mut expected, side, key);
            let mut records = vec![[-1; Erasure::WORDS]; erasing.most()];
            erasing.note(side, key, &mut records);
            let noted: Vec<Erasure> = records.iter().map_while(Erasure::of_words).collect();
            assert!(records[noted.len()..].iter().all(|words| *words == Erasure::NONE), "what is left says nothing");
            let mut found = vec![9.0; 3 * side * side];
            for erasure in &noted {
                let [top, left, height, width] = erasure.place.map(|length| length as usize);
                let values = erasure.values(mode);
                for (channel, row, column) in (0..3)
                    .flat_map(|channel| (0..height).map(move |row| (channel, row)))
                    .flat_map(|(channel, row)| (0..width).map(move |column| (channel, row, column)))
                {
                    let place = (channel * side + top + row) * side + left + column;
                    found[place] = value(mode, erasure, [channel, row, column]);
                    assert_eq!(found[place], values[(channel * height + row) * width + column]);
                }
            }
            assert_eq!(found, expected, "{mode:?}, seed {seed}, side {side}");
            seen += noted.len();
        }
    }
    assert!(seen > 100, "{seen} rectangles");
}

#[test]
fn an_augmented_image_is_a_function_of_its_key() {
    let image: Vec<u8> = (0..32 * 32 * 3_u32).map(|place| (place * 37 % 251) as u8).collect();
    let image = rgbx(&image);
    for policy in ["none", "rand-m9-mstd0.5-inc1", "3-augment", "trivial-wide", "original", "augmix-a0.3"] {
        let erasing = Some(RandomErasing::new(1.0, EraseMode::Pixel));
        let jitter = Some(ColorJitter::even(0.3));
        let augment = Augment { policy: parse(policy), jitter, grayscale: 0.3, blur: 0.3, solarise: 0.3, erasing };
        let run = |seed: u64, scratch: &mut Scratch| {
            let mut pixels = image.clone();
            augment.change(&mut pixels, 32, Key::root(seed), scratch);
            let mut values: Vec<f32> = pixels.iter().take(3 * 32 * 32).map(|&value| f32::from(value)).collect();
            augment.erase(&mut values, 32, Key::root(seed));
            (pixels, values)
        };
        let mut kept = Scratch::default();
        let first: Vec<_> = (0..20).map(|seed| run(seed, &mut kept)).collect();
        for seed in (0..20).rev() {
            assert!(run(seed, &mut Scratch::default()) == first[seed as usize], "{policy}, seed {seed}");
        }
        assert!(first.windows(2).any(|pair| pair[0] != pair[1]), "{policy}");
        let mut unchanged = image.clone();
        Augment::default().change(&mut unchanged, 32, Key::root(1), &mut kept);
        assert_eq!(unchanged, image);
    }
}
