//! The threads of a loader: a planner, readers and workers, joined by bounded channels around the caller's closure.

mod bad;
mod batches;
mod sizes;
mod spec;
mod stats;

pub use batches::{BatchMemory, Batches, Lease};
pub use spec::LoaderSpec;
pub use stats::LoaderStats;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded, select};
use crossbeam::thread::{Scope, scope};
use random::{Key, Purpose};

use crate::pipeline::bad::BadImages;
use crate::pipeline::batches::Filled;
use crate::pipeline::sizes::Sizes;
use crate::pipeline::stats::Clock;
use crate::pixels::decode::panic_message;
use crate::{BadImage, DataError, Encoding, Preparer, ReadError, Reason, SampleKey, Source, Stream, Transform, Wants};

/// Runs `body` with a loader beside it: threads that fill `memory` with the batches of `spec`, in order.
///
/// The number of buffers in `memory` is the number of batches in flight, leased ones included. All threads are gone when
/// this returns, also after a panic of `body`, which goes on.
///
/// # Errors
/// When the spec does not fit together, the memory is too small, or threads cannot be started. What goes wrong later is
/// reported by [`Batches::next`].
pub fn with_batches<M: BatchMemory, R>(
    source: &dyn Source,
    spec: &LoaderSpec,
    mut memory: Vec<M>,
    stats: &LoaderStats,
    body: impl FnOnce(&mut Batches<'_, M>) -> R,
) -> Result<R, DataError> {
    spec.check()?;
    check_memory(spec, &mut memory)?;
    if source.is_empty() {
        return Err(DataError::InvalidSpec { field: "source", problem: "it has no samples".to_owned() });
    }
    let loader = Loader { source, spec, sizes: spec.sizes(), stats, bad: BadImages::new(spec.bad_images.clone()) };
    let run = scope(|scope| {
        let mut batches = loader.start(scope, memory)?;
        Ok(body(&mut batches))
    });
    run.unwrap_or_else(|panic| Err(panicked("scope", &panic_message(panic.as_ref()))))
}

fn check_memory<M: BatchMemory>(spec: &LoaderSpec, memory: &mut [M]) -> Result<(), DataError> {
    let invalid = |problem| Err(DataError::InvalidSpec { field: "memory", problem });
    if memory.is_empty() {
        return invalid("no buffers; supply two or more".to_owned());
    }
    let needed = spec.batch_bytes();
    for buffer in memory {
        let bytes = buffer.bytes();
        if bytes.len() < needed {
            return invalid(format!("a buffer has {} bytes, but a batch needs {needed}", bytes.len()));
        }
        if bytes.as_ptr().align_offset(align_of::<f32>()) != 0 {
            return invalid("a buffer is not aligned for 32-bit floats".to_owned());
        }
    }
    Ok(())
}

fn panicked(thread: &'static str, message: &str) -> DataError {
    DataError::WorkerPanicked { thread, message: message.to_owned() }
}

/// A batch that is being filled.
struct Filling<M> {
    index: u64,
    /// Which of the loader's sizes its images have.
    stage: usize,
    samples: Vec<SampleKey>,
    content: Mutex<Content<M>>,
}

struct Content<M> {
    memory: Option<M>,
    labels: Vec<i64>,
    missing: usize,
}

/// One sample to prepare, and its place in its batch.
struct Task<M> {
    batch: Arc<Filling<M>>,
    slot: usize,
}

/// A task with the bytes of its sample.
struct Loaded<M> {
    task: Task<M>,
    bytes: Vec<u8>,
    read: Result<Encoding, ReadError>,
}

/// What all threads share.
struct Loader<'a> {
    source: &'a dyn Source,
    spec: &'a LoaderSpec,
    sizes: Sizes,
    stats: &'a LoaderStats,
    bad: BadImages,
}

type Outcome<M> = Result<Filled<M>, DataError>;

