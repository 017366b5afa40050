//! What a person sees of a sweep: how many cells are done, the time that is left, and how the running ones go.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use metrics::{Event, ProgressMode};

use super::estimate::{self, Done};
use crate::verdict::duration;

/// Plain lines about running cells come at most this often.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// How far a sweep is.
pub struct Board {
    mode: ProgressMode,
    bars: MultiProgress,
    whole: Option<ProgressBar>,
    running: BTreeMap<usize, Running>,
    tally: Tally,
    last_line: Instant,
}

/// What the estimate needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Cells of the sweep.
    pub cells: usize,
    /// Those that are finished.
    pub finished: usize,
    /// Those that failed.
    pub failed: usize,
    /// Cells that run at a time.
    pub lanes: usize,
    /// Work of the cells that wait or run.
    pub left_flops: f64,
    /// Work and time of finished cells.
    pub done: Vec<Done>,
}

/// A running cell.
struct Running {
    name: String,
    flops: f64,
    bar: Option<ProgressBar>,
    step: u64,
    steps: u64,
    loss: Option<f64>,
    top1: Option<f64>,
    images_per_second: Option<f64>,
}

impl Board {
    /// A board on the terminal, or plain lines where there is none.
    pub fn new(tally: Tally) -> Board {
        let chosen = std::env::var(metrics::PROGRESS_VARIABLE).ok();
        let mode = ProgressMode::choose(chosen.as_deref());
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let whole = (mode == ProgressMode::Bar).then(|| {
            let bar = bars.add(ProgressBar::new(tally.cells as u64).with_style(style(WHOLE)));
            bar.set_position(tally.finished as u64);
            bar
        });
        let board = Board { mode, bars, whole, running: BTreeMap::new(), tally, last_line: Instant::now() };
        board.refresh();
        board
    }

    /// A cell begins.
    pub fn begin(&mut self, job: usize, name: &str, flops: f64, steps: u64) {
        let bar = (self.mode == ProgressMode::Bar)
            .then(|| self.bars.add(ProgressBar::new(steps).with_style(style(CELL)).with_message(name.to_owned())));
        let (loss, top1, images_per_second) = (None, None, None);
        let running = Running { name: name.to_owned(), flops, bar, step: 0, steps, loss, top1, images_per_second };
        self.running.insert(job, running);
        if self.mode != ProgressMode::Bar {
            self.print(&format!("{}: {name} begins, {steps} steps", self.tally.describe(&self.fractions())));
        }
    }

    /// Rank 0 of a cell told something.
    pub fn event(&mut self, job: usize, event: &Event) {
        let Some(running) = self.running.get_mut(&job) else { return };
        match event {
            Event::Begin { shape, .. } => running.step = shape.start_step,
            Event::Step { step, loss, images_per_second, .. } => {
                running.step = *step;
                (running.loss, running.images_per_second) = (Some(*loss), Some(*images_per_second));
            }
            Event::Eval { step, top1_percent, .. } => (running.step, running.top1) = (*step, Some(*top1_percent)),
            Event::End { step } => running.step = *step,
            Event::Notice { text } => {
                let text = format!("{}: {text}", running.name);
                return self.print(&text);
            }
            Event::Endpoints { .. } | Event::Checkpoint { .. } => {}
        }
        if let Some(bar) = &running.bar {
            bar.set_position(running.step);
            bar.set_message(running.describe());
        }
    }

    /// A cell is gone: finished with this work and time, or not.
    pub fn end(&mut self, job: usize, finished: Option<Done>) {
        let Some(running) = self.running.remove(&job) else { return };
        if let Some(bar) = &running.bar {
            bar.finish_and_clear();
        }
        self.tally.left_flops -= running.flops;
        match finished {
            Some(done) => {
                self.tally.finished += 1;
                self.tally.done.push(done);
            }
            None => self.tally.failed += 1,
        }
        self.refresh();
    }

    /// Prints a line of text; above the bars, if there are any.
    pub fn print(&self, text: &str) {
        match self.mode {
            ProgressMode::Bar => self.bars.suspend(|| eprintln!("{text}")),
            ProgressMode::Off => {}
            ProgressMode::Lines | ProgressMode::Wire => eprintln!("{text}"),
        }
    }

    /// Some time passed.
    pub fn tick(&mut self) {
        let due = if self.mode == ProgressMode::Bar { Duration::from_secs(1) } else { LINE_EVERY };
        if self.last_line.elapsed() < due {
            return;
        }
        self.last_line = Instant::now();
        self.refresh();
        if matches!(self.mode, ProgressMode::Lines | ProgressMode::Wire) {
            for running in self.running.values() {
                eprintln!("{}: {}", self.tally.describe(&self.fractions()), running.describe());
            }
        }
    }

