//! Bias and activation against the catalogue's formulas in f64: values, all gradients, odd shapes and odd numbers.

use activations::{Activation, Table};
use kernels::activation::{Correction, Fused, Scalar, Tabulated};
use kernels::autograd::backward_from;
use random::Key;
use tch::{Kind, Tensor};

use crate::worst::Worst;

/// Shapes with and without whole rows of vector registers, one that is cut into many blocks, and an empty one.
const SHAPES: [&[i64]; 8] = [&[1], &[7], &[3, 5], &[2, 3, 17], &[1, 1031], &[33, 64], &[130, 257], &[0, 4]];

/// How far results of a kind may be from f64, relative to what was added up.
fn tolerance(kind: Kind) -> f64 {
    match kind {
        Kind::Double => 1e-14,
        // A GPU's instructions for 2^x and 1/x are good to 2 units in the last place, not to half
        // of one.
        Kind::Float if crate::device().is_cuda() => 1.5e-6,
        Kind::Float => 6e-7,
        Kind::Half => 1.0 / 1024.0,
        Kind::BFloat16 => 1.0 / 200.0,
        other => panic!("no test in {other:?}"),
    }
}

/// Numbers from −`reach` to `reach`, rounded to `kind`.
fn numbers(stream: u64, shape: &[i64], reach: f64, kind: Kind) -> Tensor {
    let mut rng = Key::root(7).child(stream).rng();
    let count: i64 = shape.iter().product();
    let values: Vec<f64> = (0..count).map(|_| (2.0 * rng.uniform() - 1.0) * reach).collect();
    place(&values, kind).view(shape)
}

/// Numbers where they are computed with.
fn place(values: &[f64], kind: Kind) -> Tensor {
    Tensor::from_slice(values).to_kind(kind).to_device(crate::device())
}

fn to_f64(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.detach().to_kind(Kind::Double).flatten(0, -1)).expect("numbers")
}

/// Parameters away from their start, rounded to f32 where that is what is computed with.
fn values(formula: Activation, kind: Kind) -> Vec<f64> {
    let moved = formula.initial_values().into_iter().map(|value| value * 1.3 + 0.21);
    moved.map(|value| if kind == Kind::Double { value } else { f64::from(value as f32) }).collect()
}

fn parameter_kind(kind: Kind) -> Kind {
    if kind == Kind::Double { Kind::Double } else { Kind::Float }
}

struct Case {
    x: Tensor,
    bias: Option<Tensor>,
    above: Tensor,
    parameters: Vec<Tensor>,
    values: Vec<f64>,
}

impl Case {
    fn new(formula: Activation, shape: &[i64], kind: Kind, with_bias: bool) -> Case {
        let values = values(formula, kind);
        let learned = |value: &f64| place(&[*value], parameter_kind(kind)).set_requires_grad(true);
        Case {
            x: numbers(1, shape, 5.0, kind).set_requires_grad(true),
            bias: with_bias
                .then(|| numbers(2, &shape[shape.len() - 1..], 1.0, parameter_kind(kind)).set_requires_grad(true)),
            above: numbers(3, shape, 1.0, kind),
            parameters: values.iter().map(learned).collect(),
            values,
        }
    }

    fn run(&self, fused: Fused) -> Tensor {
        let scalars: Vec<Scalar<'_>> = self.parameters.iter().map(Scalar::Tensor).collect();
        let y = fused.forward(&self.x, self.bias.as_ref(), &scalars).expect("kinds and shapes fit");
        backward_from(&y, &self.above).expect("shapes fit");
        y
    }
}

/// What of it a row of a table is for.
#[derive(Clone, Copy)]
enum Part {
    Value,
    Slope,
    Bias,
    Parameter,
}

/// A table of one test and the formula and kind that numbers are noted for.
struct Noted<'a> {
    worst: &'a mut Worst,
    of: [String; 4],
}

