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
    /// The step of the last line.
    told: Option<u64>,
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
        Progress { shared: Arc::new(Mutex::new(Shared { mode, out, bar, state, began, last_line: None, told: None })) }
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
            Event::Eval { .. } => true,
            Event::End { .. } => self.told != Some(self.state.step),
            Event::Notice { text } => return self.write_line(text),
            Event::Begin { .. } | Event::Endpoints { .. } | Event::Checkpoint { .. } => false,
        };
        if due {
            (self.last_line, self.told) = (Some(now), Some(self.state.step));
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
    let style = ProgressStyle::with_template("{bar:12.cyan/dim} {percent:>3}%  {wide_msg}")
        .expect("the template is constant and tried by a test")
        .progress_chars("━╸─");
    ProgressBar::new(shape.total_steps).with_style(style).with_position(shape.start_step)
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
    ema_top1_percent: Option<f64>,
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
            Event::Eval { step, epoch, top1_percent, ema_top1_percent, .. } => {
                (self.step, self.epoch) = (*step, *epoch);
                self.top1_percent = Some(*top1_percent);
                self.ema_top1_percent = *ema_top1_percent;
            }
            Event::End { step } => self.step = *step,
            Event::Endpoints { .. } | Event::Checkpoint { .. } | Event::Notice { .. } => {}
        }
    }

    /// What matters most comes first: a narrow terminal cuts off the end.
    fn describe(&self, elapsed: Duration) -> String {
        let left = remaining(&self.shape, self.step, elapsed);
        let mut parts: Vec<_> = left.map(|left| format!("ETA {}", clock_face(left))).into_iter().collect();
        parts.extend(self.images_per_second.map(|speed| format!("{speed:.0} images/s")));
        parts.extend(self.loss.map(|loss| format!("loss {loss:.4}")));
        parts.extend(self.top1_percent.map(|top1| format!("top-1 {top1:.2} %")));
        parts.extend(self.ema_top1_percent.map(|top1| format!("EMA {top1:.2} %")));
        parts.push(format!("epoch {:.1}/{}", self.epoch, self.shape.epochs));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A sink that the test can read.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const SHAPE: RunShape =
        RunShape { total_steps: 100, start_step: 20, epochs: 10.0, global_batch: 32, world_size: 2 };

    fn step(step: u64) -> Event {
        Event::Step { step, epoch: step as f64 / 10.0, loss: 0.5, learning_rate: 1e-3, images_per_second: 123.4 }
    }

    fn shown(mode: ProgressMode, events: &[(u64, Event)]) -> Vec<String> {
        let paper = Paper::default();
        let progress = Progress::to(mode, Box::new(paper.clone()));
        let start = Instant::now();
        for (second, event) in events {
            progress.lock().show(event, start + Duration::from_secs(*second));
        }
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn a_run() -> Vec<(u64, Event)> {
        vec![
            (0, Event::Begin { run: "demo".into(), shape: SHAPE }),
            (10, step(30)),
            (11, step(31)),
            (
                20,
                Event::Eval {
                    step: 40,
                    epoch: 4.0,
                    top1_percent: 97.123,
                    top5_percent: 99.0,
                    ema_top1_percent: Some(97.5),
                },
            ),
            (21, Event::Notice { text: "the disk is full".into() }),
            (80, step(100)),
            (80, Event::End { step: 100 }),
        ]
    }

    #[test]
    fn lines_come_now_and_then_and_tell_all_that_is_known() {
        assert_eq!(
            shown(ProgressMode::Lines, &a_run()),
            [
                "step 30/100  ETA 1:10  123 images/s  loss 0.5000  epoch 3.0/10",
                "step 40/100  ETA 1:00  123 images/s  loss 0.5000  top-1 97.12 %  EMA 97.50 %  epoch 4.0/10",
                "the disk is full",
                "step 100/100  123 images/s  loss 0.5000  top-1 97.12 %  EMA 97.50 %  epoch 10.0/10",
            ]
        );
    }

    #[test]
    fn the_wire_carries_every_event() {
        let sent = shown(ProgressMode::Wire, &a_run());
        let received: Vec<_> = sent.iter().map(|line| crate::parse(line)).collect();
        let events: Vec<_> = a_run().into_iter().map(|(_, event)| Some(event)).collect();
        assert_eq!(received, events);
        assert_eq!(shown(ProgressMode::Off, &a_run()), [""; 0]);
    }

    #[test]
    fn a_bar_begins_where_the_run_does() {
        // No terminal here: the bar is drawn nowhere, but its template is read and its numbers move.
        let progress = Progress::to(ProgressMode::Bar, Box::new(io::sink()));
        progress.show(&Event::Begin { run: "demo".into(), shape: SHAPE });
        let bar = progress.lock().bar.clone().unwrap();
        assert_eq!((bar.position(), bar.length()), (20, Some(100)));
        progress.show(&step(60));
        assert_eq!(bar.position(), 60);
        assert!(bar.message().contains("loss 0.5000"), "{}", bar.message());
        progress.show(&Event::End { step: 60 });
        assert!(bar.is_finished());
    }

    #[test]
    fn the_time_left_is_known_between_the_first_step_and_the_last() {
        let left = |step, seconds| remaining(&SHAPE, step, Duration::from_secs(seconds));
        assert_eq!(left(20, 5), None);
        assert_eq!(left(60, 40), Some(Duration::from_secs(40)));
        assert_eq!(left(99, 79), Some(Duration::from_secs(1)));
        assert_eq!(left(100, 80), None);
        assert_eq!(clock_face(Duration::from_millis(59_200)), "1:00");
        assert_eq!(clock_face(Duration::from_secs(3 * 3600 + 65)), "3:01:05");
    }

    #[test]
    fn modes_are_chosen_by_name() {
        for mode in [ProgressMode::Bar, ProgressMode::Lines, ProgressMode::Wire, ProgressMode::Off] {
            assert_eq!(ProgressMode::choose(Some(mode.name())), mode);
        }
        assert!("loud".parse::<ProgressMode>().unwrap_err().contains("loud"));
    }
}
