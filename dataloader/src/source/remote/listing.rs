//! What is known of remote objects without asking: their identity, and lists of them that are kept for a while.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use object_store::ObjectMeta;
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;

/// What tells an object from another one that replaces it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) bytes: u64,
    /// The storage's name for this content, where it gives one.
    tag: Option<String>,
    modified_s: i64,
}

impl Identity {
    pub(super) fn of(meta: &ObjectMeta) -> Identity {
        Identity { bytes: meta.size, tag: meta.e_tag.clone(), modified_s: meta.last_modified.timestamp() }
    }

    /// True where the answer to a later request is about the same content.
    pub(super) fn is_of(&self, meta: &ObjectMeta) -> bool {
        let same = match (&self.tag, &meta.e_tag) {
            (Some(then), Some(now)) => then == now,
            // Some storages give a tag in one answer and none in another.
            _ => self.modified_s == meta.last_modified.timestamp(),
        };
        same && self.bytes == meta.size
    }

    /// A text that is another one for an object that replaces this.
    pub(super) fn version(&self) -> String {
        let tag = self.tag.as_deref().unwrap_or_default();
        format!("{} bytes, tag {tag}, changed at {} s", self.bytes, self.modified_s)
    }

    /// A tag that the storage may be asked to match: a weak one matches nothing (RFC 9110, section 13.1.1).
    pub(super) fn strong_tag(&self) -> Option<String> {
        self.tag.clone().filter(|tag| !tag.starts_with("W/"))
    }

    /// Text that is the same for the same content only.
    pub(super) fn text(&self) -> String {
        match &self.tag {
            Some(tag) => format!("{} {tag}", self.bytes),
            None => format!("{} @{}", self.bytes, self.modified_s),
        }
    }
}

/// Lists of objects on disk.
#[derive(Debug)]
pub(super) struct Listings {
    folder: PathBuf,
    valid: Duration,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    place: String,
    listed_s: u64,
    objects: Vec<(String, Identity)>,
}

impl Listings {
    pub(super) fn new(cache: &Path, valid: Duration) -> Listings {
        Listings { folder: cache.join("listings"), valid }
    }

    /// The list that was stored for `place`, where it is young enough.
    pub(super) fn load(&self, place: &str) -> Option<Vec<(String, Identity)>> {
        let kept: Kept = serde_json::from_slice(&fs::read(self.file(place)).ok()?).ok()?;
        let age_s = now_s().checked_sub(kept.listed_s)?;
        (kept.version == VERSION && kept.place == place && age_s < self.valid.as_secs()).then_some(kept.objects)
    }

    /// Keeps a list, or does without.
    pub(super) fn store(&self, place: &str, objects: &[(String, Identity)]) {
        if self.valid.is_zero() || objects.is_empty() {
            return;
        }
        let kept = Kept { version: VERSION, place: place.to_owned(), listed_s: now_s(), objects: objects.to_vec() };
        let file = self.file(place);
        let partial = file.with_extension(format!("partial-{}", std::process::id()));
        let written = fs::create_dir_all(&self.folder)
            .and_then(|()| serde_json::to_vec(&kept).map_err(std::io::Error::other))
            .and_then(|bytes| fs::File::create(&partial)?.write_all(&bytes))
            .and_then(|()| fs::rename(&partial, &file));
        if let Err(error) = written {
            let _ = fs::remove_file(&partial);
            tracing::debug!("cannot keep the list of objects in {}: {error}", file.display());
        }
    }

    fn file(&self, place: &str) -> PathBuf {
        self.folder.join(format!("{}.json", &blake3::hash(place.as_bytes()).to_hex()[..32]))
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