impl<'a> Noted<'a> {
    fn new(worst: &'a mut Worst, formula: &str, kind: Kind) -> Noted<'a> {
        let of = ["value", "dx", "dbias", "dparameter"].map(|part| format!("{formula} {kind:?} {part}"));
        Noted { worst, of }
    }

    fn close(&mut self, part: Part, [found, expected, size]: [f64; 3], tolerance: f64, place: impl FnOnce() -> String) {
        self.worst.note(&self.of[part as usize], found, expected, tolerance * size.max(1e-3), place);
    }
}

#[test]
fn values_and_gradients_are_those_of_the_catalogue() {
    let mut worst = Worst::default();
    for fused in Fused::ALL {
        let formula = fused.formula();
        for kind in [Kind::Double, Kind::Float, Kind::BFloat16, Kind::Half] {
            for shape in SHAPES {
                for with_bias in [false, true] {
                    let noted = Noted::new(&mut worst, formula.name(), kind);
                    check(fused, formula, kind, shape, with_bias, noted);
                }
            }
        }
    }
    worst.finish();
}

fn check(fused: Fused, formula: Activation, kind: Kind, shape: &[i64], with_bias: bool, mut noted: Noted<'_>) {
    let case = Case::new(formula, shape, kind, with_bias);
    let y = case.run(fused);
    assert_eq!((y.kind(), y.size()), (kind, shape.to_vec()));
    let columns = shape[shape.len() - 1] as usize;
    let (x, above, y, dx) = (to_f64(&case.x), to_f64(&case.above), to_f64(&y), to_f64(&case.x.grad()));
    let bias = case.bias.as_ref().map_or(vec![0.0; columns], to_f64);
    let what = |i: usize| format!("{shape:?}, bias {with_bias}, at {i}");
    let (mut sums, mut sizes) = (vec![0.0; case.values.len()], vec![0.0; case.values.len()]);
    let (mut columns_of_bias, mut sizes_of_bias) = (vec![0.0; columns], vec![0.0; columns]);
    for (i, (&x, &above)) in x.iter().zip(&above).enumerate() {
        let at = x + bias[i % columns];
        let (value, slope) = (formula.f(at, &case.values), above * formula.df(at, &case.values));
        // x + bias is rounded to f32 or not at all, the value to its kind.
        noted.close(Part::Value, [y[i], value, value.abs().max(at.abs() * 0.1)], tolerance(kind), || what(i));
        // A sum beside the kink may fall on its other side when it is rounded to f32.
        if at.abs() > 1e-6 {
            noted.close(Part::Slope, [dx[i], slope, slope.abs().max(above.abs())], 2.0 * tolerance(kind), || what(i));
        }
        columns_of_bias[i % columns] += slope;
        sizes_of_bias[i % columns] += slope.abs().max(above.abs());
        for k in 0..sums.len() {
            let part = above * formula.df_dparameter(k, at, &case.values);
            sums[k] += part;
            sizes[k] += part.abs();
        }
    }
    for (k, parameter) in case.parameters.iter().enumerate() {
        let found = parameter.grad().double_value(&[0]);
        let tolerance = 4.0 * tolerance(parameter_kind(kind));
        noted.close(Part::Parameter, [found, sums[k], sizes[k]], tolerance, || format!("{k} of {}", what(0)));
    }
    if let Some(bias) = &case.bias {
        for (i, found) in to_f64(&bias.grad()).into_iter().enumerate() {
            let tolerance = 8.0 * tolerance(parameter_kind(kind));
            noted.close(Part::Bias, [found, columns_of_bias[i], sizes_of_bias[i]], tolerance, || what(i));
        }
    }
}

/// NaN to NaN, limits at ±∞, nothing where e^(−x²/2) is nothing, and small numbers as they are.
#[test]
fn odd_numbers_are_those_of_the_catalogue() {
    let odd = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        -0.0,
        1e-40,
        -1e-40,
        1e-30,
        3e37,
        -3e37,
        13.1,
        -13.3,
        88.5,
        -88.5,
        40.0,
        -40.0,
        20.5,
        -20.5,
    ];
    let mut worst = Worst::default();
    for fused in Fused::ALL {
        let formula = fused.formula();
        for kind in [Kind::Double, Kind::Float] {
            let values = values(formula, kind);
            let constants: Vec<Scalar<'_>> = values.iter().map(|&value| Scalar::Constant(value)).collect();
            let x = place(&odd, kind).set_requires_grad(true);
            let y = fused.forward(&x, None, &constants).expect("f32 or f64");
            y.sum(Kind::Double).backward();
            let (x, y, dx) = (to_f64(&x), to_f64(&y), to_f64(&x.grad()));
            for (i, &x) in x.iter().enumerate() {
                let mut same = |what: &str, found: f64, expected: f64| {
                    let expected = if kind == Kind::Float { f64::from(expected as f32) } else { expected };
                    let allowed = tolerance(kind) * expected.abs().max(1e-6);
                    let row = format!("{formula} {kind:?} {what}");
                    worst.note(&row, found, expected, allowed, || format!("at {x:e}"));
                };
                same("value", y[i], formula.f(x, &values));
                if x != 0.0 {
                    same("dx", dx[i], formula.df(x, &values));
                }
            }
        }
    }
    worst.finish();
}

