//! Residual sum and normalisation against plain Rust in f64: values, all gradients, odd shapes and odd numbers.

use kernels::autograd::backward_from;
use kernels::norm::{Branch, LayerNorm};
use random::Key;
use tch::{Kind, Tensor};

use crate::row_lengths;
use crate::worst::Worst;

const EPS: f64 = 1e-5;

/// `(images, rows of each, columns)`: with and without whole vector registers, some that are cut into many blocks, rows longer
/// than a warp's of a GPU, empty ones.
const SHAPES: [[usize; 3]; 10] = [
    [1, 1, 1],
    [1, 3, 7],
    [2, 1, 16],
    [3, 5, 33],
    [2, 197, 64],
    [4, 130, 257],
    [2, 4, 1500],
    [1, 2, 3001],
    [0, 3, 8],
    [2, 0, 8],
];

/// Kind of x and of the narrow side, and how far results may be from f64, relative to what was added up.
const KINDS: [(Kind, Kind, f64); 4] = [
    (Kind::Double, Kind::Double, 1e-12),
    (Kind::Float, Kind::Float, 4e-6),
    (Kind::Float, Kind::BFloat16, 1.0 / 100.0),
    (Kind::Float, Kind::Half, 1.0 / 500.0),
];

fn numbers(stream: u64, shape: &[usize], reach: f64, kind: Kind) -> Tensor {
    let mut rng = Key::root(11).child(stream).rng();
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| (2.0 * rng.uniform() - 1.0) * reach).collect();
    let shape: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
    Tensor::from_slice(&values).view(shape.as_slice()).to_kind(kind).to_device(crate::device())
}

fn to_f64(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.detach().to_kind(Kind::Double).flatten(0, -1)).expect("numbers")
}

/// Everything that goes in and the gradients from above, with the row's image told by the shape.
struct Case {
    shape: [usize; 3],
    x: Tensor,
    branch: Option<Tensor>,
    scale: Option<Tensor>,
    mask: Option<Tensor>,
    weight: Tensor,
    bias: Tensor,
    above: Tensor,
    above_sum: Tensor,
}

#[derive(Debug, Default)]
struct Found {
    y: Vec<f64>,
    sum: Vec<f64>,
    dx: Vec<f64>,
    dbranch: Vec<f64>,
    dscale: Vec<f64>,
    dweight: Vec<f64>,
    dbias: Vec<f64>,
}

impl Case {
    fn new(shape: [usize; 3], wide: Kind, narrow: Kind, [branch, scale, mask]: [bool; 3]) -> Case {
        let leaf = |tensor: Tensor| tensor.set_requires_grad(true);
        let columns = &shape[2..];
        Case {
            shape,
            x: leaf(numbers(1, &shape, 2.0, wide)),
            branch: branch.then(|| leaf(numbers(2, &shape, 1.0, narrow))),
            scale: scale.then(|| leaf(numbers(3, columns, 1.0, wide))),
            mask: mask.then(|| numbers(4, &shape[..1], 1.0, wide).gt(0.0).to_kind(wide) * 1.25),
            weight: leaf(numbers(5, columns, 1.0, wide) + 1.0),
            bias: leaf(numbers(6, columns, 1.0, wide)),
            above: numbers(7, &shape, 1.0, narrow),
            above_sum: numbers(8, &shape, 1.0, wide),
        }
    }

    /// The same numbers, each tensor beginning one element behind a multiple of 16 bytes.
    fn moved(&self) -> Case {
        let moved = |tensor: &Tensor| {
            let flat = tensor.detach().flatten(0, -1);
            let longer = Tensor::cat(&[&Tensor::zeros([1], (flat.kind(), flat.device())), &flat], 0);
            longer.narrow(0, 1, flat.numel() as i64).view(tensor.size().as_slice()).set_requires_grad(true)
        };
        Case {
            shape: self.shape,
            x: moved(&self.x),
            branch: self.branch.as_ref().map(moved),
            scale: self.scale.as_ref().map(moved),
            mask: self.mask.as_ref().map(Tensor::shallow_clone),
            weight: moved(&self.weight),
            bias: moved(&self.bias),
            above: self.above.shallow_clone(),
            above_sum: self.above_sum.shallow_clone(),
        }
    }

    /// What the kernel finds, forward and backward.
    fn run(&self, narrow: Kind) -> Found {
        let norm = LayerNorm { weight: &self.weight, bias: &self.bias, eps: EPS };
        let gradient = |leaf: &Tensor| to_f64(&leaf.grad());
        let y = match &self.branch {
            None => norm.forward(&self.x, narrow).expect("kinds and shapes fit"),
            Some(values) => {
                let branch = Branch { values, scale: self.scale.as_ref(), mask: self.mask.as_ref() };
                let (y, sum) = norm.forward_sum(&self.x, branch, narrow).expect("kinds and shapes fit");
                let both = (y.to_kind(sum.kind()) * self.above.to_kind(sum.kind())).sum(sum.kind())
                    + (&sum * &self.above_sum).sum(sum.kind());
                both.backward();
                return Found {
                    y: to_f64(&y),
                    sum: to_f64(&sum),
                    dx: gradient(&self.x),
                    dbranch: gradient(values),
                    dscale: self.scale.as_ref().map(gradient).unwrap_or_default(),
                    dweight: gradient(&self.weight),
                    dbias: gradient(&self.bias),
                };
            }
        };
        backward_from(&y, &self.above).expect("shapes fit");
        Found {
            y: to_f64(&y),
            dx: gradient(&self.x),
            dweight: gradient(&self.weight),
            dbias: gradient(&self.bias),
            ..Found::default()
        }
    }

