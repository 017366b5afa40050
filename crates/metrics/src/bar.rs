//! Shows how training goes: a bar on a terminal, plain lines elsewhere, events for the launcher.

use std::{
    io::{self, IsTerminal, Write},
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{Event, RunShape};

/// The variable by which the launcher tells a trainer how to show progress: a name of a [`ProgressMode`].
pub const PROGRESS_VARIABLE: &str = "RECTIFY_PROGRESS";

/// Plain lines for steps come at most this often; evaluations and the end are always told.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressMode {
    /// A bar on the terminal behind standard error.
    Bar,
    /// A plain line on standard error now and then.
    Lines,
    /// Events on standard output, for the launcher; see [`crate::parse`].
    Wire,
    /// Nothing.
    Off,
}

impl ProgressMode {
    /// The mode that `variable` ([`PROGRESS_VARIABLE`]) names, if it names one; otherwise a bar if standard error is a
    /// terminal, and lines if it is not (under `mpirun` it never is).
    pub fn choose(variable: Option<&str>) -> ProgressMode {
        let default = if io::stderr().is_terminal() { ProgressMode::Bar } else { ProgressMode::Lines };
        variable.and_then(|name| name.parse().ok()).unwrap_or(default)
    }

    /// The name that [`FromStr`] reads.
    pub const fn name(self) -> &'static str {
        match self {
            ProgressMode::Bar => "bar",
            ProgressMode::Lines => "lines",
            ProgressMode::Wire => "wire",
            ProgressMode::Off => "off",
        }
    }
}

impl FromStr for ProgressMode {
    type Err = String;

    fn from_str(name: &str) -> Result<ProgressMode, String> {
        [ProgressMode::Bar, ProgressMode::Lines, ProgressMode::Wire, ProgressMode::Off]
            .into_iter()
            .find(|mode| mode.name() == name)
            .ok_or_else(|| format!("`{name}` is no way to show progress; choose bar, lines, wire or off"))
    }
}

/// Shows events. Clones share the bar, so that a log can print above it.
#[derive(Clone)]
pub struct Progress {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    mode: ProgressMode,
    out: Box<dyn Write + Send>,
    bar: Option<ProgressBar>,
    state: State,
    began: Instant,
    last_line: Option<Instant>,
}

impl Progress {
    /// Shows events in this mode: bar and lines on standard error, events on standard output.
    pub fn new(mode: ProgressMode) -> Progress {
        let out: Box<dyn Write + Send> = match mode {
            ProgressMode::Wire => Box::new(io::stdout()),
            _ => Box::new(io::stderr()),
        };
        Progress::to(mode, out)
    }

    /// Shows events in this mode, lines and events on `out`.
    pub fn to(mode: ProgressMode, out: Box<dyn Write + Send>) -> Progress {
        let (bar, state, began) = (None, State::default(), Instant::now());
        Progress { shared: Arc::new(Mutex::new(Shared { mode, out, bar, state, began, last_line: None })) }
    }

    /// Shows one event. What cannot be shown is not worth ending a run for, so nothing is returned.
    pub fn show(&self, event: &Event) {
        self.lock().show(event, Instant::now());
    }

    /// Prints a line of text; above the bar, if there is one.
    pub fn print(&self, text: &str) {
        self.lock().print(text);
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn show(&mut self, event: &Event, now: Instant) {
        if let Event::Begin { .. } = event {
            self.began = now;
        }
        self.state.take(event);
        match self.mode {
            ProgressMode::Off => {}
            ProgressMode::Wire => self.write_line(&event.to_line()),
            ProgressMode::Bar => self.draw(event, now),
            ProgressMode::Lines => self.tell(event, now),
        }
    }

    fn draw(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Begin { shape, .. } => self.bar = Some(new_bar(shape)),
            Event::Notice { text } => self.print(text),
            _ => {}
        }
        let Some(bar) = &self.bar else { return };
        bar.set_position(self.state.step);
        bar.set_message(self.state.describe(now.saturating_duration_since(self.began)));
        if let Event::End { .. } = event {
            bar.abandon();
            self.bar = None;
        }
    }

    fn tell(&mut self, event: &Event, now: Instant) {
        let due = match event {
            Event::Step { .. } => self.last_line.is_none_or(|last| now.saturating_duration_since(last) >= LINE_EVERY),
            Event::Eval { .. } | Event::End { .. } => true,
            Event::Notice { text } => return self.write_line(text),
            Event::Begin { .. } | Event::Endpoints { .. } | Event::Checkpoint { .. } => false,
        };
        if due {
            self.last_line = Some(now);
            let text = self.state.describe(now.saturating_duration_since(self.began));
            self.write_line(&format!("step {}/{}  {text}", self.state.step, self.state.shape.total_steps));
        }
    }

    fn print(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => self.write_line(text),
        }
    }

    /// One line in one write, so that lines of several processes do not mix.
    fn write_line(&mut self, line: &str) {
        // A closed pipe must not end training; there is nobody left to tell.
        let _ = self.out.write_all(format!("{line}\n").as_bytes());
        let _ = self.out.flush();
    }
}

fn new_bar(shape: &RunShape) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:24.cyan/dim} {percent:>3}%  {wide_msg}")
        .expect("the template is constant and tried by a test")
        .progress_chars("━╸─");
    let bar = ProgressBar::new(shape.total_steps).with_style(style).with_position(shape.start_step);
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// The newest of each number.
#[derive(Default)]
struct State {
    shape: RunShape,
    step: u64,
    epoch: f64,
    loss: Option<f64>,
    images_per_second: Option<f64>,
    top1_percent: Option<f64>,
}

impl State {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Begin { shape, .. } => {
                *self = State { shape: *shape, step: shape.start_step, ..State::default() };
            }
            Event::Step { step, epoch, loss, images_per_second, .. } => {
                (self.step, self.epoch) = (*step, *epoch);
                self.loss = Some(*loss);
                self.images_per_second = Some(*images_per_second);
            }
            Event::Eval { step, epoch, top1_percent, .. } => {
                (self.step, self.epoch) = (*step, *epoch);
                self.top1_percent = Some(*top1_percent);
            }
            Event::End { step } => self.step = *step,
            Event::Endpoints { .. } | Event::Checkpoint { .. } | Event::Notice { .. } => {}
        }
    }

    fn describe(&self, elapsed: Duration) -> String {
        let mut parts = vec![format!("epoch {:.1}/{}", self.epoch, self.shape.epochs)];
        parts.extend(self.images_per_second.map(|speed| format!("{speed:.0} images/s")));
        parts.extend(self.loss.map(|loss| format!("loss {loss:.4}")));
        parts.extend(self.top1_percent.map(|top1| format!("top-1 {top1:.2} %")));
        let left = remaining(&self.shape, self.step, elapsed);
        parts.extend(left.map(|left| format!("ETA {}", clock_face(left))));
        parts.join("  ")
    }
}

/// The time left, if the remaining steps take as long as those of this process so far, evaluations included; `None`
/// before the first step and at the end.
fn remaining(shape: &RunShape, step: u64, elapsed: Duration) -> Option<Duration> {
    let done = step.checked_sub(shape.start_step).filter(|&done| done > 0)?;
    let left = shape.total_steps.checked_sub(step).filter(|&left| left > 0)?;
    Some(elapsed.mul_f64(left as f64 / done as f64))
}

fn clock_face(time: Duration) -> String {
    let seconds = time.as_secs_f64().ceil() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}