/// SiLU from −4 to 4 in `nodes`, so that many numbers lie beyond both ends.
fn table(nodes: usize) -> Table {
    let step = 8.0 / (nodes - 1) as f64;
    let places = (0..nodes).map(|i| -4.0 + step * i as f64);
    let (values, slopes) = places.map(|x| (Activation::Silu.f(x, &[]), Activation::Silu.df(x, &[]))).unzip();
    Table::new(-4.0, step, values, slopes).expect("a table")
}

#[test]
fn a_table_is_read_as_the_reference_reads_it() {
    let mut worst = Worst::default();
    for nodes in [2, 3, 65] {
        let table = table(nodes);
        for kind in [Kind::Double, Kind::Float, Kind::BFloat16, Kind::Half] {
            let numbers_of_table = place(&Tabulated::numbers(&table), parameter_kind(kind));
            let tabulated = Tabulated::new(&numbers_of_table);
            // The place within a cell has the rounding of the place in the table.
            let tolerance = if kind == Kind::Float { 4e-6 } else { tolerance(kind) };
            for shape in SHAPES {
                let x = numbers(1, shape, 7.0, kind).set_requires_grad(true);
                let bias = numbers(2, &shape[shape.len() - 1..], 1.0, parameter_kind(kind)).set_requires_grad(true);
                let above = numbers(3, shape, 1.0, kind);
                let y = tabulated.forward(&x, Some(&bias)).expect("kinds and shapes fit");
                backward_from(&y, &above).expect("shapes fit");
                let columns = shape[shape.len() - 1] as usize;
                let (biases, mut sums) = (to_f64(&bias), vec![0.0; columns]);
                let (x, y, above, dx) = (to_f64(&x), to_f64(&y), to_f64(&above), to_f64(&x.grad()));
                let mut noted = Noted::new(&mut worst, &format!("table of {nodes}"), kind);
                let what = |i: usize| format!("{shape:?} at {i}");
                for i in 0..x.len() {
                    let at = x[i] + biases[i % columns];
                    let slope = above[i] * table.df(at);
                    noted.close(Part::Value, [y[i], table.f(at), at.abs().max(1.0)], tolerance, || what(i));
                    noted.close(Part::Slope, [dx[i], slope, above[i].abs()], 4.0 * tolerance, || what(i));
                    sums[i % columns] += slope;
                }
                for (i, (found, expected)) in to_f64(&bias.grad()).into_iter().zip(sums).enumerate() {
                    noted.close(Part::Bias, [found, expected, x.len() as f64], 4.0 * tolerance, || what(i));
                }
            }
        }
    }
    worst.finish();
}

#[test]
fn a_correction_is_added_and_its_epsilon_learns() {
    let table = level(&table(33));
    let back = Correction::table(&Correction::numbers(&table)).expect("a table");
    for x in [-9.0, -4.0, -3.9, 0.1, 3.99, 4.0, 5.0] {
        assert!((back.f(x) - table.f(x)).abs() < 1e-12 && (back.df(x) - table.df(x)).abs() < 1e-12, "at {x}");
    }
    let mut worst = Worst::default();
    for base in Correction::BASES {
        let formula = base.formula();
        for kind in [Kind::Double, Kind::Float, Kind::BFloat16] {
            let numbers_of_table = place(&Correction::numbers(&table), parameter_kind(kind));
            let correction = Correction::new(&numbers_of_table);
            let tolerance = if kind == Kind::Float { 4e-6 } else { tolerance(kind) };
            let epsilon = place(&[-0.375], parameter_kind(kind)).set_requires_grad(true);
            let x = numbers(1, &[33, 70], 5.0, kind).set_requires_grad(true);
            let bias = numbers(2, &[70], 1.0, parameter_kind(kind)).set_requires_grad(true);
            let above = numbers(3, &[33, 70], 1.0, kind);
            let y = correction.forward(base, Scalar::Tensor(&epsilon), &x, Some(&bias)).expect("kinds and shapes fit");
            let constant = correction.forward(base, Scalar::Constant(-0.375), &x, Some(&bias)).expect("the same");
            assert_eq!(y, constant);
            backward_from(&y, &above).expect("shapes fit");
            let biases = to_f64(&bias);
            let (x, y, above, dx) = (to_f64(&x), to_f64(&y), to_f64(&above), to_f64(&x.grad()));
            let (mut sum, mut size) = (0.0, 0.0);
            let mut noted = Noted::new(&mut worst, &format!("corrected {base:?}"), kind);
            for i in 0..x.len() {
                let (at, what) = (x[i] + biases[i % 70], || format!("at {i}"));
                let value = formula.f(at, &[]) - 0.375 * table.f(at);
                let slope = above[i] * (formula.df(at, &[]) - 0.375 * table.df(at));
                noted.close(Part::Value, [y[i], value, at.abs().max(1.0)], tolerance, what);
                if at.abs() > 1e-6 {
                    noted.close(Part::Slope, [dx[i], slope, above[i].abs()], 4.0 * tolerance, what);
                }
                sum += above[i] * table.f(at);
                size += (above[i] * table.f(at)).abs();
            }
            let found = epsilon.grad().double_value(&[0]);
            noted.close(Part::Parameter, [found, sum, size], 4.0 * tolerance, || "epsilon".into());
        }
    }
    worst.finish();
}

