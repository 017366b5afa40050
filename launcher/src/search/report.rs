//! What a search has found so far: every candidate with its origin, entropy and accuracy, as Markdown, CSV and for a terminal.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use eafo::density;
use eafo::rank::{rank, spearman};

use super::candidates::Candidate;
use super::file::SearchFile;
use crate::sweep::{CellResult, Row, SweepFolder, compare};

/// The density on which candidates' entropies are compared.
const DENSITY: &str = "gaussian";

/// All that is known.
#[derive(Clone, Debug)]
pub struct Report {
    file: SearchFile,
    /// The candidate that the others are compared with.
    pub baseline: String,
    standings: Vec<Standing>,
    /// What could not be derived, and why the search ended early.
    pub notes: Vec<String>,
    confirmed: Option<[Row; 2]>,
}

/// A candidate, and how it stands.
#[derive(Clone, Debug)]
struct Standing {
    candidate: Candidate,
    /// Entropy of its output on [`DENSITY`] in nats, atoms and continuous part together.
    entropy: f64,
    /// The same with the output scaled to standard deviation 1.
    normalised: Option<f64>,
    /// What its seeds show; `None` where none is finished.
    row: Option<Row>,
    /// Whether all seeds are finished, and its mean top-1 is among the best.
    kept: bool,
    /// Whether the loss of a seed was not finite.
    diverged: bool,
}

impl Report {
    /// How the candidates of `pool` stand; `diverged` names those that are out.
    ///
    /// # Errors
    /// When an entropy cannot be integrated.
    pub fn new(
        file: &SearchFile,
        baseline: &Candidate,
        pool: &[Candidate],
        results: &[CellResult],
        diverged: &[String],
    ) -> anyhow::Result<Report> {
        let law = density::parse(DENSITY)?;
        let groups = compare(results, Some(&baseline.name));
        let rows = || groups.iter().flat_map(|group| &group.rows);
        let mut standings = Vec::new();
        for candidate in pool {
            let ranked = rank(std::slice::from_ref(&candidate.function), law.as_ref())
                .with_context(|| format!("the entropy of {}", candidate.name))?;
            let found = ranked.first().context("a function has an entropy")?;
            standings.push(Standing {
                entropy: found.mixed,
                normalised: found.normalised,
                row: rows().find(|row| row.activation == candidate.choice.label).cloned(),
                kept: false,
                diverged: diverged.contains(&candidate.name),
                candidate: candidate.clone(),
            });
        }
        // The best first; those that came earlier before others as good.
        standings.sort_by(|a, b| b.score().total_cmp(&a.score()));
        let whole = |one: &&mut Standing| {
            !one.diverged && one.row.as_ref().is_some_and(|row| row.seeds == file.seeds.len() && row.top1.is_some())
        };
        standings.iter_mut().filter(whole).take(file.keep).for_each(|one| one.kept = true);
        let baseline = baseline.name.clone();
        Ok(Report { file: file.clone(), baseline, standings, notes: Vec::new(), confirmed: None })
    }

    /// The candidates that are kept, the best first.
    pub fn kept(&self) -> impl Iterator<Item = &Candidate> {
        self.standings.iter().filter(|one| one.kept).map(|one| &one.candidate)
    }

    /// Takes in what fresh seeds of the baseline and of the best candidate show.
    pub fn confirm(&mut self, [baseline, winner]: [&Candidate; 2], results: &[CellResult]) {
        let groups = compare(results, Some(&baseline.choice.label));
        let row = |one: &Candidate| {
            groups.iter().flat_map(|group| &group.rows).find(|row| row.activation == one.choice.label).cloned()
        };
        self.confirmed = row(baseline).zip(row(winner)).map(|(baseline, winner)| [baseline, winner]);
    }

