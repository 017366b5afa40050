//! The formula by which the scripts that computed the fixtures filled every tensor.

use tch::Tensor;

/// Seeds of what is no parameter.
pub const IMAGES: u64 = 1000;
/// Of the weights of the logits in the loss, and of those of the distillation head.
pub const LOGITS: [u64; 2] = [2000, 3000];

/// Element i is `middle + reach·(2u − 1)`, u = ((2654435761 i + 40503 i² + 2246822519 seed) mod 2³²) / 2³².
pub fn fill(shape: &[i64], seed: u64, middle: f64, reach: f64) -> Tensor {
    let element = |i: u64| {
        let hash = (2_654_435_761 * i + 40_503 * i * i + 2_246_822_519 * seed) % (1 << 32);
        middle + reach * (2.0 * (hash as f64 / (1u64 << 32) as f64) - 1.0)
    };
    let values: Vec<f64> = (0..shape.iter().product::<i64>() as u64).map(element).collect();
    Tensor::from_slice(&values).view(shape)
}
