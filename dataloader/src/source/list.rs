//! Lists of files with labels, as CSV: `train.csv` and `val.csv`, each line a path and a label.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use csv::{ByteRecord, ReaderBuilder, Terminator};

use crate::source::classes::{self, MAX_CLASSES};
use crate::source::files::{Files, Paths};
use crate::source::paths::{bytes_to_text, to_text};
use crate::source::storage::{Reading, Storage};
use crate::source::webdataset::{beyond_training, check_label};
use crate::{DataError, Dataset};

/// What the columns of a header may be called, in any case.
const PATH_COLUMNS: [&str; 6] = ["path", "file", "filename", "file_name", "image", "image_path"];
const LABEL_COLUMNS: [&str; 6] = ["label", "class", "target", "cls", "category", "wnid"];
/// So many files of a list are looked for when it is opened: a list whose files lie elsewhere is to end a run at once.
const LOOKED_FOR: usize = 16;

/// Opens both splits. Each is a list, whose ending `.csv` may be left out.
pub(crate) fn open(storage: Arc<dyn Storage>, train: &Path, validation: &Path) -> Result<Dataset, DataError> {
    let (train, validation) = (List::read(storage.as_ref(), train)?, List::read(storage.as_ref(), validation)?);
    let classes = match classes::listed(storage.as_ref())? {
        Some(listed) => listed,
        None if train.is_numbered()? => numbered(&train, &validation)?,
        None => train.names(),
    };
    let source = |list: List| -> Result<Box<Files>, DataError> {
        let labels = list.labels(&classes)?;
        Ok(Box::new(Files::new(Arc::clone(&storage), list.paths, labels, Arc::clone(&classes))))
    };
    Ok(Dataset { train: source(train)?, validation: source(validation)? })
}

/// The classes of two lists of numbers.
fn numbered(train: &List, validation: &List) -> Result<Arc<[String]>, DataError> {
    if !validation.is_numbered()? {
        let problem = "its labels are names, those of training are numbers; use one of the two";
        return Err(DataError::Labels { path: validation.name.clone().into(), problem: problem.to_owned() });
    }
    let max = |list: &List| list.distinct.iter().filter_map(|(label, _)| label.parse::<u32>().ok()).max().unwrap_or(0);
    let (in_train, in_validation) = (max(train), max(validation));
    if in_validation > in_train {
        return Err(beyond_training(validation.name.clone(), in_validation, in_train));
    }
    Ok(classes::numbered(in_train))
}

/// One list as it was read.
struct List {
    /// What a person calls it.
    name: String,
    paths: Paths,
    /// The label of each path, as a place in `distinct`.
    labels: Vec<u32>,
    /// The labels in the order in which they first occur, and the line of that.
    distinct: Vec<(String, u64)>,
}