/// The same, without slopes at the ends.
fn level(table: &Table) -> Table {
    let mut slopes = table.slopes().to_vec();
    let last = slopes.len() - 1;
    (slopes[0], slopes[last]) = (0.0, 0.0);
    Table::new(table.x0(), table.step(), table.values().to_vec(), slopes).expect("a table")
}

#[test]
fn beyond_a_correction_it_is_level_and_what_is_no_number_stays_none() {
    let table = level(&table(33));
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 3e37, -3e37, 1e-40, 3.99, -7.0];
    for kind in [Kind::Double, Kind::Float] {
        let correction = Correction::new(&place(&Correction::numbers(&table), kind));
        let x = place(&odd, kind).set_requires_grad(true);
        let y = correction.forward(Fused::Relu, Scalar::Constant(0.5), &x, None).expect("f32 or f64");
        y.sum(Kind::Double).backward();
        let (y, dx) = (to_f64(&y), to_f64(&x.grad()));
        assert!(y[0].is_nan());
        for i in 1..odd.len() {
            let value = odd[i].max(0.0) + 0.5 * table.f(odd[i]);
            let slope = f64::from(u8::from(odd[i] > 0.0)) + 0.5 * table.df(odd[i]);
            let same = |a: f64, b: f64| a == b || (a - b).abs() <= 1e-5 * b.abs().max(1.0);
            assert!(same(y[i], value), "f({}) = {} instead of {value}", odd[i], y[i]);
            assert!(same(dx[i], slope), "f′({}) = {} instead of {slope}", odd[i], dx[i]);
        }
    }
}

#[test]
fn beyond_a_table_it_goes_on_straight() {
    let flat = Table::new(-1.0, 1.0, vec![0.5, 1.0, 2.0], vec![0.0, 1.0, 2.0]).expect("a table");
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0, -1.0, 3e37, -3e37, 1e-40, 1.5, -7.0];
    for kind in [Kind::Double, Kind::Float] {
        let tabulated = Tabulated::new(&place(&Tabulated::numbers(&flat), kind));
        let x = place(&odd, kind).set_requires_grad(true);
        let y = tabulated.forward(&x, None).expect("f32 or f64");
        y.sum(Kind::Double).backward();
        let (x, y, dx) = (to_f64(&x), to_f64(&y), to_f64(&x.grad()));
        for i in 0..odd.len() {
            let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-6 * b.abs();
            assert!(same(y[i], flat.f(x[i])), "f({}) = {} instead of {}", x[i], y[i], flat.f(x[i]));
            assert!(same(dx[i], flat.df(x[i])), "f′({}) = {} instead of {}", x[i], dx[i], flat.df(x[i]));
        }
    }
}

#[test]
fn a_strided_input_is_as_good() {
    let whole = numbers(1, &[6, 14], 4.0, Kind::Float);
    let (strided, dense) = (whole.transpose(0, 1), whole.transpose(0, 1).contiguous());
    let epsilon = Scalar::Constant(0.4);
    let [a, b] = [strided, dense].map(|x| Fused::CrRelu.forward(&x, None, &[epsilon]).expect("f32"));
    assert_eq!(a, b);
}

