//! Tars in the layout of WebDataset: consecutive files that share a key are one sample.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::source::classes::{self, MAX_CLASSES};
use crate::source::manifest::{Cache, is_image_extension};
use crate::source::paths::{shown, to_text};
use crate::source::pattern::expand;
use crate::source::storage::{Blob, Storage};
use crate::source::tar::images::TarImages;
use crate::source::tar::index::{Found, Shard, index};
use crate::source::tar::{Member, Tar};
use crate::{DataError, Dataset};

/// More is no whole number.
const MAX_CLS_BYTES: u64 = 64;
const MAX_JSON_BYTES: u64 = 1 << 20;

/// Opens both splits. A split is a folder of tars, one tar, or a pattern of names (see [`expand`]).
pub(crate) fn open(storage: Arc<dyn Storage>, train: &Path, validation: &Path) -> Result<Dataset, DataError> {
    let cache = Cache::of_user();
    let split = |split: &Path| {
        let paths = shards(storage.as_ref(), &to_text(split.as_os_str()))?;
        index(storage.as_ref(), &paths, cache.as_ref(), &format!("webdataset {}", split.display()), |path, blob| {
            scan(&storage.name(path), blob)
        })
    };
    let (in_train, in_validation) = (split(train)?, split(validation)?);
    let name = |split: &Path| storage.name(&to_text(split.as_os_str()));
    let (max_train, max_validation) =
        (max_label(&in_train, name(train))?, max_label(&in_validation, name(validation))?);
    let classes = match classes::listed(storage.as_ref())? {
        Some(classes) => {
            for (max, shards) in [(max_train, &in_train), (max_validation, &in_validation)] {
                check_labels(storage.as_ref(), shards, max, classes.len())?;
            }
            classes
        }
        None if max_validation > max_train => return Err(beyond_training(name(validation), max_validation, max_train)),
        None => classes::numbered(max_train),
    };
    let source = |shards: &[Shard]| Box::new(TarImages::new(Arc::clone(&storage), shards, Arc::clone(&classes)));
    Ok(Dataset { train: source(&in_train), validation: source(&in_validation) })
}

/// Labels count from 0 in one split and from 1 in the other, most likely.
pub(crate) fn beyond_training(validation: String, max_validation: u32, max_train: u32) -> DataError {
    let problem = format!(
        "{max_validation} is beyond every label of training, of which {max_train} is the last; count from 0 in both \
         splits, or list the classes in classes.txt"
    );
    DataError::Labels { path: validation.into(), problem }
}

/// The paths of a split's archives, in order.
fn shards(storage: &dyn Storage, split: &str) -> Result<Vec<String>, DataError> {
    if split.contains('{') || split.ends_with(".tar") {
        return expand(split);
    }
    let is_shard = |path: &String| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.ends_with(".tar") && !name.starts_with('.')
    };
    let paths: Vec<String> = storage.list(split)?.into_iter().map(|entry| entry.path).filter(is_shard).collect();
    if paths.is_empty() {
        let expected = "expected archives called *.tar; or name a pattern such as train-{000..146}.tar";
        return Err(DataError::NoSamples { path: storage.name(split).into(), expected });
    }
    Ok(paths)
}

/// The largest label; an error where there is no sample.
fn max_label(shards: &[Shard], split: String) -> Result<u32, DataError> {
    let labels = shards.iter().flat_map(|shard| &shard.found.samples.labels);
    let expected = "a sample is an image (.jpg, .jpeg, .png, .webp) and a label (.cls or .json) of the same name";
    labels.max().copied().ok_or(DataError::NoSamples { path: split.into(), expected })
}

fn check_labels(storage: &dyn Storage, shards: &[Shard], max: u32, classes: usize) -> Result<(), DataError> {
    if (max as usize) < classes {
        return Ok(());
    }
    for shard in shards {
        let samples = &shard.found.samples;
        if let Some(place) = samples.labels.iter().position(|&label| label as usize >= classes) {
            let problem = format!("label {}, but classes.txt has {classes} classes", samples.labels[place]);
            let key = shown(samples.name(place));
            return Err(DataError::BadSample { path: storage.name(&shard.path).into(), key, problem });
        }
    }
    Ok(())
}

/// What the files of one sample have said so far.
#[derive(Default)]
struct Sample {
    key: String,
    image: Option<Member>,
    cls: Option<u32>,
    json: Option<u32>,
}

impl Sample {
    /// Its image and label; `None` where it is no labelled image and does not claim to be one.
    fn finish(self) -> Result<Option<(Member, u32)>, String> {
        let labels = (self.cls, self.json);
        if let (Some(cls), Some(json)) = labels
            && cls != json
        {
            return Err(format!("its .cls says {cls}, its .json {json}"));
        }
        match (self.image, labels.0.or(labels.1)) {
            (Some(image), Some(label)) => Ok(Some((image, label))),
            (Some(_), None) => Err("it has an image and no label; add a .cls, or a .json with \"label\"".to_owned()),
            (None, _) if self.cls.is_some() => Err("it has a .cls and no image (.jpg, .jpeg, .png, .webp)".to_owned()),
            (None, _) => Ok(None),
        }
    }
}

/// The samples of one archive; `name` is what a person calls it.
pub(crate) fn scan(name: &str, blob: &dyn Blob) -> Result<Found, DataError> {
    let mut scan = Scan { name, archive: Tar::new(blob), keys: HashSet::new(), found: Found::default() };
    let mut sample = Sample::default();
    while let Some(member) = scan.archive.next().map_err(|error| error.in_file(name.to_owned()))? {
        let Some((key, extension)) = split_name(&member.name) else { continue };
        if key != sample.key {
            scan.finish(std::mem::take(&mut sample))?;
            sample.key = scan.new_key(key)?;
        }
        scan.add(&mut sample, &extension, &member)?;
    }
    scan.finish(sample)?;
    Ok(scan.found)
}

