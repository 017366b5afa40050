//! `Handle`: the communicator of callers, which hands every call to the communication thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};

use crate::engine::{Engine, Request};
use crate::link::Link;
use crate::{Buffer, CommError, Communicator, Exchange, Pending, Phase, Wire};

/// Orders that must not wait in the queue of requests.
pub(crate) struct Control {
    abort_code: AtomicI64,
    leave: AtomicBool,
}

const NO_ABORT: i64 = i64::MIN;

impl Control {
    fn new() -> Arc<Control> {
        Arc::new(Control { abort_code: AtomicI64::new(NO_ABORT), leave: AtomicBool::new(false) })
    }

    /// The exit code with which the process is to end, if it is.
    pub fn abort_ordered(&self) -> Option<i32> {
        i32::try_from(self.abort_code.load(Ordering::Acquire)).ok()
    }

    /// Whether the thread is to end without waiting for other ranks.
    pub fn must_leave(&self) -> bool {
        self.leave.load(Ordering::Acquire)
    }
}

pub(crate) struct Handle {
    rank: usize,
    size: usize,
    library: Option<String>,
    requests: Option<Sender<Request>>,
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
}

/// How long `abort` lets the communication thread tell the other ranks before it ends this process by itself.
const ABORT_GRACE: Duration = Duration::from_secs(3);

impl Handle {
    /// Starts a communication thread, which makes its own link: what `make_link` calls is bound to that thread. Fails if
    /// the link does, or if it is not there after `timeout`.
    pub fn start<L: Link + 'static>(
        make_link: impl FnOnce() -> Result<L, CommError> + Send + 'static,
        timeout: Duration,
    ) -> Result<Handle, CommError> {
        let (requests, queue) = unbounded();
        let (connected, connection) = bounded(1);
        let control = Control::new();
        let engine_control = control.clone();
        let body = move || match make_link() {
            Ok(link) => {
                let _ = connected.send(Ok((link.rank(), link.size(), link.library())));
                Engine::new(link, queue, engine_control, timeout).run();
            }
            Err(error) => {
                let _ = connected.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new()
            .name("communication".into())
            .spawn(body)
            .map_err(|error| CommError::Connect { reason: format!("no thread: {error}"), transient: true })?;
        let (rank, size, library) = connection.recv_timeout(timeout).map_err(|_| CommError::Connect {
            reason: format!("the ranks did not all start within {:.1} s", timeout.as_secs_f64()),
            transient: true,
        })??;
        Ok(Handle { rank, size, library, requests: Some(requests), control, thread: Some(thread) })
    }

    fn submit(&self, request: Request) {
        if let Some(requests) = &self.requests {
            // If the thread has ended, the answer's sender is dropped with the request, and the caller notices.
            let _ = requests.send(request);
        }
    }

    fn call<T>(&self, make: impl FnOnce(Sender<Result<T, CommError>>) -> Request) -> Result<T, CommError> {
        self.begin(make).recv().unwrap_or(Err(CommError::ThreadEnded))
    }

    fn begin<T>(&self, make: impl FnOnce(Sender<Result<T, CommError>>) -> Request) -> Receiver<Result<T, CommError>> {
        let (answer, receiver) = bounded(1);
        self.submit(make(answer));
        receiver
    }
}

impl Communicator for Handle {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn library(&self) -> Option<&str> {
        self.library.as_deref()
    }

    fn start_exchange(&self, phase: Phase, buffer: Buffer, exchange: Exchange, wire: Wire) -> Pending {
        Pending::running(self.begin(|answer| Request::Exchange { phase, buffer, exchange, wire, answer }))
    }

    fn broadcast(&self, phase: Phase, bytes: &mut Vec<u8>, root: usize) -> Result<(), CommError> {
        assert!(root < self.size, "the root of a broadcast is a rank");
        let own = if root == self.rank { std::mem::take(bytes) } else { Vec::new() };
        *bytes = self.call(|answer| Request::Broadcast { phase, bytes: own, root, answer })?;
        Ok(())
    }

    fn all_gather(&self, phase: Phase, bytes: &[u8]) -> Result<Vec<Vec<u8>>, CommError> {
        self.call(|answer| Request::AllGather { phase, bytes: bytes.to_vec(), answer })
    }

    fn barrier(&self, phase: Phase) -> Result<(), CommError> {
        self.call(|answer| Request::Barrier { phase, answer })
    }

    fn abort(&self, exit_code: i32) -> ! {
        self.control.abort_code.store(exit_code.into(), Ordering::Release);
        self.submit(Request::Wake);
        std::thread::sleep(ABORT_GRACE);
        leave(exit_code)
    }
}

/// Ends the process at once.
pub(crate) fn leave(exit_code: i32) -> ! {
    // SAFETY: `_exit` ends the process. Handlers of `exit` are left out on purpose: those of MPI may wait for other ranks.
    unsafe { libc::_exit(exit_code) }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.control.leave.store(true, Ordering::Release);
        }
        self.requests = None; // the thread ends when its queue is empty
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been printed and has failed every call since.
            let _ = thread.join();
        }
    }
}
