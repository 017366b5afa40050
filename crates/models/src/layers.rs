//! The layers that networks share: linear maps, layer normalisation, attention, the two-layer perceptron.

use tch::{Kind, Tensor};

use crate::activation::Activation;
use crate::declaration::{Declarations, Slot};
use crate::initial::Initial;
use crate::parameters::Parameters;

/// Weights of linear maps start as in timm.
pub const WEIGHT: Initial = Initial::TruncatedNormal { std: 0.02 };
const ZEROS: Initial = Initial::Constant(0.0);
const ONES: Initial = Initial::Constant(1.0);

/// A linear map with a bias, `x·Wᵀ + b`.
pub struct Linear {
    weight: Slot, // (outputs, inputs), perhaps with two more dimensions of 1
    bias: Slot,   // (outputs)
}

impl Linear {
    /// Declares `name.weight` and `name.bias`.
    pub fn declare(declarations: &mut Declarations<'_>, name: &str, inputs: i64, outputs: i64) -> Linear {
        Linear::starting(declarations, name, inputs, outputs, [WEIGHT, ZEROS])
    }

    /// The same with other initial values of weight and bias.
    pub fn starting(
        declarations: &mut Declarations<'_>,
        name: &str,
        inputs: i64,
        outputs: i64,
        initial: [Initial; 2],
    ) -> Linear {
        Linear::shaped(declarations, name, &[outputs, inputs], initial)
    }

    /// The same with a weight in the shape of a convolution over 1 × 1.
    pub fn of_pixels(
        declarations: &mut Declarations<'_>,
        name: &str,
        inputs: i64,
        outputs: i64,
        initial: [Initial; 2],
    ) -> Linear {
        Linear::shaped(declarations, name, &[outputs, inputs, 1, 1], initial)
    }

    fn shaped(declarations: &mut Declarations<'_>, name: &str, shape: &[i64], [weight, bias]: [Initial; 2]) -> Linear {
        Linear {
            weight: declarations.weight(format!("{name}.weight"), shape, weight),
            bias: declarations.weight(format!("{name}.bias"), &shape[..1], bias),
        }
    }

    /// `(…, inputs)` to `(…, outputs)`.
    pub fn forward(&self, parameters: &Parameters, x: &Tensor) -> Tensor {
        parameters.product(x, self.weight, Some(self.bias))
    }

    /// `f(x·Wᵀ + b)`, the bias and the activation `f` in one pass.
    pub fn forward_activated(&self, parameters: &Parameters, x: &Tensor, f: &Activation) -> Tensor {
        let product = parameters.product(x, self.weight, None);
        f.forward_biased(parameters, &product, Some(parameters.tensor(self.bias)))
    }
}

/// Normalisation of the last dimension.
pub struct LayerNorm {
    eps: f64,
    weight: Slot,
    bias: Slot,
}

impl LayerNorm {
    /// Declares `name.weight` and `name.bias`; with eps 1e-6, as timm's plain vision transformers have it.
    pub fn declare(declarations: &mut Declarations<'_>, name: &str, width: i64) -> LayerNorm {
        LayerNorm::with_eps(declarations, name, width, 1e-6)
    }

    /// The same with another eps.
    pub fn with_eps(declarations: &mut Declarations<'_>, name: &str, width: i64, eps: f64) -> LayerNorm {
        LayerNorm {
            eps,
            weight: declarations.weight(format!("{name}.weight"), &[width], ONES),
            bias: declarations.weight(format!("{name}.bias"), &[width], ZEROS),
        }
    }

    /// `(…, width)` to the same, in the kind of the parameters.
    pub fn forward(&self, parameters: &Parameters, x: &Tensor) -> Tensor {
        self.forward_in(parameters, x, parameters.kind())
    }

    /// The same in the kind of products, for a linear map that comes next.
    pub fn for_product(&self, parameters: &Parameters, x: &Tensor) -> Tensor {
        self.forward_in(parameters, x, parameters.product_kind())
    }

    fn forward_in(&self, parameters: &Parameters, x: &Tensor, kind: Kind) -> Tensor {
        let x = x.to_kind(parameters.kind());
        self.kernel(parameters).forward(&x, kind).expect("kinds, shapes and devices of a model fit")
    }

    /// The norm as a kernel takes it.
    pub fn kernel<'a>(&self, parameters: &'a Parameters) -> kernels::norm::LayerNorm<'a> {
        let (weight, bias) = (parameters.tensor(self.weight), parameters.tensor(self.bias));
        kernels::norm::LayerNorm { weight, bias, eps: self.eps }
    }
}

/// The first `count` of `x` along `dimension`: `x` itself where that is all of it, since backward of a view, even of everything,
/// fills a tensor with zeros and copies into it.
pub fn first(x: &Tensor, dimension: i64, count: i64) -> Tensor {
    if x.size()[dimension as usize] == count { x.shallow_clone() } else { x.narrow(dimension, 0, count) }
}

/// How many sequences libtorch's attention takes at once on a GPU: its kernels number them by a dimension of the grid that ends there.
const MOST_SEQUENCES: i64 = 65_535;