impl List {
    fn read(storage: &dyn Storage, split: &Path) -> Result<List, DataError> {
        let mut path = to_text(split.as_os_str());
        if !path.ends_with(".csv") {
            path.push_str(".csv");
        }
        let name = storage.name(&path);
        let blob = storage.open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                DataError::MissingFile { path: name.clone().into(), expected: "expected a list with path,label a line" }
            }
            _ => DataError::Io { action: "open", path: name.clone().into(), source: error },
        })?;
        let folder = path.rfind('/').map_or("", |slash| &path[..=slash]);
        let mut list = List { name, paths: Paths::default(), labels: Vec::new(), distinct: Vec::new() };
        list.fill(io::BufReader::with_capacity(1 << 16, Reading::new(blob.as_ref())), folder)?;
        list.look_for_files(storage)?;
        Ok(list)
    }

    fn fill(&mut self, text: impl Read, folder: &str) -> Result<(), DataError> {
        // Every line then ends with a line feed, also the last one; a carriage return before it is trimmed away.
        let text = text.chain(&b"\n"[..]);
        let lines = Terminator::Any(b'\n');
        let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).terminator(lines).from_reader(text);
        let mut known: HashMap<String, u32> = HashMap::new();
        let mut columns = None;
        let mut record = ByteRecord::new();
        loop {
            let before = reader.position().line();
            let more = reader.read_byte_record(&mut record).map_err(|error| self.bad(before, error.to_string()))?;
            if !more {
                break;
            }
            if record.len() == 1 && record[0].trim_ascii().is_empty() {
                continue;
            }
            // Where the record begins: blank lines may come before it, and line feeds be in it.
            let feeds = record.as_slice().iter().filter(|&&byte| byte == b'\n').count() as u64;
            let line = reader.position().line().saturating_sub(feeds);
            if record.as_slice().ends_with(b"\n") {
                return Err(self.bad(line, "a quote that begins here is not closed".to_owned()));
            }
            let line = line.saturating_sub(1);
            if columns.is_none() {
                let named = header(&record);
                columns = Some(named.unwrap_or((0, 1)));
                if named.is_some() {
                    continue;
                }
            }
            let (path, label) =
                fields(&record, columns.unwrap_or((0, 1))).map_err(|problem| self.bad(line, problem))?;
            let place = match known.get(label) {
                Some(&place) => place,
                None => self.new_label(label, line, &mut known)?,
            };
            self.paths.push(&joined(folder, path));
            self.labels.push(place);
        }
        let expected = "expected one path,label a line";
        if self.labels.is_empty() { Err(DataError::NoSamples { path: (&self.name).into(), expected }) } else { Ok(()) }
    }

    fn new_label(&mut self, label: &str, line: u64, known: &mut HashMap<String, u32>) -> Result<u32, DataError> {
        if self.distinct.len() >= MAX_CLASSES {
            return Err(self.bad(line, format!("more than {MAX_CLASSES} different labels")));
        }
        let place = self.distinct.len() as u32;
        self.distinct.push((label.to_owned(), line));
        known.insert(label.to_owned(), place);
        Ok(place)
    }

    /// Whether the labels are numbers rather than names; an error where they are both.
    fn is_numbered(&self) -> Result<bool, DataError> {
        let looks_numeric = |label: &str| label.parse::<f64>().is_ok() && !label.starts_with(char::is_alphabetic);
        let Some((first, first_line)) = self.distinct.first() else { return Ok(false) };
        let numbered = looks_numeric(first);
        for (label, line) in &self.distinct {
            if looks_numeric(label) != numbered {
                let problem =
                    format!("label {label:?}, but {first:?} in line {first_line}: labels are all numbers or all names");
                return Err(self.bad(*line, problem));
            }
            if numbered {
                self.number(label, *line)?;
            }
        }
        Ok(numbered)
    }

    fn number(&self, label: &str, line: u64) -> Result<u32, DataError> {
        let whole = label.parse().map_err(|_| format!("label {label:?} is not a whole number from 0 on"));
        whole.and_then(check_label).map_err(|problem| self.bad(line, problem))
    }

    /// The names of its labels, sorted.
    fn names(&self) -> Arc<[String]> {
        let mut names: Vec<String> = self.distinct.iter().map(|(label, _)| label.clone()).collect();
        names.sort_unstable();
        names.into()
    }

    /// The label of each file as a place in `classes`, by name or by number.
    fn labels(&self, classes: &[String]) -> Result<Vec<u32>, DataError> {
        let by_name: HashMap<&str, u32> = (0..).zip(classes).map(|(label, name)| (name.as_str(), label)).collect();
        let place = |(label, line): &(String, u64)| {
            let by_number = || label.parse().ok().filter(|&label: &u32| (label as usize) < classes.len());
            let found = by_name.get(label.as_str()).copied().or_else(by_number);
            found.ok_or_else(|| self.bad(*line, format!("label {label:?} is no class of training or of classes.txt")))
        };
        let places: Vec<u32> = self.distinct.iter().map(place).collect::<Result<_, _>>()?;
        Ok(self.labels.iter().map(|&label| places[label as usize]).collect())
    }

    /// Refuses a list of whose files none is there.
    fn look_for_files(&self, storage: &dyn Storage) -> Result<(), DataError> {
        let step = self.paths.len().div_ceil(LOOKED_FOR);
        let missing = |index| storage.open(self.paths.get(index)).is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
        if !(0..self.paths.len()).step_by(step).all(missing) {
            return Ok(());
        }
        let problem = format!(
            "its files are not there, the first being {}; paths are relative to the list",
            storage.name(self.paths.get(0))
        );
        Err(DataError::Labels { path: (&self.name).into(), problem })
    }

    fn bad(&self, line: u64, problem: String) -> DataError {
        DataError::BadLine { path: (&self.name).into(), line, problem }
    }
}

/// The columns of path and label, where the record is a header that names both.
fn header(record: &ByteRecord) -> Option<(usize, usize)> {
    let column = |names: &[&str]| {
        let is_one = |field: &[u8]| names.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(field.trim_ascii()));
        record.iter().position(is_one)
    };
    Some((column(&PATH_COLUMNS)?, column(&LABEL_COLUMNS)?))
}

/// Path and label of a line.
fn fields(record: &ByteRecord, (path, label): (usize, usize)) -> Result<(&[u8], &str), String> {
    if (path, label) == (0, 1) && record.len() > 2 {
        let problem = "fields; expected path,label, or a header that names the two columns";
        return Err(format!("{} {problem}", record.len()));
    }
    let field = |column: usize, what| {
        let field = record.get(column).map(<[u8]>::trim_ascii).filter(|field| !field.is_empty());
        field.ok_or_else(|| format!("no {what}; expected path,label"))
    };
    let path = field(path, "path")?;
    if path.contains(&0) {
        return Err("a NUL in the path: the list is damaged".to_owned());
    }
    let label = str::from_utf8(field(label, "label")?).map_err(|_| "the label is not UTF-8 text".to_owned())?;
    Ok((path, label))
}

/// A path of the list as one of the storage.
fn joined(folder: &str, path: &[u8]) -> String {
    let path = bytes_to_text(path);
    if path.starts_with('/') { path } else { format!("{folder}{path}") }
}
