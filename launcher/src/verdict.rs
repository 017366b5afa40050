//! How a run ended, in words: the cause of a failure in a box on top, or what a finished run reached and what to do next.

use std::fmt::Write;
use std::path::Path;

use comfy_table::{ContentArrangement, Table, presets};
use metrics::Summary;
use nix::sys::signal::Signal;
use world::Exit;

use crate::cause::Cause;

/// Lines of a log that are shown when a rank did not say what happened.
const TAIL: usize = 12;

/// Widest text inside a box.
const WIDTH: usize = 110;

/// The box that tells the cause of a failure, and below it what else the ranks wrote.
pub fn failure(cause: &Cause, run_dir: &Path, also_written: &[String]) -> String {
    let (title, mut body) = headline(cause);
    let mut footer = next_step(cause);
    if let Some(rank) = cause.rank() {
        let log = rank_log(run_dir, rank);
        let log_exists = log.exists();
        if log_exists && !matches!(cause, Cause::Reported(_)) {
            let _ = write!(body, "Its log ends:\n{}", tail(&log));
        }
        if log_exists {
            let _ = write!(footer, "\nlog: {}", log.display());
        }
    }
    let mut text = boxed(&title, body.trim_end(), &footer);
    let news = |line: &&String| match cause {
        Cause::Reported(report) => !report.message.lines().any(|said| !said.trim().is_empty() && line.contains(said)),
        _ => true,
    };
    let rest: Vec<&String> = also_written.iter().filter(news).collect();
    if !rest.is_empty() {
        text.push_str("\nThe ranks' last words:\n");
        for line in &rest[rest.len().saturating_sub(TAIL * 2)..] {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

fn headline(cause: &Cause) -> (String, String) {
    let name = |rank: &Option<usize>| rank.map_or("a rank".to_string(), |rank| format!("rank {rank}"));
    match cause {
        Cause::Reported(report) => {
            let step = report.step.map_or(String::new(), |step| format!(" after step {step}"));
            (format!("rank {} on {} failed{step}", report.rank, report.host), report.message.clone())
        }
        Cause::Signal { rank, signal } => {
            let signal_name = Signal::try_from(*signal).map_or("an unknown signal", Signal::as_str);
            let hint = match Signal::try_from(*signal) {
                Ok(Signal::SIGKILL) => {
                    "Killed from outside. Often the machine or its control group had no memory left: see `dmesg`, \
                     and take a smaller train.batch_size, more train.accumulation, or fewer data.workers.\n"
                }
                Ok(Signal::SIGBUS) => "Often /dev/shm or a disk is full: see `df -h`.\n",
                Ok(Signal::SIGSEGV | Signal::SIGABRT | Signal::SIGILL | Signal::SIGFPE) => {
                    "The rank crashed. If it does so again at the same step, it is a bug: please report it.\n"
                }
                _ => "",
            };
            (format!("{} was ended by {signal_name} (signal {signal})", name(rank)), hint.to_string())
        }
        Cause::Exited { rank, code } => {
            (format!("{} ended with exit code {code} and no report", name(rank)), String::new())
        }
        Cause::Launch { .. } => ("mpirun could not start the ranks".to_string(), String::new()),
    }
}

fn next_step(cause: &Cause) -> String {
    let code = cause.exit_code();
    match Exit::from_code(code) {
        Some(exit) => exit.to_string(),
        None => format!("exit {code}: not one of Rectify's own; a bug, or something around it"),
    }
}

/// Where the trainer keeps the log of `rank`.
pub fn rank_log(run_dir: &Path, rank: usize) -> std::path::PathBuf {
    run_dir.join("logs").join(format!("rank-{rank:04}.log"))
}

fn tail(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].iter().map(|line| format!("{line}\n")).collect()
}

/// `body` in a box, wrapped, under `title` and over `footer`.
fn boxed(title: &str, body: &str, footer: &str) -> String {
    let fill = "─".repeat(WIDTH.saturating_sub(title.chars().count() + 1));
    let mut text = format!("╭─ {title} {fill}\n");
    for part in [body, footer] {
        for line in part.lines().flat_map(|line| wrapped(line, WIDTH)) {
            let _ = writeln!(text, "│ {line}");
        }
        if part != footer && !part.is_empty() {
            text.push_str("│\n");
        }
    }
    let _ = writeln!(text, "╰{}", "─".repeat(WIDTH + 3));
    text
}

/// `line` in pieces of at most `width` characters, broken at blanks where there are any.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut length = 0;
    for word in line.split_inclusive(' ') {
        let word_length = word.chars().count();
        if length > 0 && length + word.trim_end().chars().count() > width {
            pieces.push(String::new());
            length = 0;
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push_str(word);
        }
        length += word_length;
    }
    pieces.into_iter().map(|piece| piece.trim_end().to_string()).collect()
}

/// What a finished run reached, where everything is, and what to try next.
pub fn success(run_dir: &Path, last_checkpoint: Option<&str>, next: &str) -> String {
    let Ok(summary) = Summary::read(&run_dir.join("summary.json")) else {
        return format!(
            "The run is done; its folder is {}, without a summary.json that can be read.\n",
            run_dir.display()
        );
    };
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    let percent = |value: Option<f64>| value.map_or("-".to_string(), |value| format!("{value:.2} %"));
    let mut columns = vec![
        ("top-1", percent(summary.top1)),
        ("best top-1", percent(summary.best_top1)),
        ("top-5", percent(summary.top5)),
        ("images/s", format!("{:.0}", summary.images_per_second)),
        ("wall time", duration(summary.wall_seconds)),
        ("steps", summary.steps.to_string()),
        ("ranks", summary.world_size.to_string()),
        ("parameters", grouped(summary.parameters)),
    ];
    if summary.ema_top1.is_some() {
        columns.insert(1, ("EMA top-1", percent(summary.ema_top1)));
    }
    table.set_header(columns.iter().map(|(name, _)| *name));
    table.add_row(columns.into_iter().map(|(_, value)| value));
    let mut text = format!("{table}\n");
    let places = [
        ("checkpoint", last_checkpoint.map(std::path::PathBuf::from).or_else(|| newest_checkpoint(run_dir))),
        ("curves", Some(run_dir.join("curves.svg"))),
        ("log", Some(rank_log(run_dir, 0))),
        ("bad images", Some(run_dir.join("bad_images.txt"))),
    ];
    for (name, path) in places {
        if let Some(path) = path.filter(|path| path.exists()) {
            let _ = writeln!(text, "  {name:<11} {}", path.display());
        }
    }
    let _ = writeln!(text, "  {:<11} {next}", "try next");
    text
}

/// A run that was asked to stop, and did.
pub fn stopped(run_dir: &Path, last_checkpoint: Option<&str>, again: &str) -> String {
    let checkpoint = last_checkpoint.map(std::path::PathBuf::from).or_else(|| newest_checkpoint(run_dir));
    match checkpoint {
        Some(checkpoint) => format!("Stopped. Newest checkpoint: {}\nGo on with: {again}\n", checkpoint.display()),
        None => format!("Stopped before the first checkpoint. Start again with: {again}\n"),
    }
}

/// The newest of a run's checkpoints, by the step in its name.
pub fn newest_checkpoint(run_dir: &Path) -> Option<std::path::PathBuf> {
    let entries = std::fs::read_dir(run_dir.join("checkpoints")).ok()?;
    let steps = entries.flatten().filter_map(|entry| {
        let step: u64 = entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok()?;
        Some((step, entry.path()))
    });
    Some(steps.max()?.1)
}

/// Seconds in the words of a person.
pub fn duration(seconds: f64) -> String {
    let total = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
    if hours > 0 { format!("{hours} h {minutes:02} min") } else { format!("{minutes} min {seconds:02} s") }
}

/// A whole number with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::Report;

    fn reported(message: &str) -> Cause {
        let message = message.into();
        Cause::Reported(Report { rank: 1, host: "n".into(), unix_time: 0.0, exit_code: 3, step: Some(7), message })
    }

    #[test]
    fn the_box_names_rank_step_message_and_code() {
        let words = ["error: no data".to_string(), "another rank's words".to_string()];
        let text = failure(&reported("no data"), Path::new("nowhere"), &words);
        let first = text.lines().next().unwrap();
        assert!(first.contains("rank 1 on n failed after step 7"), "{text}");
        assert!(text.contains("│ no data") && text.contains("│ exit 3: the data are missing"), "{text}");
        assert!(text.contains("another rank's words") && !text.contains("error: no data"), "not said twice: {text}");
    }

    #[test]
    fn a_killed_rank_shows_its_log() {
        let run = tempfile::tempdir().unwrap();
        std::fs::create_dir(run.path().join("logs")).unwrap();
        std::fs::write(rank_log(run.path(), 2), "old\n".repeat(50) + "the last line\n").unwrap();
        let text = failure(&Cause::Signal { rank: Some(2), signal: 9 }, run.path(), &[]);
        assert!(text.contains("rank 2 was ended by SIGKILL (signal 9)"), "{text}");
        assert!(text.contains("the last line") && text.contains("memory") && text.contains("exit 75"), "{text}");
        assert!(text.lines().count() < 25, "{text}");
    }

    #[test]
    fn long_lines_are_wrapped_and_lose_nothing() {
        let line = "word ".repeat(60) + &"x".repeat(150);
        let pieces = wrapped(&line, 100);
        assert_eq!(pieces.join(" "), line);
        assert!(pieces[..pieces.len() - 1].iter().all(|piece| piece.chars().count() <= 100));
        assert_eq!(wrapped("", 10), [""]);
    }

    #[test]
    fn a_finished_run_is_summed_up() {
        let run = tempfile::tempdir().unwrap();
        let summary = Summary {
            top1: Some(97.5),
            ema_top1: Some(96.25),
            top5: Some(99.9),
            wall_seconds: 151.0,
            parameters: 1_234_567,
            steps: 450,
            ..Summary::default()
        };
        summary.write(&run.path().join("summary.json")).unwrap();
        for step in ["step-00000099", "step-00000450", "step-00000450.partial"] {
            std::fs::create_dir_all(run.path().join("checkpoints").join(step)).unwrap();
        }
        let text = success(run.path(), None, "rectify doctor");
        for expected in [
            "97.50 %",
            "EMA top-1",
            "96.25 %",
            "99.90 %",
            "2 min 31 s",
            "1,234,567",
            "step-00000450\n",
            "rectify doctor",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        assert!(!text.contains("curves"), "only what is there: {text}");
    }
}
