//! A folder of compiled kernels, shared by ranks, processes and runs: an entry is whole or absent.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names the folder; empty for none.
const VARIABLE: &str = "RECTIFY_KERNEL_CACHE";
/// What an entry begins with; the digit is the format's.
const MAGIC: &[u8; 8] = b"RECTKRN1";
const HASH: usize = blake3::OUT_LEN;
/// Magic, length of the code, hash of key and code.
const HEAD: usize = MAGIC.len() + 8 + HASH;

/// What an entry is kept under: a hash of all that its code depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey([u8; HASH]);

impl CacheKey {
    /// The key of a sequence of parts; where one ends and the next begins counts, too.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a str>) -> CacheKey {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        CacheKey(*hasher.finalize().as_bytes())
    }

    fn file_name(&self) -> String {
        format!("{}.cubin", blake3::Hash::from_bytes(self.0).to_hex())
    }
}

/// The folder. Any number of threads and processes may read and write it at once, also over a
/// network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelCache {
    folder: PathBuf,
}

impl KernelCache {
    /// A cache in a folder, which is made with the first entry.
    pub fn new(folder: impl Into<PathBuf>) -> KernelCache {
        KernelCache { folder: folder.into() }
    }

    /// The cache that the environment names: `RECTIFY_KERNEL_CACHE`, else
    /// `$XDG_CACHE_HOME/rectify/kernels`, else `~/.cache/rectify/kernels`. `None` where
    /// `RECTIFY_KERNEL_CACHE` is empty, or none of the variables is set.
    pub fn of_user() -> Option<KernelCache> {
        folder_from(|name| env::var_os(name)).map(KernelCache::new)
    }

    /// Where the entries are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The code under a key. `None` where there is no such entry, it cannot be read, or it is not
    /// as it was written.
    pub fn get(&self, key: &CacheKey) -> Option<Vec<u8>> {
        let mut entry = fs::read(self.folder.join(key.file_name())).ok()?;
        let (magic, rest) = entry.split_at_checked(MAGIC.len())?;
        let (length, rest) = rest.split_at_checked(8)?;
        let (hash, code) = rest.split_at_checked(HASH)?;
        let whole =
            magic == MAGIC && length == (code.len() as u64).to_le_bytes() && hash == hash_of(key, code).as_bytes();
        whole.then(|| entry.split_off(HEAD))
    }

