//! Entropies of outputs: closed forms, laws, atoms, branches, estimates from samples, and the worst activation.

use eafo::density::{self, Density};
use eafo::entropy::{Output, Plain, deviation_of, entropy_of};
use eafo::function::{Function, Map};
use eafo::pieces::Direction;
use eafo::quadrature::Tolerance;
use eafo::samples::{entropy_by_histogram, entropy_by_neighbours};
use eafo::worst::Worst;
use random::Key;
use std::f64::consts::{E, PI};

fn function(text: &str) -> Function {
    Function::parse(text).unwrap()
}

fn law(text: &str) -> Box<dyn Density> {
    density::parse(text).unwrap()
}

fn continuous(map: &dyn Map, density: &str) -> f64 {
    entropy_of(map, law(density).as_ref()).unwrap().continuous
}

fn gaussian_entropy() -> f64 {
    0.5 * (2.0 * PI * E).ln()
}

#[test]
fn the_jets_of_all_functions_are_those_of_the_catalogue() {
    for function in Function::all() {
        let Some(activation) = function.activation() else { continue };
        for i in -500..500 {
            let x = f64::from(i) * 0.017 + 0.003;
            let [f, first, second, _] = function.jet(x).0;
            let values = function.values();
            for (found, expected) in
                [(f, activation.f(x, values)), (first, activation.df(x, values)), (second, activation.d2f(x, values))]
            {
                assert!(
                    (found - expected).abs() < 1e-13 * expected.abs().max(1.0),
                    "{activation} at {x}: {found}, {expected}"
                );
            }
        }
    }
}

#[test]
fn logarithms_of_slopes_go_on_where_slopes_underflow() {
    for function in Function::all() {
        for x in [-36.0, -25.0, -21.0, -10.0, -2.1, -0.3, 0.4, 2.5, 9.0, 18.0] {
            let (slope, log) = (function.slope(x).abs(), function.log_slope(x));
            if slope > 1e-290 {
                assert!(
                    (log - slope.ln()).abs() < 1e-6 * log.abs().max(1.0),
                    "{} at {x}: {log}, {}",
                    function.name(),
                    slope.ln()
                );
            }
        }
    }
    for name in ["gelu", "silu", "mish", "crgelu", "crsilu", "crmish", "tanh", "sigmoid", "softplus", "elu", "crrelu"] {
        assert!(function(name).log_slope(-1e5).is_finite(), "{name}");
    }
}

#[test]
fn pieces_are_found_from_changes_of_sign() {
    let pieces = |name: &str| {
        let (map, density) = (function(name), law("gaussian"));
        Output::new(&map, &Plain(density.as_ref())).pieces().to_vec()
    };
    let gelu = pieces("gelu");
    assert_eq!(gelu.iter().map(|piece| piece.direction).collect::<Vec<_>>(), [Direction::Falling, Direction::Rising]);
    // mpmath: where Φ(x) + xφ(x) = 0.
    assert!((gelu[0].high - -0.751791524693564).abs() < 1e-12, "{}", gelu[0].high);
    assert_eq!(
        pieces("relu").iter().map(|p| (p.low, p.direction)).collect::<Vec<_>>(),
        [(f64::NEG_INFINITY, Direction::Flat), (0.0, Direction::Rising)]
    );
    assert_eq!(pieces("relu6").len(), 3);
    // x·e^(−x²/2) turns at −1; above 0 the slope 1 + ε(1 − x²)e^(−x²/2) has one sign for so small an ε.
    let turns: Vec<f64> = pieces("crrelu(-0.1)").iter().skip(1).map(|piece| piece.low).collect();
    assert_eq!(turns.len(), 2, "{turns:?}");
    assert!((turns[0] - -1.0).abs() < 1e-9 && turns[1] == 0.0, "{turns:?}");
}

#[test]
fn known_outputs_have_their_known_entropy() {
    // The logistic law through its own distribution function is uniform.
    assert!(continuous(&function("sigmoid"), "logistic").abs() < 1e-9);
    assert!((continuous(&function("identity"), "gaussian(2, 3)") - gaussian_entropy() - 3f64.ln()).abs() < 1e-9);
    // prelu(-1) is −x below 0 and x above: |X|, two branches that overlap everywhere.
    let folded = entropy_of(&function("prelu(-1)"), law("gaussian").as_ref()).unwrap();
    assert!(folded.atoms.is_empty());
    assert!((folded.continuous - (gaussian_entropy() - 2f64.ln())).abs() < 1e-8, "{folded:?}");
    // starrelu of a half-normal is χ² with one degree of freedom.
    let chi = continuous(&function("starrelu"), "half-normal");
    assert!((chi - 0.7837571104739337).abs() < 1e-7, "{chi}");
}