    /// What is expected, from the formulas.
    fn reference(&self) -> Found {
        let [images, rows, n] = self.shape;
        let (x, above, above_sum) = (to_f64(&self.x), to_f64(&self.above), to_f64(&self.above_sum));
        let (weight, bias) = (to_f64(&self.weight), to_f64(&self.bias));
        let branch = self.branch.as_ref().map(to_f64);
        let scale = self.scale.as_ref().map_or_else(|| vec![1.0; n], to_f64);
        let mask = self.mask.as_ref().map_or_else(|| vec![1.0; images], to_f64);
        let mut found = Found { dweight: vec![0.0; n], dbias: vec![0.0; n], ..Found::default() };
        let mut dscale = vec![0.0; n];
        for row in 0..images * rows {
            let (at, factor) = (row * n, mask[row / rows]);
            let added = |i: usize| branch.as_ref().map_or(0.0, |branch| branch[at + i] * scale[i] * factor);
            let sum: Vec<f64> = (0..n).map(|i| x[at + i] + added(i)).collect();
            let mean = sum.iter().sum::<f64>() / n as f64;
            let variance = sum.iter().map(|s| (s - mean) * (s - mean)).sum::<f64>() / n as f64;
            let rstd = 1.0 / (variance + EPS).sqrt();
            let normed: Vec<f64> = sum.iter().map(|s| (s - mean) * rstd).collect();
            let inner: Vec<f64> = (0..n).map(|i| above[at + i] * weight[i]).collect();
            let along = inner.iter().sum::<f64>() / n as f64;
            let across = inner.iter().zip(&normed).map(|(g, x)| g * x).sum::<f64>() / n as f64;
            for i in 0..n {
                found.y.push(normed[i] * weight[i] + bias[i]);
                found.dweight[i] += above[at + i] * normed[i];
                found.dbias[i] += above[at + i];
                let through = rstd * (inner[i] - along - normed[i] * across);
                let Some(branch) = &branch else {
                    found.dx.push(through);
                    continue;
                };
                let dx = through + above_sum[at + i];
                found.sum.push(sum[i]);
                found.dx.push(dx);
                found.dbranch.push(dx * scale[i] * factor);
                dscale[i] += dx * branch[at + i] * factor;
            }
        }
        if self.scale.is_some() {
            found.dscale = dscale;
        }
        found
    }
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1.0, |most: f64, value| most.max(value.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance * size, "{what}[{i}]: {found} instead of {expected}");
    }
}

/// Whether there is a branch, a scale and a mask.
const PARTS: [[bool; 3]; 5] = [[false; 3], [true, false, false], [true, true, false], [true, false, true], [true; 3]];

/// Notes all that a case has found, relative to the largest that is expected.
fn note(worst: &mut Worst, of: &str, found: &Found, expected: &Found, tolerance: f64, what: &str) {
    let all = [
        ("y", &found.y, &expected.y),
        ("sum", &found.sum, &expected.sum),
        ("dx", &found.dx, &expected.dx),
        ("dbranch", &found.dbranch, &expected.dbranch),
        ("dscale", &found.dscale, &expected.dscale),
        ("dweight", &found.dweight, &expected.dweight),
        ("dbias", &found.dbias, &expected.dbias),
    ];
    for (part, found, expected) in all {
        assert_eq!(found.len(), expected.len(), "{part} of {what}");
        let size = expected.iter().fold(1.0, |most: f64, value| most.max(value.abs()));
        let row = format!("{of} {part}");
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            worst.note(&row, *found, *expected, tolerance * size, || format!("{what}, {i}"));
        }
    }
}

#[test]
fn values_and_gradients_are_those_of_the_formulas() {
    let mut worst = Worst::default();
    for shape in SHAPES {
        let columns = shape[2] as i64;
        assert!(row_lengths::SOME.contains(&columns), "{columns} is not in row_lengths::SOME");
        for (wide, narrow, tolerance) in KINDS {
            for parts in PARTS {
                let case = Case::new(shape, wide, narrow, parts);
                let what = format!("{shape:?}, branch, scale, mask: {parts:?}");
                let of = format!("{wide:?} to {narrow:?}");
                note(&mut worst, &of, &case.run(narrow), &case.reference(), tolerance, &what);
            }
        }
    }
    worst.finish();
}

