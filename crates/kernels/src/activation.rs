//! Bias and activation in one pass: forward, and backward for input, bias and parameters at once.

use std::ptr;

use activations::{Activation, BadTable, Table};
use tch::Tensor;

use crate::error::check;
use crate::{KernelError, ffi};

/// A formula that has loops of its own.
///
/// The others of the catalogue (ELU, CELU) are one operation of libtorch already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Fused {
    /// `max(0, x)`.
    Relu,
    /// `max(0, x) + ε·x·e^(−x²/2)`.
    CrRelu,
    /// `x` for x > 0, otherwise `slope·x`.
    PRelu,
    /// `x·Φ(x)`.
    Gelu,
    /// `x·σ(x)`.
    Silu,
    /// `x·tanh(ln(1 + e^x))`.
    Mish,
    /// `scale·max(0, x)² + bias`.
    StarRelu,
    /// GELU and `ε·x·e^(−x²/2)`.
    CrGelu,
    /// SiLU and `ε·x·e^(−x²/2)`.
    CrSilu,
    /// Mish and `ε·x·e^(−x²/2)`.
    CrMish,
}

/// A parameter of a formula.
#[derive(Clone, Copy, Debug)]
pub enum Scalar<'a> {
    /// One number that may learn: a tensor of one element on the device of the input.
    Tensor(&'a Tensor),
    /// A constant.
    Constant(f64),
}

impl Fused {
    /// All of them.
    pub const ALL: [Fused; 10] = [
        Fused::Relu,
        Fused::CrRelu,
        Fused::PRelu,
        Fused::Gelu,
        Fused::Silu,
        Fused::Mish,
        Fused::StarRelu,
        Fused::CrGelu,
        Fused::CrSilu,
        Fused::CrMish,
    ];

    /// The loops of an activation of the catalogue, where it has some.
    pub fn of(formula: Activation) -> Option<Fused> {
        Fused::ALL.into_iter().find(|fused| fused.formula() == formula)
    }

    /// The activation in the catalogue, whose values and derivatives are the reference.
    pub fn formula(self) -> Activation {
        match self {
            Fused::Relu => Activation::Relu,
            Fused::CrRelu => Activation::CrRelu,
            Fused::PRelu => Activation::PRelu,
            Fused::Gelu => Activation::Gelu,
            Fused::Silu => Activation::Silu,
            Fused::Mish => Activation::Mish,
            Fused::StarRelu => Activation::StarRelu,
            Fused::CrGelu => Activation::CrGelu,
            Fused::CrSilu => Activation::CrSilu,
            Fused::CrMish => Activation::CrMish,
        }
    }

    /// `f(x + bias)` of `x` `(…, C)` in f32, f64, bf16 or f16 and `bias` `(C)` of any of these, with as many `parameters` as the
    /// formula has.
    ///
    /// Numbers of half precision are computed with in f32. For backward only the inputs are kept. The gradients of bias and
    /// parameters are summed in an order that depends on the shape alone, not on the number of threads.
    /// Autograd cannot go through backward a second time.
    ///
    /// # Errors
    /// When kinds, shapes or devices do not fit, or there is no memory.
    ///
    /// # Panics
    /// When there are not as many `parameters` as the formula has.
    pub fn forward(self, x: &Tensor, bias: Option<&Tensor>, parameters: &[Scalar<'_>]) -> Result<Tensor, KernelError> {
        let expected = self.formula().parameters().len();
        assert_eq!(parameters.len(), expected, "{} has {expected} parameters", self.formula());
        let tensor = |index: usize| match parameters.get(index) {
            Some(Scalar::Tensor(tensor)) => tensor.as_ptr().cast(),
            _ => ptr::null(),
        };
        let constant = |index: usize| match parameters.get(index) {
            Some(&Scalar::Constant(value)) => value,
            _ => 0.0,
        };
        run(
            self.formula().name(),
            x,
            bias,
            [tensor(0), tensor(1)],
            [constant(0), constant(1)],
            ptr::null(),
            self as i32,
        )
    }
}

/// A tabulated activation ([`activations::Table`]) with loops of its own.
#[derive(Debug)]
pub struct Tabulated {
    /// The table as loops take it, 1-D (`activation_loops.h`).
    numbers: Tensor,
}

impl Tabulated {
    /// How many of the numbers come before the coefficients.
    const HEAD: usize = 4;

    /// The numbers that stand for a table: [`Tabulated::new`] takes them as a tensor on any device.
    pub fn numbers(table: &Table) -> Vec<f64> {
        let cells = table.values().len() - 1;
        let line = |node: usize| [table.values()[node], table.step() * table.slopes()[node], 0.0, 0.0];
        let mut numbers = vec![table.x0(), 1.0 / table.step(), cells as f64, table.end()];
        numbers.extend(line(0));
        numbers.extend((0..cells).flat_map(|cell| coefficients(table, cell)));
        numbers.extend(line(cells));
        numbers
    }

    /// From a 1-D tensor of what [`Tabulated::numbers`] gave.
    ///
    /// # Panics
    /// When the tensor's length is none of a table.
    pub fn new(numbers: &Tensor) -> Tabulated {
        let length = numbers.numel();
        assert!(length >= Tabulated::HEAD + 12 && length.is_multiple_of(4), "{length} numbers are no table");
        Tabulated { numbers: numbers.shallow_clone() }
    }

