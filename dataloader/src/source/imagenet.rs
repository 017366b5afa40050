//! ImageNet (ILSVRC 2012) as it is distributed, packed or unpacked, and its validation labels.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::source::classes::read_text;
use crate::source::files::{Files, Paths};
use crate::source::folder::{ImageFolder, check_same_classes};
use crate::source::manifest::{Cache, is_image};
use crate::source::matlab;
use crate::source::parallel::look_up;
use crate::source::paths::{shown, to_path, to_text};
use crate::source::storage::{Blob, Storage};
use crate::source::tar::images::TarImages;
use crate::source::tar::index::{Found, Samples, index};
use crate::source::tar::{Member, Tar};
use crate::{DataError, Dataset, Source};

const TRAIN_TAR: &str = "ILSVRC2012_img_train.tar";
const VAL_TAR: &str = "ILSVRC2012_img_val.tar";
const LABELS: &str = "val_labels.txt";
const GROUND_TRUTH: &str = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt";
const META: &str = "ILSVRC2012_devkit_t12/data/meta.mat";

/// Opens both splits: the folders `train` and `validation` in `root` where they are there, else the tars.
///
/// All layouts give the same samples in the same order: by class, and by name within a class.
pub(crate) fn open(
    storage: Arc<dyn Storage>,
    root: &Path,
    train: &Path,
    validation: &Path,
) -> Result<Dataset, DataError> {
    let cache = Cache::of_user();
    let train: Box<dyn Source> = if root.join(train).is_dir() {
        Box::new(ImageFolder::open(&root.join(train), cache.as_ref())?)
    } else {
        Box::new(packed_train(&storage, &tar_of(&storage, train, TRAIN_TAR)?, cache.as_ref())?)
    };
    let classes: Arc<[String]> = train.classes().into();
    let validation = match listed_validation(&storage, root, validation, &classes)? {
        Some(source) => source,
        None => {
            let folder = root.join(validation);
            let source = ImageFolder::open(&folder, cache.as_ref())?;
            check_same_classes((root, &classes), (&folder, source.classes()))?;
            Box::new(source)
        }
    };
    Ok(Dataset { train, validation })
}

/// The validation split where its labels are in a list: the tar, or a flat folder; `None` for one of folders of classes.
pub(crate) fn listed_validation(
    storage: &Arc<dyn Storage>,
    root: &Path,
    validation: &Path,
    classes: &Arc<[String]>,
) -> Result<Option<Box<dyn Source>>, DataError> {
    if root.join(validation).is_dir() {
        return flat_validation(storage, validation, classes);
    }
    let tar = tar_of(storage, validation, VAL_TAR)?;
    packed_validation(storage, &tar, Arc::clone(classes), Cache::of_user().as_ref()).map(Some)
}

/// Whether a folder holds the validation split under its usual names.
pub(crate) fn has_validation(root: &Path) -> bool {
    root.join("val").is_dir() || root.join(VAL_TAR).is_file()
}

/// Whether a folder holds a list of the labels of the validation images.
pub(crate) fn has_labels(root: &Path) -> bool {
    root.join(LABELS).is_file() || root.join(GROUND_TRUTH).is_file()
}

/// The tar of a split: `named` where that is one, else the one that is distributed.
fn tar_of(storage: &Arc<dyn Storage>, named: &Path, distributed: &str) -> Result<String, DataError> {
    let named = to_text(named.as_os_str());
    let path = if named.ends_with(".tar") { named } else { distributed.to_owned() };
    match storage.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(DataError::MissingFile {
            path: storage.name(&path).into(),
            expected: "ImageNet is ILSVRC2012_img_train.tar or train/<wnid>/, and ILSVRC2012_img_val.tar or val/",
        }),
        _ => Ok(path),
    }
}

/// The training split: a tar of one tar a class.
fn packed_train(storage: &Arc<dyn Storage>, path: &str, cache: Option<&Cache>) -> Result<TarImages, DataError> {
    let scan = |path: &str, blob: &dyn Blob| scan_train(&storage.name(path), blob);
    let shards = index(storage.as_ref(), &[path.to_owned()], cache, "imagenet train", scan)?;
    let classes = shards.iter().flat_map(|shard| shard.found.classes.iter().cloned()).collect();
    Ok(TarImages::new(Arc::clone(storage), &shards, classes))
}

