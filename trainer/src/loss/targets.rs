//! What each image of a batch should be taken for: two classes at most, and the share of each.

use dataloader::{Mix, SKIPPED};
use tch::{Kind, Tensor};

use crate::memory::sent;

/// The classes of N images that may be mixed with their partners, and how much of each image they are.
pub struct Targets {
    /// `(N, 2)` whole numbers: the own class and the partner's.
    pub classes: Tensor,
    /// `(N, 2)`: their shares. Those of a skipped image are zero.
    pub shares: Tensor,
}

impl Targets {
    /// The targets of `labels`, on the device and of the kind of `logits`; without mixes each image is all its own.
    ///
    /// # Panics
    /// When logits, labels and mixes are not as many.
    pub fn new(labels: &[i64], mixes: Option<&[Mix]>, logits: &Tensor) -> Targets {
        let as_many = mixes.is_none_or(|mixes| mixes.len() == labels.len());
        assert!(logits.size()[0] == labels.len() as i64 && as_many, "one label and one mix an image");
        let of = |place: usize| match mixes {
            Some(mixes) => {
                [(labels[place], mixes[place].weight), (labels[mixes[place].partner], 1.0 - mixes[place].weight)]
            }
            None => [(labels[place], 1.0), (labels[place], 0.0)],
        };
        let pairs: Vec<(i64, f64)> = (0..labels.len()).flat_map(of).collect();
        // A skipped image stands at some class, where its share is nothing.
        let classes: Vec<i64> = pairs.iter().map(|&(label, _)| label.max(0)).collect();
        let counts = |&(label, share): &(i64, f64)| if label == SKIPPED { 0.0 } else { share };
        let shares: Vec<f64> = pairs.iter().map(counts).collect();
        Targets {
            classes: sent(Tensor::from_slice(&classes).view([-1, 2]), logits.device()),
            shares: sent(Tensor::from_slice(&shares).view([-1, 2]).to_kind(logits.kind()), logits.device()),
        }
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
