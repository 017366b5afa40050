//! Comparing a packed split with what it was packed from.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{ScopedJoinHandle, available_parallelism, scope, sleep};
use std::time::Duration;

use jpeg::Transcoder;
use random::{Key, Purpose};

use crate::pack::recode::{LOSSLESS, Lossy, Recoder};
use crate::pack::{PackSpec, Progress};
use crate::pixels::crop::Wanted;
use crate::pixels::decode::{Decoder, Rgbx, panic_message};
use crate::source::shards::{Entry, Shard, Shards};
use crate::source::storage::Blob;
use crate::{CropBox, DataError, Decode, Encoding, Source, Split, Wants};

/// Compares the hashes of the shards, then every image.
pub(crate) fn verify(
    source: &dyn Source,
    split: Split,
    spec: &PackSpec,
    progress: &dyn Fn(Progress),
) -> Result<(), DataError> {
    let packed = Shards::local(&spec.out, split)?;
    let wrong = |name: String, problem: String| DataError::NotVerified { path: spec.out.clone(), name, problem };
    for (file, shard) in packed.files().iter().zip(packed.index().shards()) {
        check_hash(file.as_ref(), shard).map_err(|problem| wrong(shard.name.clone(), problem))?;
    }
    let workers = if spec.workers > 0 { spec.workers } else { available_parallelism().map_or(1, usize::from) };
    let images = packed.len() as u64;
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let failure: Mutex<Option<DataError>> = Mutex::new(None);
    let check = || {
        let mut checker = Checker::new(source, &packed, spec.lossy());
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= packed.len() || failure.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                return;
            }
            let checked = checker.as_mut().map_err(|error| error.to_string());
            if let Err(problem) = checked.and_then(|checker| checker.check(index)) {
                let error = wrong(packed.name(index).into_owned(), problem);
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                return;
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    scope(|scope| {
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(check)).collect();
        while running.iter().any(|worker| !worker.is_finished()) {
            progress(Progress { split, done: done.load(Ordering::Relaxed), images });
            sleep(Duration::from_millis(20));
        }
        running.into_iter().try_for_each(ScopedJoinHandle::join)
    })
    .map_err(|panic| DataError::WorkerPanicked { thread: "verifier", message: panic_message(panic.as_ref()) })?;
    progress(Progress { split, done: done.into_inner(), images });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn check_hash(file: &dyn Blob, shard: &Shard) -> Result<(), String> {
    const PIECE_BYTES: u64 = 1 << 20;
    let mut hasher = blake3::Hasher::new();
    let mut bytes = Vec::new();
    let mut offset = 0;
    while offset < file.len() {
        bytes.resize((file.len() - offset).min(PIECE_BYTES) as usize, 0);
        file.read_at(offset, &mut bytes).map_err(|error| error.to_string())?;
        hasher.update(&bytes);
        offset += bytes.len() as u64;
    }
    if *hasher.finalize().as_bytes() == shard.hash { Ok(()) } else { Err("its bytes have changed".to_owned()) }
}

/// Compares one image after the other.
struct Checker<'a> {
    source: &'a dyn Source,
    packed: &'a Shards,
    lossless: bool,
    recoder: Recoder,
    transcoder: Transcoder,
    decoder: Decoder,
    image: Rgbx,
    original: Vec<u8>,
    whole: Vec<u8>,
    part: Vec<u8>,
}

impl<'a> Checker<'a> {
    fn new(source: &'a dyn Source, packed: &'a Shards, lossy: Lossy) -> Result<Checker<'a>, jpeg::JpegError> {
        Ok(Checker {
            source,
            packed,
            lossless: lossy == Lossy::default(),
            recoder: Recoder::new(lossy)?,
            transcoder: Transcoder::new()?,
            decoder: Decoder::new(Decode::Region),
            image: Rgbx::default(),
            original: Vec::new(),
            whole: Vec::new(),
            part: Vec::new(),
        })
    }

    fn check(&mut self, index: usize) -> Result<(), String> {
        let entry = self.packed.index().entry(index)?;
        let sample = entry.record.key as usize;
        if sample >= self.source.len() || self.source.label(sample) != entry.record.label {
            return Err("its label is another".to_owned());
        }
        self.packed.read_whole(&entry, &mut self.whole).map_err(|error| error.to_string())?;
        let read = self.source.read(sample, Wants::EVERYTHING, &mut self.original);
        let encoding = read.map_err(|error| error.to_string())?;
        self.compare(&entry, encoding)?;
        if entry.segments.is_empty() { Ok(()) } else { self.read_part(index) }
    }

    /// The stored file against the original.
    fn compare(&mut self, entry: &Entry<'_>, encoding: Encoding) -> Result<(), String> {
        if self.lossless && !entry.segments.is_empty() {
            let text = |error: jpeg::JpegError| error.to_string();
            let before = self.transcoder.coefficients(&self.original, &LOSSLESS).map_err(text)?;
            let after = self.transcoder.coefficients(&self.whole, &LOSSLESS).map_err(text)?;
            return if before == after { Ok(()) } else { Err("its coefficients differ".to_owned()) };
        }
        // Recoding is a pure function.
        let again = self.recoder.recode(&self.original, encoding).map_err(|bad| bad.to_string())?;
        if again.bytes == self.whole { Ok(()) } else { Err("its bytes differ".to_owned()) }
    }

    /// A crop through the index, which must have the pixels of the stored file (to one level: chroma at its edge).
    fn read_part(&mut self, index: usize) -> Result<(), String> {
        let wanted = |width: u32, height: u32| {
            let mut rng = Key::root(0).child(Purpose::Pack as u64).child(index as u64).rng();
            CropBox::random_resized(width, height, [0.08, 1.0], [0.75, 4.0 / 3.0], &mut rng)
        };
        let read = self.packed.read(index, Wants::new(&wanted), &mut self.part);
        let encoding = read.map_err(|error| error.to_string())?;
        let part = pixels(&mut self.decoder, &mut self.image, &self.part, encoding, &wanted)?;
        let whole = pixels(&mut self.decoder, &mut self.image, &self.whole, Encoding::File, &wanted)?;
        let alike = part.len() == whole.len() && part.iter().zip(&whole).all(|(a, b)| a.abs_diff(*b) <= 1);
        if alike { Ok(()) } else { Err("its segments have other pixels".to_owned()) }
    }
}

/// The red, green and blue of a crop, row by row.
fn pixels(
    decoder: &mut Decoder,
    image: &mut Rgbx,
    bytes: &[u8],
    encoding: Encoding,
    wanted: &dyn Fn(u32, u32) -> CropBox,
) -> Result<Vec<u8>, String> {
    // No reduction: the result would have to be larger than any image.
    let unscaled = |width, height| Wanted::only(wanted(width, height), u32::MAX);
    let view = decoder.decode(bytes, encoding, &unscaled, image).map_err(|bad| bad.to_string())?;
    let CropBox { top, left, height, width } = view.part;
    let row_bytes = 4 * image.width as usize;
    let rows = image.pixels().chunks_exact(row_bytes).skip(top as usize).take(height as usize);
    let columns = 4 * left as usize..4 * (left + width) as usize;
    Ok(rows.flat_map(|row| row[columns.clone()].chunks_exact(4).flat_map(|pixel| pixel[..3].to_vec())).collect())
}