/// H[y] = ∫ G(y′, y) dx with G = −p(y)·y′·ln(p(y)·y′), over outputs, by the closed forms of inverses.
#[test]
fn the_functional_of_the_inverse_is_the_entropy_of_the_output() {
    for (name, (low, high)) in [
        ("tanh", (-1.0, 1.0)),
        ("sigmoid", (0.0, 1.0)),
        ("softplus", (0.0, f64::INFINITY)),
        ("arctan", (-PI / 2.0, PI / 2.0)),
    ] {
        let (function, law) = (function(name), law("gaussian"));
        let inverse = eafo::formula::inverse(&function).unwrap();
        let g = |x: f64| {
            let [y, slope, _] = (inverse.at)(x, 0.0);
            let q = law.pdf(y) * slope;
            if q > 0.0 && q.is_finite() { -q * q.ln() } else { 0.0 }
        };
        let tolerance = Tolerance { absolute: 1e-9, relative: 1e-9 };
        let found = eafo::quadrature::integrate("G", &g, (low, high), 1.0, tolerance).unwrap().value;
        let expected = entropy_of(&function, law.as_ref()).unwrap().continuous;
        assert!((found - expected).abs() < 1e-7, "{name}: {found}, {expected}");
    }
}

#[test]
fn entropy_follows_the_scale() {
    for density in ["gaussian", "student-t(5)", "laplace"] {
        let unit = continuous(&function("prelu(1)"), density);
        let (a, law) = (2.5, law(density));
        let map = Scaled(function("softplus"), a);
        let found = entropy_of(&map, law.as_ref()).unwrap();
        let plain = entropy_of(&function("softplus"), law.as_ref()).unwrap();
        assert!((found.continuous - plain.continuous - a.ln()).abs() < 1e-8, "{density}");
        let normalised = |map: &dyn Map, entropy: &eafo::entropy::Entropy| {
            entropy.normalised(deviation_of(map, law.as_ref()).unwrap())
        };
        assert!((normalised(&map, &found) - normalised(&function("softplus"), &plain)).abs() < 1e-7, "{density}");
        assert!(unit.is_finite());
    }
}

#[derive(Debug)]
struct Scaled(Function, f64);

impl Map for Scaled {
    fn name(&self) -> String {
        "scaled".to_owned()
    }
    fn value(&self, x: f64) -> f64 {
        self.1 * self.0.value(x)
    }
    fn slope(&self, x: f64) -> f64 {
        self.1 * self.0.slope(x)
    }
    fn log_slope(&self, x: f64) -> f64 {
        self.1.ln() + self.0.log_slope(x)
    }
    fn kinks(&self) -> Vec<f64> {
        self.0.kinks()
    }
}

#[test]
fn atoms_are_told_apart() {
    let relu = entropy_of(&function("relu"), law("gaussian").as_ref()).unwrap();
    assert_eq!(relu.atoms.len(), 1);
    assert_eq!(relu.atoms[0].value, 0.0);
    assert!((relu.atoms[0].mass - 0.5).abs() < 1e-12);
    assert!((relu.continuous - (gaussian_entropy() - 2f64.ln())).abs() < 1e-9, "{relu:?}");
    assert!((relu.discrete() - 2f64.ln()).abs() < 1e-12);
    assert!((relu.mixed() - (2f64.ln() + 0.5 * relu.continuous)).abs() < 1e-12);
    let both = entropy_of(&function("relu6"), law("gaussian(3, 3)").as_ref()).unwrap();
    assert_eq!(both.atoms.iter().map(|atom| atom.value).collect::<Vec<_>>(), [0.0, 6.0]);
    assert!((both.atoms[0].mass - both.atoms[1].mass).abs() < 1e-12);
}

/// The figures on which the question of ε's sign rests, with a half-normal input (docs/eafo.md).
#[test]
fn both_signs_of_epsilon_have_the_figures_that_the_sign_question_rests_on() {
    for (epsilon, expected) in [(-0.1, 0.688), (0.0, 0.7258), (0.01, 0.7293), (0.1, 0.759)] {
        let found = continuous(&function(&format!("crrelu({epsilon})")), "half-normal");
        let room = if (expected * 1000.0f64).fract().abs() < 1e-9 { 6e-4 } else { 6e-5 };
        assert!((found - expected).abs() < room, "ε = {epsilon}: {found} where {expected} is said");
    }
}

#[test]
fn every_function_has_an_entropy_on_every_density() {
    for function in Function::all() {
        for density in ["gaussian", "student-t(5)", "laplace", "mixture(0.5: -2, 1; 0.5: 2, 1)"] {
            let found = entropy_of(&function, law(density).as_ref())
                .unwrap_or_else(|error| panic!("{}: {error}", function.name()));
            assert!(found.continuous.is_finite() && found.error < 1e-8, "{} on {density}: {found:?}", function.name());
        }
    }
}

