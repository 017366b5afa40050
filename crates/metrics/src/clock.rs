//! Times the phases of training steps, without allocation.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a step spends its time on. The step is in one phase at a time, so the phases add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Waiting for the loader to hand over a batch.
    DataWait,
    /// Forward pass and loss.
    Forward,
    /// Backward pass.
    Backward,
    /// Waiting for the gradients' average: what communication did not hide behind the backward pass.
    AllReduce,
    /// Clipping, update of the parameters, zeroing of the gradients.
    Optimizer,
    /// Copying the state for a checkpoint; the writing happens in the background.
    Checkpoint,
}

impl Phase {
    /// Every phase, in the order of a step.
    pub const ALL: [Phase; 6] =
        [Phase::DataWait, Phase::Forward, Phase::Backward, Phase::AllReduce, Phase::Optimizer, Phase::Checkpoint];

    /// The value of the label `phase`, and the key in `metrics.jsonl`.
    pub const fn label(self) -> &'static str {
        match self {
            Phase::DataWait => "data_wait",
            Phase::Forward => "forward",
            Phase::Backward => "backward",
            Phase::AllReduce => "all_reduce",
            Phase::Optimizer => "optimizer",
            Phase::Checkpoint => "checkpoint",
        }
    }
}

/// Where the time of one step went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepTimes {
    phases: [Option<Duration>; Phase::ALL.len()],
}

impl StepTimes {
    /// The time spent in `phase`, over all visits; `None` if the step was never in it.
    pub fn phase(&self, phase: Phase) -> Option<Duration> {
        self.phases[phase as usize]
    }

    /// The time of the whole step: the sum over the phases.
    pub fn total(&self) -> Duration {
        self.phases.iter().flatten().sum()
    }

    fn add(&mut self, phase: Phase, spent: Duration) {
        *self.phases[phase as usize].get_or_insert(Duration::ZERO) += spent;
    }
}

/// Says which phase a step is in, and adds up the time of each.
///
/// ```text
/// enter(DataWait) … enter(Forward) … enter(Backward) … enter(AllReduce) … enter(Optimizer) … finish_step()
/// leave()            evaluation and logging belong to no step
/// enter(Checkpoint) … leave()   counts towards the next step that finishes
/// ```
#[derive(Clone, Debug, Default)]
pub struct StepClock {
    running: Option<(Phase, Instant)>,
    times: StepTimes,
    settle: Option<Settle>,
}

/// Returns when the device has done all that it was asked to do in this phase and before.
#[derive(Clone)]
struct Settle {
    wait: Arc<dyn Fn(Phase) + Send + Sync>,
    /// Whether to wait at the end of each phase, without being asked.
    every_phase: bool,
}

impl fmt::Debug for Settle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Settle")
    }
}

impl StepClock {
    /// A clock that is in no phase.
    pub fn new() -> StepClock {
        StepClock::default()
    }

    /// A clock that calls `settle` before it ends a phase. A device goes on with what was asked of it while the next phase has
    /// begun: one that waits for it here gives each phase its own time, and the whole a longer one.
    pub fn settling(settle: impl Fn(Phase) + Send + Sync + 'static) -> StepClock {
        StepClock { settle: Some(Settle { wait: Arc::new(settle), every_phase: true }), ..StepClock::default() }
    }

    /// A clock that waits for the device only in [`StepClock::settle`], by `settle`. Between two of these calls the phases
    /// have the host's times, and the sum over all steps is the device's.
    pub fn settling_on_request(settle: impl Fn(Phase) + Send + Sync + 'static) -> StepClock {
        StepClock { settle: Some(Settle { wait: Arc::new(settle), every_phase: false }), ..StepClock::default() }
    }

    /// Waits for the device within the present phase, which the time counts towards. Does nothing on a clock that knows no
    /// device, or in no phase.
    pub fn settle(&self) {
        if let (Some(Settle { wait, .. }), Some((phase, _))) = (&self.settle, self.running) {
            wait(phase);
        }
    }

    /// Ends the present phase, if any, and begins `phase`. A phase may be visited several times in a step.
    pub fn enter(&mut self, phase: Phase) {
        let now = self.settled();
        self.enter_at(phase, now);
    }

    /// Ends the present phase; the time until the next `enter` counts towards no step.
    pub fn leave(&mut self) {
        let now = self.settled();
        self.leave_at(now);
    }

    /// Ends the present phase and the step, and says where its time went.
    pub fn finish_step(&mut self) -> StepTimes {
        let now = self.settled();
        self.finish_step_at(now)
    }

    /// Now, when all that was asked for is done.
    fn settled(&self) -> Instant {
        if self.settle.as_ref().is_some_and(|settle| settle.every_phase) {
            self.settle();
        }
        Instant::now()
    }

    /// [`enter`](Self::enter) as of `now`.
    pub fn enter_at(&mut self, phase: Phase, now: Instant) {
        self.leave_at(now);
        self.running = Some((phase, now));
    }

    /// [`leave`](Self::leave) as of `now`.
    pub fn leave_at(&mut self, now: Instant) {
        if let Some((phase, since)) = self.running.take() {
            self.times.add(phase, now.saturating_duration_since(since));
        }
    }

    /// [`finish_step`](Self::finish_step) as of `now`.
    pub fn finish_step_at(&mut self, now: Instant) -> StepTimes {
        self.leave_at(now);
        std::mem::take(&mut self.times)
    }
}

