//! A folder of blocks that were fetched before: bounded, checked, shared by the processes of a machine.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use nix::fcntl::{Flock, FlockArg};

use crate::source::remote::listing::Identity;

/// How long a block waits for the folder's lock before it is left out of the cache.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// A file half written for so long was left by a process that is gone.
const ABANDONED: Duration = Duration::from_secs(3600);
const HASH_BYTES: usize = blake3::OUT_LEN;

/// Blocks on disk, each in a file of its own: a BLAKE3 hash, then the bytes that it is of.
///
/// Files may vanish at any time (another process makes room): what is not there is fetched again.
#[derive(Debug)]
pub(super) struct Blocks {
    folder: PathBuf,
    bound_bytes: u64,
    /// Set when the disk refused a block: nothing is stored from then on.
    refused: AtomicBool,
    written: AtomicU64,
}

/// The name of a block's file: the same for the same bytes of the same object only.
pub(super) fn name(place: &str, key: &str, identity: &Identity, number: u64) -> String {
    let text = format!("{place}\0{key}\0{}\0{}\0{number}", identity.text(), super::BLOCK_BYTES);
    blake3::hash(text.as_bytes()).to_hex()[..40].to_owned()
}

impl Blocks {
    /// At most `bound_bytes` in `cache`, which need not exist yet.
    pub(super) fn new(cache: &Path, bound_bytes: u64) -> Blocks {
        let folder = cache.join("blocks");
        Blocks { folder, bound_bytes, refused: AtomicBool::new(false), written: AtomicU64::new(0) }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(&name[..2]).join(name)
    }

    /// A block of `bytes` bytes; `None` where it is not there. One that is damaged is removed.
    pub(super) fn load(&self, name: &str, bytes: usize) -> Option<Vec<u8>> {
        let file = self.file(name);
        let mut read = fs::read(&file).ok()?;
        let (hash, block) = read.split_at_checked(HASH_BYTES).unwrap_or_default();
        if block.len() != bytes || blake3::hash(block).as_bytes() != hash {
            tracing::warn!("cached block {} is damaged: it is fetched again", file.display());
            let _ = fs::remove_file(&file);
            return None;
        }
        // The time of the last use is the file's time of change; that it cannot be set costs a worse choice later.
        let _ = File::options().append(true).open(&file).and_then(|file| file.set_modified(SystemTime::now()));
        read.drain(..HASH_BYTES);
        Some(read)
    }

    /// Keeps a block, or does without.
    pub(super) fn store(&self, name: &str, block: &[u8]) {
        if self.refused.load(Ordering::Relaxed) || (block.len() + HASH_BYTES) as u64 > self.bound_bytes {
            return;
        }
        if let Err(error) = self.write(name, block)
            && !self.refused.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("no more blocks are cached in {}: {error}", self.folder.display());
        }
    }

    fn write(&self, name: &str, block: &[u8]) -> io::Result<()> {
        let file = self.file(name);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let count = self.written.fetch_add(1, Ordering::Relaxed);
        let partial = self.folder.join(format!("partial-{}-{self:p}-{count}", std::process::id()));
        let Some(open) = self.reserve(&partial, (HASH_BYTES + block.len()) as u64)? else { return Ok(()) };
        let named = fill(open, block).and_then(|()| self.name(&partial, &file));
        if !matches!(named, Ok(true)) {
            let _ = fs::remove_file(&partial);
        }
        named.map(drop)
    }

    /// Gives a block that is written its own name. Nobody counts meanwhile: a count that met neither of the two names would let the
    /// folder grow beyond its bound.
    ///
    /// `false` where others hold the folder for too long.
    fn name(&self, partial: &Path, file: &Path) -> io::Result<bool> {
        let Some(_lock) = self.lock()? else { return Ok(false) };
        fs::rename(partial, file).map(|()| true)
    }

    /// Makes room for a file of `bytes` bytes and creates it at that length, so that it counts from now on.
    ///
    /// `None` where others hold the folder for too long.
    fn reserve(&self, partial: &Path, bytes: u64) -> io::Result<Option<File>> {
        let Some(_lock) = self.lock()? else { return Ok(None) };
        let tally = self.folder.join("bytes");
        let known = fs::read_to_string(&tally).ok().and_then(|text| text.trim().parse::<u64>().ok());
        let used = match known.filter(|&used| used.saturating_add(bytes) <= self.bound_bytes) {
            Some(used) => used,
            None => self.make_room(bytes)?,
        };
        // Written first: a process killed in between leaves a tally that is too large, which the next count mends.
        fs::write(&tally, (used + bytes).to_string())?;
        let open = File::create(partial)?;
        open.set_len(bytes)?;
        Ok(Some(open))
    }

    fn lock(&self) -> io::Result<Option<Flock<File>>> {
        let began = Instant::now();
        let mut file = File::create(self.folder.join("lock"))?;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Some(lock)),
                Err((_, nix::errno::Errno::EWOULDBLOCK)) if began.elapsed() > LOCK_PATIENCE => return Ok(None),
                Err((again, nix::errno::Errno::EWOULDBLOCK)) => file = again,
                Err((_, error)) => return Err(error.into()),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Counts the folder and removes what was not used for longest until `bytes` more fit, with a tenth to spare.
    fn make_room(&self, bytes: u64) -> io::Result<u64> {
        let mut files = self.files()?;
        let mut used: u64 = files.iter().map(|file| file.bytes).sum();
        if used.saturating_add(bytes) <= self.bound_bytes {
            return Ok(used);
        }
        files.sort_unstable_by_key(|file| file.used);
        let target = (self.bound_bytes - self.bound_bytes / 10).saturating_sub(bytes);
        for file in files.iter().filter(|file| file.state == FileState::Whole) {
            if used <= target {
                break;
            }
            if fs::remove_file(&file.path).is_ok() {
                used -= file.bytes;
            }
        }
        if used.saturating_add(bytes) > self.bound_bytes {
            return Err(io::Error::other("its bound leaves no room beside what is being written"));
        }
        Ok(used)
    }

    /// Every block, and every file that is still being written; abandoned ones are removed. Comes under the lock.
    fn files(&self) -> io::Result<Vec<Kept>> {
        let mut files = Vec::new();
        for entry in walkdir::WalkDir::new(&self.folder).into_iter().filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy();
            let Some(found) = entry.metadata().ok().filter(|found| found.is_file()) else { continue };
            if name == "lock" || name == "bytes" {
                continue;
            }
            let used = found.modified()?;
            let state = if name.starts_with("partial-") { FileState::Partial } else { FileState::Whole };
            if state == FileState::Partial && used.elapsed().is_ok_and(|age| age > ABANDONED) {
                let _ = fs::remove_file(entry.path());
                continue;
            }
            files.push(Kept { path: entry.path().to_owned(), bytes: found.len(), used, state });
        }
        Ok(files)
    }
}

