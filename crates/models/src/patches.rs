//! Images as networks read them, and patches of images to tokens.

use tch::{Kind, Tensor};

use crate::declaration::{Declarations, Slot};
use crate::initial::Initial;
use crate::parameters::Parameters;

/// The form in which a network reads images with no further copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageForm {
    /// Side of the patches that its first product takes; `None` where it reads whole images.
    pub patch: Option<i64>,
    /// The kind that its first operation rounds them to.
    pub kind: Kind,
}

/// Images for a network: whole, which every network takes, or in its [`ImageForm`].
#[derive(Debug)]
pub struct Images {
    /// `(N, 3, H, W)`, or `(N, L, 3·P·P)` where there is a grid.
    values: Tensor,
    /// Rows and columns of patches.
    grid: Option<[i64; 2]>,
}

impl Images {
    /// Patches `(N, L, 3·P·P)`, row after row of `grid`, which has L patches; channels of a patch
    /// one after the other.
    ///
    /// # Panics
    /// When the grid has another number of patches.
    pub fn in_patches(values: Tensor, grid: [i64; 2]) -> Images {
        let (_, patches, _) = values.size3().expect("patches (N, L, 3·P·P)");
        assert_eq!(patches, grid[0] * grid[1], "patches of a grid of {grid:?}");
        Images { values, grid: Some(grid) }
    }

    /// The numbers: `(N, 3, H, W)`, or patches `(N, L, 3·P·P)`.
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// `(N, 3, H, W)`.
    ///
    /// # Panics
    /// When they are cut into patches.
    pub fn whole(&self) -> &Tensor {
        assert!(self.grid.is_none(), "a network that reads whole images got patches");
        &self.values
    }
}

impl From<&Tensor> for Images {
    /// Whole images, `(N, 3, H, W)`.
    fn from(images: &Tensor) -> Images {
        Images { values: images.shallow_clone(), grid: None }
    }
}

impl From<&Images> for Images {
    fn from(images: &Images) -> Images {
        Images { values: images.values.shallow_clone(), grid: images.grid }
    }
}

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

    /// The form of images for which [`forward`](Self::forward) makes no copy.
    pub fn form(&self, parameters: &Parameters) -> ImageForm {
        ImageForm { patch: Some(self.side), kind: parameters.product_kind() }
    }

    /// Rows and columns of patches.
    pub fn grid(&self, images: &Images) -> [i64; 2] {
        images.grid.unwrap_or_else(|| {
            let (_, _, height, width) = images.values.size4().expect("images (N, 3, H, W)");
            [height / self.side, width / self.side]
        })
    }

    /// To `(N, L, D)`, row after row.
    pub fn forward(&self, parameters: &Parameters, images: &Images) -> Tensor {
        let values = &images.values;
        if images.grid.is_some() {
            return parameters.product(values, self.weight, Some(self.bias));
        }
        let (n, channels, _, _) = values.size4().expect("images (N, 3, H, W)");
        let [rows, columns] = self.grid(images);
        let patches = values
            .reshape([n, channels, rows, self.side, columns, self.side])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([n, rows * columns, channels * self.side * self.side]);
        parameters.product(&patches, self.weight, Some(self.bias))
    }
}
