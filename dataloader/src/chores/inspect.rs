//! What is in a data set: sizes, formats, classes, copies and bad images: `rectify-data inspect`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::chores::duplicates::{self, Print};
use crate::chores::scan::scan;
use crate::chores::verify::Strict;
use crate::pixels::probe::{Probe, Prober};
use crate::{BadImage, DataError, Dataset, Source};

pub use crate::chores::duplicates::Duplicates;

/// How closely images are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Their bytes are hashed and their headers read.
    Headers,
    /// They are decoded as well, whole and strictly.
    Pixels,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// The names of the classes, in the order of their labels.
    pub classes: Vec<String>,
    /// The training split.
    pub train: SplitFacts,
    /// The validation split.
    pub validation: SplitFacts,
    /// Images that are there more than once.
    pub duplicates: Duplicates,
}

/// One split.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SplitFacts {
    /// Images, the bad ones too.
    pub images: usize,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Images of each class, in the order of the labels.
    pub images_of_class: Vec<usize>,
    /// Columns of the good images.
    pub width: Spread,
    /// Rows of the good images.
    pub height: Spread,
    /// Bytes of the readable images.
    pub image_bytes: Spread,
    /// The shorter side of each good image in pixels, ascending.
    #[serde(skip)]
    pub shorter_sides: Vec<u64>,
    /// Good images of each format.
    pub formats: BTreeMap<String, usize>,
    /// Good images whose name ends as that of another format, with the format that they have.
    pub misnamed: Vec<Remark>,
    /// Bad images, each with its reason.
    pub bad: Vec<Remark>,
}

/// An image that is worth a remark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// What a person calls it.
    pub name: String,
    /// The kind of remark: a format, or the name of a [`Reason`](crate::Reason).
    pub kind: String,
    /// More about it; may be empty.
    pub detail: String,
}

/// Smallest, middle and largest of some values; zeros where there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// The smallest.
    pub min: u64,
    /// The middle one, the upper of two.
    pub median: u64,
    /// The largest.
    pub max: u64,
}

impl Spread {
    /// Of values in any order.
    pub fn of(mut values: Vec<u64>) -> Spread {
        values.sort_unstable();
        match (values.first(), values.last()) {
            (Some(&min), Some(&max)) => Spread { min, median: values[values.len() / 2], max },
            _ => Spread::default(),
        }
    }
}

/// Reads every image of both splits on all cores. `seen` is called after each.
///
/// # Errors
/// When threads cannot be started. Bad images are no error here.
pub fn run(dataset: &Dataset, depth: Depth, seen: &(dyn Fn() + Sync)) -> Result<Inspection, DataError> {
    let splits = [dataset.train.as_ref(), dataset.validation.as_ref()];
    let mut prints = Vec::new();
    let mut facts = Vec::new();
    for (split, source) in splits.into_iter().enumerate() {
        let looks = look_at(source, depth, seen)?;
        let readable = looks.iter().enumerate().filter(|(_, look)| look.bytes > 0);
        prints.extend(readable.map(|(index, look)| Print {
            hash: look.hash,
            split,
            index,
            label: source.label(index),
        }));
        facts.push(gather(source, looks));
    }
    let [train, validation] = facts.try_into().expect("one for each split");
    let duplicates = duplicates::find(prints, |split, index| splits[split].name(index).into_owned());
    Ok(Inspection { classes: dataset.train.classes().to_vec(), train, validation, duplicates })
}

/// What was seen of one image.
struct Look {
    hash: [u8; 32],
    /// 0 where it is empty or cannot be read.
    bytes: u64,
    probe: Result<Probe, BadImage>,
}

fn look_at(source: &dyn Source, depth: Depth, seen: &(dyn Fn() + Sync)) -> Result<Vec<Look>, DataError> {
    let begin = || (Prober::default(), Strict::default());
    scan(source, seen, begin, |(prober, strict), _, read| match read {
        Err(bad) => Look { hash: [0; 32], bytes: 0, probe: Err(bad) },
        Ok((bytes, encoding)) => {
            let mut probe = prober.probe(bytes, encoding);
            if depth == Depth::Pixels && probe.is_ok() {
                probe = strict.decode(bytes, encoding).and(probe);
            }
            Look { hash: *blake3::hash(bytes).as_bytes(), bytes: bytes.len() as u64, probe }
        }
    })
}

fn gather(source: &dyn Source, looks: Vec<Look>) -> SplitFacts {
    let mut facts = SplitFacts { images: looks.len(), ..SplitFacts::default() };
    facts.images_of_class = vec![0; source.classes().len()];
    facts.bytes = looks.iter().map(|look| look.bytes).sum();
    facts.image_bytes = Spread::of(looks.iter().map(|look| look.bytes).filter(|&bytes| bytes > 0).collect());
    let (mut widths, mut heights) = (Vec::new(), Vec::new());
    for (index, look) in looks.into_iter().enumerate() {
        facts.images_of_class[source.label(index) as usize] += 1;
        match look.probe {
            Ok(Probe { width, height, format }) => {
                widths.push(u64::from(width));
                heights.push(u64::from(height));
                facts.shorter_sides.push(u64::from(width.min(height)));
                *facts.formats.entry(format.to_string()).or_default() += 1;
                let name = source.name(index);
                if !format.fits(&name) {
                    let kind = format.name().to_owned();
                    facts.misnamed.push(Remark { name: name.into_owned(), kind, detail: String::new() });
                }
            }
            Err(bad) => facts.bad.push(Remark {
                name: source.name(index).into_owned(),
                kind: bad.reason.to_string(),
                detail: bad.detail,
            }),
        }
    }
    facts.shorter_sides.sort_unstable();
    (facts.width, facts.height) = (Spread::of(widths), Spread::of(heights));
    facts
}
