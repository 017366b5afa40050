//! Layers of a model by name, as in `blocks.8-11`: which modules belong to them.

use std::collections::BTreeSet;
use std::fmt;

use crate::error::nearest;

/// A part of a model: all modules whose names begin with these segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layers {
    pattern: String,
    segments: Vec<Segment>,
}

/// One part of a dotted name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Name(String),
    /// Both ends belong to it.
    Range(usize, usize),
}

impl Layers {
    /// What `pattern` names: segments separated by dots, each a name, a number, or a range of numbers such as `8-11`.
    pub fn parse(pattern: &str) -> Option<Layers> {
        let segments: Option<Vec<Segment>> = pattern.split('.').map(Segment::parse).collect();
        Some(Layers { pattern: pattern.to_owned(), segments: segments? })
    }

    /// Whether the module of this name belongs to them.
    pub fn contain(&self, module: &str) -> bool {
        let mut parts = module.split('.');
        self.segments.iter().all(|segment| parts.next().is_some_and(|part| segment.matches(part)))
    }

    /// The layers that hold one of `modules`, in words: `blocks.0-11`.
    pub(super) fn known(modules: &[String]) -> String {
        Layers::ranges(modules).into_iter().collect::<Vec<_>>().join(", ")
    }

    /// Patterns for these modules that look like `pattern`, best first.
    pub(super) fn nearest(pattern: &str, modules: &[String]) -> Vec<String> {
        let mut candidates = Layers::ranges(modules);
        candidates.extend(modules.iter().flat_map(|module| {
            let ends = module.match_indices('.').map(|(end, _)| module[..end].to_owned());
            ends.chain([module.clone()]).collect::<Vec<_>>()
        }));
        nearest(pattern, candidates.iter().map(String::as_str))
    }

    /// The modules up to their last number, numbers that follow each other joined; where there is none, up to the block.
    fn ranges(modules: &[String]) -> BTreeSet<String> {
        let mut ends: Vec<(String, usize, usize)> = Vec::new();
        let mut plain = BTreeSet::new();
        for module in modules {
            let parts: Vec<&str> = module.split('.').collect();
            match parts.iter().rposition(|part| part.parse::<usize>().is_ok()) {
                None => drop(plain.insert(parts[..parts.len().min(2)].join("."))),
                Some(place) => {
                    let (above, number) = (parts[..place].join("."), parts[place].parse::<usize>().expect("a number"));
                    match ends.iter_mut().find(|(name, _, _)| *name == above) {
                        Some((_, _, last)) => *last = number.max(*last),
                        None => ends.push((above, number, number)),
                    }
                }
            }
        }
        plain.extend(ends.into_iter().map(|(above, first, last)| match first == last {
            true => format!("{above}.{first}"),
            false => format!("{above}.{first}-{last}"),
        }));
        plain
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

impl Segment {
    fn parse(text: &str) -> Option<Segment> {
        if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            return (first <= last).then_some(Segment::Range(first, last));
        }
        match text.parse() {
            Ok(number) => Some(Segment::Range(number, number)),
            Err(_) if text.is_empty() => None,
            Err(_) => Some(Segment::Name(text.to_owned())),
        }
    }

    fn matches(&self, part: &str) -> bool {
        match self {
            Segment::Name(name) => name == part,
            Segment::Range(first, last) => part.parse().is_ok_and(|number| (*first..=*last).contains(&number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules() -> Vec<String> {
        (0..12).map(|block| format!("blocks.{block}.mlp.act")).chain(["head.act".to_owned()]).collect()
    }

    #[test]
    fn a_pattern_names_whole_segments() {
        let count = |pattern: &str| {
            let layers = Layers::parse(pattern).expect(pattern);
            modules().iter().filter(|module| layers.contain(module)).count()
        };
        assert_eq!(["blocks", "blocks.8-11", "blocks.1", "blocks.1.mlp.act", "head"].map(count), [12, 4, 1, 1, 1]);
        assert_eq!(["blocks.12", "block", "blocks.mlp", "blocks.1.mlp.act.x"].map(count), [0; 4]);
        assert!(["", "blocks.", "blocks.3-1", "blocks.1-x"].iter().all(|pattern| Layers::parse(pattern).is_none()));
    }

    #[test]
    fn what_a_model_has_is_told_in_ranges() {
        assert_eq!(Layers::known(&modules()), "blocks.0-11, head.act");
        let regnet = ["stem.bn.act", "s1.b1.conv1.bn.act", "s1.b1.act3"].map(str::to_owned);
        assert_eq!(Layers::known(&regnet), "s1.b1, stem.bn");
        assert_eq!(Layers::nearest("block.0-11", &modules())[0], "blocks.0-11");
    }
}
