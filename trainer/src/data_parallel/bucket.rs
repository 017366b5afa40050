//! Which gradients are exchanged together, and in which order.

use models::Parameters;

use super::Slice;

/// Gradients that are exchanged at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Where they lie.
    pub slice: Slice,
    /// The parameters that they belong to, by their place in the model's order.
    pub parameters: Vec<usize>,
}

/// Elements of the first bucket, at most: 1 MiB of f32.
const FIRST: usize = 1 << 18;

/// The buckets of a model, of at most `most` elements but for a parameter that is larger by itself. They cover every group.
///
/// The backward pass comes through a model from its end, so buckets are cut from the end of each group and come in the
/// order in which they become full: the one first whose earliest parameter is the latest. The first of each group is small, so that
/// numbers travel almost from the beginning of the pass (PyTorch's DDP has one of 1 MiB, too).
pub fn buckets(parameters: &Parameters, most: usize) -> Vec<Bucket> {
    let mut all = Vec::new();
    for (group, buffers) in parameters.groups().iter().enumerate() {
        let members = parameters.iter().enumerate().filter(|(_, one)| one.group == group);
        let mut members: Vec<(usize, usize)> = members.map(|(place, one)| (one.range.start, place)).collect();
        members.sort_unstable();
        let (mut end, mut inside) = (buffers.values.numel(), Vec::new());
        let mut most_of_this = most.min(FIRST);
        for (index, &(start, place)) in members.iter().enumerate().rev() {
            inside.push(place);
            // The stretch of the parameter before this one would make the bucket too large.
            if index == 0 || end - members[index - 1].0 > most_of_this {
                let slice = Slice { group, range: start..end };
                all.push(Bucket { slice, parameters: std::mem::take(&mut inside) });
                (end, most_of_this) = (start, most);
            }
        }
    }
    all.sort_by_key(|bucket| std::cmp::Reverse(bucket.parameters.iter().min().copied()));
    all
}

#[cfg(test)]
mod tests {
    use models::Model;
    use plan::config::DecayRule;
    use tch::{Device, Kind};

    use super::*;
    use crate::small::model;

    #[test]
    fn buckets_cover_every_group_and_become_full_in_their_order() {
        let model = model();
        let parameters = model.parameters();
        for most in [1, 300, 1000, usize::MAX] {
            let buckets = buckets(parameters, most);
            let mut members: Vec<usize> = buckets.iter().flat_map(|bucket| bucket.parameters.clone()).collect();
            members.sort_unstable();
            assert!(members.into_iter().eq(0..parameters.iter().len()), "every parameter once");
            let mut covered = vec![0; parameters.groups().len()];
            for bucket in &buckets {
                let range = &bucket.slice.range;
                covered[bucket.slice.group] += range.len();
                assert!(range.len() <= most || bucket.parameters.len() == 1, "{most}: {bucket:?}");
                for &place in &bucket.parameters {
                    let own = &parameters.iter().as_slice()[place].range;
                    assert!(range.start <= own.start && own.end <= range.end);
                }
            }
            let lengths: Vec<usize> = parameters.groups().iter().map(|group| group.values.numel()).collect();
            assert_eq!(covered, lengths);
            let last: Vec<usize> = buckets.iter().map(|bucket| *bucket.parameters.iter().min().unwrap()).collect();
            assert!(last.is_sorted_by(|a, b| a > b), "{last:?}");
        }
        assert_eq!(buckets(parameters, usize::MAX).len(), parameters.groups().len());
    }

    #[test]
    fn the_first_bucket_of_a_group_is_small() {
        let spec = plan::models::find("vit_tiny_patch16_224").expect("a model of the table");
        let model = Model::empty(&spec, DecayRule::Matrices, Device::Cpu, Kind::Float).expect("a model");
        let buckets = buckets(model.parameters(), 1 << 20);
        let lengths: Vec<usize> = buckets.iter().map(|bucket| bucket.slice.range.len()).collect();
        // The classifier, and then as much as fits.
        assert_eq!(buckets[0].parameters.len(), 1, "{lengths:?}");
        assert!(
            lengths[0] <= FIRST && lengths[1..].iter().filter(|&&length| length > 1 << 19).count() > 4,
            "{lengths:?}"
        );
    }
}
