//! The activations of the catalogue, tabulated and dynamic ones on tensors, with their learnable parameters.

use activations::Activation as Formula;
use kernels::activation::{Correction, Fused, Tabulated};
use plan::models::Function;
use tch::Tensor;

use crate::declaration::{BufferSlot, Constant, Declarations, Role, Slot};
use crate::initial::Initial;
use crate::parameters::Parameters;

/// One activation module of a network.
pub struct Activation {
    name: String,
    form: Form,
}

enum Form {
    /// A formula with its parameters.
    Formula(Formula, Vec<Scalar>),
    /// The numbers of a table, as [`Tabulated`] takes them.
    Table(Constant),
    /// A base and ε times a correction, whose numbers ([`Correction`]) change in training.
    Corrected { base: Fused, epsilon: Scalar, correction: BufferSlot },
}

/// A parameter of an activation, shape `(1,)`.
enum Scalar {
    /// A parameter of the model.
    Learned(Slot),
    /// A constant.
    Fixed(f64),
}

impl Activation {
    /// Declares the activation of the module `name`, such as `blocks.0.mlp.act`.
    ///
    /// What it learns become parameters of the model: `name.epsilon` (CRReLU), `name.weight` (PReLU, as in PyTorch),
    /// `name.scale` and `name.bias` (StarReLU, as in timm). The rest stay constants. A dynamic one has the buffer
    /// `name.correction`, which begins as CRReLU's.
    pub fn declare(declarations: &mut Declarations<'_>, name: &str) -> Activation {
        Activation { name: name.to_owned(), form: Form::declare(declarations, name) }
    }

    /// The activation of every element of `x`, which may have any shape.
    pub fn forward(&self, parameters: &Parameters, x: &Tensor) -> Tensor {
        self.forward_biased(parameters, x, None)
    }

    /// `f(x + bias)` of `x` `(…, C)` and `bias` `(C)`: one pass over memory where the formula has loops of its own.
    pub fn forward_biased(&self, parameters: &Parameters, x: &Tensor, bias: Option<&Tensor>) -> Tensor {
        parameters.show(&self.name, x, bias);
        self.form.forward(parameters, x, bias)
    }
}

/// The name of a parameter of an activation among those of its model, if it is learned.
pub fn parameter_name(module: &str, formula: Formula, parameter: &str) -> String {
    let suffix = if formula == Formula::PRelu { "weight" } else { parameter };
    format!("{module}.{suffix}")
}

/// The name of the correction of a dynamic activation among the buffers of its model: the numbers of a [`Correction`].
pub fn correction_name(module: &str) -> String {
    format!("{module}.correction")
}

impl Form {
    fn declare(declarations: &mut Declarations<'_>, name: &str) -> Form {
        let spec = declarations.activations().of(name);
        let formula = match &spec.function {
            Function::Formula(formula) => *formula,
            Function::Table(file) => {
                let numbers = Tensor::from_slice(&Tabulated::numbers(&file.table));
                return Form::Table(declarations.constant(numbers));
            }
        };
        let role = Role::Activation { decays: spec.decays(declarations.rule()) };
        let scalars = formula.parameters().iter().zip(&spec.values).map(|(parameter, &initial)| {
            if !(parameter.learnable && spec.learnable) {
                return Scalar::Fixed(initial);
            }
            let parameter = parameter_name(name, formula, parameter.name);
            Scalar::Learned(declarations.add(parameter, &[1], Initial::Constant(initial), role))
        });
        let mut scalars: Vec<Scalar> = scalars.collect();
        if !spec.dynamic {
            return Form::Formula(formula, scalars);
        }
        let base = formula.base().and_then(Fused::of).expect("only what corrects a base is dynamic");
        let numbers = Correction::numbers(&eafo::sketch::first_correction());
        let shape = [numbers.len() as i64];
        let correction = declarations.fixed(correction_name(name), &shape, numbers);
        Form::Corrected { base, epsilon: scalars.remove(0), correction }
    }

