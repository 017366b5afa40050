//! Images with the same bytes: inside a split, and of one split in the other.

use serde::Serialize;

/// One image of a data set, for telling copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Print {
    /// BLAKE3 of its bytes.
    pub(crate) hash: [u8; 32],
    /// The split, 0 for training and 1 for validation.
    pub(crate) split: usize,
    /// Its index in its split.
    pub(crate) index: usize,
    /// Its class.
    pub(crate) label: u32,
}

/// How many images are there more than once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Duplicates {
    /// Training images beyond the first of the same bytes.
    pub train: usize,
    /// Validation images beyond the first of the same bytes.
    pub validation: usize,
    /// Validation images that are training images too: what is measured on them is memory.
    pub validation_in_train: usize,
    /// Groups of the same bytes whose images have different classes.
    pub groups_of_several_classes: usize,
    /// The names of each group's images, training first.
    pub groups: Vec<Vec<String>>,
}

/// Finds the copies among `prints`; `name` names an image of a split by its index.
pub(crate) fn find(mut prints: Vec<Print>, name: impl Fn(usize, usize) -> String) -> Duplicates {
    prints.sort_unstable_by_key(|print| (print.hash, print.split, print.index));
    let mut copies: Vec<&[Print]> = prints.chunk_by(|a, b| a.hash == b.hash).filter(|group| group.len() > 1).collect();
    copies.sort_unstable_by_key(|group| (group[0].split, group[0].index));
    let mut found = Duplicates::default();
    for group in copies {
        let train = group.partition_point(|print| print.split == 0);
        let validation = group.len() - train;
        found.train += train.saturating_sub(1);
        found.validation += validation.saturating_sub(1);
        found.validation_in_train += if train > 0 { validation } else { 0 };
        found.groups_of_several_classes += usize::from(group.iter().any(|print| print.label != group[0].label));
        found.groups.push(group.iter().map(|print| name(print.split, print.index)).collect());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_counted_by_split_and_across() {
        let print = |byte, split, index, label| Print { hash: [byte; 32], split, index, label };
        let prints = vec![
            print(1, 1, 0, 0),
            print(1, 0, 4, 0),
            print(1, 0, 2, 0),
            print(2, 1, 1, 0),
            print(2, 1, 2, 1),
            print(3, 0, 0, 0),
        ];
        let found = find(prints, |split, index| format!("{split}/{index}"));
        assert_eq!((found.train, found.validation, found.validation_in_train), (1, 1, 1));
        assert_eq!(found.groups_of_several_classes, 1);
        assert_eq!(found.groups, [vec!["0/2", "0/4", "1/0"], vec!["1/1", "1/2"]]);
    }
}
