//! Runs the cells of a sweep that are not finished, and keeps the tables and the board up to date.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use world::Exit;

use super::Sweep;
use super::board::{Board, Tally};
use super::cells::Planned;
use super::crew::{Crew, End, Job, Listener, OnFailure};
use super::estimate::Done;
use super::folder::{Standing, SweepFolder};
use crate::command::CommandLine;
use crate::ending::Ending;
use crate::placement::Placement;
use crate::stopping::Action;
use crate::verdict::duration;

/// Lines of a failed cell's log that are shown.
const TAIL: usize = 30;

/// How the running of a sweep ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Whether somebody asked for a stop.
    pub stopped: bool,
    /// The cells that failed, and with which exit codes.
    pub failed: Vec<(String, i32)>,
    /// Cells that are not finished for another reason.
    pub waiting: usize,
}

/// The exit code of a sweep: 75 where running it again may go on (a stop, or a failure that is worth a retry), else that of the
/// first cell that failed.
pub fn exit_code(ran: &Ran) -> i32 {
    let worth_a_retry = ran.failed.iter().any(|(_, code)| Exit::worth_a_retry(*code));
    if ran.stopped || worth_a_retry {
        return Exit::Retry.code();
    }
    ran.failed.first().map_or(Exit::Done.code(), |(_, code)| *code)
}

impl Ran {
    /// What is not finished, and what to do about it.
    pub fn in_words(&self, folder: &SweepFolder, command: &str) -> String {
        let mut text = String::new();
        for (name, code) in &self.failed {
            let meaning = Exit::from_code(*code).map_or("not one of ours: a bug", Exit::meaning);
            text.push_str(&format!("failed: {name}, exit {code} ({meaning}); log: {}\n", folder.log(name).display()));
        }
        let left = self.waiting + self.failed.len();
        let begin = if self.stopped { "Stopped" } else { "Not all cells are finished" };
        text + &format!("{begin}: {left} to go. Finished cells are never run again; go on with: {command}")
    }
}

/// How cells are run.
#[derive(Clone, Copy, Debug)]
pub struct Manner<'a> {
    /// How often a cell that ends with exit code 75 is started again.
    pub restarts: u32,
    /// What becomes of the other cells when one fails.
    pub on_failure: OnFailure,
    /// How long cells have to write their checkpoint once a stop is asked for.
    pub grace: Duration,
    /// Whether somebody asked for a stop before the cells could notice.
    pub asked: &'a AtomicBool,
}

/// Runs what is not finished.
pub fn run(sweep: &Sweep, planned: &[Planned], placement: &Placement, manner: Manner<'_>) -> Result<Ran, Ending> {
    let lanes = sweep.file.at_a_time;
    let mut tally = Tally { cells: planned.len(), lanes, ..Tally::default() };
    let (mut jobs, mut cells) = (Vec::new(), Vec::new());
    for cell in planned {
        let standing = sweep.standing(cell);
        if let Standing::Finished(summary) = standing {
            tally.finished += 1;
            tally.done.push(Done { flops: cell.flops, seconds: summary.wall_seconds });
            continue;
        }
        tally.left_flops += cell.flops;
        jobs.push(job(sweep, cell, &standing, placement.nproc, manner)?);
        cells.push(cell);
    }
    let (all, finished) = (planned.len(), tally.finished);
    eprintln!("{}: {all} cells, {finished} finished, {} to run; {}\n", sweep.file.name, jobs.len(), placement.reason);
    if jobs.is_empty() {
        return Ok(Ran::default());
    }
    let mut crew = Crew::new(lanes, manner.grace, manner.on_failure)?;
    // From here on the crew hears of signals itself.
    if manner.asked.load(Ordering::Relaxed) {
        return Ok(Ran { stopped: true, failed: Vec::new(), waiting: jobs.len() });
    }
    let mut show = Show { sweep, cells, board: Board::new(tally), failed: Vec::new(), done: 0, grace: manner.grace };
    crew.run(&jobs, &mut show)?;
    show.board.close();
    let waiting = jobs.len() - show.done - show.failed.len();
    Ok(Ran { stopped: crew.asked_to_stop() && waiting > 0, failed: show.failed, waiting })
}

/// The command of a cell: what a person would type.
fn job(sweep: &Sweep, planned: &Planned, standing: &Standing, nproc: usize, manner: Manner<'_>) -> Result<Job, Ending> {
    // A run of another config is moved aside by a run that does not resume.
    let resume = if *standing == Standing::Another { "none" } else { "auto" };
    let this = std::env::current_exe().context("where is this program?")?;
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let mut words = vec![text(this), "train".into(), text(sweep.file.config.clone())];
    words.extend(["--nproc".into(), nproc.to_string()]);
    words.extend(planned.cell.sets().into_iter().flat_map(|set| ["--set".to_owned(), set]));
    words.extend(["--run-dir".into(), text(sweep.folder.cell(&planned.cell.name))]);
    words.extend(["--resume".into(), resume.into(), "--restarts".into(), manner.restarts.to_string()]);
    words.extend(["--grace-s".into(), manner.grace.as_secs().to_string()]);
    Ok(Job { line: CommandLine(words), log: sweep.folder.log(&planned.cell.name) })
}

