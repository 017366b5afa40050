//! What the figures rest on, in words: what was measured, what was given, and what is assumed.

use plan::config::{Parallel, Wire};

use super::figures::{milliseconds, rounded};
use super::measured::MeasuredExchange;
use super::network::{Algorithm, Link, Network};
use super::scaling::{Point, Scaling, Scenario};
use super::step::StepTime;
use super::timeline::Overlap;
use crate::verdict::grouped;

/// How something is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A run or a benchmark recorded it.
    Measured,
    /// The config or the command line says so.
    Given,
    /// Nobody said so: the model takes it to be so.
    Assumed,
}

impl Origin {
    /// All of them, the surest first.
    pub const ALL: [Origin; 3] = [Origin::Measured, Origin::Given, Origin::Assumed];
}

/// One thing that the figures rest on.
#[derive(Clone, Debug)]
pub struct Basis {
    /// How it is known.
    pub origin: Origin,
    /// What it is about, in a word.
    pub title: &'static str,
    /// What it is.
    pub words: String,
}

impl Basis {
    /// `words` about `title`.
    pub fn new(origin: Origin, title: &'static str, words: impl Into<String>) -> Basis {
        Basis { origin, title, words: words.into() }
    }
}

/// All that the figures rest on, where `inputs` say where step and network come from.
pub fn all(scenario: &Scenario, points: &[Point], inputs: Vec<Basis>) -> Vec<Basis> {
    let mut all = inputs;
    all.push(batch(scenario));
    all.extend(other_batches(scenario));
    all.push(all_reduce(scenario, points));
    all.extend(overlap(scenario));
    all.extend([stragglers(scenario), loader(scenario)]);
    all.sort_by_key(|basis| basis.origin as u8); // stable: what was said first stays first
    all
}

/// What the ranks of the run that was measured waited for gradients, beside what the network would need for as many.
pub fn exchange(measured: MeasuredExchange, scenario: &Scenario) -> Option<Basis> {
    let MeasuredExchange { ranks, waited_s } = measured;
    let modelled = scenario.point(scenario.network.spread(ranks)?);
    let [waited, total, exposed] = [waited_s, modelled.all_reduce_seconds, modelled.exposed_seconds].map(milliseconds);
    let words = format!(
        "the {ranks} ranks of that run waited {waited} ms for them; on the network below they would take {total} ms, {exposed} ms of it \
         exposed"
    );
    Some(Basis::new(Origin::Measured, "gradients", words))
}

/// How ranks exchange numbers.
pub fn parallel(parallel: &Parallel) -> Basis {
    let Parallel { bucket_mib, overlap, wire, shard_optimizer, .. } = parallel;
    let wire = wire_name(*wire);
    let words =
        format!("bucket_mib = {bucket_mib}, overlap = {overlap}, wire = {wire:?}, shard_optimizer = {shard_optimizer}");
    Basis::new(Origin::Given, "parallel", words)
}

/// What the config calls it.
pub fn wire_name(wire: Wire) -> &'static str {
    match wire {
        Wire::F32 => "f32",
        Wire::Bf16 => "bf16",
    }
}

/// The parts of a step that take time.
pub fn phases(step: &StepTime) -> String {
    let parts = [
        ("data", step.waiting_s),
        ("forward", step.forward_s),
        ("backward", step.backward_s),
        ("optimiser", step.optimizer_s),
    ];
    let parts = parts.iter().filter(|(_, seconds)| *seconds > 0.0);
    parts.map(|(name, seconds)| format!("{name} {} ms", milliseconds(*seconds))).collect::<Vec<_>>().join(", ")
}

/// α and β of a network.
pub fn links(network: &Network) -> String {
    let link = |link: Link| format!("{} µs and {} GB/s", rounded(link.alpha_s * 1e6), rounded(link.bytes_per_s / 1e9));
    match network.gpus_per_node {
        1 => format!("{} a GPU", link(network.between)),
        many => format!(
            "{} a GPU inside machines of {many}, {} a machine between them",
            link(network.inside),
            link(network.between)
        ),
    }
}

fn batch(scenario: &Scenario) -> Basis {
    let micro = match scenario.accumulation {
        1 => String::new(),
        many => format!(" in {many} micro-batches"),
    };
    let words = match scenario.scaling {
        Scaling::Weak => format!("{} images a GPU{micro}, however many GPUs", scenario.images),
        Scaling::Strong => format!("{} images over all GPUs{micro}", grouped(scenario.images as u64)),
    };
    Basis::new(Origin::Given, "batch", words)
}

/// What is assumed where GPUs do not take the number of images that was timed.
fn other_batches(scenario: &Scenario) -> Option<Basis> {
    let timed = scenario.scaling == Scaling::Weak && scenario.images == scenario.step.images;
    let words = format!(
        "a step takes time in proportion to its images, but for the optimiser; {} images were timed",
        scenario.step.images
    );
    (!timed).then(|| Basis::new(Origin::Assumed, "images", words))
}

fn all_reduce(scenario: &Scenario, points: &[Point]) -> Basis {
    let free = "adding is free, and so is starting";
    if scenario.algorithm != Algorithm::Auto {
        return Basis::new(Origin::Assumed, "all-reduce", format!("{}; {free}", scenario.algorithm.words()));
    }
    let mut chosen: Vec<(Algorithm, usize)> = Vec::new();
    for point in points {
        if let Some(algorithm) = point.algorithm.filter(|new| chosen.last().is_none_or(|(old, _)| old != new)) {
            chosen.push((algorithm, point.gpus));
        }
    }
    let chosen: Vec<String> =
        chosen.iter().map(|(chosen, gpus)| format!("{} from {}", chosen.words(), grouped(*gpus as u64))).collect();
    let chosen = if chosen.is_empty() { String::new() } else { format!(" ({} GPUs on)", chosen.join(", ")) };
    Basis::new(Origin::Assumed, "all-reduce", format!("the cheapest for each bucket{chosen}; {free}"))
}

fn overlap(scenario: &Scenario) -> Option<Basis> {
    let words =
        "the backward pass goes on at full speed while a bucket is summed; gradients come evenly over that pass";
    (scenario.overlap == Overlap::Backward).then(|| Basis::new(Origin::Assumed, "overlap", words))
}

fn stragglers(scenario: &Scenario) -> Basis {
    let title = "stragglers";
    if scenario.jitter > 0.0 {
        let sigma = rounded(scenario.jitter * 100.0);
        let words =
            format!("steps of a GPU differ by {sigma} % (σ); all wait for the slowest, at most σ·√(2 ln N) on average");
        return Basis::new(Origin::Given, title, words);
    }
    Basis::new(Origin::Assumed, title, "none: every GPU takes the same time (--jitter)")
}

fn loader(scenario: &Scenario) -> Basis {
    let Some(rate) = scenario.loader_images_per_s else {
        let words = "fast enough everywhere (--loader-images-per-second-per-node)";
        return Basis::new(Origin::Assumed, "loader", words);
    };
    Basis::new(Origin::Given, "loader", format!("{} images/s on each machine", rounded(rate)))
}
