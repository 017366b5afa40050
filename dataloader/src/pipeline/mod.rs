//! The threads of a loader: a planner, readers and workers, joined by bounded channels around the caller's closure.

mod bad;
mod batches;
mod budget;
mod read;
mod seat;
mod sizes;
mod spec;
mod stats;
mod threads;
mod work;

pub use bad::BadPolicy;
pub use batches::{BatchMemory, Batches, Lease, SKIPPED};
pub use spec::LoaderSpec;
pub use stats::LoaderStats;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded};
use crossbeam::thread::{Scope, scope};
use crossbeam::utils::CachePadded;

use crate::pipeline::bad::BadImages;
use crate::pipeline::budget::Budget;
use crate::pipeline::read::Loaded;
use crate::pipeline::seat::{Batch, Seat};
use crate::pipeline::sizes::Sizes;
use crate::pipeline::threads::pin;
use crate::pixels::decode::panic_message;
use crate::{DataError, SampleKey, Source};

/// Encoded bytes that may wait for a worker: room for some thousand photographs, however many readers there are.
const READ_AHEAD_BYTES: usize = 256 << 20;

/// Files that may wait for a worker, at least. Short queues would cost throughput where threads are woken late, as on a
/// machine that is busy with other work: each wake-up must find work for a while.
const READ_AHEAD_FILES: usize = 64;

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
    let loader = Loader {
        source,
        spec,
        sizes: spec.sizes(),
        stats,
        bad: BadImages::new(spec.bad, spec.bad_images.clone()),
        budget: Budget::new(READ_AHEAD_BYTES),
        seats: memory.iter().map(|_| CachePadded::default()).collect(),
    };
    let _end = End(stats);
    let run = scope(|scope| {
        let mut batches = loader.start(scope, memory)?;
        Ok(body(&mut batches))
    });
    run.unwrap_or_else(|panic| Err(panicked("scope", &panic_message(panic.as_ref()))))
}

/// The end of a loader, a panic's too: its threads have ended, and what was ready waits for nobody.
struct End<'a>(&'a LoaderStats);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.none_ready();
    }
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
        let (records, needed) = (buffer.erasures().len(), spec.batch_erasures());
        if records < needed {
            return invalid(format!(
                "a buffer has room for {records} erased rectangles, but a batch of bytes needs {needed} (rectangles are erased from \
                 normalized values): implement BatchMemory::erasures, deliver floats, or leave out augment.erasing"
            ));
        }
    }
    Ok(())
}

fn panicked(thread: &'static str, message: &str) -> DataError {
    DataError::WorkerPanicked { thread, message: message.to_owned() }
}

/// One sample to prepare, and its place in the batch at a seat.
#[derive(Clone, Copy)]
struct Task {
    seat: usize,
    slot: usize,
    /// Which of the loader's sizes the images of its batch have.
    stage: usize,
    place: SampleKey,
}

/// What all threads share.
struct Loader<'a, M> {
    source: &'a dyn Source,
    spec: &'a LoaderSpec,
    sizes: Sizes,
    stats: &'a LoaderStats,
    bad: BadImages,
    budget: Budget,
    /// One for each buffer.
    seats: Vec<CachePadded<Seat<M>>>,
}

type Outcome<M> = Result<Batch<M>, DataError>;

impl<'a, M: BatchMemory> Loader<'a, M> {
    /// Starts all threads. They end when the returned [`Batches`] is dropped, or when nobody is left to work for.
    fn start<'env>(&'env self, scope: &Scope<'env>, memory: Vec<M>) -> Result<Batches<'a, M>, DataError> {
        let (readers, workers) = (self.spec.reader_threads(), self.spec.worker_threads());
        let buffers = memory.len();
        let (free_in, free) = bounded(buffers);
        // Of one place, not none: waiting for a channel of none takes memory.
        let (stop_in, stop) = bounded::<()>(1);
        let ahead = READ_AHEAD_FILES.max(2 * (workers + readers));
        let (task_in, tasks) = bounded::<Task>(ahead);
        // One queue that every worker takes from. Deques with stealing were tried: both take 0.1 to 0.5 µs of processor time a
        // task, of an image's 700, and the deques need a way to sleep of their own.
        let (loaded_in, loaded) = bounded::<Loaded>(ahead);
        // Never full: at most one vector a file that waits, is read or is decoded.
        let (spare_in, spare) = bounded::<Vec<u8>>(ahead + workers + readers);
        // Never full: at most every buffer and one error a thread.
        let (filled_in, filled) = bounded::<Outcome<M>>(buffers + readers + workers + 1);
        for (seat, memory) in memory.into_iter().enumerate() {
            let (labels, samples) = (Vec::new(), Vec::new());
            let buffer = Batch { seat, index: 0, size: 0, memory, labels, samples };
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
        for worker in 0..workers {
            let (loaded, spare_in, stop, filled_in) =
                (loaded.clone(), spare_in.clone(), stop.clone(), filled_in.clone());
            let report = filled_in.clone();
            spawn(scope, "worker", &report, move || {
                if self.spec.pin_workers {
                    pin(worker, workers, self.spec.rank);
                }
                self.work(&loaded, &spare_in, &stop, &filled_in);
            })?;
        }
        Ok(Batches {
            filled,
            free: free_in,
            _stop: stop_in,
            stats: self.stats,
            early: Vec::with_capacity(buffers),
            next: 0,
            end: self.spec.share().batches(self.source.len() as u64),
            buffers,
            leased: Arc::new(AtomicUsize::new(0)),
            failed: false,
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