struct Kept {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
    state: FileState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FileState {
    Whole,
    Partial,
}

fn fill(mut open: File, block: &[u8]) -> io::Result<()> {
    open.write_all(blake3::hash(block).as_bytes())?;
    open.write_all(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = 1000;
    const BOUND: u64 = 10 * (BLOCK + HASH_BYTES) as u64;

    fn named(number: usize) -> String {
        blake3::hash(&number.to_le_bytes()).to_hex()[..40].to_owned()
    }

    /// Counted while nobody may remove a block or reserve room for one; 0 where the lock is not to be had.
    fn stored_bytes(blocks: &Blocks) -> u64 {
        let Some(_lock) = blocks.lock().expect("a lock or none") else { return 0 };
        blocks.files().expect("counted").iter().map(|file| file.bytes).sum()
    }

    #[test]
    fn the_block_used_last_stays_and_the_bound_holds() {
        let scratch = tempfile::tempdir().expect("scratch");
        let blocks = Blocks::new(scratch.path(), BOUND);
        for number in 0..50 {
            blocks.store(&named(number), &[number as u8; BLOCK]);
            assert!(stored_bytes(&blocks) <= BOUND);
            assert_eq!(blocks.load(&named(0), BLOCK), Some(vec![0; BLOCK]), "block 0 is used all the time");
            // The clock of a file system ticks every few milliseconds.
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(blocks.load(&named(1), BLOCK), None);
        assert_eq!(blocks.load(&named(49), BLOCK), Some(vec![49; BLOCK]));
    }

    #[test]
    fn many_at_once_keep_the_bound() {
        let scratch = tempfile::tempdir().expect("scratch");
        let caches = [Blocks::new(scratch.path(), BOUND), Blocks::new(scratch.path(), BOUND)];
        std::thread::scope(|scope| {
            for (thread, blocks) in caches.iter().chain(&caches).enumerate() {
                scope.spawn(move || {
                    for number in 0..40 {
                        let content = vec![number as u8; BLOCK];
                        blocks.store(&named(number), &content);
                        assert!(stored_bytes(blocks) <= BOUND, "thread {thread}");
                        assert!(blocks.load(&named(number), BLOCK).is_none_or(|read| read == content));
                    }
                });
            }
        });
    }

    #[test]
    fn a_damaged_block_is_not_there() {
        let scratch = tempfile::tempdir().expect("scratch");
        let blocks = Blocks::new(scratch.path(), BOUND);
        for damage in [&b""[..], b"short", &[7; BLOCK + HASH_BYTES]] {
            blocks.store(&named(1), &[1; BLOCK]);
            fs::write(blocks.file(&named(1)), damage).expect("damaged");
            assert_eq!(blocks.load(&named(1), BLOCK), None);
            assert!(!blocks.file(&named(1)).exists());
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_done_without() {
        let scratch = tempfile::NamedTempFile::new().expect("scratch");
        let blocks = Blocks::new(scratch.path(), BOUND);
        blocks.store(&named(1), &[1; BLOCK]);
        assert!(blocks.refused.load(Ordering::Relaxed));
        assert_eq!(blocks.load(&named(1), BLOCK), None);
    }
}