/// Tells a person, and keeps the tables.
struct Show<'a> {
    sweep: &'a Sweep,
    cells: Vec<&'a Planned>,
    board: Board,
    failed: Vec<(String, i32)>,
    done: usize,
    grace: Duration,
}

impl Listener for Show<'_> {
    fn started(&mut self, job: usize) {
        let planned = self.cells[job];
        self.board.begin(job, &planned.cell.name, planned.flops, planned.steps);
    }

    fn event(&mut self, job: usize, event: &metrics::Event) {
        self.board.event(job, event);
    }

    fn refused(&mut self, job: usize, error: &anyhow::Error) {
        let planned = self.cells[job];
        self.board.begin(job, &planned.cell.name, planned.flops, planned.steps);
        self.board.end(job, None);
        self.board.print(&format!("failed: {}: {error:#}", planned.cell.name));
        self.failed.push((planned.cell.name.clone(), 1));
    }

    fn ended(&mut self, job: usize, end: End) {
        let planned = self.cells[job];
        let name = &planned.cell.name;
        let end = match (end, self.sweep.standing(planned)) {
            (End::Done, Standing::Finished(summary)) => {
                let done = Done { flops: planned.flops, seconds: summary.wall_seconds };
                self.board.end(job, Some(done));
                let top1 = summary.top1.map_or(String::new(), |top1| format!("top-1 {top1:.2} %, "));
                self.board.print(&format!("done: {name}: {top1}{}", duration(summary.wall_seconds)));
                self.done += 1;
                // Cells that run must not end for the sake of a table, which is written again at the end.
                if let Err(error) = self.sweep.write_tables() {
                    self.board.print(&format!("warning: {error:#}"));
                }
                return;
            }
            // It ended well and is not finished: its folder does not hold what it should.
            (End::Done, _) => End::Failed(1),
            (end, _) => end,
        };
        match end {
            End::Failed(code) => {
                self.board.end(job, None);
                let log = self.sweep.folder.log(name);
                let tail = tail(&std::fs::read_to_string(&log).unwrap_or_default());
                self.board.print(&format!("failed: {name}, exit {code}:\n{tail}"));
                self.failed.push((name.clone(), code));
            }
            _ => self.board.print(&format!("stopped: {name}")),
        }
    }

    fn stopping(&mut self, action: Action) {
        let text = match action {
            Action::Wait => return,
            Action::Ask => format!(
                "stopping: running cells write a checkpoint and end, at most {} s from now (Ctrl-C again ends them at once)",
                self.grace.as_secs()
            ),
            Action::End => "ending the cells without waiting for their checkpoint".to_owned(),
            Action::Kill => "killing the cells".to_owned(),
        };
        self.board.print(&text);
    }

    fn tick(&mut self) {
        self.board.tick();
    }
}

/// The end of a log: from the box that tells a failure's cause on, if there is one.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let boxed = lines.iter().rposition(|line| line.starts_with('╭'));
    let first = boxed.unwrap_or(lines.len().saturating_sub(TAIL / 2));
    lines[first..].iter().take(TAIL).map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(stopped: bool, codes: &[i32]) -> Ran {
        Ran { stopped, failed: codes.iter().map(|code| (format!("cell-{code}"), *code)).collect(), waiting: 1 }
    }

    #[test]
    fn the_exit_code_says_whether_to_run_it_again() {
        assert_eq!(exit_code(&ran(false, &[])), 0);
        assert_eq!(exit_code(&ran(true, &[])), 75);
        assert_eq!(exit_code(&ran(true, &[4])), 75);
        assert_eq!(exit_code(&ran(false, &[4, 3])), 4);
        assert_eq!(exit_code(&ran(false, &[4, 75])), 75);
        assert_eq!(exit_code(&ran(false, &[137])), 75);
    }

    #[test]
    fn what_is_left_is_said_with_the_way_on() {
        let folder = SweepFolder { root: "runs/s".into() };
        let text = ran(false, &[4]).in_words(&folder, "rectify sweep s.toml");
        assert!(text.contains("failed: cell-4, exit 4 (the loss was not finite"), "{text}");
        assert!(text.contains("runs/s/logs/cell-4.log") && text.ends_with("rectify sweep s.toml"), "{text}");
        assert!(ran(true, &[]).in_words(&folder, "x").starts_with("Stopped: 1 to go"));
    }

    #[test]
    fn a_failure_is_shown_from_its_box_on() {
        assert_eq!(tail("a\n\n╭─ rank 0 failed\n│ why\n╰─\n"), "  ╭─ rank 0 failed\n  │ why\n  ╰─\n");
        assert_eq!(tail("error: no\n"), "  error: no\n");
    }
}
