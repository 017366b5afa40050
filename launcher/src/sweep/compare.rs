//! Compares the activations of a sweep, model by model: means over seeds, and differences from the baseline paired by seed.

use metrics::Summary;

use super::cells::Cell;
use super::statistics::{Difference, difference, mean, standard_deviation};

/// A cell with what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Result {
    /// The cell.
    pub cell: Cell,
    /// The ε that its activations started from, if they have one.
    pub epsilon_start: Option<f64>,
    /// The mean of the ε that it learned.
    pub epsilon_mean: Option<f64>,
    /// Its run's summary.
    pub summary: Summary,
}

/// The activations of one model, under one choice of further keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The model.
    pub model: String,
    /// The further keys and their values.
    pub further: Vec<(String, String)>,
    /// One row an activation, in the order of the cells.
    pub rows: Vec<Row>,
}

/// What the seeds of one activation show.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The activation.
    pub activation: String,
    /// Seeds that are finished.
    pub seeds: usize,
    /// Mean of the final top-1, in percent.
    pub top1: Option<f64>,
    /// Its standard deviation over seeds; `None` of fewer than two.
    pub deviation: Option<f64>,
    /// Top-1 less the baseline's at the same seed; `None` for the baseline itself and without pairs.
    pub difference: Option<Difference>,
    /// Mean over seeds of the median time of a step, in milliseconds.
    pub step_ms: Option<f64>,
    /// The same as a multiple of the baseline's.
    pub relative_time: Option<f64>,
    /// The most memory that a rank of any seed held, in MiB.
    pub peak_memory_mib: Option<f64>,
}

/// The comparison of all finished cells.
pub fn compare(results: &[Result], baseline: Option<&str>) -> Vec<Group> {
    let mut groups: Vec<(&Cell, Vec<&Result>)> = Vec::new();
    for result in results {
        let same = |cell: &Cell| cell.model == result.cell.model && cell.further == result.cell.further;
        match groups.iter_mut().find(|(first, _)| same(first)) {
            Some((_, members)) => members.push(result),
            None => groups.push((&result.cell, vec![result])),
        }
    }
    let group = |(first, members): (&Cell, Vec<&Result>)| Group {
        model: first.model.clone(),
        further: first.further.clone(),
        rows: rows(&members, baseline),
    };
    groups.into_iter().map(group).collect()
}

fn rows(members: &[&Result], baseline: Option<&str>) -> Vec<Row> {
    let mut activations: Vec<&str> = Vec::new();
    for member in members {
        if !activations.contains(&member.cell.activation.as_str()) {
            activations.push(&member.cell.activation);
        }
    }
    let of = |activation: &str| -> Vec<&Result> {
        members.iter().copied().filter(|member| member.cell.activation == activation).collect()
    };
    let others = baseline.map(of).unwrap_or_default();
    activations
        .into_iter()
        .map(|activation| {
            let pairs = if baseline == Some(activation) { Vec::new() } else { paired(&of(activation), &others) };
            row(activation, &of(activation), &others, difference(&pairs))
        })
        .collect()
}

fn row(activation: &str, seeds: &[&Result], baseline: &[&Result], difference: Option<Difference>) -> Row {
    let top1: Vec<f64> = seeds.iter().filter_map(|result| result.summary.top1).collect();
    let step_ms = step_ms(seeds);
    Row {
        activation: activation.to_owned(),
        seeds: seeds.len(),
        top1: mean(&top1),
        deviation: standard_deviation(&top1),
        difference,
        step_ms,
        relative_time: step_ms.zip(self::step_ms(baseline)).map(|(own, other)| own / other),
        peak_memory_mib: seeds.iter().filter_map(|result| result.summary.peak_memory_mib).reduce(f64::max),
    }
}

fn step_ms(seeds: &[&Result]) -> Option<f64> {
    let times: Vec<f64> = seeds.iter().filter_map(|result| result.summary.step_seconds).collect();
    mean(&times).map(|seconds| seconds * 1000.0)
}

/// Top-1 of each seed less that of the baseline at the same seed.
fn paired(seeds: &[&Result], baseline: &[&Result]) -> Vec<f64> {
    let pair = |result: &&Result| {
        let other = baseline.iter().find(|other| other.cell.seed == result.cell.seed)?;
        Some(result.summary.top1? - other.summary.top1?)
    };
    seeds.iter().filter_map(pair).collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A finished cell of a pretended sweep.
    pub fn result(model: &str, activation: &str, seed: u32, top1: f64, step_ms: f64) -> Result {
        let cell = Cell {
            name: format!("{model}.{activation}.seed-{seed}"),
            model: model.into(),
            activation: activation.into(),
            seed: seed.to_string(),
            further: Vec::new(),
            overrides: Vec::new(),
        };
        let summary = Summary {
            top1: Some(top1),
            step_seconds: Some(step_ms / 1000.0),
            peak_memory_mib: Some(500.0 + f64::from(seed)),
            steps: 10,
            ..Summary::default()
        };
        Result { cell, epsilon_start: None, epsilon_mean: None, summary }
    }

    #[test]
    fn differences_are_paired_by_seed() {
        let results = [
            result("a", "gelu", 1, 80.0, 100.0),
            result("a", "gelu", 2, 60.0, 100.0),
            result("a", "crrelu", 2, 61.0, 90.0),
            result("a", "crrelu", 1, 83.0, 110.0),
            result("a", "crrelu", 3, 10.0, 100.0),
        ];
        let groups = compare(&results, Some("gelu"));
        let [gelu, crrelu] = groups[0].rows.as_slice() else { panic!("{groups:?}") };
        assert_eq!((gelu.top1, gelu.difference, gelu.relative_time), (Some(70.0), None, Some(1.0)));
        assert!((gelu.deviation.unwrap() - 200.0f64.sqrt()).abs() < 1e-12);
        let difference = crrelu.difference.unwrap();
        assert_eq!((difference.pairs, difference.mean, crrelu.seeds), (2, 2.0, 3), "the third seed has no partner");
        // ±12.7062 · √2 / √2: the spread of the seeds themselves, 20 points, does not enter.
        assert!((difference.half_width.unwrap() - 12.706204736174694).abs() < 1e-9);
        assert!((crrelu.relative_time.unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(crrelu.peak_memory_mib, Some(503.0));
    }

    #[test]
    fn each_model_and_each_further_key_is_a_group() {
        let mut other = result("a", "gelu", 1, 50.0, 1.0);
        other.cell.further = vec![("k".into(), "2".into())];
        let results = [result("a", "gelu", 1, 40.0, 1.0), result("b", "gelu", 1, 41.0, 1.0), other];
        let groups = compare(&results, None);
        assert_eq!(groups.iter().map(|group| group.model.as_str()).collect::<Vec<_>>(), ["a", "b", "a"]);
        assert!(groups.iter().all(|group| group.rows.len() == 1 && group.rows[0].difference.is_none()));
        assert_eq!(groups[0].rows[0].deviation, None, "one seed says nothing of its spread");
    }
}
