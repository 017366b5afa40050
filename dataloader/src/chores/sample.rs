//! A small real data set that ships with the program: the UCI optical digits, written as folders of JPEG files.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use random::{Key, Permutation, Purpose};
use resample::Kernel;

use crate::pixels::crop::Wanted;
use crate::pixels::decode::Rgbx;
use crate::pixels::resample::Resampler;
use crate::source::manifest::io_error;
use crate::{CropBox, DataError};

/// The table: see `assets/NOTICE.md` for its origin and licence.
const TABLE: &[u8] = include_bytes!("../../assets/digits.csv.gz");
/// Rows and columns in the table, whose values are 0 to 16.
const SIDE: u32 = 8;
const VALUES: usize = (SIDE * SIDE) as usize;
const BRIGHTEST: u32 = 16;
/// Rows and columns of the files.
const SIDE_WRITTEN: u32 = 32;
const QUALITY: u8 = 95;
const CLASSES: usize = 10;
/// One digit in so many is held out, in each class.
const HELD_OUT: usize = 5;
const SPLIT_SEED: u64 = 0;
/// Written with the images; a folder without it is not ours.
const NOTICE_FILE: &str = "NOTICE.txt";
const NOTICE: &str = "\
1,797 handwritten digits as 32 x 32 JPEG files, scaled from 8 x 8; one fifth of each class is held out in val/.

Data: \"Optical Recognition of Handwritten Digits\", E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning Repository,
https://doi.org/10.24432/C50P49, under CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/).
Written by `rectify-data sample`.
";

/// What lies in the folder now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Images in `train/`.
    pub train: usize,
    /// Images in `val/`.
    pub validation: usize,
    /// Folders in each of the two.
    pub classes: usize,
    /// Whether this call wrote it, or found it whole.
    pub state: State,
}

/// Whether the folder had to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// This call wrote it.
    Written,
    /// It was whole already.
    Found,
}

/// Writes the digits as `train/<class>/*.JPEG` and `val/<class>/*.JPEG` into `folder`: a fixed split, four fifths and one
/// fifth of each class.
///
/// The folder appears whole or not at all. One that is whole already is left as it is; one that this function wrote and
/// that has lost files since is written anew.
///
/// # Errors
/// When the folder holds something else, or cannot be written.
pub fn write(folder: &Path) -> Result<Sample, DataError> {
    let digits = digits();
    let validation = digits.iter().filter(|digit| digit.split == "val").count();
    let sample = |state| Sample { train: digits.len() - validation, validation, classes: CLASSES, state };
    if is_whole(folder, &digits) {
        return Ok(sample(State::Found));
    }
    if !is_ours(folder) {
        let problem = "it holds files that are not the sample's; name a new or an empty folder";
        return Err(io_error("write the sample to", folder)(io::Error::new(io::ErrorKind::AlreadyExists, problem)));
    }
    let partial = beside(folder, "partial");
    let written = write_digits(&partial, &digits).and_then(|()| replace(folder, &partial));
    if let Err(error) = written {
        let _ = fs::remove_dir_all(&partial);
        // Another process may have been faster.
        return if is_whole(folder, &digits) { Ok(sample(State::Found)) } else { Err(error) };
    }
    Ok(sample(State::Written))
}

/// One digit of the table, and where it is written.
struct Digit {
    /// (8, 8) values in 0..=16.
    values: Vec<u8>,
    split: &'static str,
    path: PathBuf,
}

/// All digits, in the order of the table.
fn digits() -> Vec<Digit> {
    let mut text = String::new();
    GzDecoder::new(TABLE).read_to_string(&mut text).expect("the embedded table is whole");
    let number = |field: &str| field.parse::<u8>().expect("the embedded table holds small numbers");
    let rows: Vec<Vec<u8>> = text.lines().map(|line| line.split(',').map(number).collect()).collect();
    let mut digits: Vec<(usize, Digit)> = Vec::with_capacity(rows.len());
    for class in 0..CLASSES {
        let members: Vec<usize> = (0..rows.len()).filter(|&row| usize::from(rows[row][VALUES]) == class).collect();
        let held_out = (members.len() + HELD_OUT / 2) / HELD_OUT;
        let key = Key::root(SPLIT_SEED).child(Purpose::Subset as u64).child(class as u64);
        let order = Permutation::new(key, members.len() as u64);
        for (position, place) in (0..members.len()).map(|position| (position, order.at(position as u64) as usize)) {
            let row = members[place];
            let split = if position < held_out { "val" } else { "train" };
            let path = Path::new(split).join(class.to_string()).join(format!("digit-{row:04}.JPEG"));
            digits.push((row, Digit { values: rows[row][..VALUES].to_vec(), split, path }));
        }
    }
    digits.sort_unstable_by_key(|(row, _)| *row);
    digits.into_iter().map(|(_, digit)| digit).collect()
}