fn scan_train(name: &str, blob: &dyn Blob) -> Result<Found, DataError> {
    let members = members(name, Tar::new(blob))?;
    let class_of = |member: &Member| member.name.rsplit('/').next().unwrap_or_default().strip_suffix(".tar").map(shown);
    let mut tars: Vec<(String, Member)> =
        members.into_iter().filter_map(|member| Some((class_of(&member)?, member))).collect();
    tars.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some(twice) = tars.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let problem = "two tars of this class";
        return Err(DataError::BadSample { path: name.into(), key: twice[0].0.clone(), problem: problem.to_owned() });
    }
    if tars.is_empty() {
        return Err(DataError::NoSamples {
            path: name.into(),
            expected: "expected one tar a class, such as n01440764.tar",
        });
    }
    let found = look_up(tars.len(), |class| {
        let mut images = images(members_within(name, blob, &tars[class].1)?, class as u32);
        images = images.sorted();
        if images.len() > 0 {
            return Ok(images);
        }
        Err(DataError::EmptyClass { path: name.into(), classes: vec![tars[class].0.clone()] })
    })?;
    let mut samples = Samples::default();
    found.iter().for_each(|images| samples.append(images));
    Ok(Found { classes: tars.into_iter().map(|(class, _)| class).collect(), samples })
}

fn members(name: &str, mut tar: Tar<'_>) -> Result<Vec<Member>, DataError> {
    std::iter::from_fn(|| tar.next().transpose())
        .collect::<Result<_, _>>()
        .map_err(|error| error.in_file(name.to_owned()))
}

fn members_within(name: &str, blob: &dyn Blob, tar: &Member) -> Result<Vec<Member>, DataError> {
    members(name, Tar::within(blob, tar))
}

fn images(members: Vec<Member>, label: u32) -> Samples {
    let mut samples = Samples::default();
    for image in members.iter().filter(|member| is_image(&to_path(&member.name))) {
        samples.push(&image.name, (image.offset, image.bytes), label);
    }
    samples
}

/// The validation split: one tar of images whose labels are elsewhere.
fn packed_validation(
    storage: &Arc<dyn Storage>,
    path: &str,
    classes: Arc<[String]>,
    cache: Option<&Cache>,
) -> Result<Box<dyn Source>, DataError> {
    let scan = |path: &str, blob: &dyn Blob| {
        let samples = images(members(&storage.name(path), Tar::new(blob))?, 0);
        Ok(Found { classes: Vec::new(), samples })
    };
    let mut shards = index(storage.as_ref(), &[path.to_owned()], cache, "imagenet validation", scan)?;
    let labels = Labels::read(storage.as_ref(), &classes)?;
    for shard in &mut shards {
        let samples = &mut shard.found.samples;
        if samples.len() == 0 {
            let expected = "expected images such as ILSVRC2012_val_00000001.JPEG";
            return Err(DataError::NoSamples { path: storage.name(path).into(), expected });
        }
        samples.labels = (0..samples.len()).map(|index| labels.of(samples.name(index))).collect::<Result<_, _>>()?;
        *samples = samples.sorted();
    }
    Ok(Box::new(TarImages::new(Arc::clone(storage), &shards, classes)))
}

/// The validation split as a folder of images whose labels are elsewhere; `None` where no image lies in the folder itself.
fn flat_validation(
    storage: &Arc<dyn Storage>,
    folder: &Path,
    classes: &Arc<[String]>,
) -> Result<Option<Box<dyn Source>>, DataError> {
    let images = flat_images(storage.as_ref(), &to_text(folder.as_os_str()))?;
    if images.is_empty() {
        return Ok(None);
    }
    let labels = Labels::read(storage.as_ref(), classes)?;
    let labelled = images.into_iter().map(|path| Ok((labels.of(&path)?, path)));
    let mut labelled: Vec<(u32, String)> = labelled.collect::<Result<_, DataError>>()?;
    labelled.sort();
    let mut paths = Paths::default();
    labelled.iter().for_each(|(_, path)| paths.push(path));
    let labels = labelled.into_iter().map(|(label, _)| label).collect();
    Ok(Some(Box::new(Files::new(Arc::clone(storage), paths, labels, Arc::clone(classes)))))
}

/// The images that lie in a folder itself, by their names.
pub(crate) fn flat_images(storage: &dyn Storage, folder: &str) -> Result<Vec<String>, DataError> {
    let named = storage.name(folder);
    let is_inside = |path: &str| Path::new(&storage.name(path)).parent() == Some(Path::new(&named));
    let is_flat = |path: &String| is_image(&to_path(path)) && is_inside(path);
    Ok(storage.list(folder)?.into_iter().map(|entry| entry.path).filter(is_flat).collect())
}

/// The labels of the validation images.
struct Labels {
    /// The file that they come from.
    from: String,
    known: Known,
}

