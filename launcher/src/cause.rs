//! Why a run failed: the first rank that did, found in what ranks and `mpirun` left behind.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use signal_hook::consts::SIGUSR1;
use world::Exit;

/// What a failed rank leaves in `logs/rank-0007.error.json`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Report {
    /// The rank.
    pub rank: usize,
    /// Its machine.
    pub host: String,
    /// When it failed, in seconds since 1970.
    pub unix_time: f64,
    /// The exit code that it ended with.
    pub exit_code: i32,
    /// Finished steps, if it had begun to train.
    #[serde(default)]
    pub step: Option<u64>,
    /// The error with its context.
    pub message: String,
}

/// The root of a failure.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    /// A rank told what went wrong.
    Reported(Report),
    /// A signal ended a rank before it could tell.
    Signal {
        /// The rank, if `mpirun` said which.
        rank: Option<usize>,
        /// The signal's number.
        signal: i32,
    },
    /// A rank ended without a word.
    Exited {
        /// The rank, if `mpirun` said which.
        rank: Option<usize>,
        /// Its exit code.
        code: i32,
    },
    /// `mpirun` itself did not get so far as to start the ranks.
    Launch {
        /// Its exit code.
        code: i32,
    },
}

impl Cause {
    /// The exit code that stands for the whole run. A rank that a signal took is lost, which is worth a retry.
    pub fn exit_code(&self) -> i32 {
        match self {
            Cause::Reported(report) => report.exit_code,
            Cause::Signal { .. } => Exit::Retry.code(),
            Cause::Exited { code, .. } | Cause::Launch { code } => *code,
        }
    }

    /// Whether this is how ranks end that were asked to: with a retry's code, or by the signal that came before they could listen.
    /// Where the end was `enforced`, whatever they did not report themselves.
    pub fn is_an_answer_to_a_stop(&self, enforced: bool) -> bool {
        match self {
            Cause::Signal { signal, .. } => enforced || *signal == SIGUSR1,
            Cause::Exited { .. } if enforced => true,
            cause => cause.exit_code() == Exit::Retry.code(),
        }
    }

    /// The rank at fault, if known.
    pub fn rank(&self) -> Option<usize> {
        match self {
            Cause::Reported(report) => Some(report.rank),
            Cause::Signal { rank, .. } | Cause::Exited { rank, .. } => *rank,
            Cause::Launch { .. } => None,
        }
    }
}

/// The reports of one try: those that were not there when it began.
pub struct Reports {
    logs: PathBuf,
    stale: Vec<Report>,
}

impl Reports {
    /// The reports that ranks will leave in `logs` from now on.
    pub fn from_now(logs: &Path) -> Reports {
        Reports { logs: logs.to_path_buf(), stale: read_reports(logs) }
    }

    /// Those left so far, earliest first.
    pub fn so_far(&self) -> Vec<Report> {
        let mut reports = read_reports(&self.logs);
        reports.retain(|report| !self.stale.contains(report));
        reports
    }
}

/// The reports in `logs`, earliest first. A file that is not a whole report (its writer was killed) is left out.
fn read_reports(logs: &Path) -> Vec<Report> {
    let parse = |path| serde_json::from_str::<Report>(&std::fs::read_to_string(path).ok()?).ok();
    let mut reports: Vec<Report> = report_paths(logs).into_iter().filter_map(parse).collect();
    reports.sort_by(|a, b| a.unix_time.total_cmp(&b.unix_time).then(a.rank.cmp(&b.rank)));
    reports
}

fn report_paths(logs: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(logs) else { return Vec::new() };
    let is_report = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("rank-") && name.ends_with(".error.json")
    };
    entries.flatten().map(|entry| entry.path()).filter(is_report).collect()
}

/// The cause of a failure. `code` is how the command ended (128 + signal if a signal ended it), `errors` its standard error.
///
/// A rank that loses a peer reports a retry; so such a report counts less than a signal that took a rank, and less than any other
/// report, whatever the order in time.
pub fn find(reports: &[Report], code: i32, errors: &[String], with_mpirun: bool) -> Cause {
    let retry = Exit::Retry.code();
    if let Some(report) = reports.iter().find(|report| report.exit_code != retry) {
        return Cause::Reported(report.clone());
    }
    let notice = errors.iter().find_map(|line| signal_notice(line));
    // mpirun ends the other ranks with these two after one has failed, so they say nothing about a rank that did report.
    if let Some((rank, signal)) = notice.filter(|(rank, _)| !reports.iter().any(|report| report.rank == *rank)) {
        return Cause::Signal { rank: Some(rank), signal };
    }
    if let Some(report) = reports.first() {
        return Cause::Reported(report.clone());
    }
    if code > 128 && !never_started(errors) {
        let rank = if with_mpirun { None } else { Some(0) };
        return Cause::Signal { rank, signal: code - 128 };
    }
    match exit_notice(errors) {
        Some((rank, code)) => Cause::Exited { rank: Some(rank), code },
        None if !with_mpirun => Cause::Exited { rank: Some(0), code },
        None if never_started(errors) => Cause::Launch { code: 1 },
        None => Cause::Exited { rank: None, code },
    }
}

