//! The activations of the catalogue on tensors, with their learnable parameters.

use activations::Activation as Formula;
use kernels::activation::Fused;
use tch::Tensor;

use crate::declaration::{Declarations, Role, Slot};
use crate::initial::Initial;
use crate::parameters::Parameters;

/// One activation module of a network.
pub struct Activation {
    formula: Formula,
    scalars: Vec<Scalar>,
}

/// A parameter of an activation, shape `(1,)`.
enum Scalar {
    Learned(Slot),
    Fixed(f64),
}

impl Activation {
    /// Declares the activation of the module `name`, such as `blocks.0.mlp.act`.
    ///
    /// What it learns become parameters of the model: `name.epsilon` (CRReLU), `name.weight` (PReLU, as in PyTorch),
    /// `name.scale` and `name.bias` (StarReLU, as in timm). The rest stay constants.
    pub fn declare(declarations: &mut Declarations<'_>, name: &str) -> Activation {
        let spec = declarations.activations().of(name);
        let formula = spec.activation;
        let role = Role::Activation { decays: spec.decays(declarations.rule()) };
        let scalars = formula.parameters().iter().zip(&spec.values).map(|(parameter, &initial)| {
            if !(parameter.learnable && spec.learnable) {
                return Scalar::Fixed(initial);
            }
            let suffix = if formula == Formula::PRelu { "weight" } else { parameter.name };
            Scalar::Learned(declarations.add(format!("{name}.{suffix}"), &[1], Initial::Constant(initial), role))
        });
        Activation { formula, scalars: scalars.collect() }
    }

    /// The activation of every element of `x`, which may have any shape.
    pub fn forward(&self, parameters: &Parameters, x: &Tensor) -> Tensor {
        self.forward_biased(parameters, x, None)
    }

    /// `f(x + bias)` of `x` `(…, C)` and `bias` `(C)`: one pass over memory where the formula has loops of its own.
    pub fn forward_biased(&self, parameters: &Parameters, x: &Tensor, bias: Option<&Tensor>) -> Tensor {
        if let Some(fused) = Fused::of(self.formula) {
            let scalars: Vec<kernels::activation::Scalar<'_>> =
                self.scalars.iter().map(|scalar| scalar.of(parameters)).collect();
            return fused.forward(x, bias, &scalars).expect("kinds, shapes and devices of a model fit");
        }
        let biased = bias.map(|bias| x + bias.to_kind(x.kind()));
        let x = biased.as_ref().unwrap_or(x);
        match (self.formula, self.scalars.as_slice()) {
            (Formula::Identity, []) => x.shallow_clone(),
            (Formula::Elu, &[Scalar::Fixed(alpha)]) => elu(x, alpha),
            (Formula::Celu, &[Scalar::Fixed(alpha)]) => celu(x, alpha),
            (formula, scalars) => unreachable!("{formula} was declared with {} parameters", scalars.len()),
        }
    }
}

impl Scalar {
    fn of<'a>(&self, parameters: &'a Parameters) -> kernels::activation::Scalar<'a> {
        match *self {
            Scalar::Learned(slot) => kernels::activation::Scalar::Tensor(parameters.tensor(slot)),
            Scalar::Fixed(value) => kernels::activation::Scalar::Constant(value),
        }
    }
}

/// libtorch's ELU has α as an argument, its binding has not: `α·elu₁(x) + (1 − α)·max(0, x)`.
fn elu(x: &Tensor, alpha: f64) -> Tensor {
    if alpha == 1.0 { x.elu() } else { x.elu() * alpha + x.relu() * (1.0 - alpha) }
}

/// `α·celu₁(x / α)`.
fn celu(x: &Tensor, alpha: f64) -> Tensor {
    if alpha == 1.0 { x.celu() } else { (x / alpha).celu() * alpha }
}

#[cfg(test)]
mod tests {
    use plan::config::DecayRule;
    use plan::models::Activations;
    use random::Key;
    use tch::{Device, Kind, no_grad};

    use super::*;

    /// A module of `formula` that learns `values`, in a store of its own.
    fn module(formula: Formula, values: &[f64], learnable: bool, kind: Kind) -> (Activation, Parameters) {
        let mut activations = Activations::reference(formula);
        activations.default.values = values.to_vec();
        activations.default.learnable &= learnable;
        let architecture = plan::models::find("vit_tiny_patch16_224").expect("a model").architecture;
        let mut declarations = Declarations::new(DecayRule::All.into(), &architecture, &activations);
        let module = Activation::declare(&mut declarations, "act");
        let parameters =
            Parameters::allocate(&declarations, Some(Key::root(0)), Device::Cpu, kind).expect("a few numbers");
        (module, parameters)
    }

    /// Points around every bend, and beyond where anything still bends.
    fn points() -> Vec<f64> {
        (-60..=60).map(|i| f64::from(i) * 0.173).chain([1e-3, -1e-3, 25.0, -25.0]).collect()
    }

    fn settings(formula: Formula) -> Vec<Vec<f64>> {
        let initial = formula.initial_values();
        let moved = initial.iter().map(|value| value * 1.7 + 0.3).collect();
        let turned = initial.iter().map(|value| 0.6 - 0.1 * value).collect();
        vec![initial, moved, turned]
    }

