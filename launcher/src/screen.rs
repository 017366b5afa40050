//! What a person sees while ranks run: rank 0's progress, warnings of all ranks, and none of `mpirun`'s chatter.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use metrics::{Event, Progress, ProgressMode, Target};

use crate::cause::{Report, Reports};
use crate::stopping::Action;
use crate::supervisor::{Audience, Stream};

/// Standard error is shown this late, so that what ranks shout when a run fails can go below its cause.
const HOLD: Duration = Duration::from_secs(2);

/// How often to look whether a rank has left a report.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Lines of standard error that are remembered to find the cause of a failure.
const REMEMBERED: usize = 400;

/// The screen of one try.
pub struct Screen {
    progress: Progress,
    log: Log,
    targets: Vec<PathBuf>,
    held: VecDeque<(Instant, String)>,
    errors: VecDeque<String>,
    chatter: Chatter,
    grace: Duration,
    last_checkpoint: Option<String>,
    reports: Reports,
    looked: Instant,
    failing: bool,
}

impl Screen {
    /// A screen that also keeps standard error in a log beside the ranks' own, and writes Prometheus' targets to each of `targets`.
    pub fn new(logs: &Path, targets: Vec<PathBuf>, grace: Duration) -> Screen {
        let chosen = std::env::var(metrics::PROGRESS_VARIABLE).ok();
        Screen {
            progress: Progress::new(ProgressMode::choose(chosen.as_deref())),
            log: Log { path: logs.join("launcher.log"), file: None, waiting: Vec::new() },
            targets,
            held: VecDeque::new(),
            errors: VecDeque::new(),
            chatter: Chatter::default(),
            grace,
            last_checkpoint: None,
            reports: Reports::from_now(logs),
            looked: Instant::now(),
            failing: false,
        }
    }

    /// The newest lines of standard error, `mpirun`'s included.
    pub fn errors(&self) -> Vec<String> {
        self.errors.iter().cloned().collect()
    }

    /// What failed ranks have reported in this try.
    pub fn reports(&self) -> Vec<Report> {
        self.reports.so_far()
    }

    /// The folder of the newest checkpoint that rank 0 told of.
    pub fn last_checkpoint(&self) -> Option<&str> {
        self.last_checkpoint.as_deref()
    }

    /// Shows what was held back: the run went well.
    pub fn release(&mut self) {
        for (_, line) in std::mem::take(&mut self.held) {
            self.progress.print(&line);
        }
    }

    /// What was held back, not to be shown any more: the run failed, and its cause goes first.
    pub fn take_held(&mut self) -> Vec<String> {
        std::mem::take(&mut self.held).into_iter().map(|(_, line)| line).collect()
    }

    /// Keeps a line in the log without showing it.
    pub fn note(&mut self, line: &str) {
        self.log.keep(line);
    }

    /// The try is over: completes the log, and tells Prometheus that nobody is there any more.
    pub fn close(&mut self) {
        self.log.open();
        for path in &self.targets {
            // Prometheus would go on asking ranks that are gone; that is all that a failure here can cause.
            let _ = std::fs::remove_file(path);
        }
    }

    fn show(&mut self, event: &Event) {
        match event {
            Event::Begin { .. } => self.log.open(),
            Event::Endpoints { targets } => {
                for path in &self.targets {
                    if let Err(error) = write_targets(path, targets) {
                        self.progress.print(&format!("warning: Prometheus will not find the ranks: {error:#}"));
                    }
                }
            }
            Event::Checkpoint { path, .. } => self.last_checkpoint = Some(path.clone()),
            _ => {}
        }
        self.progress.show(event);
    }
}

fn write_targets(path: &Path, targets: &[Target]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    Ok(metrics::write_targets(path, targets)?)
}

impl Audience for Screen {
    fn line(&mut self, stream: Stream, line: &str) {
        if stream == Stream::Out {
            match metrics::parse(line) {
                Some(event) => self.show(&event),
                None => self.progress.print(line),
            }
            return;
        }
        self.log.keep(line);
        self.errors.push_back(line.to_string());
        if self.errors.len() > REMEMBERED {
            self.errors.pop_front();
        }
        if !self.chatter.covers(line) {
            self.held.push_back((Instant::now(), line.to_string()));
        }
    }