    /// `table(x + bias)`, as [`Fused::forward`]. The place in the table is computed in f32 unless `x` is f64.
    ///
    /// # Errors
    /// As [`Fused::forward`].
    pub fn forward(&self, x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, KernelError> {
        const FORMULA: i32 = Fused::ALL.len() as i32;
        run("a tabulated activation", x, bias, [ptr::null(); 2], [0.0; 2], self.numbers.as_ptr().cast(), FORMULA)
    }
}

/// What is added to an activation, ε times a small table that is level at its ends and beyond.
///
/// It is small enough to lie in registers, so that looking it up costs little more than an exponential.
#[derive(Debug)]
pub struct Correction {
    /// The table as loops take it, 1-D (`activation_loops.h`).
    numbers: Tensor,
}

impl Correction {
    /// What can be corrected, in the order of the loops.
    pub const BASES: [Fused; 4] = [Fused::Relu, Fused::Gelu, Fused::Silu, Fused::Mish];
    /// Cells of its table: one less than nodes.
    pub const CELLS: usize = 32;
    /// How many numbers stand for one.
    pub const NUMBERS: usize = Correction::HEAD + 4 * Correction::CELLS;
    const HEAD: usize = 4;

    /// The numbers that stand for a table: [`Correction::new`] takes them as a tensor on any device.
    ///
    /// # Panics
    /// When it has another number of cells, or a slope at an end.
    pub fn numbers(table: &Table) -> Vec<f64> {
        let (slopes, cells) = (table.slopes(), Correction::CELLS);
        assert_eq!(slopes.len(), cells + 1, "a correction has {cells} cells");
        assert!(slopes[0] == 0.0 && slopes[cells] == 0.0, "a correction is level at its ends");
        let mut numbers = vec![table.x0(), 1.0 / table.step(), 0.0, 0.0];
        for kind in 0..4 {
            numbers.extend((0..cells).map(|cell| coefficients(table, cell)[kind]));
        }
        numbers
    }

    /// The table that numbers stand for: the inverse of [`Correction::numbers`], but for rounding.
    ///
    /// # Errors
    /// [`BadTable`] where they stand for none.
    pub fn table(numbers: &[f64]) -> Result<Table, BadTable> {
        let cells = Correction::CELLS;
        let number = |place: usize| numbers.get(place).copied().unwrap_or(f64::NAN);
        let coefficient = |kind: usize, cell: usize| number(Correction::HEAD + kind * cells + cell);
        let (x0, per_step) = (number(0), number(1));
        let mut values: Vec<f64> = (0..cells).map(|cell| coefficient(0, cell)).collect();
        let mut slopes: Vec<f64> = (0..cells).map(|cell| coefficient(1, cell) * per_step).collect();
        values.push((0..4).map(|kind| coefficient(kind, cells - 1)).sum());
        slopes.push(0.0);
        Table::new(x0, 1.0 / per_step, values, slopes)
    }

    /// From a 1-D tensor of what [`Correction::numbers`] gave.
    ///
    /// # Panics
    /// When it has another length.
    pub fn new(numbers: &Tensor) -> Correction {
        assert_eq!(numbers.numel(), Correction::NUMBERS, "the numbers of a correction");
        Correction { numbers: numbers.shallow_clone() }
    }

    /// `base(x + bias) + epsilon·correction(x + bias)`, as [`Fused::forward`].
    ///
    /// # Errors
    /// As [`Fused::forward`].
    ///
    /// # Panics
    /// When `base` is none of [`Correction::BASES`].
    pub fn forward(
        &self,
        base: Fused,
        epsilon: Scalar<'_>,
        x: &Tensor,
        bias: Option<&Tensor>,
    ) -> Result<Tensor, KernelError> {
        let place = Correction::BASES.into_iter().position(|known| known == base);
        let formula = Fused::ALL.len() + 1 + place.expect("a base that is corrected");
        let (tensor, constant) = match epsilon {
            Scalar::Tensor(tensor) => (tensor.as_ptr().cast(), 0.0),
            Scalar::Constant(value) => (ptr::null(), value),
        };
        let table = self.numbers.as_ptr().cast();
        run("a corrected activation", x, bias, [tensor, ptr::null()], [constant, 0.0], table, formula as i32)
    }
}

/// Of the cubic `c0 + t·(c1 + t·(c2 + t·c3))` in a cell, with t from 0 to 1 along it.
fn coefficients(table: &Table, cell: usize) -> [f64; 4] {
    let ([a, b], [ma, mb]) = (
        [cell, cell + 1].map(|node| table.values()[node]),
        [cell, cell + 1].map(|node| table.step() * table.slopes()[node]),
    );
    [a, ma, 3.0 * (b - a) - 2.0 * ma - mb, 2.0 * (a - b) + ma + mb]
}

/// Calls the shim; all pointers are null or those of live tensors.
fn run(
    what: &'static str,
    x: &Tensor,
    bias: Option<&Tensor>,
    [first, second]: [*const ffi::CTensor; 2],
    constants: [f64; 2],
    table: *const ffi::CTensor,
    formula: i32,
) -> Result<Tensor, KernelError> {
    let bias = bias.map_or(ptr::null(), |bias| bias.as_ptr().cast());
    let mut out = ptr::null_mut();
    // SAFETY: all pointers are null or those of live tensors, and `out` is written before null is answered.
    let answer = unsafe {
        let x = x.as_ptr().cast();
        ffi::rectify_activation(x, bias, first, second, constants[0], constants[1], table, formula, &mut out)
    };
    check(what, answer)?;
    // SAFETY: the shim made this tensor with `new`, as tch makes its own, and nobody else has it.
    Ok(unsafe { Tensor::from_ptr(out.cast()) })
}