    /// Takes the bars away.
    pub fn close(&mut self) {
        for running in std::mem::take(&mut self.running).into_values() {
            running.bar.into_iter().for_each(|bar| bar.finish_and_clear());
        }
        self.whole.take().into_iter().for_each(|bar| bar.finish_and_clear());
    }

    fn refresh(&self) {
        if let Some(bar) = &self.whole {
            bar.set_position(self.tally.finished as u64);
            bar.set_message(self.tally.describe(&self.fractions()));
        }
    }

    /// The work of each running cell, and how much of it is done.
    fn fractions(&self) -> Vec<(f64, f64)> {
        let fraction = |running: &Running| running.step as f64 / running.steps.max(1) as f64;
        self.running.values().map(|running| (running.flops, fraction(running).min(1.0))).collect()
    }
}

impl Tally {
    /// The time that is left, as finished cells show it; `None` before the first, and at the end. `running` holds the work of
    /// each running cell, and how much of it is done.
    pub fn left(&self, running: &[(f64, f64)]) -> Option<Duration> {
        let begun: f64 = running.iter().map(|(flops, fraction)| flops * fraction).sum();
        let cells = self.cells.saturating_sub(self.finished + self.failed);
        let flops = (self.left_flops - begun).max(0.0);
        (cells > 0).then_some(estimate::time_for(flops, estimate::pace(&self.done)?, cells, self.lanes))
    }

    fn describe(&self, running: &[(f64, f64)]) -> String {
        let mut parts = vec![format!("{} of {} cells done", self.finished, self.cells)];
        if self.failed > 0 {
            parts.push(format!("{} failed", self.failed));
        }
        parts.extend(self.left(running).map(|left| format!("{} left", duration(left.as_secs_f64()))));
        parts.join(", ")
    }
}

impl Running {
    fn describe(&self) -> String {
        let mut parts = vec![self.name.clone(), format!("step {}/{}", self.step, self.steps)];
        parts.extend(self.loss.map(|loss| format!("loss {loss:.4}")));
        parts.extend(self.top1.map(|top1| format!("top-1 {top1:.2} %")));
        parts.extend(self.images_per_second.map(|speed| format!("{speed:.0} images/s")));
        parts.join("  ")
    }
}

const WHOLE: &str = "{bar:12.green/dim} {percent:>3}%  {wide_msg}";
const CELL: &str = "{bar:12.cyan/dim} {percent:>3}%  {wide_msg}";

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is constant and tried by a test").progress_chars("━╸─")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        let done = vec![Done { flops: 100.0, seconds: 50.0 }];
        Tally { cells: 4, finished: 1, failed: 0, lanes: 1, left_flops: 300.0, done }
    }

    #[test]
    fn the_time_left_counts_what_running_cells_have_done() {
        assert_eq!(tally().left(&[]), Some(Duration::from_secs(150)));
        assert_eq!(tally().left(&[(100.0, 0.5)]), Some(Duration::from_secs(125)));
        assert_eq!(Tally { lanes: 3, ..tally() }.left(&[]), Some(Duration::from_secs(50)));
        assert_eq!(Tally { done: Vec::new(), ..tally() }.left(&[]), None, "no cell has shown its pace");
        assert_eq!(Tally { finished: 4, ..tally() }.left(&[]), None, "nothing is left");
    }

    #[test]
    fn a_board_tells_cells_time_and_failures() {
        assert_eq!(tally().describe(&[]), "1 of 4 cells done, 2 min 30 s left");
        let failed = Tally { failed: 1, done: Vec::new(), ..tally() };
        assert_eq!(failed.describe(&[]), "1 of 4 cells done, 1 failed");
    }

    #[test]
    fn a_running_cell_tells_its_newest_numbers() {
        let mut board = Board::new(tally());
        board.mode = ProgressMode::Off;
        board.begin(0, "a.gelu.seed-1", 100.0, 40);
        board.event(0, &Event::Step { step: 10, epoch: 1.0, loss: 2.5, learning_rate: 1.0, images_per_second: 64.4 });
        board.event(
            0,
            &Event::Eval { step: 20, epoch: 2.0, top1_percent: 33.333, top5_percent: 80.0, ema_top1_percent: None },
        );
        assert_eq!(board.running[&0].describe(), "a.gelu.seed-1  step 20/40  loss 2.5000  top-1 33.33 %  64 images/s");
        assert_eq!(board.fractions(), [(100.0, 0.5)]);
        board.end(0, Some(Done { flops: 100.0, seconds: 50.0 }));
        assert_eq!((board.tally.finished, board.tally.left_flops), (2, 200.0));
        board.begin(1, "b", 100.0, 40);
        board.end(1, None);
        assert_eq!((board.tally.failed, board.tally.left_flops), (1, 100.0));
    }

    #[test]
    fn templates_are_right() {
        for template in [WHOLE, CELL] {
            let _ = style(template);
        }
    }
}
