//! Every density agrees with closed forms, with itself (pdf, cdf, quantile, derivatives, moments) and with its samples.

use eafo::density::{self, Density, Kernel, Polygon};
use eafo::quadrature::{Tolerance, integrate_pieces};
use random::Key;

fn all() -> Vec<Box<dyn Density>> {
    let texts = [
        "gaussian",
        "gaussian(1, 2.5)",
        "half-normal",
        "half-normal(0.5)",
        "student-t(2.5)",
        "student-t(5)",
        "student-t(7, -1, 2)",
        "laplace",
        "laplace(0.5, 2)",
        "logistic",
        "logistic(-1, 0.3)",
        "uniform(-1, 3)",
        "mixture(0.5: -2, 1; 0.5: 2, 1)",
        "mixture(0.9: 0, 1; 0.1: 8, 0.05)",
    ];
    let mut all: Vec<Box<dyn Density>> = texts.iter().map(|text| density::parse(text).unwrap()).collect();
    let draws = draws(all[0].as_ref(), 3000);
    all.push(Box::new(Kernel::from_samples("draws", &draws).unwrap()));
    all.push(Box::new(Polygon::from_samples("draws", &draws).unwrap()));
    all.push(Box::new(Kernel::from_samples("few", &[-1.0, 0.0, 0.1, 4.0]).unwrap()));
    all
}

fn draws(density: &dyn Density, count: usize) -> Vec<f64> {
    let mut rng = Key::root(5).rng();
    (0..count).map(|_| density.sample(&mut rng)).collect()
}

fn moment(density: &dyn Density, power: i32) -> f64 {
    let mean = density.mean();
    let integrand = |x: f64| {
        let p = density.pdf(x);
        if p == 0.0 { 0.0 } else { p * (x - mean).powi(power) }
    };
    let tolerance = Tolerance { absolute: 1e-10, relative: 1e-10 };
    integrate_pieces("a moment", &integrand, &density::ends(density), density.deviation(), tolerance).unwrap().value
}

#[test]
fn mass_and_moments_are_those_that_are_said() {
    for density in all() {
        let density = density.as_ref();
        let name = density.name();
        assert!((moment(density, 0) - 1.0).abs() < 1e-9, "mass of {name}: {}", moment(density, 0));
        assert!(moment(density, 1).abs() < 1e-8 * density.deviation(), "mean of {name}");
        // The tail of ν = 2.5 converges as x^(−0.5), which quadrature reaches to fewer digits.
        let close = if name.contains("2.5)") && name.starts_with("student") { 1e-3 } else { 1e-8 };
        let variance = moment(density, 2) / density.variance();
        assert!((variance - 1.0).abs() < close, "variance of {name}: {variance}");
    }
}

#[test]
fn quantiles_invert_distribution_functions() {
    for density in all() {
        let name = density.name();
        let mut before = f64::NEG_INFINITY;
        for probability in [1e-12, 1e-6, 0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999, 1.0 - 1e-6] {
            let x = density.quantile(probability);
            let back = density.cdf(x);
            assert!(
                (back - probability).abs() < 1e-12 + 1e-9 * probability.min(0.1),
                "{name} at {probability}: {back}"
            );
            assert!(x >= before, "{name} falls at {probability}");
            before = x;
        }
        assert_eq!((density.quantile(0.0), density.quantile(1.0)), density.support(), "{name}");
    }
}

#[test]
fn derivatives_agree_with_differences() {
    for density in all() {
        let name = density.name();
        let kinks = [density.kinks(), vec![density.support().0, density.support().1]].concat();
        for i in 1..40 {
            let x = density.quantile(f64::from(i) / 40.0);
            let h = 2e-5 * density.deviation().min(0.01 / density.pdf(x).max(1e-3));
            // Differences of distribution functions have no digits of a density that is next to nothing.
            if density.pdf(x) < 1e-6 || kinks.iter().any(|kink| (kink - x).abs() < 3.0 * h) {
                continue;
            }
            let difference =
                |f: &dyn Fn(f64) -> f64| (8.0 * (f(x + h) - f(x - h)) - (f(x + 2.0 * h) - f(x - 2.0 * h))) / (12.0 * h);
            let [p, first, second] = density.slopes(x);
            assert!((p / density.pdf(x) - 1.0).abs() < 1e-12, "{name}: p at {x}");
            let scale = p / h.min(1.0);
            for (found, expected, what) in [
                (p, difference(&|x| density.cdf(x)), "p"),
                (first, difference(&|x| density.slopes(x)[0]), "p′"),
                (second, difference(&|x| density.slopes(x)[1]), "p″"),
            ] {
                let room = 1e-7 * (expected.abs() + scale);
                assert!(
                    (found - expected).abs() < room,
                    "{name}: {what} at {x} is {found}, differences give {expected}"
                );
            }
        }
    }
}

/// Closed forms and figures of mpmath at 30 digits.
#[test]
fn values_are_the_known_ones() {
    let t4 = |x: f64| {
        let s = x / (1.0 + x * x / 4.0).sqrt();
        0.5 + 0.375 * s * (1.0 - s * s / 12.0)
    };
    let parse = |text: &str| density::parse(text).unwrap();
    for x in [-30.0, -3.0, -0.5, 0.0, 1.0, 2.0, 10.0] {
        assert!((parse("student-t(4)").cdf(x) - t4(x)).abs() < 1e-13, "t(4) at {x}");
    }
    let known = [
        ("gaussian", 0.975, 1.959963984540054),
        ("gaussian", 1e-10, -6.361340902404056),
        ("half-normal", 0.5, 0.6744897501960817),
        ("student-t(3)", 0.975, 3.1824463052842624),
        ("laplace", 0.25, -std::f64::consts::LN_2),
        ("logistic", 0.75, 3f64.ln()),
    ];
    for (name, probability, expected) in known {
        let found = parse(name).quantile(probability);
        assert!((found / expected - 1.0).abs() < 1e-12, "{name} at {probability}: {found}");
    }
    let deep = parse("gaussian").quantile(1e-300);
    assert!((deep - -37.0471).abs() < 1e-3, "{deep}");
}