fn is_whole(folder: &Path, digits: &[Digit]) -> bool {
    folder.join(NOTICE_FILE).is_file() && digits.iter().all(|digit| folder.join(&digit.path).is_file())
}

/// True where writing into `folder` destroys nothing but an earlier sample.
fn is_ours(folder: &Path) -> bool {
    let empty = || fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    !folder.exists() || empty() || fs::read_to_string(folder.join(NOTICE_FILE)).is_ok_and(|text| text == NOTICE)
}

/// A sibling of `folder` that no other process uses, on the same file system.
fn beside(folder: &Path, what: &str) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{what}-{}", std::process::id()));
    folder.with_file_name(name)
}

fn write_digits(folder: &Path, digits: &[Digit]) -> Result<(), DataError> {
    let mut resampler = Resampler::default();
    for digit in digits {
        let path = folder.join(&digit.path);
        let parent = path.parent().expect("joined above");
        fs::create_dir_all(parent).map_err(io_error("create", parent))?;
        fs::write(&path, encode(&digit.values, &mut resampler)).map_err(io_error("write", &path))?;
    }
    let notice = folder.join(NOTICE_FILE);
    fs::write(&notice, NOTICE).map_err(io_error("write", &notice))
}

/// Scales an 8 × 8 digit smoothly to 32 × 32 and encodes it.
fn encode(values: &[u8], resampler: &mut Resampler) -> Vec<u8> {
    let gray = |value: u8| (u32::from(value) * 255 / BRIGHTEST) as u8;
    let small = Rgbx { width: SIDE, height: SIDE, bytes: values.iter().flat_map(|&value| [gray(value); 4]).collect() };
    let everything = CropBox { top: 0, left: 0, height: SIDE, width: SIDE };
    let mut pixels = Vec::new();
    let view = Wanted::only(everything, SIDE_WRITTEN).in_whole();
    resampler.resize_view(&small, view, Kernel::Cubic, [SIDE_WRITTEN; 2], &mut pixels);
    let gray: Vec<u8> = pixels.iter().step_by(4).copied().collect();
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .encode(&gray, SIDE_WRITTEN, SIDE_WRITTEN, ExtendedColorType::L8)
        .expect("32 x 32 gray values into memory");
    jpeg
}

/// Puts the finished folder in its place, and an incomplete earlier one away.
fn replace(folder: &Path, partial: &Path) -> Result<(), DataError> {
    if folder.join(NOTICE_FILE).is_file() {
        let old = beside(folder, "old");
        fs::rename(folder, &old).map_err(io_error("move away", folder))?;
        fs::remove_dir_all(&old).map_err(io_error("remove", &old))?;
    }
    fs::rename(partial, folder).map_err(io_error("move the finished sample to", folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DatasetSpec, open};

    #[test]
    fn the_sample_is_a_data_set_and_writing_twice_changes_nothing() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let folder = scratch.path().join("digits");
        let first = write(&folder).expect("written");
        assert_eq!((first.train + first.validation, first.classes, first.state), (1797, 10, State::Written));
        assert!((first.validation as f64 / 1797.0 - 0.2).abs() < 0.005, "{first:?}");
        assert_eq!(write(&folder).expect("found").state, State::Found);
        let dataset = open(&DatasetSpec::folder(&folder)).expect("a data set");
        assert_eq!((dataset.train.len(), dataset.validation.len()), (first.train, first.validation));
        assert_eq!(dataset.train.classes(), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
        let entries = fs::read_dir(scratch.path()).expect("listed").count();
        assert_eq!(entries, 1, "nothing is left beside the folder");
    }

    /// The classes of the published collection's test set.
    #[test]
    fn the_table_is_the_published_one() {
        let mut counts = [0; CLASSES];
        for digit in digits() {
            let class: usize = digit.path.iter().nth(1).and_then(|name| name.to_str()?.parse().ok()).expect("a class");
            counts[class] += 1;
            assert!(digit.values.len() == VALUES && digit.values.iter().all(|&value| u32::from(value) <= BRIGHTEST));
        }
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    }

    #[test]
    fn a_sample_that_lost_files_is_written_anew() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let folder = scratch.path().join("digits");
        write(&folder).expect("written");
        fs::remove_dir_all(folder.join("val/3")).expect("removed");
        assert_eq!(write(&folder).expect("written anew").state, State::Written);
        assert!(folder.join("val/3").is_dir());
    }

    #[test]
    fn other_peoples_files_are_left_alone() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        fs::write(scratch.path().join("thesis.txt"), "precious").expect("written");
        let error = write(scratch.path()).expect_err("the folder is not empty").to_string();
        assert!(error.contains("not the sample's"), "{error}");
        assert_eq!(fs::read_to_string(scratch.path().join("thesis.txt")).expect("still there"), "precious");
    }
}
