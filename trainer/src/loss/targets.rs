//! What each image of a batch should be taken for: two classes at most, and the share of each.

use dataloader::SKIPPED;
use tch::{Kind, Tensor};

use crate::mixing::Mixes;

/// The classes of N images that may be mixed with their partners, and how much of each image they are.
pub struct Targets {
    /// `(N, 2)` whole numbers: the own class and the partner's.
    pub classes: Tensor,
    /// `(N, 2)`: their shares. Those of a skipped image are zero.
    pub shares: Tensor,
}

impl Targets {
    /// The targets of `labels` `(N)`, in `kind`; without mixes each image is all its own.
    ///
    /// # Panics
    /// When labels and mixes are not as many.
    pub fn new(labels: &Tensor, mixes: Option<&Mixes>, kind: Kind) -> Targets {
        let both = |own: &Tensor, partners: &Tensor| Tensor::stack(&[own, partners], 1); // (N, 2)
        let (labels, shares) = match mixes {
            Some(Mixes { partners, weights, .. }) => {
                assert_eq!(labels.size(), partners.size(), "one label and one mix an image");
                (both(labels, &labels.index_select(0, partners)), both(weights, &(1.0 - weights)).to_kind(kind))
            }
            None => {
                let like = (kind, labels.device());
                let (all, nothing) = (Tensor::ones(labels.size(), like), Tensor::zeros(labels.size(), like));
                (both(labels, labels), both(&all, &nothing))
            }
        };
        // A skipped image stands at some class, where its share is nothing.
        Targets { classes: labels.clamp_min(0), shares: shares * labels.ne(SKIPPED) }
    }

    /// `(N)`: how much of each image counts; 1 where nothing was skipped.
    pub fn weights(&self) -> Tensor {
        self.shares.sum_dim_intlist([1i64].as_slice(), false, self.shares.kind())
    }

    /// `(N, num_classes)`: the target of what counts of each image, smoothed as timm's `mixup_target`; rows sum to 1.
    pub fn dense(&self, num_classes: i64, smoothing: f64) -> Tensor {
        let counted = self.weights().unsqueeze(1).clamp_min(1e-12); // (N, 1)
        let target = Tensor::zeros([self.classes.size()[0], num_classes], (self.shares.kind(), self.shares.device()));
        let target = target.scatter_add(1, &self.classes, &(&self.shares / counted));
        target * (1.0 - smoothing) + smoothing / num_classes as f64
    }

    /// The mean over all images of one number an image, `(N)`, weighted by what counts of it.
    pub fn mean(&self, each: &Tensor) -> Tensor {
        (each * self.weights()).mean(None::<Kind>)
    }
}