/// Rows of every length that kernels are compiled for, more of them than a block has at once, that
/// begin on 16 bytes or anywhere: the numbers are right, and the same bits wherever they begin (on
/// a GPU nearly: its compiler may fuse other operations).
#[test]
fn every_row_length_is_as_good_wherever_it_begins() {
    let mut worst = Worst::default();
    let (wide, narrow, tolerance) = KINDS[2];
    for columns in row_lengths::EVERY_VARIANT.map(|columns| columns as usize) {
        let shape = [2, (1500 / columns).max(2) | 1, columns];
        for parts in [[false; 3], [true, false, true], [true; 3]] {
            let case = Case::new(shape, wide, narrow, parts);
            let (found, expected) = (case.run(narrow), case.reference());
            let what = format!("{shape:?}, branch, scale, mask: {parts:?}");
            note(&mut worst, "from 16 bytes", &found, &expected, tolerance, &what);
            if columns % 4 > 0 {
                continue; // such rows begin anywhere in any case
            }
            let moved = case.moved().run(narrow);
            note(&mut worst, "from anywhere", &moved, &expected, tolerance, &what);
            if !crate::device().is_cuda() {
                assert_eq!(format!("{found:?}"), format!("{moved:?}"), "{what}, from another beginning");
            }
        }
    }
    worst.finish();
}

/// More rows than all blocks of a GPU's grid have at once, so that each team goes on to further
/// ones.
#[test]
fn many_short_rows_are_as_good() {
    let mut worst = Worst::default();
    let (wide, narrow, tolerance) = KINDS[2];
    let case = Case::new([1, 34_000, 8], wide, narrow, [true; 3]);
    note(&mut worst, "many rows", &case.run(narrow), &case.reference(), tolerance, "34 000 rows of 8");
    worst.finish();
}

/// A NaN or an infinity spoils its own row and no other; denormals and constant rows are numbers like any others.
#[test]
fn odd_numbers_stay_in_their_rows() {
    let rows = [
        [1.0f32, 2.0, 3.0, 4.0],
        [f32::NAN, 0.0, 1.0, 2.0],
        [f32::INFINITY, 0.0, 1.0, 2.0],
        [1e-40, -1e-40, 2e-40, 0.0],
        [5.0, 5.0, 5.0, 5.0],
    ];
    let x = Tensor::from_slice(&rows.concat()).view([5, 4]).to_device(crate::device());
    let (weight, bias) = (Tensor::ones([4], (Kind::Float, x.device())), Tensor::zeros([4], (Kind::Float, x.device())));
    let y = LayerNorm { weight: &weight, bias: &bias, eps: 1e-6 }.forward(&x, Kind::Float).expect("fits");
    let row = |index: i64| to_f64(&y.select(0, index));
    assert_close(&row(0), &[-1.3416, -0.4472, 0.4472, 1.3416], 1e-4, "an ordinary row");
    assert!(row(1).iter().all(|value| value.is_nan()) && row(2).iter().all(|value| value.is_nan()));
    assert!(row(3).iter().all(|value| value.is_finite() && value.abs() < 1e-30), "{:?}", row(3));
    assert_eq!(row(4), [0.0; 4]);
}

/// What lies in memory otherwise, and threads, change nothing.
#[test]
fn layout_and_threads_change_no_bit() {
    let case = Case::new([2, 197, 64], Kind::Float, Kind::BFloat16, [true, true, true]);
    let first = case.run(Kind::BFloat16);
    let threads = tch::get_num_threads();
    tch::set_num_threads(1);
    let turned = |tensor: &Tensor| tensor.detach().transpose(0, 1).contiguous().transpose(0, 1).set_requires_grad(true);
    let again = Case::new([2, 197, 64], Kind::Float, Kind::BFloat16, [true, true, true]);
    let other = Case { x: turned(&again.x), branch: again.branch.as_ref().map(turned), ..again };
    assert!(!other.x.is_contiguous());
    let second = other.run(Kind::BFloat16);
    tch::set_num_threads(threads);
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
}

#[test]
fn what_does_not_fit_is_an_error() {
    let float = |shape: &[usize]| numbers(1, shape, 1.0, Kind::Float);
    let (x, weight, bias) = (float(&[2, 3, 4]), float(&[4]), float(&[4]));
    let norm = LayerNorm { weight: &weight, bias: &bias, eps: EPS };
    let (narrow, short) = (float(&[2, 3, 5]), float(&[3]));
    assert!(norm.forward(&narrow, Kind::Float).is_err());
    assert!(norm.forward(&x, Kind::Double).is_err());
    assert!(norm.forward(&x, Kind::Int64).is_err());
    let branch = |values, scale, mask| Branch { values, scale, mask };
    assert!(norm.forward_sum(&x, branch(&narrow, None, None), Kind::Float).is_err());
    assert!(norm.forward_sum(&x, branch(&x, Some(&short), None), Kind::Float).is_err());
    assert!(norm.forward_sum(&x, branch(&x, None, Some(&short)), Kind::Float).is_err());
}
