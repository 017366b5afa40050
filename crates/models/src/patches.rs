//! Patches of images to tokens.

use tch::Tensor;

use crate::declaration::{Declarations, Slot};
use crate::initial::Initial;
use crate::parameters::Parameters;

/// Patches to features: a convolution whose stride is its kernel, done as one matrix product.
pub struct PatchEmbedding {
    side: i64,    // P
    weight: Slot, // (D, 3, P, P)
    bias: Slot,   // (D)
}

impl PatchEmbedding {
    /// Declares `name.proj`, for patches of `side` × `side` pixels.
    pub fn declare(declarations: &mut Declarations<'_>, name: &str, side: i64, width: i64) -> PatchEmbedding {
        // timm leaves the convolution as PyTorch starts it.
        let initial = Initial::convolution(3 * side * side);
        PatchEmbedding {
            side,
            weight: declarations.weight(format!("{name}.proj.weight"), &[width, 3, side, side], initial),
            bias: declarations.weight(format!("{name}.proj.bias"), &[width], initial),
        }
    }

    /// Rows and columns of patches of images `(N, 3, H, W)`.
    pub fn grid(&self, images: &Tensor) -> [i64; 2] {
        let (_, _, height, width) = images.size4().expect("images (N, 3, H, W)");
        [height / self.side, width / self.side]
    }

    /// `(N, 3, H, W)` to `(N, L, D)`, row after row.
    pub fn forward(&self, parameters: &Parameters, images: &Tensor) -> Tensor {
        let (n, channels, _, _) = images.size4().expect("images (N, 3, H, W)");
        let [rows, columns] = self.grid(images);
        let patches = images
            .reshape([n, channels, rows, self.side, columns, self.side])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([n, rows * columns, channels * self.side * self.side]);
        parameters.product(&patches, self.weight, Some(self.bias))
    }
}
