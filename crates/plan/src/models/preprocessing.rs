//! How images are brought to a model whose weights come from timm 1.0.31, by its `default_cfgs`.

use crate::config::{Augment, Interpolation};

/// What timm's evaluation does to images for the weights that it offers first under a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preprocessing {
    /// Mean of red, green and blue, on the scale 0 to 1.
    pub mean: [f64; 3],
    /// Standard deviation of red, green and blue, on the scale 0 to 1.
    pub std: [f64; 3],
    /// Side of the central crop over the shorter side of the resized image.
    pub crop_pct: f64,
    /// How pixels are interpolated.
    pub interpolation: Interpolation,
}

impl Preprocessing {
    /// Of the model of this name.
    ///
    /// ViTs were trained by AugReg's recipe, and TNT by its own, on pixels from −1 to 1; the others on ImageNet's mean and
    /// standard deviation. Models of 32 pixels, which timm has not, see the whole image.
    pub fn of_timm(model: &str) -> Preprocessing {
        let Augment { mean, std, .. } = Augment::default(); // ImageNet's
        let centred = ["vit_", "tnt_"].iter().any(|family| model.starts_with(family));
        let convolutional = ["resnet", "regnet"].iter().any(|family| model.starts_with(family));
        let whole = ["_384", "_32"].iter().any(|size| model.ends_with(size));
        Preprocessing {
            mean: if centred { [0.5; 3] } else { mean },
            std: if centred { [0.5; 3] } else { std },
            crop_pct: if whole {
                1.0
            } else if convolutional {
                0.95
            } else {
                0.9
            },
            interpolation: Interpolation::Bicubic,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `timm.models.get_pretrained_cfg` of timm 1.0.31.
    #[test]
    fn the_figures_are_timms() {
        for (model, mean, std, crop_pct) in [
            ("vit_tiny_patch16_224", 0.5, 0.5, 0.9),
            ("vit_base_patch16_384", 0.5, 0.5, 1.0),
            ("deit_small_patch16_224", 0.485, 0.229, 0.9),
            ("deit3_base_patch16_384", 0.485, 0.229, 1.0),
            ("swin_tiny_patch4_window7_224", 0.485, 0.229, 0.9),
            ("tnt_s_patch16_224", 0.5, 0.5, 0.9),
            ("resnet50", 0.485, 0.229, 0.95),
            ("regnety_160", 0.485, 0.229, 0.95),
        ] {
            let found = Preprocessing::of_timm(model);
            assert_eq!((found.mean[0], found.std[0], found.crop_pct), (mean, std, crop_pct), "{model}");
        }
    }
}
