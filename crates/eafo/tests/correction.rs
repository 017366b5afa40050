//! The correction: CRReLU falls out of (ReLU, Gaussian), entropy falls along it, inverses invert, and refusals name the point.

use eafo::correction::{
    Corrected, Correction, FirstOrder, Form, Warp, derive, derive_with_share, derive_with_step, table_error, tabulate,
};
use eafo::density::{self, Density};
use eafo::entropy::entropy_of;
use eafo::function::{Function, Map};
use eafo::rank::rank;
use eafo::worst::Worst;
use std::f64::consts::PI;

fn function(text: &str) -> Function {
    Function::parse(text).unwrap()
}

fn law(text: &str) -> Box<dyn Density> {
    density::parse(text).unwrap()
}

fn on_bulk<'a>(function: &'a Function, density: &'a dyn Density) -> Correction<'a> {
    let interval = (density.quantile(1e-7), density.quantile(1.0 - 1e-7));
    Correction::new(function, density, interval, 0.25 * density.deviation()).unwrap()
}

#[test]
fn crrelu_falls_out_of_relu_and_the_gaussian() {
    let (relu, gaussian) = (function("relu"), law("gaussian"));
    let correction = on_bulk(&relu, gaussian.as_ref());
    for step in [-0.2, 0.3, 1.5] {
        // ε takes the place of the constant −t/√(2π).
        let epsilon = -step / (2.0 * PI).sqrt();
        let (first, crrelu) = (FirstOrder(Warp::new(&correction, step)), function(&format!("crrelu({epsilon})")));
        for i in 1..80 {
            let x = f64::from(i) * 0.05;
            assert!((first.value(x) - crrelu.value(x)).abs() < 1e-14, "at {x}");
            assert!((first.slope(x) - crrelu.slope(x)).abs() < 1e-13, "slope at {x}");
        }
    }
    // Monotone on x > 0 for about −1 ≤ ε ≤ 2.24.
    let (low, high) = correction.first_order_steps();
    let (least, most) = (-high / (2.0 * PI).sqrt(), -low / (2.0 * PI).sqrt());
    assert!((least + 1.0).abs() < 1e-4, "{least}");
    assert!((most - 0.5 * 1.5f64.exp()).abs() < 1e-6 && (most - 2.24).abs() < 0.01, "{most}");
}

#[test]
fn eta_is_the_formula_in_the_variable_of_the_inverse() {
    // softplus has y = ln(e^x − 1), y′ = 1/(1 − e^−x), y″ = −e^−x/(1 − e^−x)².
    let (softplus, gaussian) = (function("softplus"), law("gaussian"));
    let correction = on_bulk(&softplus, gaussian.as_ref());
    for x in [0.02f64, 0.1, 0.5, 1.0, 2.0, 3.5] {
        let y = x.exp_m1().ln();
        let first = 1.0 / -(-x).exp_m1();
        let second = -(-x).exp() * first * first;
        let [p, slope, _] = gaussian.slopes(y);
        let expected = -(p * second / first + slope * first);
        assert!((correction.eta(y) - expected).abs() < 1e-12, "at {x}");
    }
}

/// δH = ∫ (p(y)·y″/y′ + p′(y)·y′)·η: to first order entropy falls by t·∫ η², with η as it is and with it tapered.
#[test]
fn entropy_falls_at_the_rate_that_the_first_variation_says() {
    for (name, density) in
        [("softplus", "gaussian"), ("tanh", "gaussian(0, 0.5)"), ("identity", "logistic"), ("relu", "gaussian")]
    {
        let (map, law) = (function(name), law(density));
        let correction = on_bulk(&map, law.as_ref());
        let rate: f64 = correction
            .branches()
            .iter()
            .map(|branch| {
                // ∫ η·(tapered η) over outputs, which is over inputs with f′ beside it.
                let f = |x: f64| correction.eta(x) * correction.direction(x)[0] * map.slope(x);
                let (low, high) = (branch.low(), branch.high());
                let n = 20_000;
                (0..n).map(|i| f(low + (high - low) * (f64::from(i) + 0.5) / f64::from(n))).sum::<f64>() * (high - low)
                    / f64::from(n)
            })
            .sum();
        let at = |t: f64| entropy_of(&Corrected(Warp::new(&correction, t)), law.as_ref()).unwrap().mixed();
        let h = 1e-3;
        let measured = (at(h) - at(-h)) / (2.0 * h);
        assert!((measured + rate).abs() < 1e-3 * rate, "{name} on {density}: {measured}, −∫η² = {}", -rate);
    }
}

