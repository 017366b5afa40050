//! Sets that a trained model is evaluated on: how each names the classes of its images, and which class of the model that is.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::source::files::{Files, Paths};
use crate::source::folder::{ImageFolder, check_folder};
use crate::source::imagenet;
use crate::source::manifest::Cache;
use crate::source::relabelled::Relabelled;
use crate::source::storage::{Local, Storage, open_file};
use crate::{DataError, DatasetSpec, Source, SourceKind, open};

/// How an evaluation set names the classes of its images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Labels {
    /// One folder a class, called as the class of the model; not every class need be there.
    #[default]
    Folders,
    /// ImageNet's validation split as distributed: folders of classes, or flat (or a tar) beside the development kit or
    /// `val_labels.txt`.
    ImageNet,
    /// ImageNet-A: folders by wnid of 200 classes, among which alone the model chooses.
    ImageNetA,
    /// ImageNet-R: likewise.
    ImageNetR,
    /// ImageNet-V2: folders `0` to `999`, the number being the class.
    ImageNetV2,
    /// ImageNet-Sketch: folders by wnid.
    ImageNetSketch,
    /// ReaL: the flat validation split of ImageNet, and in `real.json` for each image all classes that are right.
    Real,
}

/// A set, ready to be gone through.
pub struct EvaluationSet {
    /// The images; their labels are classes of the model. With `accepted`, a label is only the first of several.
    pub images: Box<dyn Source>,
    /// The classes among which the model chooses, rising; `None` = all.
    pub chosen_from: Option<Vec<u32>>,
    /// The classes that are right for each image, none of the lists empty; `None` = its label is.
    pub accepted: Option<Vec<Vec<u32>>>,
    /// How many images have no right class and are left out.
    pub left_out: usize,
}

const REAL: &str = "real.json";
const MAX_REAL_BYTES: u64 = 64 << 20;
/// The split that is looked for where a whole data set is named.
const VALIDATION: &str = "val";

impl Labels {
    /// All, in the order in which they are listed.
    pub const ALL: [Labels; 7] = [
        Labels::Folders,
        Labels::ImageNet,
        Labels::ImageNetA,
        Labels::ImageNetR,
        Labels::ImageNetV2,
        Labels::ImageNetSketch,
        Labels::Real,
    ];

    /// The name on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Labels::Folders => "folders",
            Labels::ImageNet => "imagenet",
            Labels::ImageNetA => "imagenet-a",
            Labels::ImageNetR => "imagenet-r",
            Labels::ImageNetV2 => "imagenet-v2",
            Labels::ImageNetSketch => "imagenet-sketch",
            Labels::Real => "real",
        }
    }
}

impl EvaluationSet {
    /// All images of a source whose classes are the model's own.
    pub fn of(images: Box<dyn Source>) -> EvaluationSet {
        EvaluationSet { images, chosen_from: None, accepted: None, left_out: 0 }
    }

    /// Opens the set in `folder` for a model with these classes, in the order of its outputs.
    ///
    /// # Errors
    /// When the folder is missing, holds a class that the model has not, or its list of labels is missing or wrong.
    pub fn open(folder: &Path, labels: Labels, classes: &[String]) -> Result<EvaluationSet, DataError> {
        check_folder(folder)?;
        let classes: Arc<[String]> = classes.into();
        let found = match labels {
            Labels::Folders | Labels::ImageNetSketch => folders(&split(folder), &classes, by_name(&classes))?,
            Labels::ImageNet => return imagenet_validation(folder, &classes).map(EvaluationSet::of),
            Labels::ImageNetA | Labels::ImageNetR => {
                let set = folders(folder, &classes, by_name(&classes))?;
                let chosen_from: BTreeSet<u32> = set.labels.iter().copied().collect();
                let images = Box::new(Relabelled::new(set.images, set.labels, classes));
                return Ok(EvaluationSet {
                    chosen_from: Some(chosen_from.into_iter().collect()),
                    ..EvaluationSet::of(images)
                });
            }
            Labels::ImageNetV2 => folders(folder, &classes, by_number(&classes))?,
            Labels::Real => return reassessed(folder, classes),
        };
        Ok(EvaluationSet::of(Box::new(Relabelled::new(found.images, found.labels, classes))))
    }
}

/// Folders of images, and the model's class of each.
struct Found {
    images: Box<dyn Source>,
    labels: Vec<u32>,
}

/// The validation split of a whole data set, else the folder itself.
pub(super) fn split(folder: &Path) -> PathBuf {
    let inner = folder.join(VALIDATION);
    if folder.join("train").is_dir() && inner.is_dir() { inner } else { folder.to_owned() }
}

