//! Colour jitter: torchvision's `ColorJitter` on PIL images.

use random::Rng;

use super::Op;

/// How far each property may change; 0 leaves it alone. The four are applied in random order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ColorJitter {
    /// Factor uniform in `[max(0, 1 − brightness), 1 + brightness]`.
    pub brightness: f64,
    /// Factor uniform in `[max(0, 1 − contrast), 1 + contrast]`.
    pub contrast: f64,
    /// Factor uniform in `[max(0, 1 − saturation), 1 + saturation]`.
    pub saturation: f64,
    /// Share of the colour circle, uniform in `[−hue, hue]`; at most 0.5.
    pub hue: f64,
}

impl ColorJitter {
    /// The same amount of brightness, contrast and saturation, no hue: DeiT III's `color-jitter 0.3`.
    pub fn even(amount: f64) -> ColorJitter {
        ColorJitter { brightness: amount, contrast: amount, saturation: amount, hue: 0.0 }
    }

    /// Draws the operations for one image and hands each to `apply`, in order.
    pub fn draw(&self, rng: &mut Rng, mut apply: impl FnMut(Op)) {
        let mut order = [0, 1, 2, 3];
        for place in (1..order.len()).rev() {
            order.swap(place, rng.below(place as u64 + 1) as usize);
        }
        let mut factor = |amount: f64| rng.uniform_in((1.0 - amount).max(0.0), 1.0 + amount);
        let ops = [
            (self.brightness, Op::Brightness(factor(self.brightness))),
            (self.contrast, Op::Contrast(factor(self.contrast))),
            (self.saturation, Op::Saturation(factor(self.saturation))),
            (self.hue, Op::Hue(rng.uniform_in(-self.hue, self.hue))),
        ];
        for (amount, op) in order.map(|place| ops[place]) {
            if amount > 0.0 {
                apply(op);
            }
        }
    }
}