/// Scaled dot-product attention in `heads` heads: query, key and value are `(N, L, D)`, and the first `queries` tokens look at all
/// of them; the answer is `(N, queries, D)`.
pub fn attend(parts: [&Tensor; 3], heads: i64, queries: i64) -> Tensor {
    attend_by(parts, heads, queries, MOST_SEQUENCES)
}

fn attend_by(parts: [&Tensor; 3], heads: i64, queries: i64, most_sequences: i64) -> Tensor {
    let (n, tokens, width) = parts[0].size3().expect("(N, L, D)");
    let [query, key, value] = parts.map(|part| part.view([n, tokens, heads, width / heads]).transpose(1, 2)); // (N, H, L, D/H)
    let query = first(&query, 2, queries);
    let mixed = |query: &Tensor, key: &Tensor, value: &Tensor| {
        Tensor::scaled_dot_product_attention::<Tensor>(query, key, value, None, 0.0, false, None, false)
    };
    let mixed = if n <= most_sequences {
        mixed(&query, &key, &value)
    } else {
        let [queries, keys, values] = [&query, &key, &value].map(|part| part.split(most_sequences, 0));
        let pieces: Vec<Tensor> =
            queries.iter().zip(&keys).zip(&values).map(|((query, key), value)| mixed(query, key, value)).collect();
        Tensor::cat(&pieces, 0)
    };
    mixed.transpose(1, 2).reshape([n, queries, width])
}

/// Multi-head self-attention.
pub struct Attention {
    heads: i64,
    qkv: Linear,
    proj: Linear,
}

impl Attention {
    /// Declares `name.qkv` and `name.proj`; `heads` divides `width`.
    pub fn declare(declarations: &mut Declarations<'_>, name: &str, width: i64, heads: i64) -> Attention {
        Attention {
            heads,
            qkv: Linear::declare(declarations, &format!("{name}.qkv"), width, 3 * width),
            proj: Linear::declare(declarations, &format!("{name}.proj"), width, width),
        }
    }

    /// `(N, L, D)` to `(N, queries, D)`: the first `queries` tokens look at all of them.
    ///
    /// The three parts are taken by splitting the last dimension: backward then joins them in one pass, where the
    /// five-dimensional permutation that PyTorch code uses takes two.
    pub fn forward(&self, parameters: &Parameters, x: &Tensor, queries: i64) -> Tensor {
        let width = x.size()[2];
        let parts = self.qkv.forward(parameters, x).split(width, -1);
        self.proj.forward(parameters, &attend([&parts[0], &parts[1], &parts[2]], self.heads, queries))
    }
}

/// Two linear maps with an activation between them.
pub struct Mlp {
    fc1: Linear,
    act: Activation,
    fc2: Linear,
}

impl Mlp {
    /// Declares `name.fc1`, `name.act` and `name.fc2`.
    pub fn declare(declarations: &mut Declarations<'_>, name: &str, width: i64, hidden: i64) -> Mlp {
        Mlp {
            fc1: Linear::declare(declarations, &format!("{name}.fc1"), width, hidden),
            act: Activation::declare(declarations, &format!("{name}.act")),
            fc2: Linear::declare(declarations, &format!("{name}.fc2"), hidden, width),
        }
    }

    /// `(…, D)` to the same.
    pub fn forward(&self, parameters: &Parameters, x: &Tensor) -> Tensor {
        let hidden = self.fc1.forward_activated(parameters, x, &self.act);
        self.fc2.forward(parameters, &hidden)
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn wave(seed: i64, shape: &[i64]) -> Tensor {
        (Tensor::arange(shape.iter().product::<i64>(), (Kind::Double, Device::Cpu)) * 0.37 + seed).sin().view(shape)
    }

    /// Values and gradients, whole and in pieces of which the last is smaller.
    #[test]
    fn attention_over_many_sequences_is_done_in_pieces() {
        let of = |most: i64, queries: i64| {
            let parts = [1, 2, 3].map(|seed| wave(seed, &[7, 5, 6]).set_requires_grad(true));
            let mixed = attend_by([&parts[0], &parts[1], &parts[2]], 3, queries, most);
            assert_eq!(mixed.size(), [7, queries, 6]);
            (&mixed * wave(4, &[7, queries, 6])).sum(Kind::Double).backward();
            [mixed.detach(), parts[0].grad(), parts[1].grad(), parts[2].grad()]
        };
        for queries in [1, 5] {
            let whole = of(7, queries);
            for most in [1, 3, 4] {
                assert_eq!(of(most, queries), whole, "{most} at once");
            }
        }
    }

    #[test]
    fn the_first_of_all_are_all() {
        let x = wave(1, &[2, 3]).set_requires_grad(true) * 1.0;
        assert_eq!(first(&x, 1, 3).data_ptr(), x.data_ptr());
        assert_eq!(first(&x, 1, 2).size(), [2, 2]);
        assert_eq!(first(&x, 0, 1), x.narrow(0, 0, 1));
    }
}