#[test]
fn entropies_of_densities_have_their_closed_forms() {
    use std::f64::consts::{E, PI};
    let gaussian = 0.5 * (2.0 * PI * E).ln();
    let known = [
        ("gaussian", gaussian),
        ("gaussian(3, 2)", gaussian + 2f64.ln()),
        ("half-normal", gaussian - 2f64.ln()),
        ("laplace(0, 3)", 1.0 + 6f64.ln()),
        ("logistic", 2.0),
        ("uniform(-1, 3)", 4f64.ln()),
        ("student-t(3)", 4.0 * 2f64.ln() - 2.0 + (3f64.sqrt() * PI / 2.0).ln()),
    ];
    for (name, expected) in known {
        let found = density::entropy(density::parse(name).unwrap().as_ref()).unwrap();
        assert!((found.value - expected).abs() < 1e-9, "{name}: {} where {expected} is known", found.value);
        assert!((found.value - expected).abs() <= found.error.max(1e-13), "{name}: error {:e} said", found.error);
    }
}

#[test]
fn estimates_come_near_what_was_sampled() {
    let gaussian = density::parse("gaussian").unwrap();
    let draws = draws(gaussian.as_ref(), 20_000);
    let estimates: [Box<dyn Density>; 2] = [
        Box::new(Kernel::from_samples("draws", &draws).unwrap()),
        Box::new(Polygon::from_samples("draws", &draws).unwrap()),
    ];
    for estimate in estimates {
        for x in [-2.0, -1.0, 0.0, 0.5, 1.5] {
            assert!((estimate.pdf(x) - gaussian.pdf(x)).abs() < 0.02, "{} at {x}", estimate.name());
        }
        let entropy = density::entropy(estimate.as_ref()).unwrap().value;
        assert!((entropy - density::entropy(gaussian.as_ref()).unwrap().value).abs() < 0.02, "{}", estimate.name());
    }
}

#[test]
fn what_is_written_reads_back() {
    for density in all().iter().filter(|density| !density.name().contains("draws") && !density.name().contains("few")) {
        let again = density::parse(&density.name()).unwrap();
        assert_eq!(again.name(), density.name());
        assert_eq!(again.pdf(0.7), density.pdf(0.7));
    }
}

#[test]
fn what_cannot_be_a_density_is_refused_with_its_reason() {
    let cases = [
        ("gausian", "did you mean gaussian?"),
        ("zzz", "there are gaussian, half-normal"),
        ("student-t(2)", "student-t: nu = 2 has no finite second moment"),
        ("student-t(1.5)", "nu = 1.5"),
        ("student-t", "write student-t(nu)"),
        ("gaussian(0)", "1 number(s) in parentheses; write gaussian(mean, standard deviation)"),
        ("gaussian(0, -1)", "scale = -1 must be positive"),
        ("gaussian(0, nan)", "`nan` is not a number"),
        ("gaussian(0, 1", "the parenthesis is not closed"),
        ("mixture(0.5: -2, 1; 0.4: 2, 1)", "sum of weights = 0.9 must be 1"),
        ("mixture(0.5, 1)", "is no part of a mixture"),
        ("uniform(1, 1)", "write uniform(low, high)"),
        ("kde", "there is no file"),
        ("kde(no/such/file.txt)", "no/such/file.txt: cannot be read"),
    ];
    for (text, expected) in cases {
        let error = density::parse(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn samples_that_are_none_are_refused_with_their_place() {
    let refused = |samples: &[f64]| Kernel::from_samples("layer 3", samples).unwrap_err().to_string();
    assert!(refused(&[]).contains("layer 3: 0 sample(s)"));
    assert!(refused(&[1.0, 2.0, f64::NAN]).contains("sample 2 is NaN"));
    assert!(refused(&[1.0, f64::INFINITY]).contains("sample 1 is inf"));
    assert!(refused(&[4.0, 4.0, 4.0]).contains("all 3 samples are 4"));
    let histogram = |edges: &[f64], counts: &[f64]| Polygon::new("h", edges, counts).unwrap_err().to_string();
    assert!(histogram(&[0.0, 1.0], &[1.0, 2.0]).contains("2 edges and 2 counts"));
    assert!(histogram(&[0.0, 1.0, 1.0], &[1.0, 2.0]).contains("edge 2 = 1 is not above"));
    assert!(histogram(&[0.0, 1.0, 2.0], &[1.0, -2.0]).contains("count 1 is -2"));
    assert!(histogram(&[0.0, 1.0, 2.0], &[0.0, 0.0]).contains("every bin is empty"));
}

#[test]
fn files_of_samples_name_the_line_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.txt");
    std::fs::write(&path, "# pre-activations\n1.5, 2\n3 nan\n").unwrap();
    let error = density::read_samples(&path).unwrap_err().to_string();
    assert!(error.contains("line 3: `nan` is not a finite number"), "{error}");
    std::fs::write(&path, "1.5, 2\n-3\n").unwrap();
    assert_eq!(density::read_samples(&path).unwrap(), [1.5, 2.0, -3.0]);
    assert!(density::parse(&format!("kde({})", path.display())).is_ok());
}
