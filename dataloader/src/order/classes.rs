//! The class-balanced order: every class equally often, however many samples it has.

use random::{Key, Permutation};

/// The samples of every class that has any.
///
/// Positions come in rounds of one position a class, in an order of the round's own. So over any stretch of the stream the
/// counts of two classes differ by two at most. A class goes through all its samples, in an order of that pass, before
/// one of them comes again: of a class with few samples each comes often, of one with many each comes seldom.
#[derive(Clone, Debug)]
pub(super) struct Classes {
    /// All samples, by class.
    samples: Vec<u64>,
    /// Where each class ends among them.
    ends: Vec<usize>,
    /// The round looked at last, and the order of the classes in it.
    round: Option<(u64, Permutation)>,
}

impl Classes {
    /// The classes of a source of `len` samples, whose labels `label` tells.
    pub(super) fn new(len: u64, label: impl Fn(u64) -> u32) -> Classes {
        let mut samples: Vec<u64> = (0..len).collect();
        samples.sort_by_key(|&sample| label(sample));
        let last = |place: &usize| *place == samples.len() || label(samples[place - 1]) != label(samples[*place]);
        let ends = (1..=samples.len()).filter(last).collect();
        Classes { samples, ends, round: None }
    }

    /// The sample at a position of the endless stream; all choices follow from `key`.
    pub(super) fn at(&mut self, key: Key, position: u64) -> u64 {
        let classes = self.ends.len() as u64;
        let (round, place) = (position / classes, position % classes);
        if self.round.as_ref().is_none_or(|(kept, _)| *kept != round) {
            self.round = Some((round, Permutation::new(key.child(0).child(round), classes)));
        }
        let class = self.round.as_ref().expect("set above").1.at(place);
        let begin = (class as usize).checked_sub(1).map_or(0, |before| self.ends[before]);
        let samples = &self.samples[begin..self.ends[class as usize]];
        // Every round shows the class once, so this is its showing number `round`.
        let (pass, place) = (round / samples.len() as u64, round % samples.len() as u64);
        let order = Permutation::new(key.child(1).child(class).child(pass), samples.len() as u64);
        samples[order.at(place) as usize]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Over any stretch classes come equally often but for one round cut at each end; and no sample comes again before
        /// all others of its class came.
        #[test]
        fn classes_come_equally_often(
            seed: u64, sizes in prop::collection::vec(1usize..8, 1..7), start in 0u64..100, count in 1u64..200,
        ) {
            let labels: Vec<u32> =
                sizes.iter().enumerate().flat_map(|(class, &size)| vec![3 * class as u32; size]).collect();
            let label = |sample: u64| labels[(sample as usize * 5) % labels.len()];
            prop_assume!(!labels.len().is_multiple_of(5));
            let mut classes = Classes::new(labels.len() as u64, label);
            let stream: Vec<u64> = (start..start + count).map(|position| classes.at(Key::root(seed), position)).collect();
            let shown = |class: usize| stream.iter().filter(|&&sample| label(sample) == 3 * class as u32).count() as u64;
            let counts: Vec<u64> = (0..sizes.len()).map(shown).collect();
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 2, "{counts:?}");

            let from_the_start: Vec<u64> = (0..count).map(|position| classes.at(Key::root(seed), position)).collect();
            for sample in 0..labels.len() as u64 {
                let (shown, of_class) = (
                    from_the_start.iter().filter(|&&other| other == sample).count(),
                    from_the_start.iter().filter(|&&other| label(other) == label(sample)).count(),
                );
                let size = sizes[label(sample) as usize / 3];
                prop_assert!((of_class / size..=of_class.div_ceil(size)).contains(&shown));
            }
        }
    }
}
