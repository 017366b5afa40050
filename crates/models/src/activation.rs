//! The activations of the catalogue on tensors, with their learnable parameters.

use activations::Activation as Formula;
use plan::models::ActivationSpec;
use tch::{Kind, Tensor, no_grad};

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
    /// Declares the activation of `spec` as the module `name`, such as `blocks.0.mlp.act`.
    ///
    /// What it learns become parameters of the model: `name.epsilon` (CRReLU), `name.weight` (PReLU, as in PyTorch),
    /// `name.scale` and `name.bias` (StarReLU, as in timm). The rest stay constants.
    pub fn declare(declarations: &mut Declarations, name: &str, spec: &ActivationSpec) -> Activation {
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
        match (self.formula, self.scalars.as_slice()) {
            (Formula::Identity, []) => x.shallow_clone(),
            (Formula::Relu, []) => x.relu(),
            (Formula::Gelu, []) => x.gelu("none"),
            (Formula::Silu, []) => x.silu(),
            (Formula::Mish, []) => x.mish(),
            (Formula::CrRelu, [epsilon]) => crrelu(x, &epsilon.tensor(parameters, x)),
            (Formula::PRelu, [slope]) => x.prelu(&slope.tensor(parameters, x)),
            (Formula::Elu, &[Scalar::Fixed(alpha)]) => elu(x, alpha),
            (Formula::Celu, &[Scalar::Fixed(alpha)]) => celu(x, alpha),
            (Formula::StarRelu, [scale, bias]) => {
                starrelu(x, &scale.tensor(parameters, x), &bias.tensor(parameters, x))
            }
            (formula, scalars) => unreachable!("{formula} was declared with {} parameters", scalars.len()),
        }
    }
}

impl Scalar {
    fn tensor(&self, parameters: &Parameters, like: &Tensor) -> Tensor {
        match *self {
            Scalar::Learned(slot) => parameters.tensor(slot).shallow_clone(),
            Scalar::Fixed(value) => Tensor::full([1], value, (like.kind(), like.device())),
        }
    }
}

/// `max(0, x) + ε·x·e^(−x²/2)`, the exponent in f32 or better.
///
/// Where gradients are asked for, `∂f/∂x` is computed along with the value, so that backward is one product (and one
/// more with its sum for ε) in place of the ten operations that autograd would record. Second derivatives by autograd
/// are therefore not available.
fn crrelu(x: &Tensor, epsilon: &Tensor) -> Tensor {
    let kind = x.kind();
    if matches!(kind, Kind::Half | Kind::BFloat16) {
        return crrelu(&x.to_kind(Kind::Float), &epsilon.to_kind(Kind::Float)).to_kind(kind);
    }
    if !(x.requires_grad() || epsilon.requires_grad()) {
        let mut bump = (x * x).g_mul_scalar_(-0.5).exp_();
        return x.relu().addcmul_(&bump.g_mul_(x), epsilon);
    }
    let (slope, rest, bump) = no_grad(|| {
        let minus_x = x.neg();
        let minus_square = &minus_x * x;
        let mut gauss = (&minus_square * 0.5).exp_();
        let bump_slope = gauss.addcmul(&minus_square, &gauss); // (1 − x²)·e^(−x²/2)
        let slope = x.gt_scalar_out(&minus_square, 0.0).addcmul_(&bump_slope, epsilon); // ∂f/∂x
        let rest = x.relu().addcmul_(&minus_x, &slope); // max(0, x) − x·∂f/∂x
        (slope, rest, gauss.g_mul_(x))
    });
    // As a value max(0, x), to autograd a function of slope ∂f/∂x; then ε times what is constant to x.
    rest.addcmul(x, &slope).addcmul_(&bump, epsilon)
}

/// `s·max(0, x)² + b`.
fn starrelu(x: &Tensor, scale: &Tensor, bias: &Tensor) -> Tensor {
    let rectified = x.relu();
    bias.addcmul(&(&rectified * &rectified), scale)
}

/// libtorch's ELU has α as an argument, its binding has not: `α·elu₁(x) + (1 − α)·max(0, x)`.
fn elu(x: &Tensor, alpha: f64) -> Tensor {
    if alpha == 1.0 { x.elu() } else { x.elu() * alpha + x.relu() * (1.0 - alpha) }
}

/// `α·celu₁(x / α)`.
fn celu(x: &Tensor, alpha: f64) -> Tensor {
    if alpha == 1.0 { x.celu() } else { (x / alpha).celu() * alpha }
}
