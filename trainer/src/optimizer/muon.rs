//! Muon over the flat parameter groups: orthogonalised momentum for matrices, AdamW for the rest.

use models::Parameters;
use tch::{Kind, Tensor, no_grad};

use super::adamw::Adam;
use super::{Optimizer, decay, handles, rate_of, zeros};
use crate::data_parallel::Slice;
use crate::numbers::Numbers;

/// Muon (Jordan et al., 2024) as timm's `Muon`: coefficients "quintic", five iterations, learning rate times
/// 0.2·√max(rows, columns) so that one rate suits both halves (arXiv 2502.16982).
///
/// The shape of a tensor decides whether it is a matrix, as in timm (see [`matrix_of`]). The iteration works in bfloat16, as in
/// Jordan's code and timm's, where `train.precision` is bf16; otherwise in the kind of the parameters. Tensors other than matrices
/// have AdamW with Nesterov's momentum too, where timm changes to NAdamW.
pub struct Muon {
    momentum: f64,
    nesterov: bool,
    adam: Adam,
    eps: f64,
    weight_decay: f64,
    iterates_in: Kind,
    slices: Vec<Slice>,
    matrices: Vec<Option<[i64; 2]>>, // by parameter: rows and columns, where it is a matrix
    exp_avg: Vec<Tensor>,            // Muon's momentum and Adam's first moment
    exp_avg_sq: Vec<Tensor>,         // Adam's second moment; of matrices it stays zero
}

impl Muon {
    /// An optimiser for `slices` of `parameters` that has taken no step.
    pub fn new(config: &plan::config::Optimizer, parameters: &Parameters, slices: Vec<Slice>) -> Muon {
        assert_eq!(slices, Slice::whole_groups(parameters), "Muon looks at whole tensors");
        Muon {
            momentum: config.momentum(),
            nesterov: config.nesterov(),
            adam: Adam::new(config),
            eps: config.eps(),
            weight_decay: config.weight_decay,
            iterates_in: match parameters.product_kind() {
                Kind::BFloat16 => Kind::BFloat16,
                _ => parameters.kind(), // f16's range is too short for the sums of squares
            },
            matrices: parameters.iter().map(|parameter| matrix_of(&parameter.tensor.size())).collect(),
            exp_avg: zeros(parameters, &slices),
            exp_avg_sq: zeros(parameters, &slices),
            slices,
        }
    }

    /// Moves a matrix of this shape and its momentum, all flat.
    fn update(&self, shape: [i64; 2], values: &mut Tensor, grads: &Tensor, momentum: &mut Tensor, rate: &Tensor) {
        let _ = momentum.lerp_(grads, 1.0 - self.momentum);
        let direction = if self.nesterov { grads.lerp(momentum, self.momentum) } else { momentum.shallow_clone() };
        let turned = orthogonalize(&direction.view(shape).to_kind(self.iterates_in), self.eps).to_kind(values.kind());
        let scale = 0.2 * (shape[0].max(shape[1]) as f64).sqrt();
        *values -= turned.reshape([-1]) * (rate * scale);
    }
}

impl Optimizer for Muon {
    fn slices(&self) -> &[Slice] {
        &self.slices
    }

    fn step(&mut self, parameters: &Parameters, numbers: &Numbers) {
        no_grad(|| {
            let rates: Vec<Tensor> = parameters.groups().iter().map(|group| rate_of(group, numbers)).collect();
            for (group, rate) in parameters.groups().iter().zip(&rates) {
                decay(group, &mut group.values.shallow_clone(), &(rate * self.weight_decay));
            }
            for (parameter, shape) in parameters.iter().zip(&self.matrices) {
                let group = &parameters.groups()[parameter.group];
                let rate = &rates[parameter.group];
                let window =
                    |buffer: &Tensor| buffer.narrow(0, parameter.range.start as i64, parameter.range.len() as i64);
                let (mut values, grads) = (window(&group.values), window(&group.grads));
                let mut first = window(&self.exp_avg[parameter.group]);
                match *shape {
                    Some(shape) => self.update(shape, &mut values, &grads, &mut first, rate),
                    None => {
                        let mut second = window(&self.exp_avg_sq[parameter.group]);
                        self.adam.update(&mut values, &grads, &mut first, &mut second, rate, &numbers.step());
                    }
                }
            }
        });
    }

    fn buffers(&self) -> Vec<(&'static str, Vec<Tensor>)> {
        vec![("exp_avg.", handles(&self.exp_avg)), ("exp_avg_sq.", handles(&self.exp_avg_sq))]
    }
}

/// Rows and columns of a tensor that is orthogonalised, its dimensions after the first taken together; `None` for others.
///
/// timm's rule: neither of the first two dimensions is 1 (a token, a position embedding, a depthwise kernel), rows and
/// columns are at least 4, and one at most 128 times the other. A classifier counts.
fn matrix_of(shape: &[i64]) -> Option<[i64; 2]> {
    let [rows, second, ..] = *shape else { return None };
    if rows == 1 || second == 1 {
        return None;
    }
    let columns: i64 = shape[1..].iter().product();
    let (short, long) = (rows.min(columns), rows.max(columns));
    (short >= 4 && long <= 128 * short).then_some([rows, columns])
}

/// Coefficients of the iterations, timm's "quintic".
const COEFFICIENTS: [(f64, f64, f64); 5] = [
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
];

/// The matrix with all its singular values brought near 1, by iterations of Newton and Schulz.
fn orthogonalize(matrix: &Tensor, eps: f64) -> Tensor {
    let [rows, columns] = [matrix.size()[0], matrix.size()[1]];
    let mut x = if rows > columns { matrix.tr() } else { matrix.shallow_clone() };
    x = &x / x.norm().clamp_min(eps);
    for (a, b, c) in COEFFICIENTS {
        let gram = x.matmul(&x.tr());
        let factor = gram.matmul(&gram) * c + gram * b;
        x = factor.matmul(&x) + x * a;
    }
    if rows > columns { x.tr() } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_are_those_of_timm() {
        assert_eq!(matrix_of(&[64, 128]), Some([64, 128]));
        assert_eq!(matrix_of(&[96, 3, 4, 4]), Some([96, 48]));
        for other in [&[64][..], &[], &[4, 2048], &[3, 3], &[1, 196, 768], &[96, 1, 3, 3], &[1, 1, 192]] {
            assert_eq!(matrix_of(other), None, "{other:?}");
        }
    }

    #[test]
    fn singular_values_come_near_one() {
        let wave: Vec<f64> = (0..60).map(|i| (0.7 * f64::from(i * i)).sin()).collect();
        let matrix = Tensor::from_slice(&wave).view([10, 6]);
        for matrix in [matrix.tr(), matrix] {
            let exact = orthogonalize(&matrix, 1e-7);
            let narrow = orthogonalize(&matrix.to_kind(Kind::BFloat16), 1e-7).to_kind(Kind::Double);
            for turned in [&exact, &narrow] {
                let (_, values, _) = turned.svd(true, false);
                let values = Vec::<f64>::try_from(values).expect("numbers");
                assert!(values.iter().all(|value| (0.6..1.4).contains(value)), "{values:?}");
            }
            // Five iterations in bf16 leave each number within a few hundredths.
            let apart = (&narrow - &exact).abs().max().double_value(&[]);
            assert!(apart > 0.0 && apart < 0.05, "{apart}");
        }
    }
}