/// The images of a folder of classes, or the validation split of a packed data set.
fn folders(folder: &Path, classes: &[String], class: impl Fn(&str) -> Option<u32>) -> Result<Found, DataError> {
    let images: Box<dyn Source> = match SourceKind::detect(folder) {
        SourceKind::Shards => {
            open(&DatasetSpec { kind: SourceKind::Shards, ..DatasetSpec::folder(folder) })?.validation
        }
        _ => Box::new(ImageFolder::open(folder, Cache::of_user().as_ref())?),
    };
    let labels: Vec<Option<u32>> = images.classes().iter().map(|name| class(name)).collect();
    let unknown = images.classes().iter().zip(&labels).filter(|(_, label)| label.is_none());
    let unknown: Vec<&str> = unknown.map(|(name, _)| name.as_str()).collect();
    if unknown.is_empty() {
        return Ok(Found { labels: labels.into_iter().flatten().collect(), images });
    }
    let problem = format!(
        "{} of {} folders are no class of the model ({}), which knows {} classes ({}); choose the kind of labels, or name \
         the model's classes",
        unknown.len(),
        labels.len(),
        some(&unknown),
        classes.len(),
        some(&classes.iter().map(String::as_str).collect::<Vec<_>>()),
    );
    Err(DataError::Labels { path: folder.to_owned(), problem })
}

fn by_name(classes: &[String]) -> impl Fn(&str) -> Option<u32> {
    let known: HashMap<&str, u32> = (0..).zip(classes).map(|(label, name)| (name.as_str(), label)).collect();
    move |name| known.get(name).copied()
}

fn by_number(classes: &[String]) -> impl Fn(&str) -> Option<u32> {
    |name| name.parse().ok().filter(|&label: &u32| (label as usize) < classes.len())
}

/// ImageNet's validation split, wherever in `folder` or beside its images the labels are.
fn imagenet_validation(folder: &Path, classes: &Arc<[String]>) -> Result<Box<dyn Source>, DataError> {
    let (root, split) = match imagenet::has_validation(folder) {
        true => (folder.to_owned(), PathBuf::from(VALIDATION)),
        false if imagenet::has_labels(folder) => (folder.to_owned(), PathBuf::new()),
        false => around(folder)?,
    };
    let storage: Arc<dyn Storage> = Arc::new(Local::new(&root));
    match imagenet::listed_validation(&storage, &root, &split, classes)? {
        Some(source) => Ok(source),
        None => {
            let found = folders(&root.join(split), classes, by_name(classes))?;
            Ok(Box::new(Relabelled::new(found.images, found.labels, Arc::clone(classes))))
        }
    }
}

/// The folder above, and the name of this one in it.
fn around(folder: &Path) -> Result<(PathBuf, PathBuf), DataError> {
    let whole =
        fs::canonicalize(folder).map_err(|source| DataError::Io { action: "open", path: folder.to_owned(), source })?;
    match (whole.parent(), whole.file_name()) {
        (Some(above), Some(name)) => Ok((above.to_owned(), name.into())),
        _ => Ok((whole, PathBuf::new())),
    }
}

/// ReaL: the images of the flat folder whose list in `real.json` is not empty.
fn reassessed(folder: &Path, classes: Arc<[String]>) -> Result<EvaluationSet, DataError> {
    let (inner, above) = (folder.join(VALIDATION), folder.parent().unwrap_or(folder).to_owned());
    let images = if inner.is_dir() { inner } else { folder.to_owned() };
    let list = [folder.join(REAL), above.join(REAL)].into_iter().find(|path| path.is_file());
    let list = list.unwrap_or_else(|| folder.join(REAL));
    let accepted = read_lists(&list, classes.len())?;
    let storage: Arc<dyn Storage> = Arc::new(Local::new(&images));
    let (mut paths, mut labels, mut kept, mut left_out) = (Paths::default(), Vec::new(), Vec::new(), 0);
    for path in imagenet::flat_images(storage.as_ref(), "")? {
        let number = imagenet::number(&path).and_then(|number| number.checked_sub(1));
        let Some(right) = number.and_then(|index| accepted.get(index)) else {
            let problem = format!("{path} is none of its {} images, which are numbered from 1 on", accepted.len());
            return Err(DataError::Labels { path: list, problem });
        };
        match right.first() {
            None => left_out += 1,
            Some(&first) => {
                paths.push(&path);
                labels.push(first);
                kept.push(right.clone());
            }
        }
    }
    if kept.is_empty() {
        let expected = "expected images such as ILSVRC2012_val_00000001.JPEG in the folder itself";
        return Err(DataError::NoSamples { path: images, expected });
    }
    let images = Box::new(Files::new(storage, paths, labels, classes));
    Ok(EvaluationSet { images, chosen_from: None, accepted: Some(kept), left_out })
}

fn read_lists(path: &Path, classes: usize) -> Result<Vec<Vec<u32>>, DataError> {
    let bad = |problem: String| DataError::Labels { path: path.to_owned(), problem };
    let mut bytes = Vec::new();
    open_file(path)
        .and_then(|(file, _)| file.take(MAX_REAL_BYTES).read_to_end(&mut bytes))
        .map_err(|source| DataError::Io { action: "read", path: path.to_owned(), source })?;
    let lists: Vec<Vec<u32>> = serde_json::from_slice(&bytes)
        .map_err(|error| bad(format!("it must be a list of lists of class numbers, one for each image: {error}")))?;
    match lists.iter().flatten().find(|&&label| label as usize >= classes) {
        Some(label) => Err(bad(format!("class {label} is none of the {classes} of the model"))),
        None => Ok(lists),
    }
}

/// The first of many names.
fn some(names: &[&str]) -> String {
    const SHOWN: usize = 3;
    let more = if names.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", names[..names.len().min(SHOWN)].join(", "))
}