#[test]
fn samples_give_the_entropy_that_quadrature_gives() {
    let mut rng = Key::root(11).rng();
    for (name, density) in [
        ("identity", "uniform(0, 3)"),
        ("softplus", "gaussian"),
        ("gelu", "gaussian"),
        ("relu", "gaussian"),
        ("silu", "logistic"),
    ] {
        let (map, law) = (function(name), law(density));
        let draws: Vec<f64> = (0..40_000).map(|_| map.value(law.sample(&mut rng))).collect();
        let exact = entropy_of(&map, law.as_ref()).unwrap();
        let neighbours = entropy_by_neighbours("draws", &draws, 3).unwrap();
        assert!((neighbours.continuous - exact.continuous).abs() < 0.04, "{name}: {neighbours:?}, {exact:?}");
        assert_eq!(neighbours.atoms.len(), exact.atoms.len(), "{name}");
        assert!((neighbours.mixed() - exact.mixed()).abs() < 0.04, "{name}");
        // Bins blur the spike of GELU's minimum and of SiLU's, so a histogram comes less close.
        let histogram = entropy_by_histogram("draws", &draws).unwrap();
        assert!((histogram.continuous - exact.continuous).abs() < 0.25, "{name}: {histogram:?}, {exact:?}");
    }
    assert!(
        entropy_by_neighbours("x", &[1.0, f64::NAN, 2.0, 3.0, 4.0, 5.0], 3)
            .unwrap_err()
            .to_string()
            .contains("sample 1 is NaN")
    );
}

#[test]
fn the_output_of_the_worst_activation_is_uniform() {
    for density in ["gaussian", "student-t(3)", "laplace(1, 2)", "mixture(0.3: -2, 0.5; 0.7: 2, 1)", "half-normal"] {
        let law = law(density);
        let worst = Worst::new(law.as_ref(), -1.0, 2.0).unwrap();
        for i in 1..100 {
            let share = f64::from(i) / 100.0;
            // P(f(X) ≤ z) for z at this share of the range is the share itself.
            let x = law.quantile(share);
            assert!((worst.value(x) - (-1.0 + 3.0 * share)).abs() < 1e-9, "{density}");
        }
        let entropy = entropy_of(&worst, law.as_ref()).unwrap();
        assert!((entropy.continuous - worst.entropy()).abs() < 1e-9, "{density}: {entropy:?}");
    }
    let gaussian = law("gaussian");
    assert!(Worst::new(gaussian.as_ref(), 1.0, 1.0).unwrap_err().to_string().contains("[1, 1]"));
}

/// The worst activation seen through an increasing map of its range onto itself.
#[derive(Debug)]
struct Perturbed<'a> {
    worst: Worst<'a>,
    waves: Vec<f64>,
}

impl Map for Perturbed<'_> {
    fn name(&self) -> String {
        "perturbed".to_owned()
    }
    fn value(&self, x: f64) -> f64 {
        let u = self.worst.value(x);
        u + self.waves.iter().zip(1..).map(|(a, k)| a * (f64::from(k) * PI * u).sin()).sum::<f64>()
    }
    fn slope(&self, x: f64) -> f64 {
        self.log_slope(x).exp()
    }
    fn log_slope(&self, x: f64) -> f64 {
        let u = self.worst.value(x);
        let slope = |(a, k): (&f64, i32)| a * f64::from(k) * PI * (f64::from(k) * PI * u).cos();
        self.worst.log_slope(x) + self.waves.iter().zip(1..).map(slope).sum::<f64>().ln_1p()
    }
    fn kinks(&self) -> Vec<f64> {
        Vec::new()
    }
}

#[test]
fn none_of_a_thousand_perturbations_has_more_entropy_than_the_worst_activation() {
    let law = law("gaussian");
    let mut rng = Key::root(3).rng();
    let tolerance = Tolerance { absolute: 1e-7, relative: 1e-7 };
    for _ in 0..1000 {
        let mut waves: Vec<f64> = (0..5).map(|_| rng.uniform_in(-1.0, 1.0)).collect();
        let steepest: f64 = waves.iter().zip(1..).map(|(a, k)| a.abs() * f64::from(k) * PI).sum();
        let share = rng.uniform_in(0.02, 0.98);
        waves.iter_mut().for_each(|a| *a *= share / steepest);
        let perturbed = Perturbed { worst: Worst::new(law.as_ref(), 0.0, 1.0).unwrap(), waves };
        let entropy = Output::new(&perturbed, &Plain(law.as_ref())).entropy(tolerance).unwrap().continuous;
        assert!(entropy < 1e-7, "{entropy}: {perturbed:?}");
    }
}

#[test]
fn functions_are_read_with_their_parameters() {
    assert_eq!(function("CR-ReLU(-0.1)").name(), "crrelu(-0.1)");
    assert_eq!(function("elu").values(), [1.0]);
    for (text, expected) in [
        ("sofplus", "did you mean softplus"),
        ("zzz", "there are identity, relu"),
        ("relu(1)", "relu takes none"),
        ("crrelu(1, 2)", "2 value(s) in parentheses; crrelu takes epsilon"),
        ("tanh(2)", "takes no parameters"),
        ("elu(0)", "alpha = 0 is not within 0.001 and 100"),
    ] {
        let error = Function::parse(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}
