//! Packing one split: workers recode, one thread writes in order, and what is already there is kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use crossbeam::channel::{Receiver, Sender, bounded};
use crossbeam::thread::scope;
use random::{Key, Permutation, Purpose};

use crate::pack::journal::{self, Finished};
use crate::pack::recode::{Recoded, Recoder};
use crate::pack::shard::{OpenShard, Sample};
use crate::pack::{BadImages, PackSpec, Progress, SplitSummary, index, write_whole};
use crate::pixels::decode::panic_message;
use crate::source::shards::Shards;
use crate::{BadImage, DataError, Reason, Source, Split, Wants};

/// Packs what is missing of a split.
pub(crate) fn pack(
    source: &dyn Source,
    split: Split,
    spec: &PackSpec,
    progress: &dyn Fn(Progress),
) -> Result<SplitSummary, DataError> {
    let images = source.len() as u64;
    let report = |done| progress(Progress { split, done, images });
    if images > u64::from(u32::MAX) {
        let problem = format!("{images} images in a split; at most {} can be packed", u32::MAX);
        return Err(DataError::Pack { path: spec.out.clone(), problem });
    }
    let mut finished = resumable(&spec.out, split);
    let done = finished.last().map_or(0, |last| last.positions.end);
    report(done);
    if done < images {
        let run = Run { source, split, spec, report: &report };
        run.pack(done, &mut finished)?;
    }
    let mut summary = SplitSummary::default();
    let mut left_out = String::new();
    for part in &finished {
        summary.add(&part.counts);
        left_out.extend(part.left_out.iter().map(String::as_str));
    }
    if summary.images == 0 {
        let problem = format!("all {images} images of the {split} split are bad");
        return Err(DataError::Pack { path: spec.out.clone(), problem });
    }
    if !left_out.is_empty() {
        write_whole(&spec.out, &left_out_name(split), left_out.as_bytes())?;
    }
    let index = index::Draft::new(&spec.out, split, &finished, source.classes());
    summary.index_bytes = index.bytes();
    let text = serde_json::to_vec_pretty(&summary).expect("plain numbers");
    write_whole(&spec.out, &summary_name(split), &text)?;
    index.write()?;
    journal::remove(&spec.out, finished.iter().map(|finished| &finished.shard.name));
    Ok(summary)
}

/// What became of the split, as JSON; written before the index, which is the sign that all is whole.
fn summary_name(split: Split) -> String {
    format!("{}-summary.json", split.file_stem())
}

/// The list of images that were left out: a line each, its name, a tab and the reason.
fn left_out_name(split: Split) -> String {
    format!("{}-left-out.txt", split.file_stem())
}

impl SplitSummary {
    fn add(&mut self, other: &SplitSummary) {
        self.images += other.images;
        self.as_they_are += other.as_they_are;
        self.left_out += other.left_out;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.shards += other.shards;
    }
}

/// What became of a split whose index is written, and whose shards are those of the index.
pub(crate) fn found(split: Split, out: &Path) -> Option<SplitSummary> {
    let packed = Shards::local(out, split).ok()?;
    let summary = serde_json::from_slice(&fs::read(out.join(summary_name(split))).ok()?).ok()?;
    journal::remove(out, packed.index().shards().iter().map(|shard| &shard.name));
    Some(summary)
}

/// The shards that need not be packed again: those from the first on that are whole and follow upon each other.
fn resumable(out: &Path, split: Split) -> Vec<Finished> {
    let mut finished: Vec<Finished> = Vec::new();
    while let Some(parts) = journal::read(out, split.file_stem(), finished.len() as u32) {
        let expected = finished.last().map_or(0, |last| last.positions.end);
        if parts.finished.positions.start != expected {
            break;
        }
        finished.push(parts.finished);
    }
    finished
}

/// The order of a split in its shards.
fn order(seed: u64, split: Split, images: u64) -> Permutation {
    Permutation::new(Key::root(seed).child(Purpose::Pack as u64).child(split as u64), images)
}

/// One position of the order, recoded.
struct Done {
    position: u64,
    index: usize,
    bytes_in: usize,
    outcome: Result<Recoded, BadImage>,
}

/// The packing of one split.
struct Run<'a> {
    source: &'a dyn Source,
    split: Split,
    spec: &'a PackSpec,
    report: &'a dyn Fn(u64),
}

