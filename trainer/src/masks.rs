//! Masks of drop-path and dropout: drawn from each sample's own key, so that ranks and restarts do not change them.

use dataloader::SampleKey;
use models::{Dropout, Masks, Model};
use random::Purpose;
use tch::Tensor;

use crate::memory::sent;

/// Draws what `model` leaves out for the samples of one micro-batch.
pub fn draw(seed: u64, model: &Model, samples: &[SampleKey]) -> Masks {
    let device = model.parameters().device();
    Masks {
        drop_path: drop_path(seed, model.drop_path_rates(), samples).map(|mask| sent(mask, device)),
        dropout: model.dropout().map(|dropout| sent(features(seed, &dropout, samples), device)),
    }
}

/// `(num_drops, N)` f32, each 0 with probability `rates[drop]`, else `1 / (1 − rate)`; `None` when every rate is zero.
///
/// As timm's `drop_path` with `scale_by_keep`.
fn drop_path(seed: u64, rates: &[f64], samples: &[SampleKey]) -> Option<Tensor> {
    if rates.iter().all(|&rate| rate == 0.0) {
        return None;
    }
    let mut scales = vec![0f32; rates.len() * samples.len()];
    for (column, sample) in samples.iter().enumerate() {
        let key = sample.key(seed, Purpose::DropPath);
        for (drop, &rate) in rates.iter().enumerate() {
            scales[drop * samples.len() + column] = keep(key.child(drop as u64).uniform(), rate);
        }
    }
    Some(Tensor::from_slice(&scales).view([rates.len() as i64, samples.len() as i64]))
}

/// `(heads, N, features)` f32, each 0 with probability `rate`, else `1 / (1 − rate)`, as PyTorch's `Dropout`.
fn features(seed: u64, dropout: &Dropout, samples: &[SampleKey]) -> Tensor {
    let Dropout { rate, heads, features } = *dropout;
    let mut scales = Vec::with_capacity(heads * samples.len() * features);
    for head in 0..heads {
        for sample in samples {
            let mut rng = sample.key(seed, Purpose::Dropout).child(head as u64).rng();
            scales.extend((0..features).map(|_| keep(rng.uniform(), rate)));
        }
    }
    Tensor::from_slice(&scales).view([heads as i64, samples.len() as i64, features as i64])
}

fn keep(uniform: f64, rate: f64) -> f32 {
    if uniform >= rate { (1.0 / (1.0 - rate)) as f32 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(range: std::ops::Range<u64>) -> Vec<SampleKey> {
        range.map(|position| SampleKey { epoch: 0, position, sample: position * 3 }).collect()
    }

    #[test]
    fn a_sample_keeps_its_mask_in_any_batch() {
        let rates = [0.0, 0.3, 0.6];
        let whole = drop_path(1, &rates, &samples(0..8)).expect("rates above zero");
        let part = drop_path(1, &rates, &samples(5..8)).expect("rates above zero");
        assert_eq!(whole.narrow(1, 5, 3), part);

        let dropout = Dropout { rate: 0.4, heads: 2, features: 5 };
        let (whole, part) = (features(1, &dropout, &samples(0..8)), features(1, &dropout, &samples(5..8)));
        assert_eq!(whole.narrow(1, 5, 3), part);
    }

    #[test]
    fn the_mean_is_one() {
        let mean = |masks: Tensor| masks.mean(tch::Kind::Float).double_value(&[]);
        let paths = mean(drop_path(2, &[0.25], &samples(0..20_000)).expect("rates above zero"));
        let kept = mean(features(2, &Dropout { rate: 0.25, heads: 2, features: 100 }, &samples(0..100)));
        assert!((paths - 1.0).abs() < 0.02 && (kept - 1.0).abs() < 0.02, "means {paths} and {kept}");
    }

    #[test]
    fn no_rate_needs_no_mask() {
        assert!(drop_path(3, &[0.0; 4], &samples(0..2)).is_none());
    }
}
