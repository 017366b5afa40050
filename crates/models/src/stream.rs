//! The residual stream of pre-norm blocks: what was summed so far, and the branch that is still to be added to it.

use kernels::norm::Branch;
use tch::Tensor;

use crate::declaration::Slot;
use crate::layers::LayerNorm;
use crate::parameters::Parameters;

/// The sum of the branches so far, `(N, …, D)`, in the kind of the parameters.
///
/// A branch waits until the stream is read, since the norm that mostly reads it adds it in the same pass over memory.
pub struct Stream {
    x: Tensor,
    waiting: Option<Waiting>,
}

/// A branch: `values · scale · mask`.
struct Waiting {
    values: Tensor,
    scale: Option<Slot>,  // (D)
    mask: Option<Tensor>, // (N)
}

impl Stream {
    /// A stream that begins with `x`.
    pub fn new(x: Tensor) -> Stream {
        Stream { x, waiting: None }
    }

    /// Adds the branch `values`, `(N, …, D)` in any kind; `scale` is a LayerScale `(D)`, `mask` the drop-path of each of the N.
    pub fn add(self, parameters: &Parameters, values: Tensor, scale: Option<Slot>, mask: Option<Tensor>) -> Stream {
        Stream { x: self.sum(parameters), waiting: Some(Waiting { values, scale, mask }) }
    }

    /// The sum.
    pub fn sum(self, parameters: &Parameters) -> Tensor {
        match &self.waiting {
            Some(waiting) => waiting.branch(parameters).added_to(&self.x),
            None => self.x,
        }
    }

    /// The norm of the sum in the kind of products, for the branch that begins there; and the stream to add it to.
    pub fn normed(self, parameters: &Parameters, norm: &LayerNorm) -> (Stream, Tensor) {
        let Some(waiting) = &self.waiting else {
            let normed = norm.for_product(parameters, &self.x);
            return (self, normed);
        };
        let kind = parameters.product_kind();
        let (normed, sum) = norm
            .kernel(parameters)
            .forward_sum(&self.x, waiting.branch(parameters), kind)
            .expect("kinds, shapes and devices of a model fit");
        (Stream::new(sum), normed)
    }

    /// The stream of the first `kept` tokens of `(N, L, D)` alone.
    pub fn first(self, parameters: &Parameters, kept: i64) -> Stream {
        Stream::new(self.sum(parameters).narrow(1, 0, kept))
    }
}

impl Waiting {
    fn branch<'a>(&'a self, parameters: &'a Parameters) -> Branch<'a> {
        let scale = self.scale.map(|scale| parameters.tensor(scale));
        Branch { values: &self.values, scale, mask: self.mask.as_ref() }
    }
}