    fn forward(&self, parameters: &Parameters, x: &Tensor, bias: Option<&Tensor>) -> Tensor {
        const FIT: &str = "kinds, shapes and devices of a model fit";
        let (formula, scalars) = match self {
            Form::Formula(formula, scalars) => (*formula, scalars.as_slice()),
            Form::Table(table) => {
                return Tabulated::new(parameters.constant(*table)).forward(x, bias).expect(FIT);
            }
            Form::Corrected { base, epsilon, correction } => {
                let correction = Correction::new(parameters.buffer(*correction));
                return correction.forward(*base, epsilon.of(parameters), x, bias).expect(FIT);
            }
        };
        if let Some(fused) = Fused::of(formula) {
            let scalars: Vec<kernels::activation::Scalar<'_>> =
                scalars.iter().map(|scalar| scalar.of(parameters)).collect();
            return fused.forward(x, bias, &scalars).expect(FIT);
        }
        let biased = bias.map(|bias| x + bias.to_kind(x.kind()));
        let x = biased.as_ref().unwrap_or(x);
        match (formula, scalars) {
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
    use std::sync::Arc;

    use activations::{Table, TableFile};
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
    fn a_table_has_the_values_and_slopes_of_its_reference_and_learns_nothing() {
        let nodes = (0..41).map(|i| -4.0 + 0.2 * f64::from(i));
        let (values, slopes) = nodes.map(|x| (Formula::Mish.f(x, &[]), Formula::Mish.df(x, &[]))).unzip();
        let table = Table::new(-4.0, 0.2, values, slopes).unwrap();
        let (name, density, base) = ("mine".to_owned(), "gaussian".to_owned(), "mish".to_owned());
        let file = TableFile {
            name,
            density,
            base,
            step: 0.0,
            interval: (-4.0, 4.0),
            kinks: Vec::new(),
            table: table.clone(),
        };
        let activations = Activations::reference(Function::Table(Arc::new(file)));
        let architecture = plan::models::find("vit_tiny_patch16_224").expect("a model").architecture;
        let mut declarations = Declarations::new(DecayRule::All.into(), &architecture, &activations);
        let module = Activation::declare(&mut declarations, "act");
        let parameters =
            Parameters::allocate(&declarations, Some(Key::root(0)), Device::Cpu, Kind::Double).expect("a few numbers");
        assert_eq!(parameters.iter().len(), 0);
        let x = Tensor::from_slice(&points()).set_requires_grad(true);
        let bias = Tensor::from_slice(&vec![0.125; points().len()]);
        let y = module.forward_biased(&parameters, &x, Some(&bias));
        y.sum(Kind::Double).backward();
        for (i, point) in points().into_iter().enumerate() {
            let (found, slope) = (y.double_value(&[i as i64]), x.grad().double_value(&[i as i64]));
            assert!((found - table.f(point + 0.125)).abs() < 1e-12, "f({point}) = {found}");
            assert!((slope - table.df(point + 0.125)).abs() < 1e-12, "f′({point}) = {slope}");
        }
    }

    /// Before anything was refreshed a dynamic CRReLU is CRReLU, to the rounding of its table; afterwards what the buffer says.
    #[test]
    fn a_dynamic_activation_begins_as_the_static_one_and_follows_its_buffer() {
        let corrected = Formula::ALL.into_iter().filter_map(|formula| Some((formula, formula.base()?)));
        for (formula, base) in corrected {
            let mut activations = Activations::reference(formula);
            activations.default.values = vec![0.3];
            activations.default.dynamic = true;
            let architecture = plan::models::find("vit_tiny_patch16_224").expect("a model").architecture;
            let mut declarations = Declarations::new(DecayRule::All.into(), &architecture, &activations);
            let module = Activation::declare(&mut declarations, "act");
            let parameters =
                Parameters::allocate(&declarations, Some(Key::root(0)), Device::Cpu, Kind::Double).expect("memory");
            let names: Vec<&str> = parameters.buffers().iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!((names, parameters.statistics().count()), (vec!["act.correction"], 0));
            let x = Tensor::from_slice(&points());
            parameters.watch(usize::MAX, 0);
            let y = module.forward(&parameters, &x);
            let seen = parameters.watched();
            assert_eq!((seen.len(), seen[0].module.as_str()), (1, "act"));
            assert_eq!(seen[0].values.flatten(0, -1), x.to_kind(Kind::Float));
            for (i, point) in points().into_iter().enumerate() {
                let (found, expected) = (y.double_value(&[i as i64]), formula.f(point, &[0.3]));
                assert!((found - expected).abs() < 5e-4, "{formula}({point}) = {found} instead of {expected}");
            }
            let other = Table::new(-8.0, 0.5, vec![2.0; 33], vec![0.0; 33]).expect("a table");
            parameters.buffers()[0].1.shallow_clone().copy_(&Tensor::from_slice(&Correction::numbers(&other)));
            let y = module.forward(&parameters, &x);
            for (i, point) in points().into_iter().enumerate() {
                let (found, expected) = (y.double_value(&[i as i64]), base.f(point, &[]) + 0.6);
                assert!((found - expected).abs() < 1e-12, "{base}({point}) + 0.3 · 2 = {found}");
            }
            y.sum(Kind::Double).backward();
            let slope = parameters.get("act.epsilon").expect("ε learns").tensor.grad().double_value(&[0]);
            assert!((slope - 2.0 * points().len() as f64).abs() < 1e-9, "{slope}");
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