/// One archive that is being scanned.
struct Scan<'a> {
    name: &'a str,
    archive: Tar<'a>,
    keys: HashSet<String>,
    found: Found,
}

impl Scan<'_> {
    fn new_key(&mut self, key: &str) -> Result<String, DataError> {
        if self.keys.insert(key.to_owned()) {
            return Ok(key.to_owned());
        }
        let problem = "its files do not lie behind one another, or two samples bear this name";
        Err(self.bad(key, problem.to_owned()))
    }

    /// Adds one file to its sample.
    fn add(&mut self, sample: &mut Sample, extension: &str, member: &Member) -> Result<(), DataError> {
        let (what, before) = match extension {
            "cls" => {
                let label = self.label(&sample.key, member, MAX_CLS_BYTES, cls_label)?;
                ("labels", std::mem::replace(&mut sample.cls, label).is_some())
            }
            "json" => {
                let label = self.label(&sample.key, member, MAX_JSON_BYTES, json_label)?;
                ("labels", std::mem::replace(&mut sample.json, label).is_some())
            }
            image if is_image_extension(image) => ("images", sample.image.replace(member.clone()).is_some()),
            _ => return Ok(()),
        };
        let twice = || format!("it has two {what}; give each sample a name of its own");
        if before { Err(self.bad(&sample.key, twice())) } else { Ok(()) }
    }

    fn label(
        &mut self,
        key: &str,
        member: &Member,
        max_bytes: u64,
        parse: fn(&[u8]) -> Result<Option<u32>, String>,
    ) -> Result<Option<u32>, DataError> {
        let text = self.archive.contents(member, max_bytes).map_err(|error| error.in_file(self.name.to_owned()))?;
        parse(&text).map_err(|problem| self.bad(key, problem))
    }

    fn finish(&mut self, sample: Sample) -> Result<(), DataError> {
        let key = sample.key.clone();
        if let Some((image, label)) = sample.finish().map_err(|problem| self.bad(&key, problem))? {
            self.found.samples.push(&image.name, (image.offset, image.bytes), label);
        }
        Ok(())
    }

    fn bad(&self, key: &str, problem: String) -> DataError {
        DataError::BadSample { path: self.name.into(), key: shown(key), problem }
    }
}

/// Key and lower-case extension, parted at the first dot of the last part of the name, as webdataset parts them; `None`
/// for hidden files, files without an extension, and webdataset's own `__…__`.
fn split_name(name: &str) -> Option<(&str, String)> {
    let base = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = base + name[base..].find('.')?;
    let meta = name.starts_with("__") && name.ends_with("__");
    (dot > base && !meta).then(|| (&name[..dot], name[dot + 1..].to_lowercase()))
}

/// A whole number in text.
fn cls_label(text: &[u8]) -> Result<Option<u32>, String> {
    let text = String::from_utf8_lossy(text);
    let label =
        text.trim().parse().map_err(|_| format!("its .cls is {:?}, not a whole number from 0 on", text.trim()))?;
    check_label(label).map(Some)
}

/// The whole number under `label` or `cls`; `None` where there is neither.
fn json_label(text: &[u8]) -> Result<Option<u32>, String> {
    #[derive(Deserialize)]
    struct Labelled {
        label: Option<Value>,
        cls: Option<Value>,
    }
    let labelled: Labelled = serde_json::from_slice(text).map_err(|error| format!("its .json is damaged: {error}"))?;
    let Some(value) = labelled.label.or(labelled.cls) else { return Ok(None) };
    let label =
        value.as_u64().ok_or_else(|| format!("its .json has the label {value}, not a whole number from 0 on"))?;
    check_label(label).map(Some)
}

/// Refuses labels that no set of images has.
pub(crate) fn check_label(label: u64) -> Result<u32, String> {
    let absurd = || format!("label {label} is absurd; labels count from 0 and stay below {MAX_CLASSES}");
    u32::try_from(label).ok().filter(|&label| (label as usize) < MAX_CLASSES).ok_or_else(absurd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_part_at_the_first_dot_of_their_last_part() {
        let parted = |name| split_name(name).map(|(key, extension)| (key.to_owned(), extension));
        let both = |key: &str, extension: &str| Some((key.to_owned(), extension.to_owned()));
        assert_eq!(parted("a.b/n01.x.JPG"), both("a.b/n01", "x.jpg"));
        assert_eq!(parted("000.Cls"), both("000", "cls"));
        for name in ["a/.hidden.jpg", "README", "a.b/c", "", "__a.b__"] {
            assert_eq!(parted(name), None, "{name}");
        }
    }

    #[test]
    fn labels_are_whole_numbers_of_sensible_size() {
        assert_eq!(cls_label(b" 7\n"), Ok(Some(7)));
        assert_eq!(json_label(br#"{"label": 3, "cls": 4, "more": [1]}"#), Ok(Some(3)));
        assert_eq!(json_label(br#"{"cls": 4}"#), Ok(Some(4)));
        assert_eq!(json_label(br#"{"width": 4}"#), Ok(None));
        for text in [&b""[..], b"cat", b"-1", b"1.0", b"1000000", b"99999999999999999999999", b"\xFF"] {
            assert!(cls_label(text).is_err(), "{text:?}");
        }
        for text in [&b"{"[..], b"[]", br#"{"label": -1}"#, br#"{"label": "cat"}"#, br#"{"label": 4000000000}"#] {
            assert!(json_label(text).is_err(), "{text:?}");
        }
    }
}