/// Where the channels of a pixel lie side by side, values and gradients are those of the usual order, and lie as the input does, whichever
/// way the gradient from above lies.
#[test]
fn the_order_of_channels_and_pixels_changes_nothing() {
    for shape in [[2, 5, 3, 7], [3, 1, 4, 4], [2, 6, 1, 1], [4, 3, 1, 5]] {
        let (x, above) = (numbers(1, &shape, 4.0, Kind::Float), numbers(2, &shape, 1.0, Kind::Float));
        let last = |x: &Tensor| x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        let of = |x: &Tensor, above: &Tensor| {
            let epsilon = place(&[0.4], Kind::Float).set_requires_grad(true);
            let x = x.detach().set_requires_grad(true);
            let y = Fused::CrRelu.forward(&x, None, &[Scalar::Tensor(&epsilon)]).expect("f32");
            assert_eq!(y.stride(), x.stride(), "{shape:?}");
            backward_from(&y, above).expect("shapes fit");
            (to_f64(&y), to_f64(&x.grad()), epsilon.grad().double_value(&[0]))
        };
        let usual = of(&x, &above);
        for (x, above) in [(&last(&x), &last(&above)), (&last(&x), &above), (&x, &last(&above))] {
            let found = of(x, above);
            assert_eq!((&found.0, &found.1), (&usual.0, &usual.1), "{shape:?}");
            assert!((found.2 - usual.2).abs() < 1e-5, "{shape:?}: {} and {}", found.2, usual.2);
        }
    }
}

/// A view that begins at any element has the bits of its copy: accesses are narrower, and sums have the same order.
#[test]
fn a_view_that_begins_anywhere_is_as_good() {
    for kind in [Kind::Double, Kind::Float, Kind::BFloat16, Kind::Half] {
        let whole = numbers(1, &[1 + 70 * 64], 4.0, kind);
        let view = whole.narrow(0, 1, 70 * 64).view([70, 64]);
        let all = [&view, &view.copy()].map(|x| {
            let epsilon = place(&[0.4], parameter_kind(kind)).set_requires_grad(true);
            let bias = numbers(2, &[64], 1.0, parameter_kind(kind)).set_requires_grad(true);
            let x = x.detach().set_requires_grad(true);
            let y = Fused::CrGelu.forward(&x, Some(&bias), &[Scalar::Tensor(&epsilon)]).expect("shapes fit");
            backward_from(&y, &numbers(3, &[70, 64], 1.0, kind)).expect("shapes fit");
            [&y, &x.grad(), &bias.grad(), &epsilon.grad()].map(to_f64)
        });
        assert_eq!(all[0], all[1], "{kind:?}");
    }
}

/// The same bits with any number of threads, and in a second run.
#[test]
fn sums_do_not_depend_on_threads() {
    let run = |threads: i32| {
        tch::set_num_threads(threads);
        let case = Case::new(Activation::CrRelu, &[700, 96], Kind::Float, true);
        let _ = case.run(Fused::CrRelu);
        let bias = case.bias.expect("asked for");
        (case.parameters[0].grad().double_value(&[0]), to_f64(&bias.grad()), to_f64(&case.x.grad()))
    };
    let one = run(1);
    assert!(one == run(2) && one == run(3) && one == run(2));
}

#[test]
fn what_does_not_fit_is_an_error_in_words() {
    let whole = Tensor::from_slice(&[1i64, 2]);
    let error = Fused::Gelu.forward(&whole, None, &[]).expect_err("whole numbers have no slope");
    assert!(error.to_string().contains("gelu") && error.to_string().contains("bf16"), "{error}");
    let x = Tensor::zeros([2, 3], (Kind::Float, crate::device()));
    let bias = Tensor::zeros([4], (Kind::Float, crate::device()));
    let error = Fused::Relu.forward(&x, Some(&bias), &[]).expect_err("four biases for three columns");
    assert!(error.to_string().contains("[4]") && error.to_string().contains("[2, 3]"), "{error}");
}

/// What learns nothing gets no gradient, and evaluation records none.
#[test]
fn constants_and_evaluation_record_nothing() {
    let x = numbers(1, &[4, 4], 2.0, Kind::Float);
    let y = Fused::CrRelu.forward(&x, None, &[Scalar::Constant(0.1)]).expect("f32");
    assert!(!y.requires_grad());
    let x = x.set_requires_grad(true);
    let y = tch::no_grad(|| Fused::CrRelu.forward(&x, None, &[Scalar::Constant(0.1)]).expect("f32"));
    assert!(!y.requires_grad());
}
