//! What a step would take if it were nothing but its matrix products, each as fast as libtorch makes it by itself.

use std::time::Instant;

use plan::Plan;
use plan::config::Precision;
use plan::models::Product;
use tch::{Device, Kind, Tensor, no_grad};

/// How often each product is done; the median counts.
const ROUNDS: usize = 3;

/// The matrix products of a model's blocks by themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Floor {
    /// Floating-point operations a second of these products, forward and for both gradients; a multiply-add counts as two.
    pub flops_per_second: f64,
}

impl Floor {
    /// Does the products of the blocks of a micro-batch, in `kind`, on this rank. Where the model is not made of linear maps,
    /// one of a thousand rows, inputs and outputs stands for all.
    pub fn measure(plan: &Plan, kind: Kind, device: Device) -> Floor {
        let mut products = plan.model.architecture.family().products(plan.model.shape());
        let batch = if products.is_empty() { 1 } else { plan.micro_batch };
        if products.is_empty() {
            products.push(Product { rows: 1024, inputs: 1024, outputs: 1024, times: 1 });
        }
        let (mut operations, mut seconds) = (0.0, 0.0);
        for Product { rows, inputs, outputs, times } in products {
            let rows = (rows * batch) as i64;
            let [inputs, outputs] = [inputs as i64, outputs as i64];
            let took = no_grad(|| three_products([rows, inputs, outputs], kind, device));
            operations += times as f64 * 6.0 * (rows * inputs * outputs) as f64;
            seconds += times as f64 * took;
        }
        Floor { flops_per_second: operations / seconds }
    }
}

/// What the same products reach in another precision.
#[derive(Clone, Copy, Debug)]
pub struct OtherPrecision {
    precision: Precision,
    floor: Floor,
}

impl OtherPrecision {
    /// Of f32 where the run has another precision, else of bf16.
    pub fn measure(plan: &Plan, device: Device) -> OtherPrecision {
        let (precision, kind) = match plan.config.train.precision {
            Precision::F32 => (Precision::Bf16, Kind::BFloat16),
            Precision::Bf16 | Precision::F16 => (Precision::F32, Kind::Float),
        };
        OtherPrecision { precision, floor: Floor::measure(plan, kind, device) }
    }

    /// What to try, where that is faster than `own` by more than a tenth; else nothing.
    pub fn hint(&self, own: Floor) -> String {
        let times = self.floor.flops_per_second / own.flops_per_second;
        if times <= 1.1 {
            return String::new();
        }
        let name = self.precision.name();
        format!("; products in {name} are {times:.1} times as fast here: try train.precision = \"{name}\"")
    }
}

/// Waits until a GPU has done what was asked of it.
fn wait(device: Device) {
    if let Device::Cuda(index) = device {
        kernels::cuda::synchronise(index).expect("a device that works");
    }
}

/// The median seconds of `x·Wᵀ` and of the gradients of x and of W.
fn three_products([rows, inputs, outputs]: [i64; 3], kind: Kind, device: Device) -> f64 {
    let noise = |shape: [i64; 2]| {
        let values = Tensor::arange(shape[0] * shape[1], (Kind::Float, device));
        (values * 0.37).sin().view(shape).to_kind(kind)
    };
    let [x, weight, gradient] = [[rows, inputs], [outputs, inputs], [rows, outputs]].map(noise);
    let mut times = Vec::with_capacity(ROUNDS);
    for round in 0..=ROUNDS {
        wait(device);
        let begun = Instant::now();
        drop([x.linear::<&Tensor>(&weight, None), gradient.matmul(&weight), gradient.tr().matmul(&x)]);
        wait(device);
        if round > 0 {
            times.push(begun.elapsed().as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_precision_is_recommended_where_its_products_are_faster() {
        let other = OtherPrecision { precision: Precision::Bf16, floor: Floor { flops_per_second: 3e11 } };
        let hint = other.hint(Floor { flops_per_second: 1e11 });
        assert!(hint.ends_with("bf16 are 3.0 times as fast here: try train.precision = \"bf16\""), "{hint}");
        assert_eq!(other.hint(Floor { flops_per_second: 2.8e11 }), "");
    }
}
