//! Initial values of parameters: drawn on the host, each parameter from a key of its own.

use std::thread;

use random::{Key, Rng};

/// How many values share a key.
const BLOCK: usize = 1 << 15;

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// Every element the same.
    Constant(f64),
    /// Normal with mean 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Normal with mean 0, cut at −2 and 2 in absolute terms, as `trunc_normal_` of timm and PyTorch does.
    TruncatedNormal {
        /// Standard deviation before the cut.
        std: f64,
    },
    /// Uniform in `[-bound, bound)`.
    Uniform {
        /// Largest size.
        bound: f64,
    },
}

impl Initial {
    /// What PyTorch gives the weight and the bias of a convolution with `fan_in` inputs to each output.
    pub fn convolution(fan_in: i64) -> Initial {
        Initial::Uniform { bound: 1.0 / (fan_in as f64).sqrt() }
    }

    /// `count` values for the parameter `name`. `key` is the key of all initial values of a run.
    ///
    /// Each block of values has a key of its own, so that cores share the work and their number changes nothing.
    pub fn draw(self, key: Key, name: &str, count: usize) -> Vec<f64> {
        if let Initial::Constant(value) = self {
            return vec![value; count];
        }
        let key = key.child(tag(name));
        let mut values = vec![0.0; count];
        let mut blocks: Vec<(usize, &mut [f64])> = values.chunks_mut(BLOCK).enumerate().collect();
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let share = blocks.len().div_ceil(threads).max(1);
        let fill = |blocks: &mut [(usize, &mut [f64])]| {
            for (index, block) in blocks {
                let mut rng = key.child(*index as u64).rng();
                block.fill_with(|| self.one(&mut rng));
            }
        };
        thread::scope(|scope| {
            let mut shares = blocks.chunks_mut(share);
            let first = shares.next();
            for share in shares {
                scope.spawn(move || fill(share));
            }
            first.map(fill);
        });
        values
    }

    fn one(self, rng: &mut Rng) -> f64 {
        match self {
            Initial::Constant(value) => value,
            Initial::Normal { std } => std * rng.normal(),
            Initial::TruncatedNormal { std } => rng.truncated_normal(0.0, std, -2.0, 2.0),
            Initial::Uniform { bound } => rng.uniform_in(-bound, bound),
        }
    }
}

/// The tag of a name among keys: the first eight bytes of its hash, so that it depends on no other parameter.
fn tag(name: &str) -> u64 {
    let hash = blake3::hash(name.as_bytes());
    hash.as_bytes()[..8].iter().fold(0, |tag, &byte| tag << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f64]) -> (f64, f64) {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt())
    }

    #[test]
    fn draws_have_the_stated_spread() {
        let key = Key::root(3);
        for (initial, std) in [
            (Initial::Normal { std: 1e-6 }, 1e-6),
            (Initial::TruncatedNormal { std: 0.02 }, 0.02),
            (Initial::convolution(12), (12f64).sqrt().recip() / 3f64.sqrt()),
        ] {
            let (mean, found) = moments(&initial.draw(key, "blocks.0.attn.qkv.weight", 100_000));
            assert!(mean.abs() < 0.02 * std, "{initial:?}: mean {mean}");
            assert!((found / std - 1.0).abs() < 0.01, "{initial:?}: std {found} instead of {std}");
        }
    }

    #[test]
    fn the_cut_is_absolute() {
        let values = Initial::TruncatedNormal { std: 1.5 }.draw(Key::root(0), "x", 10_000);
        assert!(values.iter().all(|x| x.abs() <= 2.0));
        assert!(values.iter().any(|x| x.abs() > 1.9));
    }

    #[test]
    fn a_parameter_depends_on_its_name_and_key_alone() {
        let initial = Initial::Normal { std: 1.0 };
        let values = initial.draw(Key::root(1), "head.weight", 8);
        assert_eq!(values, initial.draw(Key::root(1), "head.weight", 8));
        assert_eq!(values[..4], initial.draw(Key::root(1), "head.weight", 4));
        assert_ne!(values, initial.draw(Key::root(1), "head.bias", 8));
        assert_ne!(values, initial.draw(Key::root(2), "head.weight", 8));
        let long = initial.draw(Key::root(1), "head.weight", 2 * BLOCK + 3);
        assert_eq!(values, long[..8]);
        assert_ne!(long[..8], long[BLOCK..BLOCK + 8]);
        assert_ne!(long[2 * BLOCK..], [0.0; 3]);
    }
}