/// Open MPI: "mpirun noticed that process rank 1 with PID 77 on node n exited on signal 9 (Killed)."
fn signal_notice(line: &str) -> Option<(usize, i32)> {
    let rest = line.split_once("noticed that process rank ")?.1;
    let rank = rest.split_whitespace().next()?.parse().ok()?;
    let signal = rest.split_once("exited on signal ")?.1.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    Some((rank, signal))
}

/// Open MPI: "Process name: [[18391,1],1]" and, on the next line, "Exit code:    3".
fn exit_notice(errors: &[String]) -> Option<(usize, i32)> {
    let after = |name: &str| errors.iter().find_map(|line| Some(line.trim().strip_prefix(name)?.trim().to_string()));
    let process = after("Process name:")?;
    let rank = process.trim_end_matches(']').rsplit(',').next()?.parse().ok()?;
    Some((rank, after("Exit code:")?.parse().ok()?))
}

/// Open MPI's words for programs and machines that it could not start or reach.
fn never_started(errors: &[String]) -> bool {
    const PHRASES: [&str; 4] = [
        "unable to launch the specified application",
        "unable to reliably start one or more daemons",
        "not enough slots available",
        "processes failed to start",
    ];
    errors.iter().any(|line| PHRASES.iter().any(|phrase| line.contains(phrase)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rank: usize, unix_time: f64, exit_code: i32) -> Report {
        Report { rank, host: "h".into(), unix_time, exit_code, step: None, message: format!("rank {rank} failed") }
    }

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(String::from).collect()
    }

    const KILLED: &str = "mpirun noticed that process rank 1 with PID 0 on node vm exited on signal 9 (Killed).";
    const EXITED: &str = "The first process to do so was:\n\n  Process name: [[18391,1],1]\n  Exit code:    101";

    #[test]
    fn the_earliest_report_is_the_cause() {
        let folder = tempfile::tempdir().unwrap();
        for (rank, time, code) in [(0, 12.5, 3), (2, 11.0, 2), (1, 11.5, 75)] {
            let Report { host, message, .. } = report(rank, time, code);
            let text = serde_json::json!({
                "rank": rank, "host": host, "unix_time": time, "exit_code": code, "message": message
            });
            std::fs::write(folder.path().join(format!("rank-{rank:04}.error.json")), text.to_string()).unwrap();
        }
        std::fs::write(folder.path().join("rank-0003.error.json"), "{\"rank\": 3").unwrap();
        let reports = read_reports(folder.path());
        assert_eq!(reports.iter().map(|report| report.rank).collect::<Vec<_>>(), [2, 1, 0]);
        assert_eq!(find(&reports, 75, &[], true), Cause::Reported(report(2, 11.0, 2)));
    }

    #[test]
    fn a_report_from_before_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let write = |rank: usize, time: f64| {
            let text = format!(
                r#"{{"rank":{rank},"host":"h","unix_time":{time},"exit_code":2,"message":"rank {rank} failed"}}"#
            );
            std::fs::write(folder.path().join(format!("rank-{rank:04}.error.json")), text).unwrap();
        };
        write(0, 1.0);
        write(1, 2.0);
        let reports = Reports::from_now(folder.path());
        assert_eq!(reports.so_far(), []);
        write(1, 3.0);
        assert_eq!(reports.so_far(), [report(1, 3.0, 2)]);
    }

    #[test]
    fn a_lost_peer_is_a_consequence() {
        let reports = [report(0, 1.0, 75), report(2, 2.0, 4)];
        assert_eq!(find(&reports, 75, &[], true), Cause::Reported(report(2, 2.0, 4)));
        let killed = find(&reports[..1], 137, &lines(KILLED), true);
        assert_eq!(killed, Cause::Signal { rank: Some(1), signal: 9 });
        assert_eq!((killed.exit_code(), killed.rank()), (75, Some(1)));
        assert_eq!(find(&reports[..1], 75, &[], true), Cause::Reported(report(0, 1.0, 75)));
    }

    #[test]
    fn without_reports_mpirun_is_asked() {
        assert_eq!(find(&[], 137, &lines(KILLED), true), Cause::Signal { rank: Some(1), signal: 9 });
        assert_eq!(find(&[], 139, &[], true), Cause::Signal { rank: None, signal: 11 });
        assert_eq!(find(&[], 101, &lines(EXITED), true), Cause::Exited { rank: Some(1), code: 101 });
        assert_eq!(find(&[], 5, &[], true), Cause::Exited { rank: None, code: 5 });
        let unreachable = lines("ORTE was unable to reliably start one or more daemons.");
        assert_eq!(find(&[], 255, &unreachable, true), Cause::Launch { code: 1 });
    }

    #[test]
    fn a_single_process_is_rank_0() {
        assert_eq!(find(&[], 137, &[], false), Cause::Signal { rank: Some(0), signal: 9 });
        assert_eq!(find(&[], 101, &[], false), Cause::Exited { rank: Some(0), code: 101 });
    }
}
