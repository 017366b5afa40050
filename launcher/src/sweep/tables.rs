//! The tables of a sweep: CSV with a line a cell, and the comparison as Markdown and for a terminal.

use std::fmt::Write;

use anyhow::Context;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::compare::{Group, Result, Row};
use super::statistics::{COVERAGE, Difference};

/// What stands above and below the tables.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The sweep's name.
    pub name: String,
    /// The config that its cells start from.
    pub config: String,
    /// What all cells share beyond it.
    pub shared: Vec<String>,
    /// The activation that others are compared with.
    pub baseline: Option<String>,
    /// Names of cells that are not finished.
    pub missing: Vec<String>,
}

/// One line a cell.
pub fn csv(results: &[Result]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let further = results.first().map(|result| result.cell.further.clone()).unwrap_or_default();
    let mut header = vec!["cell", "model", "activation", "settings", "epsilon_start", "seed"];
    header.extend(further.iter().map(|(key, _)| key.as_str()));
    header.extend(["top1", "best_top1", "top5", "loss", "steps", "images_per_second", "step_ms", "peak_memory_mib"]);
    header.extend(["wall_seconds", "epsilon_mean"]);
    writer.write_record(&header)?;
    for result in results {
        writer.write_record(line(result))?;
    }
    Ok(String::from_utf8(writer.into_inner().context("no table in memory")?)?)
}

fn line(result: &Result) -> Vec<String> {
    let (cell, summary) = (&result.cell, &result.summary);
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let (activation, settings) = cell.activation.split_once(' ').unwrap_or((&cell.activation, ""));
    let mut line = vec![cell.name.clone(), cell.model.clone(), activation.to_owned(), settings.to_owned()];
    line.extend([number(result.epsilon_start), cell.seed.clone()]);
    line.extend(cell.further.iter().map(|(_, value)| value.clone()));
    line.extend([number(summary.top1), number(summary.best_top1), number(summary.top5), number(summary.loss)]);
    line.extend([summary.steps.to_string(), summary.images_per_second.to_string()]);
    line.extend([number(summary.step_seconds.map(|seconds| seconds * 1000.0)), number(summary.peak_memory_mib)]);
    line.extend([summary.wall_seconds.to_string(), number(result.epsilon_mean)]);
    line
}

/// The comparison as a page.
pub fn markdown(frame: &Frame, results: &[Result], groups: &[Group]) -> String {
    let mut text = format!("# {}\n\n", frame.name);
    let _ = writeln!(text, "Config: `{}`{}.", frame.config, shared(&frame.shared));
    let _ = writeln!(text, "{}\n", conditions(results));
    for group in groups {
        let _ = writeln!(text, "## {}\n", title(group));
        let header = header(frame);
        let _ = writeln!(text, "| {} |", header.join(" | "));
        let _ = writeln!(text, "|{}", "---|".repeat(header.len()));
        for row in &group.rows {
            let _ = writeln!(text, "| {} |", cells(row, frame).join(" | "));
        }
        text.push('\n');
    }
    text.push_str(&explanation(frame));
    if !frame.missing.is_empty() {
        let _ = writeln!(text, "\nNot finished, and not in the tables: {}.", frame.missing.join(", "));
    }
    text
}