    fn stopping(&mut self, action: Action) {
        let text = match action {
            Action::Wait => return,
            Action::Ask => format!(
                "stopping: the ranks write a checkpoint and end, at most {} s from now (Ctrl-C again ends them at once)",
                self.grace.as_secs()
            ),
            Action::End => "ending the ranks without waiting for their checkpoint".into(),
            Action::Kill => "killing the ranks".into(),
        };
        self.log.keep(&text);
        self.progress.print(&text);
    }

    fn tick(&mut self) {
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            self.failing |= !self.reports.so_far().is_empty();
        }
        if self.failing {
            return;
        }
        while self.held.front().is_some_and(|(since, _)| since.elapsed() >= HOLD) {
            if let Some((_, line)) = self.held.pop_front() {
                self.progress.print(&line);
            }
        }
    }
}

/// `logs/launcher.log`. It is opened once training begins, or at the end: until then rank 0 may still move an earlier run's folder
/// out of the way.
struct Log {
    path: PathBuf,
    file: Option<File>,
    waiting: Vec<String>,
}

impl Log {
    fn keep(&mut self, line: &str) {
        match &mut self.file {
            // A full disk must not end a run for the sake of its log.
            Some(file) => drop(writeln!(file, "{line}")),
            None => self.waiting.push(line.to_string()),
        }
    }

    fn open(&mut self) {
        if self.file.is_some() {
            return;
        }
        let _ = self.path.parent().map(std::fs::create_dir_all);
        self.file = File::options().create(true).append(true).open(&self.path).ok();
        if self.file.is_some() {
            for line in std::mem::take(&mut self.waiting) {
                self.keep(&line);
            }
        }
    }
}

/// Tells Open MPI's own messages, which it puts between two dashed lines, from those of the ranks.
#[derive(Default)]
struct Chatter {
    inside: bool,
}

impl Chatter {
    fn covers(&mut self, line: &str) -> bool {
        if line.len() >= 60 && line.bytes().all(|byte| byte == b'-') {
            self.inside = !self.inside;
            return true;
        }
        const PHRASES: [&str; 5] = [
            "mpirun: Forwarding signal",
            "more process has sent help message",
            "more processes have sent help message",
            "Set MCA parameter \"orte_base_help_aggregate\"",
            "ORTE_ERROR_LOG",
        ];
        self.inside || line.trim().is_empty() || PHRASES.iter().any(|phrase| line.contains(phrase))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mpirun_s_own_messages_are_not_shown() {
        let dashes = "-".repeat(74);
        let text = [
            (&*dashes, true),
            ("mpirun noticed that process rank 1", true),
            (&*dashes, true),
            ("warning: a rank's own words", false),
            ("[n:1] 3 more processes have sent help message help-mpi-btl-base.txt", true),
            ("--- not a rule", false),
        ];
        let mut chatter = Chatter::default();
        for (line, expected) in text {
            assert_eq!(chatter.covers(line), expected, "{line}");
        }
    }

    #[test]
    fn endpoints_become_a_file_for_prometheus() {
        let folder = tempfile::tempdir().unwrap();
        let targets = folder.path().join("new/targets.json");
        let mut screen = Screen::new(folder.path(), vec![targets.clone()], Duration::ZERO);
        let target = Target { address: "127.0.0.1:9401".into(), run: "r".into(), rank: 1, host: "h".into() };
        screen.line(Stream::Out, &Event::Endpoints { targets: vec![target] }.to_line());
        screen.line(Stream::Err, "kept");
        assert!(std::fs::read_to_string(&targets).unwrap().contains("127.0.0.1:9401"));
        screen.close();
        assert!(!targets.exists(), "nobody is there any more");
        assert_eq!(std::fs::read_to_string(folder.path().join("launcher.log")).unwrap(), "kept\n");
        assert_eq!((screen.errors(), screen.take_held()), (vec!["kept".into()], vec!["kept".into()]));
    }
}