enum Known {
    /// By the name of the image's file.
    Named(HashMap<String, u32>),
    /// By the number in the image's name, from 1 on.
    Numbered(Vec<u32>),
}

impl Labels {
    /// From `val_labels.txt`, else from the development kit.
    fn read(storage: &dyn Storage, classes: &[String]) -> Result<Labels, DataError> {
        if let Some(text) = read_text(storage, LABELS)? {
            let from = storage.name(LABELS);
            return Ok(Labels { known: Known::Named(named(&from, &text, classes)?), from });
        }
        let from = storage.name(GROUND_TRUTH);
        let Some(text) = read_text(storage, GROUND_TRUTH)? else {
            let problem = format!(
                "the validation images have none: unpack the development kit, so that {GROUND_TRUTH} is there, or write \
                 {LABELS} with one `file wnid` a line, or sort the images into one folder a class"
            );
            return Err(DataError::Labels { path: storage.name(LABELS).into(), problem });
        };
        let labels = numbered(&from, &text, &Kit::read(storage, classes)?)?;
        Ok(Labels { known: Known::Numbered(labels), from })
    }

    /// The label of an image.
    fn of(&self, path: &str) -> Result<u32, DataError> {
        let name = path.rsplit('/').next().unwrap_or_default();
        let label = match &self.known {
            Known::Named(labels) => labels.get(name),
            Known::Numbered(labels) => number(name).and_then(|number| labels.get(number.checked_sub(1)?)),
        };
        let problem = || format!("{} has none", shown(path));
        label.copied().ok_or_else(|| DataError::Labels { path: (&self.from).into(), problem: problem() })
    }
}

/// 7 for `ILSVRC2012_val_00000007.JPEG`.
pub(crate) fn number(name: &str) -> Option<usize> {
    name.split('.').next()?.rsplit('_').next()?.parse().ok()
}

/// Lines of a file's name and a class, by name or by number.
fn named(from: &str, text: &str, classes: &[String]) -> Result<HashMap<String, u32>, DataError> {
    let mut labels = HashMap::new();
    for (line, content) in (1..).zip(text.lines()).filter(|(_, content)| !content.trim().is_empty()) {
        let bad = |problem: String| DataError::BadLine { path: from.into(), line, problem };
        let parts: Vec<&str> = content.split_whitespace().collect();
        let [file, class] = parts[..] else { return Err(bad("expected `file wnid` or `file number`".to_owned())) };
        let by_number = || class.parse().ok().filter(|&label: &usize| label < classes.len());
        let Some(label) = classes.binary_search_by(|known| known.as_str().cmp(class)).ok().or_else(by_number) else {
            return Err(bad(format!("{class:?} is none of the {} classes of training", classes.len())));
        };
        let name = file.rsplit('/').next().unwrap_or_default();
        if labels.insert(name.to_owned(), label as u32).is_some_and(|before| before != label as u32) {
            return Err(bad(format!("{name} has another label in an earlier line")));
        }
    }
    Ok(labels)
}

/// What the development kit calls the classes.
struct Kit {
    /// The label of each of the kit's numbers.
    labels: HashMap<u32, u32>,
}

impl Kit {
    fn read(storage: &dyn Storage, classes: &[String]) -> Result<Kit, DataError> {
        let failed = |source| DataError::Io { action: "read", path: storage.name(META).into(), source };
        let file = storage.open(META).map_err(failed)?;
        let mut bytes = vec![0; file.len().min(matlab::MAX_FILE_BYTES) as usize];
        file.read_at(0, &mut bytes).map_err(failed)?;
        let synsets = matlab::synsets(&bytes).ok_or_else(|| DataError::Labels {
            path: storage.name(META).into(),
            problem: format!("this is no MATLAB file with the kit's table; write {LABELS} in its place"),
        })?;
        let label = |wnid: &String| classes.binary_search(wnid).ok();
        let labels = synsets.iter().filter_map(|(number, wnid)| Some((*number, label(wnid)? as u32))).collect();
        Ok(Kit { labels })
    }
}

/// One of the kit's numbers a line.
fn numbered(from: &str, text: &str, kit: &Kit) -> Result<Vec<u32>, DataError> {
    let label = |(line, content): (u64, &str)| {
        let number = content.trim();
        let label = number.parse().ok().and_then(|number| kit.labels.get(&number));
        let problem = || format!("{number:?} is the number of no class that training has");
        label.copied().ok_or_else(|| DataError::BadLine { path: from.into(), line, problem: problem() })
    };
    (1..).zip(text.trim_end().lines()).map(label).collect()
}
