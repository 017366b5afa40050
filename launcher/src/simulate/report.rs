//! What `rectify simulate` prints: a table with what was assumed, or the same as JSON.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use plan::Plan;
use serde_json::{Value, json};

use super::network::{Algorithm, Link};
use super::scaling::{Point, SHOWS, Scaling, Scenario, shows_from};
use super::timeline::Overlap;
use crate::cli;
use crate::verdict::grouped;

/// Lines are broken here.
const WIDTH: usize = 80;

/// Everything that is said.
pub struct Report {
    name: String,
    wire: String,
    parameters: u64,
    bucket_mib: f64,
    scenario: Scenario,
    points: Vec<Point>,
    network: String,
    step: String,
}

impl Report {
    /// `words` say what the network is, and where the step comes from.
    pub fn new(
        arguments: &cli::Simulate,
        plan: &Plan,
        scenario: &Scenario,
        points: Vec<Point>,
        words: [String; 2],
    ) -> Report {
        let [network, step] = words;
        Report {
            name: plan.config.model.name.clone(),
            wire: format!("{:?}", arguments.wire).to_lowercase(),
            parameters: plan.model.parameters(),
            bucket_mib: plan.config.parallel.bucket_mib,
            scenario: scenario.clone(),
            points,
            network,
            step,
        }
    }

    /// The table, what follows from it, and what was assumed.
    pub fn text(&self) -> String {
        let mut text =
            format!("{}\n{}\n\n{}\n\nAssumed:", self.heading(), table(&self.points), wrapped("", &self.sentence()));
        for (title, words) in self.assumptions() {
            text += &format!("\n{}", wrapped(&format!("  {title:<11}"), &words));
        }
        text
    }

    /// One object.
    pub fn json(&self) -> String {
        let assumed: serde_json::Map<String, Value> =
            self.assumptions().into_iter().map(|(title, words)| (title.to_owned(), words.into())).collect();
        let value = json!({
            "model": self.name,
            "parameters": self.parameters,
            "gradient_bytes": self.gradient_bytes(),
            "buckets": self.scenario.buckets.len(),
            "step_on_one_gpu": self.scenario.step,
            "points": self.points,
            "communication_shows_from_gpus": shows_from(&self.points),
            "assumed": assumed,
        });
        format!("{value:#}")
    }

    fn gradient_bytes(&self) -> f64 {
        self.parameters as f64 * self.scenario.bytes_per_number
    }

    fn heading(&self) -> String {
        let buckets = match self.scenario.buckets.len() {
            1 => "1 bucket".to_owned(),
            many => format!("{many} buckets of {} MiB in fp32", self.bucket_mib),
        };
        let size = format!(
            "{} parameters, {:.1} MB of gradients ({})",
            grouped(self.parameters),
            self.gradient_bytes() / 1e6,
            self.wire
        );
        wrapped("", &format!("{}: {size} in {buckets}", self.name))
    }

    fn sentence(&self) -> String {
        let percent = SHOWS * 100.0;
        let rule = format!("exposed above {percent} % of the step");
        let largest = self.points.last().map_or(0, |point| point.gpus);
        let mut sentence = match shows_from(&self.points) {
            Some(gpus) if self.points.first().is_some_and(|first| first.gpus == gpus && gpus > 1) => {
                format!("Communication shows at {} GPUs already ({rule}).", grouped(gpus as u64))
            }
            Some(gpus) => format!("Communication shows from {} GPUs on ({rule}).", grouped(gpus as u64)),
            None => format!("Communication does not show up to {} GPUs ({rule}).", grouped(largest as u64)),
        };
        let held: Vec<String> =
            self.points.iter().filter(|point| point.held_by_loader).map(|point| grouped(point.gpus as u64)).collect();
        if !held.is_empty() {
            sentence += &format!(" The loader decides the speed at {} GPUs.", held.join("; "));
        }
        sentence
    }

    fn assumptions(&self) -> Vec<(&'static str, String)> {
        vec![
            ("step", self.step_words()),
            ("batch", self.batch_words()),
            ("network", self.network_words()),
            ("all-reduce", self.all_reduce_words()),
            ("overlap", self.overlap_words()),
            ("stragglers", self.straggler_words()),
            ("loader", self.loader_words()),
            ("efficiency", "images/s of a GPU against one GPU that waits for nobody".to_owned()),
        ]
    }

    fn step_words(&self) -> String {
        let step = &self.scenario.step;
        let parts = [
            ("data", step.waiting_s),
            ("forward", step.forward_s),
            ("backward", step.backward_s),
            ("optimiser", step.optimizer_s),
        ];
        let parts: Vec<String> =
            parts.iter().filter(|(_, s)| *s > 0.0).map(|(name, s)| format!("{name} {} ms", milliseconds(*s))).collect();
        format!("{}; {}", parts.join(", "), self.step)
    }