impl<'a> Loader<'a> {
    /// Starts all threads. They end when the returned [`Batches`] is dropped, or when nobody is left to work for.
    fn start<'env, M: BatchMemory + 'env>(
        &'env self,
        scope: &Scope<'env>,
        memory: Vec<M>,
    ) -> Result<Batches<'a, M>, DataError> {
        let (readers, workers) = (self.spec.reader_threads(), self.spec.worker_threads());
        let buffers = memory.len();
        let (free_in, free) = bounded(buffers);
        let (stop_in, stop) = bounded::<()>(0);
        let (task_in, tasks) = bounded::<Task<M>>(2 * readers);
        let (loaded_in, loaded) = bounded::<Loaded<M>>(2 * workers + readers);
        let (spare_in, spare) = bounded::<Vec<u8>>(4 * workers + 4 * readers);
        // Never full: at most every buffer and one error a thread.
        let (filled_in, filled) = bounded::<Outcome<M>>(buffers + readers + workers + 1);
        for buffer in memory {
            free_in.send(buffer).expect("the receiver is in scope");
        }
        {
            let stop = stop.clone();
            spawn(scope, "planner", &filled_in, move || self.plan(&free, &stop, &task_in))?;
        }
        for _ in 0..readers {
            let (tasks, spare, loaded_in, stop) = (tasks.clone(), spare.clone(), loaded_in.clone(), stop.clone());
            spawn(scope, "reader", &filled_in, move || self.read(&tasks, &spare, &stop, &loaded_in))?;
        }
        for _ in 0..workers {
            let (loaded, spare_in, stop, filled_in) =
                (loaded.clone(), spare_in.clone(), stop.clone(), filled_in.clone());
            let report = filled_in.clone();
            spawn(scope, "worker", &report, move || self.work(&loaded, &spare_in, &stop, &filled_in))?;
        }
        Ok(Batches {
            filled,
            free: free_in,
            _stop: stop_in,
            stats: self.stats,
            early: Default::default(),
            next: 0,
            end: self.spec.share().batches(self.source.len() as u64),
            buffers,
            leased: Arc::new(AtomicUsize::new(0)),
            failed: false,
        })
    }

    /// Hands out tasks in order, one batch for each free buffer.
    fn plan<M: BatchMemory>(&self, free: &Receiver<M>, stop: &Receiver<()>, tasks: &Sender<Task<M>>) {
        let len = self.source.len() as u64;
        let share = self.spec.share();
        let mut stream = Stream::new(self.spec.seed, self.spec.order, len).repeated(self.spec.repeats as u64);
        let mut index = 0;
        while let Some(positions) = share.positions(index, len) {
            let began = Instant::now();
            let memory = select! {
                recv(free) -> memory => memory.ok(),
                recv(stop) -> _ => None,
            };
            self.stats.spent(Clock::MemoryWait, began.elapsed());
            let Some(memory) = memory else { return };
            let stage = self.sizes.stage_at(positions.start, len);
            let samples: Vec<SampleKey> = positions.map(|position| stream.at(position)).collect();
            let missing = samples.len();
            let content = Mutex::new(Content { memory: Some(memory), labels: vec![0; missing], missing });
            let batch = Arc::new(Filling { index, stage, samples, content });
            for slot in 0..missing {
                if tasks.send(Task { batch: Arc::clone(&batch), slot }).is_err() {
                    return;
                }
            }
            index += 1;
        }
    }

    /// Reads the bytes of each task's sample.
    fn read<M>(
        &self,
        tasks: &Receiver<Task<M>>,
        spare: &Receiver<Vec<u8>>,
        stop: &Receiver<()>,
        out: &Sender<Loaded<M>>,
    ) {
        for task in tasks {
            if stopping(stop) {
                return;
            }
            let mut bytes = spare.try_recv().unwrap_or_default();
            let place = task.batch.samples[task.slot];
            let key = place.key(self.spec.seed, Purpose::Augment);
            let transform = self.sizes.transform(task.batch.stage);
            let read = self.read_sample(place.sample as usize, transform, key, &mut bytes);
            if out.send(Loaded { task, bytes, read }).is_err() {
                return;
            }
        }
    }

    /// Reads a sample, or the part of it that the draws of `key` make of it.
    fn read_sample(
        &self,
        sample: usize,
        transform: &Transform,
        key: Key,
        bytes: &mut Vec<u8>,
    ) -> Result<Encoding, ReadError> {
        let began = Instant::now();
        let wanted = |width, height| transform.wanted(width, height, key).pixels;
        let read = self.source.read(sample, Wants::new(&wanted), bytes);
        self.stats.spent(Clock::Reading, began.elapsed());
        self.stats.count_bytes(bytes.len());
        read
    }

    /// Turns bytes into pixels, and sends each batch on when its last sample is there.
    fn work<M: BatchMemory>(
        &self,
        loaded: &Receiver<Loaded<M>>,
        spare: &Sender<Vec<u8>>,
        stop: &Receiver<()>,
        filled: &Sender<Outcome<M>>,
    ) {
        let mut preparer = Preparer::new(self.spec.decode);
        loop {
            let began = Instant::now();
            let Ok(mut loaded) = loaded.recv() else { return };
            self.stats.spent(Clock::WorkerWait, began.elapsed());
            if stopping(stop) {
                return;
            }
            let began = Instant::now();
            let whole = self.fill(&mut preparer, &mut loaded);
            self.stats.spent(Clock::Preparing, began.elapsed());
            // Where the pool of spare vectors is full, this one is freed.
            let _ = spare.try_send(loaded.bytes);
            let Some(outcome) = whole.transpose() else { continue };
            let failed = outcome.is_err();
            if outcome.is_ok() {
                self.stats.batch_ready();
            }
            if filled.send(outcome).is_err() || failed {
                return;
            }
        }
    }

    /// Writes one sample into its place. The batch, where that was its last missing one.
    ///
    /// A bad image is replaced by the next good one of the source, with the draws of the planned sample. That holds in
    /// evaluation too: the number of samples stays the same for any number of ranks, and one of them counts twice.
    fn fill<M: BatchMemory>(
        &self,
        preparer: &mut Preparer,
        loaded: &mut Loaded<M>,
    ) -> Result<Option<Filled<M>>, DataError> {
        let Loaded { task, bytes, read } = loaded;
        let place = task.batch.samples[task.slot];
        let key = place.key(self.spec.seed, Purpose::Augment);
        let transform = self.sizes.transform(task.batch.stage);
        let len = self.source.len();
        let mut sample = place.sample as usize;
        loop {
            let outcome = match read {
                Ok(encoding) => self.prepare(preparer, bytes, *encoding, transform, key),
                Err(error) => Err(BadImage::new(Reason::Unreadable, error)),
            };
            let bad = match outcome {
                Ok(pixels) => return Ok(self.deliver(task, pixels, self.source.label(sample))),
                Err(bad) => bad,
            };
            let name = self.source.name(sample);
            self.bad.note(sample, &name, &bad, self.stats);
            let next = (1..len).map(|ahead| (sample + ahead) % len).find(|&next| !self.bad.is_known(next));
            let Some(next) = next else {
                return Err(DataError::AllBad { len, name: name.into_owned(), bad });
            };
            sample = next;
            *read = self.read_sample(sample, transform, key, bytes);
        }
    }

    /// The pixels of one sample, and how long its two stages took.
    fn prepare<'p>(
        &self,
        preparer: &'p mut Preparer,
        bytes: &[u8],
        encoding: Encoding,
        transform: &Transform,
        key: Key,
    ) -> Result<&'p [u8], BadImage> {
        let began = Instant::now();
        let decoded = preparer.decode(bytes, encoding, transform, key);
        self.stats.spent(Clock::Decoding, began.elapsed());
        let began = Instant::now();
        let pixels = preparer.resize(decoded?, transform, key);
        self.stats.spent(Clock::Resizing, began.elapsed());
        Ok(pixels)
    }

    fn deliver<M: BatchMemory>(&self, task: &Task<M>, pixels: &[u8], label: u32) -> Option<Filled<M>> {
        let began = Instant::now();
        let transform = self.sizes.transform(task.batch.stage);
        let image_bytes = transform.image_bytes();
        let mut content = task.batch.content.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = content.memory.as_mut().expect("taken with the last sample only");
        transform.write(pixels, &mut memory.bytes()[task.slot * image_bytes..][..image_bytes]);
        self.stats.spent(Clock::Writing, began.elapsed());
        content.labels[task.slot] = i64::from(label);
        content.missing -= 1;
        self.stats.count_image();
        if content.missing > 0 {
            return None;
        }
        let memory = content.memory.take().expect("used above");
        let labels = std::mem::take(&mut content.labels);
        Some(Filled {
            index: task.batch.index,
            size: transform.size,
            memory,
            labels,
            samples: task.batch.samples.clone(),
        })
    }
}

/// Starts a thread whose panic becomes an error of the loader.
fn spawn<'env, M: Send + 'env>(
    scope: &Scope<'env>,
    name: &'static str,
    report: &Sender<Outcome<M>>,
    job: impl FnOnce() + Send + 'env,
) -> Result<(), DataError> {
    let report = report.clone();
    let guarded = move |_: &Scope<'env>| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(job)) {
            // Where the receiver is gone, the loader has ended already.
            let _ = report.send(Err(panicked(name, &panic_message(panic.as_ref()))));
        }
    };
    let started = scope.builder().name(format!("loader-{name}")).spawn(guarded);
    started.map(drop).map_err(|source| DataError::Thread { source })
}

fn stopping(stop: &Receiver<()>) -> bool {
    stop.try_recv() == Err(TryRecvError::Disconnected)
}