#[test]
fn the_step_lowers_entropy_and_the_other_sign_raises_it() {
    let pairs = [
        ("relu", "gaussian"),
        ("softplus", "gaussian"),
        ("softplus", "student-t(5)"),
        ("elu", "gaussian"),
        ("prelu", "laplace"),
        ("tanh", "gaussian"),
        ("sigmoid", "mixture(0.5: -2, 1; 0.5: 2, 1)"),
        ("gelu", "gaussian"),
        ("silu", "gaussian"),
        ("mish", "gaussian"),
        ("identity", "half-normal"),
    ];
    for (name, density) in pairs {
        let (map, law) = (function(name), law(density));
        let found = derive(&map, law.as_ref(), None).unwrap_or_else(|error| panic!("{name} on {density}: {error}"));
        let (before, after) = (found.before.mixed(), found.after.mixed());
        assert!(found.step > 0.0 && found.step < found.most, "{name} on {density}: {}", found.step);
        assert!(after < before - 1e-3, "{name} on {density}: {before} to {after}");
        let sign = found.sign;
        assert!(sign.along < before && before < sign.against, "{name} on {density}: {sign:?} around {before}");
    }
}

#[test]
fn the_exact_activation_inverts_the_corrected_inverse() {
    for (name, density) in
        [("softplus", "gaussian"), ("gelu", "gaussian"), ("relu", "gaussian"), ("elu", "student-t(5)")]
    {
        let (map, law) = (function(name), law(density));
        let found = derive(&map, law.as_ref(), None).unwrap();
        let warp = Warp::new(&found.correction, found.step);
        let exact = Corrected(warp);
        let mut before = f64::NEG_INFINITY;
        for i in -400..=400 {
            let x = f64::from(i) * 0.02;
            let [moved, slope] = warp.at(x);
            assert!(slope > 0.0 && moved > before, "{name}: G at {x}");
            before = moved;
            assert!((exact.value(moved) - map.value(x)).abs() < 1e-10, "{name}: f(G⁻¹(G({x})))");
        }
        // Outside the interval nothing is changed.
        let (low, high) = found.correction.interval();
        assert_eq!((exact.value(low - 0.5), exact.value(high + 0.5)), (map.value(low - 0.5), map.value(high + 0.5)));
    }
}

#[test]
fn entropy_by_the_new_activation_is_the_entropy_by_the_changed_input() {
    let (map, law) = (function("softplus"), law("gaussian"));
    let found = derive(&map, law.as_ref(), None).unwrap();
    let exact = Corrected(Warp::new(&found.correction, found.step));
    let direct = entropy_of(&exact, law.as_ref()).unwrap();
    assert!((direct.continuous - found.after.continuous).abs() < 1e-7, "{direct:?}, {:?}", found.after);
    let table = tabulate(&exact, -8.0, 8.0).unwrap();
    assert!(table_error(&table, &exact) < 5e-4, "{}", table_error(&table, &exact));
}

#[test]
fn the_worst_activation_has_nothing_to_correct() {
    // The logistic distribution function is the worst activation of the logistic law.
    let (sigmoid, logistic) = (function("sigmoid"), law("logistic"));
    let worst = Worst::new(logistic.as_ref(), 0.0, 1.0).unwrap();
    assert!((worst.value(1.3) - sigmoid.value(1.3)).abs() < 1e-14);
    let found = derive(&sigmoid, logistic.as_ref(), None).unwrap();
    assert_eq!(found.step, 0.0);
    assert!(on_bulk(&sigmoid, logistic.as_ref()).eta(0.7).abs() < 1e-12);
}

