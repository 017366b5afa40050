//! Progressive resizing: which size the images of a batch have, as a function of its place in the stream.

use crate::{LoaderSpec, Order, Transform};

/// The transform of every stage of a loader: one, where the size never changes.
pub(crate) struct Sizes {
    /// The first epoch of each stage, and its transform; never empty.
    stages: Vec<(u64, Transform)>,
    global_batch: u64,
}

impl Sizes {
    /// The stages of `spec`.
    pub(crate) fn new(spec: &LoaderSpec) -> Sizes {
        let stage = |size| Transform { size, ..spec.transform.clone() };
        let mut stages: Vec<(u64, Transform)> = match spec.order {
            Order::Sequential => Vec::new(),
            _ => spec.sizes.iter().map(|&(epoch, size)| (epoch, stage(size))).collect(),
        };
        if stages.is_empty() {
            stages.push((0, spec.transform.clone()));
        }
        Sizes { stages, global_batch: (spec.global_batch as u64).max(1) }
    }

    /// The stage of the batch that begins at `position` of a source of `len` samples.
    ///
    /// The epoch of the first position of its global batch decides, so that all parts of that have one size, whichever
    /// rank they go to.
    pub(crate) fn stage_at(&self, position: u64, len: u64) -> usize {
        let epoch = (position - position % self.global_batch) / len;
        self.stages.partition_point(|(first, _)| *first <= epoch).saturating_sub(1)
    }

    /// The transform of a stage.
    pub(crate) fn transform(&self, stage: usize) -> &Transform {
        &self.stages[stage].1
    }

    /// The transform of the largest images.
    pub(crate) fn largest(&self) -> &Transform {
        let (_, largest) = self.stages.iter().max_by_key(|(_, transform)| transform.size).expect("never empty");
        largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(order: Order, global_batch: usize) -> Sizes {
        let once = LoaderSpec::once(Transform::center(32, 1.0), global_batch);
        Sizes::new(&LoaderSpec { order, sizes: vec![(0, 16), (2, 24), (5, 20)], ..once })
    }

    #[test]
    fn the_first_position_of_a_global_batch_decides() {
        let sizes = sizes(Order::Shuffled, 8);
        let at = |position| sizes.transform(sizes.stage_at(position, 10)).size;
        // Epoch 2 begins at position 20, inside the global batch that begins at 16.
        assert_eq!([0, 19, 23, 24, 49, 55, 56, 1000].map(at), [16, 16, 16, 24, 24, 24, 20, 20]);
        assert_eq!(sizes.largest().size, 24);
    }

    #[test]
    fn evaluation_has_one_size() {
        let sizes = sizes(Order::Sequential, 8);
        assert_eq!((sizes.transform(sizes.stage_at(25, 10)).size, sizes.largest().size), (32, 32));
    }
}