    #[test]
    fn values_and_gradients_are_the_references() {
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-12 * (1.0 + b.abs());
        for formula in Formula::ALL {
            for values in settings(formula) {
                let (module, parameters) = module(formula, &values, true, Kind::Double);
                let x = Tensor::from_slice(&points()).set_requires_grad(true);
                let weights: Vec<f64> = (0..points().len()).map(|i| (0.3 + i as f64).cos()).collect();
                let y = module.forward(&parameters, &x);
                (&y * Tensor::from_slice(&weights)).sum(Kind::Double).backward();
                let constant = no_grad(|| module.forward(&parameters, &x));
                let mut sums = vec![0.0; values.len()];
                for (i, &point) in points().iter().enumerate() {
                    let (found, slope) = (y.double_value(&[i as i64]), x.grad().double_value(&[i as i64]));
                    assert!(close(found, formula.f(point, &values)), "{formula}({point}) = {found}");
                    assert!(close(found, constant.double_value(&[i as i64])), "{formula}({point}) without gradients");
                    assert!(close(slope, weights[i] * formula.df(point, &values)), "{formula}′({point})");
                    for (index, sum) in sums.iter_mut().enumerate() {
                        *sum += weights[i] * formula.df_dparameter(index, point, &values);
                    }
                }
                let learned = formula.parameters().iter().zip(&sums).filter(|(parameter, _)| parameter.learnable);
                assert_eq!(parameters.iter().len(), learned.clone().count());
                for (parameter, (_, sum)) in parameters.iter().zip(learned) {
                    let found = parameter.tensor.grad().double_value(&[0]);
                    assert!(close(found, *sum), "{formula}, {}: {found} instead of {sum}", parameter.name);
                }
            }
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        const STEP: f64 = 1e-6;
        for formula in Formula::ALL {
            for values in settings(formula) {
                let (module, parameters) = module(formula, &values, true, Kind::Double);
                let points: Vec<f64> =
                    points().into_iter().filter(|x| x.abs() > 2.0 * STEP && x.abs() < 20.0).collect();
                let total = |shift: f64| {
                    let x = Tensor::from_slice(&points) + shift;
                    no_grad(|| module.forward(&parameters, &x)).sum(Kind::Double).double_value(&[])
                };
                let x = Tensor::from_slice(&points).set_requires_grad(true);
                module.forward(&parameters, &x).sum(Kind::Double).backward();
                let slope = (total(STEP) - total(-STEP)) / (2.0 * STEP);
                let found = x.grad().sum(Kind::Double).double_value(&[]);
                assert!((found - slope).abs() < 1e-5 * (1.0 + slope.abs()), "{formula}′: {found} instead of {slope}");
                for parameter in parameters.iter() {
                    let moved = |shift: f64| {
                        let _ = no_grad(|| parameter.tensor.shallow_clone().g_add_scalar_(shift));
                        let total = total(0.0);
                        let _ = no_grad(|| parameter.tensor.shallow_clone().g_add_scalar_(-shift));
                        total
                    };
                    let slope = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                    let found = parameter.tensor.grad().double_value(&[0]);
                    let error = (found - slope).abs();
                    assert!(error < 1e-5 * (1.0 + slope.abs()), "{formula}, {}: {found}, {slope}", parameter.name);
                }
            }
        }
    }

    #[test]
    fn what_is_not_learnable_is_no_parameter() {
        for formula in Formula::ALL {
            let (fixed, none) = module(formula, &formula.initial_values(), false, Kind::Double);
            assert_eq!(none.iter().len(), 0, "{formula}");
            let x = Tensor::from_slice(&[-1.5, 0.0, 0.7]).set_requires_grad(true);
            let y = fixed.forward(&none, &x);
            y.sum(Kind::Double).backward();
            assert!((y.double_value(&[2]) - formula.f(0.7, &formula.initial_values())).abs() < 1e-12, "{formula}");
            let slope = formula.df(0.7, &formula.initial_values());
            assert!((x.grad().double_value(&[2]) - slope).abs() < 1e-12, "{formula}");
        }
    }

    /// In fp16, x² overflows beyond 256, and e^(−x²/2) loses all digits well before.
    #[test]
    fn crrelu_takes_its_exponent_in_f32() {
        let (module, parameters) = module(Formula::CrRelu, &[0.5], true, Kind::Half);
        let x = Tensor::from_slice(&[-1000.0f32, -0.75, 3.0, 300.0]).to_kind(Kind::Half).set_requires_grad(true);
        let y = module.forward(&parameters, &x);
        y.sum(Kind::Float).backward();
        assert_eq!((y.kind(), x.grad().kind()), (Kind::Half, Kind::Half));
        for (i, point) in [-1000.0, -0.75, 3.0, 300.0].into_iter().enumerate() {
            let (value, slope) = (Formula::CrRelu.f(point, &[0.5]), Formula::CrRelu.df(point, &[0.5]));
            assert!((y.double_value(&[i as i64]) - value).abs() <= value.abs() / 1024.0, "f({point})");
            assert!((x.grad().double_value(&[i as i64]) - slope).abs() <= slope.abs() / 1024.0, "f′({point})");
        }
    }
}
