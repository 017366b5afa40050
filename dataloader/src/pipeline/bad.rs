//! Bad images: what becomes of their places, and the ledger that counts and lists each of them once.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{BadImage, LoaderStats, Reason};

/// What becomes of a sample whose image is bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BadPolicy {
    /// The next good image of the source takes its place, label included, with the draws of the planned sample. Every
    /// batch stays whole.
    #[default]
    Replace,
    /// Its place stays empty: zeros for pixels, [`SKIPPED`](crate::SKIPPED) for a label.
    Skip,
    /// The loader ends with [`DataError::BadImage`](crate::DataError::BadImage).
    Fail,
}

impl BadPolicy {
    fn done(self) -> &'static str {
        match self {
            BadPolicy::Replace => "replaced by the next good one",
            BadPolicy::Skip => "left out",
            BadPolicy::Fail => "ends the run",
        }
    }
}

/// The bad images of one source, as far as one loader has met them.
pub(crate) struct BadImages {
    policy: BadPolicy,
    list: Option<PathBuf>,
    known: Mutex<BTreeMap<usize, Reason>>,
}

impl BadImages {
    /// An empty ledger that also appends to the file `list`, and says what `policy` does.
    pub(crate) fn new(policy: BadPolicy, list: Option<PathBuf>) -> BadImages {
        BadImages { policy, list, known: Mutex::new(BTreeMap::new()) }
    }

    /// True where `sample` was found to be bad before.
    pub(crate) fn is_known(&self, sample: usize) -> bool {
        self.lock().contains_key(&sample)
    }

    /// How many different bad images there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Notes that `sample` is bad; the first time it is counted, logged and listed.
    pub(crate) fn note(&self, sample: usize, name: &str, bad: &BadImage, stats: &LoaderStats) {
        let mut known = self.lock();
        if known.insert(sample, bad.reason).is_some() {
            return;
        }
        stats.count_bad(bad.reason);
        tracing::warn!("bad image {}: {name}: {bad}", self.policy.done());
        if let Some(list) = &self.list
            && let Err(error) = append_once(list, name, bad.reason)
        {
            tracing::warn!("cannot list a bad image in {}: {error}", list.display());
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, Reason>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Appends `name`, a tab and the reason, unless the file has that line already (from another rank, split or run).
///
/// Two ranks that meet the same image in the same instant may both append it; nothing worse happens.
fn append_once(list: &Path, name: &str, reason: Reason) -> std::io::Result<()> {
    // One line an image, whatever its name holds.
    let line = format!("{}\t{reason}", name.replace(char::is_control, "\u{FFFD}"));
    let listed = fs::read_to_string(list).unwrap_or_default();
    if listed.lines().any(|listed| listed == line) {
        return Ok(());
    }
    if let Some(folder) = list.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().create(true).append(true).open(list)?.write_all(format!("{line}\n").as_bytes())
}