    /// Writes the page and the numbers; what they are and where.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, root: &Path) -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
        let (page, numbers) = (root.join("search.md"), root.join("candidates.csv"));
        let folder = SweepFolder { root: root.to_owned() };
        folder.write(&page, &self.markdown())?;
        folder.write(&numbers, &self.csv()?)?;
        Ok(vec![("page", page), ("numbers", numbers), ("activations", root.join("candidates"))])
    }

    /// For a terminal: the table, and what fresh seeds say.
    pub fn terminal(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.header());
        for one in &self.standings {
            table.add_row(self.cells(one));
        }
        for column in table.column_iter_mut().skip(3) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let notes = self.notes.iter().map(|note| format!("{note}\n")).collect::<String>();
        format!("{table}\n{notes}{}\n{}", self.correlation(), self.verdict())
    }

    /// The same as a page, with the corrections' formulas.
    fn markdown(&self) -> String {
        let file = &self.file;
        let shared: Vec<String> = file.shared.iter().map(|given| format!(" `{}`", given.set)).collect();
        let shared = if shared.is_empty() { String::new() } else { format!(" with{}", shared.join(",")) };
        let mut text = format!("# {}\n\nConfig: `{}`{shared}; ", file.name, file.config.display());
        let _ = writeln!(
            text,
            "{} seed(s) a candidate; densities {}; shares of the best step {:?}; {} generation(s), {} kept after each.\n",
            file.seeds.len(),
            file.densities.join(", "),
            file.shares,
            file.generations,
            file.keep
        );
        let header = self.header();
        let _ = writeln!(text, "| {} |\n|{}", header.join(" | "), "---|".repeat(header.len()));
        for one in &self.standings {
            let _ = writeln!(text, "| {} |", self.cells(one).join(" | "));
        }
        let _ = writeln!(
            text,
            "\nTop-1: mean ± standard deviation over seeds; differences from {} are paired by seed, with their 95 % interval. \
             Entropies in nats, of the output on a standard {DENSITY}; in \"before → after\" on the density of the \
             derivation. No correction is made for comparing many.\n",
            self.baseline
        );
        for (name, derived) in
            self.standings.iter().filter_map(|one| Some((&one.candidate.name, one.candidate.derived.as_ref()?)))
        {
            let formula = derived.formula.as_deref().unwrap_or("by numbers: `candidates/` has its table");
            let _ =
                writeln!(text, "- `{name}`: y + {:.4}·η, y the inverse of {}; {formula}", derived.step, derived.parent);
        }
        let notes = self.notes.iter().map(|note| format!("- {note}\n")).collect::<String>();
        let notes = if notes.is_empty() { notes } else { format!("\nNot tried:\n\n{notes}") };
        text + &format!("{notes}\n{}\n\n{}\n", self.correlation(), self.verdict())
    }

    fn header(&self) -> Vec<String> {
        let against = format!("against {}, points", self.baseline);
        let plain = ["candidate", "generation", "from", "share", "before → after", "entropy", "normalised", "top-1, %"];
        plain.into_iter().map(str::to_owned).chain([against, "kept".to_owned()]).collect()
    }

    fn cells(&self, one: &Standing) -> Vec<String> {
        let dash = || "-".to_owned();
        let derived = one.candidate.derived.as_ref();
        vec![
            one.candidate.name.clone(),
            one.candidate.generation.to_string(),
            derived.map_or_else(dash, |from| format!("{}, {}", from.parent, from.density)),
            derived.map_or_else(dash, |from| from.share.to_string()),
            derived.map_or_else(dash, |from| format!("{:.3} → {:.3}", from.before, from.after)),
            format!("{:.3}", one.entropy),
            one.normalised.map_or_else(dash, |entropy| format!("{entropy:.3}")),
            match &one.row {
                _ if one.diverged => "diverged".to_owned(),
                Some(row) => row.accuracy(),
                None => dash(),
            },
            one.row.as_ref().and_then(|row| row.difference).map_or_else(dash, |difference| difference.in_points()),
            if one.kept { "yes".to_owned() } else { String::new() },
        ]
    }

    fn csv(&self) -> anyhow::Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record([
            "candidate",
            "generation",
            "parent",
            "density",
            "share",
            "step",
            "entropy_before",
            "entropy_after",
            "entropy",
            "normalised",
            "seeds",
            "top1",
            "top1_deviation",
            "difference",
            "difference_half_width",
            "kept",
            "diverged",
            "formula",
        ])?;
        let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        for one in &self.standings {
            let (from, row) = (one.candidate.derived.as_ref(), one.row.as_ref());
            let text = |of: &dyn Fn(&super::candidates::Derived) -> String| from.map_or(String::new(), of);
            let difference = row.and_then(|row| row.difference);
            writer.write_record([
                one.candidate.name.clone(),
                one.candidate.generation.to_string(),
                text(&|from| from.parent.clone()),
                text(&|from| from.density.clone()),
                text(&|from| from.share.to_string()),
                text(&|from| from.step.to_string()),
                text(&|from| from.before.to_string()),
                text(&|from| from.after.to_string()),
                one.entropy.to_string(),
                number(one.normalised),
                row.map_or(0, |row| row.seeds).to_string(),
                number(row.and_then(|row| row.top1)),
                number(row.and_then(|row| row.deviation)),
                number(difference.map(|difference| difference.mean)),
                number(difference.and_then(|difference| difference.half_width)),
                one.kept.to_string(),
                one.diverged.to_string(),
                text(&|from| from.formula.clone().unwrap_or_default()),
            ])?;
        }
        Ok(String::from_utf8(writer.into_inner().context("no table in memory")?)?)
    }

    /// Whether accuracy goes with entropy, as the method expects.
    fn correlation(&self) -> String {
        let with = |of: &dyn Fn(&Standing) -> Option<f64>| {
            let pair = |one: &Standing| Some((one.row.as_ref()?.top1?, of(one)?));
            let found = spearman(&self.standings.iter().filter_map(pair).collect::<Vec<_>>());
            found.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}").replace('-', "−"))
        };
        format!(
            "Spearman's rank correlation of top-1 with entropy over these candidates: {}; with scale-normalised entropy: {}. \
             The method expects it to be negative.",
            with(&|one| Some(one.entropy)),
            with(&|one| one.normalised)
        )
    }

    /// What may be said of the best candidate.
    fn verdict(&self) -> String {
        let Some(best) = self.kept().next() else { return "No candidate is trained.".to_owned() };
        if best.name == self.baseline {
            return format!("No candidate is better than {} on these seeds.", self.baseline);
        }
        match &self.confirmed {
            Some([baseline, winner]) => format!(
                "Confirmed with {} fresh seed(s), which did not choose it: {} {} %, {} {} %, difference {}.",
                winner.seeds,
                winner.activation,
                winner.accuracy(),
                baseline.activation,
                baseline.accuracy(),
                winner.difference.map_or_else(|| "-".to_owned(), |difference| difference.in_points()),
            ),
            None => format!(
                "The best is {}. It was chosen among {} on the same seeds, so that its lead is too large by chance; `confirm` \
                 trains it once more with seeds that did not choose it.",
                best.name,
                self.standings.len()
            ),
        }
    }
}

impl Standing {
    /// Mean top-1; below all others without one.
    fn score(&self) -> f64 {
        self.row.as_ref().and_then(|row| row.top1).filter(|_| !self.diverged).unwrap_or(f64::NEG_INFINITY)
    }
}
