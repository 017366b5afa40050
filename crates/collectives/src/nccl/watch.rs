//! The watchdog: a thread that knows what is in flight on the device, and ends it when it fails or lasts too long.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::events::Event;
use super::group::{Group, TURN_GRACE};
use crate::{CommError, Phase};

/// Between two looks, while something is in flight.
const POLL: Duration = Duration::from_millis(5);
/// Between two looks for errors, where graphs hold exchanges: when they run, nobody tells.
const POLL_GRAPHS: Duration = Duration::from_millis(100);

/// What the thread is told.
pub(super) enum News {
    /// NCCL is being called for an exchange. The call polls, and knows the time-out; but NCCL could be stuck in it.
    Calling(Phase),
    /// It is on its way.
    Begun(Flight),
    /// A CUDA graph has it. Its events must not be asked for, so from now on NCCL is asked for errors, always.
    Captured,
}

/// One exchange in flight.
pub(super) struct Flight {
    pub phase: Phase,
    pub ready: Event,
    pub end: Event,
}

pub(super) struct Watch {
    news: Option<Sender<News>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub fn start(group: &Arc<Group>) -> Result<Watch, CommError> {
        let (news, heard) = unbounded();
        let watchdog = Watchdog {
            group: Arc::clone(group),
            heard,
            calling: None,
            in_flight: VecDeque::new(),
            moved: Instant::now(),
            graphs: false,
        };
        let thread = std::thread::Builder::new().name("nccl watchdog".into()).spawn(move || watchdog.run());
        let thread =
            thread.map_err(|error| CommError::Connect { reason: format!("no thread: {error}"), transient: true })?;
        Ok(Watch { news: Some(news), thread: Some(thread) })
    }

    pub fn tell(&self, news: News) {
        if let Some(channel) = &self.news {
            // If the thread has ended, something has failed, which the next call says.
            let _ = channel.send(news);
        }
    }

    /// Returns when nothing is in flight, or what was has failed.
    pub fn end(&mut self) {
        self.news = None;
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been printed.
            let _ = thread.join();
        }
    }
}

struct Watchdog {
    group: Arc<Group>,
    heard: Receiver<News>,
    calling: Option<(Phase, Instant)>,
    in_flight: VecDeque<Flight>, // in the order in which they run
    moved: Instant,              // when the first of them became the first
    graphs: bool,
}

impl Watchdog {
    fn run(mut self) {
        let device = Arc::clone(&self.group.device);
        let _entered = device.enter(); // where that fails, asking for events says why
        device.relax_capture();
        while self.hear() && self.group.failure().is_none() {
            if let Err(error) = self.look() {
                self.group.fail(error);
            }
        }
    }

    /// Waits for news, or until it is time to look. Returns whether there is or will be anything to look at.
    fn hear(&mut self) -> bool {
        let heard = match (self.in_flight.is_empty() && self.calling.is_none(), self.graphs) {
            (true, false) => self.heard.recv().map_err(|_| RecvTimeoutError::Disconnected),
            (true, true) => self.heard.recv_timeout(POLL_GRAPHS),
            (false, _) => self.heard.recv_timeout(POLL),
        };
        match heard {
            Ok(news) => {
                self.take(news);
                while let Ok(news) = self.heard.try_recv() {
                    self.take(news);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if self.in_flight.is_empty() => return false,
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(POLL),
        }
        true
    }

    fn take(&mut self, news: News) {
        self.calling = None;
        match news {
            News::Calling(phase) => self.calling = Some((phase, Instant::now())),
            News::Captured => self.graphs = true,
            News::Begun(flight) => {
                if self.in_flight.is_empty() {
                    self.moved = Instant::now();
                }
                self.in_flight.push_back(flight);
            }
        }
    }

    fn look(&mut self) -> Result<(), CommError> {
        if let Some((phase, since)) = self.calling
            && since.elapsed() >= self.group.timeout + TURN_GRACE
        {
            return Err(self.group.timed_out(phase, since.elapsed()));
        }
        while let Some(first) = self.in_flight.front() {
            let passed = self.group.device.has_passed(first.end.handle());
            if !passed.map_err(|message| self.group.broken(first.phase, message))? {
                break;
            }
            self.in_flight.pop_front();
            self.moved = Instant::now();
        }
        let phase = self.in_flight.front().map_or(Phase::new("a CUDA graph"), |first| first.phase);
        if let Some(error) = self.group.error_met(phase) {
            return Err(error);
        }
        let waited = self.moved.elapsed();
        match self.in_flight.front() {
            Some(first) if waited >= self.group.timeout => Err(self.too_late(first, waited)),
            _ => Ok(()),
        }
    }

    /// Either another rank has not come, or this rank's own device has not.
    fn too_late(&self, flight: &Flight, waited: Duration) -> CommError {
        if let Ok(false) = self.group.device.has_passed(flight.ready.handle()) {
            let waited = waited.as_secs_f64();
            let message =
                format!("this rank's GPU did not get there within {waited:.1} s: it is busy with what comes before");
            return self.group.broken(flight.phase, message);
        }
        self.group.timed_out(flight.phase, waited)
    }
}