/// Sums over the steps of a stretch of training, such as the steps between two log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Window {
    /// Finished steps.
    pub steps: u64,
    /// Images that this rank trained on.
    pub images: u64,
    /// Seconds spent in steps (evaluation is not among them).
    pub seconds: f64,
    /// Seconds by phase, indexed as [`Phase::ALL`].
    pub phase_seconds: [f64; Phase::ALL.len()],
}

impl Window {
    /// Adds one step over `images` images.
    pub fn add(&mut self, times: &StepTimes, images: u64) {
        self.steps += 1;
        self.images += images;
        self.seconds += times.total().as_secs_f64();
        for phase in Phase::ALL {
            self.phase_seconds[phase as usize] += times.phase(phase).unwrap_or_default().as_secs_f64();
        }
    }

    /// This rank's images per second of step time; 0 before the first step.
    pub fn images_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.images as f64 / self.seconds } else { 0.0 }
    }

    /// Mean seconds a step; 0 before the first step.
    pub fn step_seconds(&self) -> f64 {
        self.seconds / self.steps.max(1) as f64
    }

    /// Mean seconds a step spent in `phase`; 0 before the first step.
    pub fn mean_phase_seconds(&self, phase: Phase) -> f64 {
        self.phase_seconds[phase as usize] / self.steps.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// It is waited for at the end of each phase, and that counts as the phase's own time.
    #[test]
    fn a_settling_clock_waits_at_the_end_of_every_phase() {
        let waited = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&waited);
        let mut clock = StepClock::settling(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(ms(2));
        });
        clock.enter(Phase::Forward);
        assert_eq!(waited.load(Ordering::Relaxed), 0, "no phase has ended");
        clock.enter(Phase::Backward);
        clock.leave();
        let times = clock.finish_step();
        assert_eq!(waited.load(Ordering::Relaxed), 2);
        assert!([Phase::Forward, Phase::Backward].iter().all(|&phase| times.phase(phase) >= Some(ms(2))), "{times:?}");
    }

    #[test]
    fn a_clock_that_settles_on_request_waits_then_and_within_the_phase() {
        let waited = Arc::new(std::sync::Mutex::new(Vec::new()));
        let noted = Arc::clone(&waited);
        let mut clock = StepClock::settling_on_request(move |phase| {
            noted.lock().expect("one thread").push(phase);
            std::thread::sleep(ms(2));
        });
        clock.settle(); // in no phase
        clock.enter(Phase::Forward);
        clock.enter(Phase::Optimizer);
        assert!(waited.lock().expect("one thread").is_empty());
        clock.settle();
        let times = clock.finish_step();
        clock.settle();
        assert_eq!(*waited.lock().expect("one thread"), [Phase::Optimizer]);
        assert!(times.phase(Phase::Optimizer) >= Some(ms(2)), "{times:?}");
        StepClock::new().settle();
    }

    #[test]
    fn phases_add_up_over_visits_and_pauses_count_for_nothing() {
        let start = Instant::now();
        let mut clock = StepClock::new();
        clock.enter_at(Phase::DataWait, start);
        // Two micro-batches: forward and backward are visited twice.
        clock.enter_at(Phase::Forward, start + ms(5));
        clock.enter_at(Phase::Backward, start + ms(15));
        clock.enter_at(Phase::Forward, start + ms(40));
        clock.enter_at(Phase::Backward, start + ms(52));
        clock.enter_at(Phase::Optimizer, start + ms(80));
        let times = clock.finish_step_at(start + ms(83));
        assert_eq!(times.phase(Phase::DataWait), Some(ms(5)));
        assert_eq!(times.phase(Phase::Forward), Some(ms(10 + 12)));
        assert_eq!(times.phase(Phase::Backward), Some(ms(25 + 28)));
        assert_eq!(times.phase(Phase::AllReduce), None);
        assert_eq!(times.phase(Phase::Optimizer), Some(ms(3)));
        assert_eq!(times.total(), ms(83));

        // A second of evaluation lies between the steps; the checkpoint counts towards the next one.
        clock.enter_at(Phase::Checkpoint, start + ms(1083));
        clock.leave_at(start + ms(1090));
        clock.enter_at(Phase::DataWait, start + ms(2000));
        let times = clock.finish_step_at(start + ms(2001));
        assert_eq!(times.phase(Phase::Checkpoint), Some(ms(7)));
        assert_eq!(times.total(), ms(8));
    }

    #[test]
    fn a_clock_that_runs_backwards_adds_nothing() {
        let start = Instant::now() + ms(100);
        let mut clock = StepClock::new();
        clock.enter_at(Phase::Forward, start);
        assert_eq!(clock.finish_step_at(start - ms(50)).total(), Duration::ZERO);
    }

    #[test]
    fn a_window_gives_means_and_throughput() {
        let start = Instant::now();
        let mut clock = StepClock::new();
        let mut window = Window::default();
        assert_eq!((window.images_per_second(), window.step_seconds()), (0.0, 0.0));
        for (forward, total) in [(100, 200), (300, 800)] {
            clock.enter_at(Phase::Forward, start);
            clock.enter_at(Phase::Backward, start + ms(forward));
            window.add(&clock.finish_step_at(start + ms(total)), 16);
        }
        assert_eq!((window.steps, window.images), (2, 32));
        assert!((window.seconds - 1.0).abs() < 1e-9);
        assert!((window.images_per_second() - 32.0).abs() < 1e-6);
        assert!((window.mean_phase_seconds(Phase::Forward) - 0.2).abs() < 1e-9);
        assert!((window.mean_phase_seconds(Phase::Backward) - 0.3).abs() < 1e-9);
    }

    #[test]
    fn phases_are_indexed_in_their_order() {
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, index);
        }
    }
}