impl Run<'_> {
    /// Packs the positions from `first` on, and adds the shards to `finished`.
    fn pack(&self, first: u64, finished: &mut Vec<Finished>) -> Result<(), DataError> {
        let workers = match self.spec.workers {
            0 => available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        // As many images are in memory at most.
        let window = 4 * workers as u64;
        let (task_in, tasks) = bounded::<(u64, usize)>(window as usize);
        let (done_in, done) = bounded::<Done>(window as usize);
        let (source, lossy) = (self.source, self.spec.lossy());
        let run = scope(|scope| {
            for _ in 0..workers {
                let (tasks, done_in) = (tasks.clone(), done_in.clone());
                let mut recoder = Recoder::new(lossy)
                    .map_err(|error| DataError::Pack { path: self.spec.out.clone(), problem: error.to_string() })?;
                let started = scope.builder().spawn(move |_| work(source, &mut recoder, &tasks, &done_in));
                started.map_err(|source| DataError::Thread { source })?;
            }
            drop((tasks, done_in));
            self.write(first, window, finished, task_in, &done)
        });
        run.unwrap_or_else(|panic| {
            Err(DataError::WorkerPanicked { thread: "packer", message: panic_message(panic.as_ref()) })
        })
    }

    /// Hands out positions and writes what comes back, in order.
    fn write(
        &self,
        first: u64,
        window: u64,
        finished: &mut Vec<Finished>,
        tasks: Sender<(u64, usize)>,
        done: &Receiver<Done>,
    ) -> Result<(), DataError> {
        let images = self.source.len() as u64;
        let order = order(self.spec.seed, self.split, images);
        let mut early: BTreeMap<u64, Done> = BTreeMap::new();
        let mut handed_out = first;
        let mut open: Option<OpenShard> = None;
        for position in first..images {
            while handed_out < images.min(position + window) {
                // Workers end only when this sender is gone.
                let _ = tasks.send((handed_out, order.at(handed_out) as usize));
                handed_out += 1;
            }
            let next = loop {
                if let Some(next) = early.remove(&position) {
                    break next;
                }
                let came = done.recv().map_err(|_| DataError::Stopped)?;
                early.insert(came.position, came);
            };
            let shard = match &mut open {
                Some(shard) => shard,
                none => none.insert(self.begin(finished.len(), position)?),
            };
            self.add(shard, next)?;
            let full = shard.bytes() >= self.spec.shard_bytes || shard.journal.images() >= self.spec.shard_images;
            if full && let Some(shard) = open.take() {
                finished.push(shard.finish()?);
            }
            (self.report)(position + 1);
        }
        if let Some(shard) = open {
            finished.push(shard.finish()?);
        }
        Ok(())
    }

    fn begin(&self, number: usize, position: u64) -> Result<OpenShard, DataError> {
        OpenShard::begin(&self.spec.out, self.split.file_stem(), number as u32, position)
    }

    fn add(&self, shard: &mut OpenShard, done: Done) -> Result<(), DataError> {
        let name = self.source.name(done.index);
        shard.journal.advance(done.bytes_in);
        match done.outcome {
            Ok(recoded) => {
                let label = self.source.label(done.index);
                shard.add(&Sample { index: done.index, label, name: &name }, &recoded)
            }
            Err(bad) if self.spec.bad_images == BadImages::Refuse => {
                Err(DataError::NotPacked { name: name.into_owned(), bad })
            }
            Err(bad) => {
                tracing::warn!("left out: {name}: {bad}");
                shard.journal.leave_out(&name, &bad);
                Ok(())
            }
        }
    }
}

/// Reads and recodes until no more positions come.
fn work(source: &dyn Source, recoder: &mut Recoder, tasks: &Receiver<(u64, usize)>, done: &Sender<Done>) {
    let mut bytes = Vec::new();
    for (position, index) in tasks {
        let read = source.read(index, Wants::EVERYTHING, &mut bytes);
        let outcome = match read {
            Ok(encoding) => recoder.recode(&bytes, encoding),
            Err(error) => Err(BadImage::new(Reason::Unreadable, error)),
        };
        if done.send(Done { position, index, bytes_in: bytes.len(), outcome }).is_err() {
            return;
        }
    }
}