/// The comparison for a terminal.
pub fn terminal(frame: &Frame, groups: &[Group]) -> String {
    let mut text = String::new();
    for group in groups {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(header(frame));
        for row in &group.rows {
            table.add_row(cells(row, frame));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let _ = writeln!(text, "{}\n{table}", title(group));
    }
    text
}

fn header(frame: &Frame) -> Vec<String> {
    let mut header = vec!["activation".to_owned(), "top-1, %".to_owned(), "seeds".to_owned()];
    if let Some(baseline) = &frame.baseline {
        header.push(format!("against {baseline}, points"));
    }
    header.push("ms a step".to_owned());
    if let Some(baseline) = &frame.baseline {
        header.push(format!("time ÷ {baseline}"));
    }
    header.push("peak MiB a rank".to_owned());
    header
}

fn cells(row: &Row, frame: &Frame) -> Vec<String> {
    let mut cells = vec![row.activation.clone(), row.accuracy(), row.seeds.to_string()];
    if frame.baseline.is_some() {
        cells.push(row.difference.map_or("-".to_owned(), Difference::in_points));
    }
    cells.push(row.step_ms.map_or("-".to_owned(), |time| format!("{time:.1}")));
    if frame.baseline.is_some() {
        cells.push(row.relative_time.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")));
    }
    cells.push(row.peak_memory_mib.map_or("-".to_owned(), |peak| format!("{peak:.0}")));
    cells
}

impl Row {
    /// Top-1 in percent, with its deviation where there is one.
    pub fn accuracy(&self) -> String {
        match (self.top1, self.deviation) {
            (Some(top1), Some(deviation)) => format!("{top1:.2} ± {deviation:.2}"),
            (Some(top1), None) => format!("{top1:.2}"),
            (None, _) => "-".to_owned(),
        }
    }
}

impl Difference {
    /// In points, with its interval.
    pub fn in_points(self) -> String {
        let Difference { pairs, mean, half_width } = self;
        match half_width {
            Some(half) => format!("{} [{}, {}], n = {pairs}", signed(mean), signed(mean - half), signed(mean + half)),
            None => format!("{}, n = 1: no interval", signed(mean)),
        }
    }
}

fn signed(points: f64) -> String {
    let rounded = format!("{:.2}", points.abs());
    let sign = if points < 0.0 && rounded.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) { "−" } else { "+" };
    format!("{sign}{rounded}")
}

fn title(group: &Group) -> String {
    group.further.iter().fold(group.model.clone(), |text, (key, value)| format!("{text}, {key} = {value}"))
}

fn shared(sets: &[String]) -> String {
    if sets.is_empty() {
        return String::new();
    }
    format!(" with {}", sets.iter().map(|set| format!("`{set}`")).collect::<Vec<_>>().join(", "))
}

/// What the runs have in common, as far as they do.
fn conditions(results: &[Result]) -> String {
    let mut ranks: Vec<String> = Vec::new();
    for result in results {
        let summary = &result.summary;
        let words = format!(
            "{} steps on {} rank(s) of {} thread(s) on \"{}\", Rectify {}{}, libtorch {}",
            summary.steps,
            summary.world_size,
            summary.threads_per_rank,
            summary.device,
            summary.versions.rectify,
            summary.git_commit.as_ref().map_or(String::new(), |commit| format!(" ({commit})")),
            summary.versions.libtorch,
        );
        if !ranks.contains(&words) {
            ranks.push(words);
        }
    }
    format!("{} finished cell(s); each: {}.", results.len(), ranks.join("; or "))
}

fn explanation(frame: &Frame) -> String {
    let percent = COVERAGE * 100.0;
    let mut text = "Top-1 is that of the last evaluation: mean ± standard deviation (n − 1) over seeds. ".to_owned();
    if let Some(baseline) = &frame.baseline {
        let _ = write!(
            text,
            "Differences from {baseline} are means of differences at the same seed, with their {percent:.0} % interval \
             (Student's t over n pairs); one pair has none. "
        );
    }
    text.push_str("Times are medians of steps, means over seeds: other work on the machine enters them. No correction is made for comparing several activations.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::compare::{compare, tests::result};

    fn frame(baseline: Option<&str>) -> Frame {
        Frame {
            name: "table".into(),
            config: "base.toml".into(),
            shared: vec!["schedule.epochs=3".into()],
            baseline: baseline.map(str::to_owned),
            missing: vec!["a.crrelu.seed-9".into()],
        }
    }

    fn results() -> Vec<Result> {
        let mut learned = result("a", "crrelu epsilon=-0.1", 1, 81.0, 95.0);
        (learned.epsilon_start, learned.epsilon_mean) = (Some(-0.1), Some(-0.125));
        vec![
            result("a", "gelu", 1, 80.0, 100.0),
            learned,
            result("a", "gelu", 2, 81.0, 100.0),
            result("a", "crrelu epsilon=-0.1", 2, 83.0, 95.0),
            result("b", "gelu", 1, 70.0, 10.0),
            result("b", "relu", 1, 69.5, 8.0),
        ]
    }

    #[test]
    fn the_page_has_a_table_a_model() {
        let results = results();
        let text = markdown(&frame(Some("gelu")), &results, &compare(&results, Some("gelu")));
        for line in [
            "# table",
            "## a",
            "| activation | top-1, % | seeds | against gelu, points | ms a step | time ÷ gelu | peak MiB a rank |",
            "| gelu | 80.50 ± 0.71 | 2 | - | 100.0 | 1.00 | 502 |",
            "| crrelu epsilon=-0.1 | 82.00 ± 1.41 | 2 | +1.50 [−4.85, +7.85], n = 2 | 95.0 | 0.95 | 502 |",
            "## b",
            "| relu | 69.50 | 1 | −0.50, n = 1: no interval | 8.0 | 0.80 | 501 |",
            "Not finished, and not in the tables: a.crrelu.seed-9.",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is missing in\n{text}");
        }
        assert!(text.contains("Config: `base.toml` with `schedule.epochs=3`."), "{text}");
    }

    #[test]
    fn without_a_baseline_nothing_is_compared() {
        let results = results();
        let text = markdown(&frame(None), &results, &compare(&results, None));
        assert!(text.contains("| activation | top-1, % | seeds | ms a step | peak MiB a rank |"), "{text}");
        assert!(!text.contains("Student"), "{text}");
    }

    #[test]
    fn every_cell_is_a_line_of_numbers() {
        let text = csv(&results()).unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header = reader.headers().unwrap().clone();
        let lines: Vec<csv::StringRecord> = reader.records().map(|line| line.unwrap()).collect();
        let get = |line: usize, name: &str| {
            let column = header.iter().position(|found| found == name).unwrap_or_else(|| panic!("{name}: {text}"));
            lines[line][column].to_owned()
        };
        assert_eq!(lines.len(), 6);
        assert_eq!((get(1, "activation"), get(1, "settings")), ("crrelu".into(), "epsilon=-0.1".into()));
        assert_eq!((get(1, "epsilon_start"), get(1, "epsilon_mean")), ("-0.1".into(), "-0.125".into()));
        assert_eq!(
            (get(0, "epsilon_start"), get(0, "top1"), get(0, "step_ms")),
            ("".into(), "80".into(), "100".into())
        );
        assert_eq!((get(0, "best_top1"), get(0, "peak_memory_mib")), ("".into(), "501".into()));
    }

    #[test]
    fn a_terminal_gets_the_same_rows() {
        let results = results();
        let text = terminal(&frame(Some("gelu")), &compare(&results, Some("gelu")));
        assert!(text.contains("+1.50 [−4.85, +7.85], n = 2") && text.contains("82.00 ± 1.41"), "{text}");
    }

    #[test]
    fn what_rounds_to_nothing_has_no_minus() {
        assert_eq!([signed(-0.001), signed(0.0), signed(-1.0), signed(2.346)], ["+0.00", "+0.00", "−1.00", "+2.35"]);
    }
}