    fn batch_words(&self) -> String {
        let scenario = &self.scenario;
        let micro = match scenario.accumulation {
            1 => String::new(),
            many => format!(" in {many} micro-batches"),
        };
        let proportional = "; time in proportion to images but for the optimiser";
        match scenario.scaling {
            Scaling::Weak => {
                let scaled = if scenario.images == scenario.step.images { "" } else { proportional };
                format!("{} images a GPU{micro}, however many GPUs{scaled}", scenario.images)
            }
            Scaling::Strong => {
                format!("{} images over all GPUs{micro}{proportional}", grouped(scenario.images as u64))
            }
        }
    }

    fn network_words(&self) -> String {
        let network = &self.scenario.network;
        let link =
            |link: Link| format!("{} µs and {} GB/s", rounded(link.alpha_s * 1e6), rounded(link.bytes_per_s / 1e9));
        let links = match network.gpus_per_node {
            1 => format!("{} a GPU", link(network.between)),
            many => format!(
                "{} a GPU inside machines of {many}, {} a machine between them",
                link(network.inside),
                link(network.between)
            ),
        };
        format!("{}: {links}; no other traffic", self.network)
    }

    fn all_reduce_words(&self) -> String {
        match self.scenario.algorithm {
            Algorithm::Auto => {
                let mut chosen: Vec<(Algorithm, usize)> = Vec::new();
                for point in &self.points {
                    if let Some(algorithm) =
                        point.algorithm.filter(|new| chosen.last().is_none_or(|(old, _)| old != new))
                    {
                        chosen.push((algorithm, point.gpus));
                    }
                }
                let chosen: Vec<String> = chosen
                    .iter()
                    .map(|(algorithm, gpus)| format!("{} from {}", name(*algorithm), grouped(*gpus as u64)))
                    .collect();
                let chosen = if chosen.is_empty() { "none".to_owned() } else { chosen.join(", ") };
                format!("the cheapest for each bucket ({chosen} GPUs on); adding is free")
            }
            fixed => format!("{}; adding is free", name(fixed)),
        }
    }

    fn overlap_words(&self) -> String {
        match self.scenario.overlap {
            Overlap::Backward => "a bucket is summed once it is full, while the backward pass goes on at full speed; gradients come evenly \
                                  over that pass"
                .to_owned(),
            Overlap::None => "none: buckets are summed after the backward pass".to_owned(),
        }
    }

    fn straggler_words(&self) -> String {
        match self.scenario.jitter {
            jitter if jitter > 0.0 => {
                format!("steps differ by {} % (σ); all wait for the slowest, σ·√(2 ln N)", rounded(jitter * 100.0))
            }
            _ => "none: every GPU takes the same time (--jitter)".to_owned(),
        }
    }

    fn loader_words(&self) -> String {
        match self.scenario.loader_images_per_s {
            Some(rate) => format!("{} images/s on each machine", rounded(rate)),
            None => "fast enough everywhere (--loader-images-per-second-per-node)".to_owned(),
        }
    }
}

fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Ring => "ring",
        Algorithm::Hierarchical => "hierarchical ring",
        Algorithm::Tree => "tree",
        Algorithm::Auto => "auto",
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
        "all-red.\nms",
        "exposed\nms",
        "hidden",
    ]);
    for point in points {
        table.add_row([
            grouped(point.gpus as u64),
            grouped(point.nodes as u64),
            grouped(point.global_batch),
            throughput(point.images_per_second),
            format!("{:.1} %", point.efficiency * 100.0),
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

fn throughput(images_per_second: f64) -> String {
    match images_per_second {
        slow if slow < 100.0 => format!("{slow:.1}"),
        fast => grouped(fast.round() as u64),
    }
}

fn milliseconds(seconds: f64) -> String {
    match seconds * 1e3 {
        0.0 => "0".to_owned(),
        ms if ms < 10.0 => format!("{ms:.2}"),
        ms if ms < 1000.0 => format!("{ms:.1}"),
        ms => grouped(ms.round() as u64),
    }
}

/// At most four figures, without zeros at the end.
fn rounded(number: f64) -> String {
    let digits = (3 - number.abs().max(1e-9).log10().floor() as i32).clamp(0, 9);
    let text = format!("{number:.*}", digits as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
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
    fn numbers_have_the_figures_that_matter() {
        assert_eq!([470.0, 0.1125, 3.4, 14.0, 2.8125, 0.0].map(rounded), ["470", "0.1125", "3.4", "14", "2.812", "0"]);
        assert_eq!([0.0, 0.00123, 0.1234, 12.0].map(milliseconds), ["0", "1.23", "123.4", "12,000"]);
        assert_eq!([1234.5, 8.44].map(throughput), ["1,234", "8.4"]);
    }

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