#[test]
fn corrections_are_tapered_where_they_have_no_limit() {
    let (gelu, gaussian) = (function("gelu"), law("gaussian"));
    let correction = on_bulk(&gelu, gaussian.as_ref());
    let turn = -0.751791524693564;
    assert_eq!(correction.branches().len(), 2);
    assert!((correction.branches()[0].high() - turn).abs() < 1e-9);
    assert!(correction.eta(turn + 1e-5).abs() > 1e3, "η has no limit at the turn");
    assert!(correction.direction(turn + 1e-9)[0].abs() < 1e-6, "and is tapered to 0");
    // ReLU's correction vanishes at its kink by itself.
    let relu = function("relu");
    assert_eq!(on_bulk(&relu, gaussian.as_ref()).branches()[0].tapers()[0], 0.0);
}

#[test]
fn intervals_without_an_inverse_name_the_point() {
    let gaussian = law("gaussian");
    let refused = |name: &str, interval| {
        derive(&function(name), law("gaussian").as_ref(), Some(interval)).unwrap_err().to_string()
    };
    assert!(
        refused("gelu", (-2.0, 2.0)).contains("gelu has no inverse at x = -0.75179152"),
        "{}",
        refused("gelu", (-2.0, 2.0))
    );
    assert!(refused("relu", (-1.0, 2.0)).contains("relu has no inverse at x = -1: it is flat from -inf to 0"));
    assert!(refused("softplus", (2.0, 1.0)).contains("the interval [2, 1]"));
    assert!(refused("relu", (-2.0, -1.0)).contains("flat on the whole interval"));
    let half = law("half-normal");
    let error = derive(&function("softplus"), half.as_ref(), Some((-1.0, 2.0))).unwrap_err().to_string();
    assert!(error.contains("leaves the support [0, inf]"), "{error}");
    assert!(derive(&function("gelu"), gaussian.as_ref(), Some((-0.5, 3.0))).is_ok());
}

/// A table stands for its function: the same correction, the same entropy, and a further step down from there.
#[test]
fn what_was_derived_is_derived_from_again() {
    let gaussian = law("gaussian");
    for name in ["softplus", "relu", "gelu", "elu"] {
        let parent = function(name);
        let unchanged = derive_with_step(&parent, gaussian.as_ref(), None, 0.0).unwrap();
        let same = Function::table(&unchanged.file(Form::Exact, "same").unwrap().0);
        let (own, its) = (on_bulk(&parent, gaussian.as_ref()), on_bulk(&same, gaussian.as_ref()));
        for x in [-2.0, -0.3, 0.3, 1.0, 2.5] {
            let off = (own.direction(x)[0] - its.direction(x)[0]).abs();
            assert!(off < 1e-5, "{name} at {x}: off by {off}");
        }
        let found = derive_with_share(&parent, gaussian.as_ref(), None, 0.5).unwrap();
        let child = Function::table(&found.file(Form::Exact, "child").unwrap().0);
        let before = entropy_of(&child, gaussian.as_ref()).unwrap().mixed();
        assert!((before - found.after.mixed()).abs() < 1e-3, "{name}: {before}, {:?}", found.after);
        let again = derive_with_share(&child, gaussian.as_ref(), None, 0.5).unwrap();
        assert!(again.after.mixed() < before - 0.01, "{name}: {before} → {:?}", again.after);
        // The whole step leaves a nearly vertical stretch: its entropy can be integrated all the same.
        let whole = derive(&parent, gaussian.as_ref(), None).unwrap();
        let steep = Function::table(&whole.file(Form::Exact, "steep").unwrap().0);
        let entropy = rank(&[steep], gaussian.as_ref()).unwrap()[0].mixed;
        assert!((entropy - whole.after.mixed()).abs() < 0.02, "{name}: {entropy}, {:?}", whole.after);
    }
}
