//! A look at what the activations of a network are applied to, taken during a forward pass.

use tch::{Device, Kind, Tensor, no_grad};

/// Values that an activation was applied to.
pub struct Preactivations {
    /// The activation's module, such as `blocks.0.mlp.act`.
    pub module: String,
    /// The values in f32 on the CPU, (N, units): one row a place, and a column for each unit (channel).
    pub values: Tensor,
}

/// What a watched forward pass has shown so far.
pub(crate) struct Watching {
    most: usize,
    turn: u64,
    kept: Vec<Preactivations>,
}

impl Watching {
    /// Keeps about `most` values of each activation.
    pub(crate) fn new(most: usize, turn: u64) -> Watching {
        Watching { most, turn, kept: Vec::new() }
    }

    pub(crate) fn into_kept(self) -> Vec<Preactivations> {
        self.kept
    }

    /// Keeps rows of `x + bias` that lie evenly apart.
    pub(crate) fn keep(&mut self, module: &str, x: &Tensor, bias: Option<&Tensor>) {
        let rows = rows(&x.detach(), bias.is_some());
        let [count, units] = [0, 1].map(|dimension| rows.size()[dimension]);
        if count == 0 || units == 0 {
            return;
        }
        let wanted = (self.most as u64).div_ceil(units as u64).max(1);
        let stride = (count as u64).div_ceil(wanted).max(1);
        // Other places at every turn: the golden ratio spreads them.
        let first = (self.turn.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % stride;
        let values = no_grad(|| {
            let some = rows.slice(0, first as i64, count, stride as i64).to_kind(Kind::Float);
            // A copy: what a kernel writes in place later must not change it.
            let some = bias.map_or_else(|| some.copy(), |bias| &some + bias.detach().to_kind(Kind::Float));
            some.to_device(Device::Cpu).contiguous()
        });
        self.kept.push(Preactivations { module: module.to_owned(), values });
    }
}

/// `x` as (places, units). Channels are last where there is a bias or no image, and second of an image (N, C, H, W).
fn rows(x: &Tensor, biased: bool) -> Tensor {
    let channels_last = if x.dim() == 4 && !biased { x.permute([0, 2, 3, 1]) } else { x.shallow_clone() };
    let units = channels_last.size().last().copied().unwrap_or(1);
    channels_last.reshape([-1, units.max(1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_even_rows_of_each_activation_are_kept() {
        let x = Tensor::arange(2 * 5 * 4, (Kind::Double, Device::Cpu)).view([2, 5, 4]);
        let bias = Tensor::from_slice(&[0.25, 0.5, 0.75, 1.0]);
        let mut watching = Watching::new(12, 0);
        watching.keep("a", &x, Some(&bias));
        watching.keep("b", &x, None);
        let kept = watching.into_kept();
        assert_eq!(kept.iter().map(|one| one.module.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        // Ten rows of four units, of which three are wanted: every fourth.
        assert_eq!(kept[0].values.size(), [3, 4]);
        let values = Vec::<f64>::try_from(kept[0].values.get(1).to_kind(Kind::Double)).expect("a row");
        assert_eq!(values, [16.25, 17.5, 18.75, 20.0]);
    }

    #[test]
    fn units_of_an_image_are_its_channels() {
        let x = Tensor::arange(2 * 3 * 2 * 2, (Kind::Float, Device::Cpu)).view([2, 3, 2, 2]);
        let mut watching = Watching::new(usize::MAX, 7);
        watching.keep("act", &x, None);
        let kept = watching.into_kept();
        assert_eq!(kept[0].values.size(), [8, 3]);
        assert_eq!(Vec::<f32>::try_from(kept[0].values.get(0)).expect("a row"), [0.0, 4.0, 8.0]);
    }

    #[test]
    fn all_turns_together_see_every_place() {
        let x = Tensor::arange(64, (Kind::Float, Device::Cpu)).view([64, 1]);
        let mut seen = [false; 64];
        for turn in 0..64 {
            let mut watching = Watching::new(8, turn);
            watching.keep("act", &x, None);
            for value in Vec::<f32>::try_from(watching.into_kept()[0].values.flatten(0, -1)).expect("numbers") {
                seen[value as usize] = true;
            }
        }
        assert!(seen.iter().all(|place| *place), "{seen:?}");
    }
}
