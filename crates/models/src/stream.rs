//! The residual stream of pre-norm blocks: what was summed so far, and the branch that is still to be added to it.

use std::sync::{Arc, Mutex, PoisonError};

use kernels::norm::Branch;
use kernels::recompute::recomputed;
use tch::Tensor;

use crate::declaration::Slot;
use crate::layers::{LayerNorm, first};
use crate::parameters::Parameters;

/// The sum of the branches so far, `(N, …, D)`, in the kind of the parameters.
///
/// A branch waits until the stream is read, since the norm that mostly reads it adds it in the same pass over memory.
pub struct Stream {
    x: Tensor,
    waiting: Option<Waiting>,
}

/// What a branch that waits is multiplied by: LayerScale and drop-path.
type Factors = (Option<Slot>, Option<Tensor>);

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

    /// What the block `work` makes of the stream. Where blocks are recomputed, nothing of it is kept but what goes in: the block
    /// is computed again in the backward pass.
    pub fn through(
        self,
        parameters: &Parameters,
        work: impl Fn(&Parameters, Stream) -> Stream + Send + 'static,
    ) -> Stream {
        if !parameters.recomputes() {
            return work(parameters, self);
        }
        let Stream { x, waiting } = self;
        let (values, scale, mask) = match waiting {
            Some(waiting) => (Some(waiting.values), waiting.scale, waiting.mask),
            None => (None, None, None),
        };
        let inputs: Vec<&Tensor> = std::iter::once(&x).chain(&values).collect();
        let at_end: Arc<Mutex<Option<Factors>>> = Arc::default();
        let told = Arc::clone(&at_end);
        let parameters = parameters.handle();
        let block = move |inputs: Vec<Tensor>| {
            let mut inputs = inputs.into_iter();
            let x = inputs.next().expect("the sum");
            let mask = mask.as_ref().map(Tensor::shallow_clone);
            let waiting = inputs.next().map(|values| Waiting { values, scale, mask });
            let Stream { x, waiting } = work(&parameters, Stream { x, waiting });
            let Waiting { values, scale, mask } = waiting.expect("a block ends with a branch");
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some((scale, mask));
            vec![x, values]
        };
        let mut outputs = recomputed(&inputs, 2, block).expect("a block that fits its input").into_iter();
        let (x, values) = (outputs.next().expect("the sum"), outputs.next().expect("the branch"));
        let (scale, mask) =
            at_end.lock().unwrap_or_else(PoisonError::into_inner).take().expect("the block was computed");
        Stream { x, waiting: Some(Waiting { values, scale, mask }) }
    }

    /// The stream of the first `kept` tokens of `(N, L, D)` alone.
    pub fn first(self, parameters: &Parameters, kept: i64) -> Stream {
        Stream::new(first(&self.sum(parameters), 1, kept))
    }
}

impl Waiting {
    fn branch<'a>(&'a self, parameters: &'a Parameters) -> Branch<'a> {
        let scale = self.scale.map(|scale| parameters.tensor(scale));
        Branch { values: &self.values, scale, mask: self.mask.as_ref() }
    }
}
