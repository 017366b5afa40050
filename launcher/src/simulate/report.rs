//! What `rectify simulate` prints: a table with what it rests on, or the same as JSON.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use plan::Plan;
use serde_json::{Map, Value, json};

use super::basis::{self, Basis, Origin};
use super::figures::{milliseconds, percent, throughput};
use super::scaling::{Point, SHOWS, Scenario, shows_from};
use super::timeline::Overlap;
use crate::verdict::grouped;

/// Lines are broken here.
const WIDTH: usize = 80;

/// Everything that is said.
pub struct Report {
    name: String,
    wire: &'static str,
    parameters: u64,
    bucket_mib: f64,
    scenario: Scenario,
    points: Vec<Point>,
    bases: Vec<Basis>,
}

impl Report {
    /// `inputs` say where step and network come from.
    pub fn new(plan: &Plan, scenario: Scenario, points: Vec<Point>, inputs: Vec<Basis>) -> Report {
        Report {
            name: plan.config.model.name.clone(),
            wire: basis::wire_name(plan.config.parallel.wire),
            parameters: plan.model.parameters(),
            bucket_mib: plan.config.parallel.bucket_mib,
            bases: basis::all(&scenario, &points, inputs),
            scenario,
            points,
        }
    }

    /// The table, what follows from it, and what it rests on.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n{}\n\n", self.heading(), table(&self.points));
        for sentence in [Some(self.communication()), self.without_overlap(), self.held()].into_iter().flatten() {
            text += &format!("{}\n", wrapped("", &sentence));
        }
        text += &format!("{}\n", wrapped("", "Efficiency is a GPU's images/s against one GPU that waits for nobody."));
        for origin in Origin::ALL {
            let mut bases = self.bases.iter().filter(|basis| basis.origin == origin).peekable();
            if bases.peek().is_some() {
                text += &format!("\n{origin:?}:\n");
            }
            for basis in bases {
                text += &format!("{}\n", wrapped(&format!("  {:<11}", basis.title), &basis.words));
            }
        }
        text.trim_end().to_owned()
    }

    /// One object.
    pub fn json(&self) -> String {
        let mut value = json!({
            "model": self.name,
            "parameters": self.parameters,
            "gradient_bytes": self.gradient_bytes(),
            "buckets": self.scenario.buckets.len(),
            "step_on_one_gpu": self.scenario.step,
            "points": self.points,
            "communication_shows_from_gpus": shows_from(&self.points),
        });
        for origin in Origin::ALL {
            let bases = self.bases.iter().filter(|basis| basis.origin == origin);
            let bases: Map<String, Value> =
                bases.map(|basis| (basis.title.to_owned(), basis.words.as_str().into())).collect();
            value[format!("{origin:?}").to_lowercase()] = bases.into();
        }
        format!("{value:#}")
    }

    fn gradient_bytes(&self) -> f64 {
        self.parameters as f64 * self.scenario.bytes_per_number
    }

    fn heading(&self) -> String {
        let buckets = match self.scenario.buckets.len() {
            1 => "1 bucket".to_owned(),
            many => format!("{} buckets of at most {} MiB", grouped(many as u64), self.bucket_mib),
        };
        let size = format!(
            "{} parameters, {:.1} MB of gradients ({})",
            grouped(self.parameters),
            self.gradient_bytes() / 1e6,
            self.wire
        );
        wrapped("", &format!("{}: {size} in {buckets}", self.name))
    }

    /// Where communication shows, and what that means.
    fn communication(&self) -> String {
        let rule = |than: &str| format!("the step waits for it (exposed) for {than} {} % of its time", SHOWS * 100.0);
        let more = rule("more than");
        let number = |gpus: usize| grouped(gpus as u64);
        let Some(largest) = self.points.last() else { return String::new() };
        let Some(from) = shows_from(&self.points) else {
            return match largest.gpus {
                1 => "One GPU communicates with nobody.".to_owned(),
                many => format!("Communication does not show up to {} GPUs: {}.", number(many), rule("at most")),
            };
        };
        let before = self.points.iter().rfind(|point| (2..from).contains(&point.gpus));
        match before {
            Some(before) => {
                let [from, before] = [from, before.gpus].map(number);
                format!("Communication shows from {from} GPUs on, not yet at {before}: {more}.")
            }
            None => format!("Communication shows at {} GPUs already: {more}.", number(from)),
        }
    }

    /// What overlap is worth.
    fn without_overlap(&self) -> Option<String> {
        let (first, last) = (self.points.iter().find(|point| point.gpus > 1)?, self.points.last()?);
        if self.scenario.overlap == Overlap::None {
            return None;
        }
        let at = |point: &Point| {
            format!("{} at {} GPUs", percent(point.efficiency_without_overlap), grouped(point.gpus as u64))
        };
        let all = if first.gpus == last.gpus { at(first) } else { format!("{}, {}", at(first), at(last)) };
        Some(format!("Without overlap the efficiency would be {all}."))
    }

    fn held(&self) -> Option<String> {
        let held = self.points.iter().filter(|point| point.held_by_loader);
        let held: Vec<String> = held.map(|point| grouped(point.gpus as u64)).collect();
        (!held.is_empty()).then(|| format!("The loader decides the speed at {} GPUs.", held.join("; ")))
    }
}

fn table(points: &[Point]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header([
        "GPUs",
        "nodes",
        "global\nbatch",
        "images/s",
        "efficiency",
        "reduce\nms",
        "exposed\nms",
        "hidden",
    ]);
    for point in points {
        table.add_row([
            grouped(point.gpus as u64),
            grouped(point.nodes as u64),
            grouped(point.global_batch),
            throughput(point.images_per_second),
            percent(point.efficiency),
            milliseconds(point.all_reduce_seconds),
            milliseconds(point.exposed_seconds),
            point.hidden.map_or_else(|| "–".to_owned(), |hidden| format!("{:.0} %", hidden * 100.0)),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// `words` after `title`, broken into lines whose later ones stand below the first one's words.
fn wrapped(title: &str, words: &str) -> String {
    let indent = title.chars().count();
    let (mut text, mut column, mut fresh) = (title.to_owned(), indent, true);
    for word in words.split_whitespace() {
        let length = word.chars().count();
        if !fresh && column + 1 + length > WIDTH {
            text += &format!("\n{:indent$}", "");
            (column, fresh) = (indent, true);
        }
        if !fresh {
            text.push(' ');
            column += 1;
        }
        text += word;
        (column, fresh) = (column + length, false);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_below_their_words() {
        let text = wrapped("  title ", &"word ".repeat(40));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("        word")), "{text}");
        assert_eq!(text.matches("word").count(), 40);
    }

    #[test]
    fn a_table_of_the_largest_cluster_fits_a_terminal() {
        let point = Point {
            gpus: 4096,
            nodes: 512,
            global_batch: 524_288,
            images_per_second: 6_543_210.0,
            efficiency: 0.987,
            efficiency_without_overlap: 0.9,
            step_seconds: 0.1,
            compute_seconds: 0.1,
            straggler_seconds: 0.0,
            all_reduce_seconds: 0.0123,
            exposed_seconds: 0.0012,
            hidden: Some(0.9),
            algorithm: None,
            held_by_loader: false,
        };
        let text = table(&[point]).to_string();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }
}
