//! Counts of an evaluation: kept on the device that computes the logits, and read once at the end.

use dataloader::SKIPPED;
use tch::{Device, Kind, Reduction, Tensor};

use crate::classification::Accuracy;
use crate::memory::sent;
use crate::skipped::counted;

/// How many of the best classes count as an answer.
const ANSWERS: i64 = 5;

/// Sums over the batches of an evaluation. Adding a batch does not wait for the device.
#[derive(Debug)]
pub struct Tally {
    images: u64,
    /// Images whose class came first, or among the first five, and the summed cross-entropy: `(3)` in f64.
    sums: Tensor,
}

impl Tally {
    /// Nothing so far, for logits on `device`.
    pub fn new(device: Device) -> Tally {
        Tally { images: 0, sums: Tensor::zeros([3], (Kind::Double, device)) }
    }

    /// Adds a batch with these `logits`, `(N, C)`, and labels, of which [`SKIPPED`] counts nowhere.
    pub fn add(&mut self, logits: &Tensor, labels: &[i64]) {
        let logits = logits.to_kind(Kind::Float);
        let classes = sent(Tensor::from_slice(labels), logits.device());
        let hits = best(&logits).eq_tensor(&classes.unsqueeze(1));
        let loss = logits.cross_entropy_loss::<Tensor>(&classes, None, Reduction::Sum, SKIPPED, 0.0);
        let sums = [hits.narrow(1, 0, 1).sum(Kind::Double), hits.sum(Kind::Double), loss.to_kind(Kind::Double)];
        self.sums += Tensor::stack(&sums, 0);
        self.images += counted(labels) as u64;
    }

    /// What was counted; waits for the device.
    pub fn read(&self) -> Accuracy {
        let sums: Vec<f64> = Vec::try_from(&self.sums).expect("three numbers");
        Accuracy::of_sums(self.images, [sums[0], sums[1], sums[2]])
    }
}

/// The best five classes of each image (all where there are fewer), the best first: `(N, 5)`.
pub fn best(logits: &Tensor) -> Tensor {
    logits.topk(logits.size()[1].min(ANSWERS), 1, true, true).1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sums of several batches are those of the batches by themselves, added in f64 in their order.
    #[test]
    fn batches_add_up_to_the_bits_of_their_parts() {
        let mut tally = Tally::new(Device::Cpu);
        let (mut images, mut sums) = (0, [0.0; 3]);
        for batch in 0..5 {
            let logits =
                (Tensor::arange(7 * 9, (Kind::Float, Device::Cpu)) * (0.7 + f64::from(batch))).sin().view([7, 9]);
            let labels = [0, 3, SKIPPED, 8, 1, 2, i64::from(batch)];
            tally.add(&logits, &labels);
            images += 6;
            for (row, &label) in (0..).zip(&labels).filter(|&(_, &label)| label != SKIPPED) {
                let scores: Vec<f32> = Vec::try_from(logits.get(row)).expect("a row");
                let better = scores.iter().filter(|&&score| score > scores[label as usize]).count();
                sums[0] += f64::from(u8::from(better == 0));
                sums[1] += f64::from(u8::from(better < 5));
            }
            let kept = Tensor::from_slice(&labels);
            let loss = logits.cross_entropy_loss::<Tensor>(&kept, None, Reduction::Sum, SKIPPED, 0.0);
            sums[2] += loss.double_value(&[]);
        }
        assert_eq!(tally.read(), Accuracy::of_sums(images, sums));
        assert!(sums.iter().all(|&sum| sum > 0.0) && sums[0] < sums[1]);
    }
}