    /// Writes code under a key, in place of what is there: into a temporary file, which is then
    /// renamed.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn put(&self, key: &CacheKey, code: &[u8]) -> io::Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(&self.folder)?;
        let name = key.file_name();
        // Several hosts may share the folder, and their processes have numbers in common.
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let ours = format!("{}.{}.{}", host.trim(), process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let temporary = self.folder.join(format!("{name}.{ours}.partial"));
        let mut entry = Vec::with_capacity(HEAD + code.len());
        entry.extend_from_slice(MAGIC);
        entry.extend_from_slice(&(code.len() as u64).to_le_bytes());
        entry.extend_from_slice(hash_of(key, code).as_bytes());
        entry.extend_from_slice(code);
        // No fsync: what a loss of power leaves behind is not as it was written, and is compiled
        // again.
        let written = fs::write(&temporary, entry).and_then(|()| fs::rename(&temporary, self.folder.join(name)));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

/// Holds the key, so that an entry under another's name is refused.
fn hash_of(key: &CacheKey, code: &[u8]) -> blake3::Hash {
    blake3::Hasher::new().update(&key.0).update(code).finalize()
}

fn folder_from(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(folder) = variable(VARIABLE) {
        return (!folder.is_empty()).then(|| folder.into());
    }
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("rectify/kernels"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn cache() -> (tempfile::TempDir, KernelCache) {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = KernelCache::new(folder.path().join("kernels"));
        (folder, cache)
    }

    fn entry_of(cache: &KernelCache, key: &CacheKey) -> PathBuf {
        cache.folder.join(key.file_name())
    }

    #[test]
    fn an_entry_is_found_under_its_key_alone() {
        let (_folder, cache) = cache();
        let (key, other) = (CacheKey::of(["a", "bc"]), CacheKey::of(["ab", "c"]));
        assert_eq!(cache.get(&key), None);
        cache.put(&key, b"code").expect("a folder that can be written");
        assert_eq!(cache.get(&key).as_deref(), Some(&b"code"[..]));
        assert_eq!(cache.get(&other), None);
        fs::rename(entry_of(&cache, &key), entry_of(&cache, &other)).expect("an entry");
        assert_eq!(cache.get(&other), None, "an entry of another key");
    }

    #[test]
    fn a_damaged_or_truncated_entry_is_none_and_is_replaced() {
        let (_folder, cache) = cache();
        let key = CacheKey::of(["key"]);
        cache.put(&key, b"some code").expect("a folder that can be written");
        let file = entry_of(&cache, &key);
        let whole = fs::read(&file).expect("an entry");
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(&file, &damaged).expect("a file");
            assert_eq!(cache.get(&key), None, "byte {place}");
            fs::write(&file, &whole[..place]).expect("a file");
            assert_eq!(cache.get(&key), None, "the first {place} bytes");
        }
        fs::write(&file, [&whole[..], b"more"].concat()).expect("a file");
        assert_eq!(cache.get(&key), None, "more than was written");
        cache.put(&key, b"some code").expect("a folder that can be written");
        assert_eq!(cache.get(&key).as_deref(), Some(&b"some code"[..]));
        assert_eq!(fs::read_dir(&cache.folder).expect("a folder").count(), 1, "temporary files were left");
    }

    /// Readers see an entry whole or not at all while others replace it.
    #[test]
    fn concurrent_writers_leave_whole_entries() {
        let (_folder, cache) = cache();
        let key = CacheKey::of(["key"]);
        let code = |writer: u8| vec![writer; 100_000];
        thread::scope(|scope| {
            for writer in 0..4u8 {
                let (cache, key) = (&cache, &key);
                scope.spawn(move || {
                    for _ in 0..20 {
                        cache.put(key, &code(writer)).expect("a folder that can be written");
                        let found = cache.get(key).expect("an entry, whichever wrote it");
                        assert!(found.len() == 100_000 && found.iter().all(|&byte| byte == found[0]));
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(&cache.folder).expect("a folder").count(), 1, "temporary files were left");
    }

    /// A file where the folder should be stands for all that cannot be written: root may write
    /// where permissions forbid it.
    #[test]
    fn a_folder_that_cannot_be_written_is_an_error_of_put_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("a file");
        for place in [file.clone(), file.join("below")] {
            let cache = KernelCache::new(place);
            let key = CacheKey::of(["key"]);
            assert!(cache.put(&key, b"code").is_err());
            assert_eq!(cache.get(&key), None);
        }
    }

    #[test]
    fn the_folder_is_the_one_that_the_environment_names() {
        let folder = |set: &[(&str, &str)]| {
            let found = folder_from(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()));
            found.map(|folder| folder.display().to_string())
        };
        let named = |path: &str| Some(path.to_owned());
        assert_eq!(folder(&[("HOME", "/a")]), named("/a/.cache/rectify/kernels"));
        assert_eq!(folder(&[("HOME", "/a"), ("XDG_CACHE_HOME", "/c")]), named("/c/rectify/kernels"));
        assert_eq!(folder(&[("HOME", "/a"), ("XDG_CACHE_HOME", "c")]), named("/a/.cache/rectify/kernels"));
        assert_eq!(folder(&[("HOME", "/a"), (VARIABLE, "here")]), named("here"));
        assert_eq!(folder(&[("HOME", "/a"), (VARIABLE, "")]), None);
        assert_eq!(folder(&[]), None);
    }
}
