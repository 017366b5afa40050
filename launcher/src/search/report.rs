//! What a search has found so far: every candidate with its origin, entropy and accuracy, as Markdown, CSV and for a terminal.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use eafo::correction::Form;
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
    confirmed: Option<Confirmed>,
}

/// What fresh seeds of the baseline and of the best candidate show.
#[derive(Clone, Debug)]
struct Confirmed {
    baseline: Option<Row>,
    best: Option<Row>,
    /// Those of the two of which a seed diverged.
    diverged: Vec<String>,
}

/// A candidate, and how it stands.
#[derive(Clone, Debug)]
struct Standing {
    candidate: Candidate,
    /// Entropy of its output on [`DENSITY`] in nats, atoms and continuous part together; `None` where it cannot be integrated.
    entropy: Option<f64>,
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
    /// None but those of a mistake in this program.
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
            // What cannot be integrated must not cost what was trained.
            let ranked = rank(std::slice::from_ref(&candidate.function), law.as_ref()).unwrap_or_default();
            standings.push(Standing {
                entropy: ranked.first().map(|found| found.mixed),
                normalised: ranked.first().and_then(|found| found.normalised),
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

    /// Takes in what fresh seeds of the baseline and of the best candidate show; `diverged` names those of which a seed did.
    pub fn confirm(&mut self, [baseline, best]: [&Candidate; 2], results: &[CellResult], diverged: Vec<String>) {
        let groups = compare(results, Some(&baseline.choice.label));
        let row = |one: &Candidate| {
            groups.iter().flat_map(|group| &group.rows).find(|row| row.activation == one.choice.label).cloned()
        };
        self.confirmed = Some(Confirmed { baseline: row(baseline), best: row(best), diverged });
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
        let (files, runs) = (root.join("candidates"), folder.csv());
        Ok(vec![("page", page), ("numbers", numbers), ("every run", runs), ("activations", files)])
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
             derivation, where \"measured\" is what all activations of the parent's network (first seed, best checkpoint) are applied to on \
             validation images. The same images score all candidates. No correction is made for comparing many.\n",
            self.baseline
        );
        let form = match file.form {
            Form::Exact => "the inverse of y + t·η, y being that of",
            Form::FirstOrder => "f − t·η·f′, f being",
        };
        for (name, derived) in
            self.standings.iter().filter_map(|one| Some((&one.candidate.name, one.candidate.derived.as_ref()?)))
        {
            let formula = derived.in_words();
            let _ = writeln!(
                text,
                "- `{name}`: {form} {}, with t = {}; {formula}",
                derived.parent,
                minus(short(derived.step)),
            );
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
            derived.map_or_else(dash, |from| minus(from.share.to_string())),
            derived.map_or_else(dash, |from| minus(format!("{:.3} → {:.3}", from.before, from.after))),
            one.entropy.map_or_else(dash, |entropy| minus(format!("{entropy:.3}"))),
            one.normalised.map_or_else(dash, |entropy| minus(format!("{entropy:.3}"))),
            match &one.row {
                _ if one.diverged => "diverged".to_owned(),
                Some(row) => row.accuracy(),
                None => dash(),
            },
            one.sound().and_then(|row| row.difference).map_or_else(dash, |difference| difference.in_points()),
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
            let (from, row) = (one.candidate.derived.as_ref(), one.sound());
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
                number(one.entropy),
                number(one.normalised),
                row.map_or(0, |row| row.seeds).to_string(),
                number(row.and_then(|row| row.top1)),
                number(row.and_then(|row| row.deviation)),
                number(difference.map(|difference| difference.mean)),
                number(difference.and_then(|difference| difference.half_width)),
                one.kept.to_string(),
                one.diverged.to_string(),
                text(&|from| from.in_words()),
            ])?;
        }
        Ok(String::from_utf8(writer.into_inner().context("no table in memory")?)?)
    }

    /// Whether accuracy goes with entropy, as the method expects.
    fn correlation(&self) -> String {
        let with = |of: &dyn Fn(&Standing) -> Option<f64>| {
            let pair = |one: &Standing| Some((one.sound()?.top1?, of(one)?));
            let found = spearman(&self.standings.iter().filter_map(pair).collect::<Vec<_>>());
            found.map_or_else(|| "–".to_owned(), |value| minus(format!("{value:.2}")))
        };
        format!(
            "Spearman's rank correlation of top-1 with entropy over these candidates: {}; with scale-normalised entropy: {}. \
             The method expects it to be negative.",
            with(&|one| one.entropy),
            with(&|one| one.normalised)
        )
    }

    /// What may be said of the best candidate.
    fn verdict(&self) -> String {
        let Some(best) = self.kept().next() else { return "No candidate is trained.".to_owned() };
        if best.name == self.baseline {
            return format!("No candidate is better than {} on these seeds.", self.baseline);
        }
        let Some(confirmed) = &self.confirmed else {
            return format!(
                "The best is {}. It was chosen among {} on the same seeds, so that its lead is too large by chance; `confirm` \
                 trains it once more with seeds that did not choose it.",
                best.name,
                self.standings.len()
            );
        };
        let accuracy =
            |row: &Option<Row>| row.as_ref().map_or_else(|| "none".to_owned(), |row| format!("{} %", row.accuracy()));
        let difference = confirmed.best.as_ref().and_then(|row| row.difference);
        let mut text = format!(
            "On {} fresh seed(s), which did not choose it: {} {}, {} {}, difference {}.",
            self.file.confirm.len(),
            best.name,
            accuracy(&confirmed.best),
            self.baseline,
            accuracy(&confirmed.baseline),
            difference.map_or_else(|| "-".to_owned(), |difference| difference.in_points()),
        );
        let half = difference.and_then(|difference| difference.half_width);
        let meaning = match difference.zip(half) {
            _ if !confirmed.diverged.is_empty() => {
                format!(" Seeds of {} diverged: what is left says nothing of them.", confirmed.diverged.join(" and "))
            }
            Some((difference, half)) if difference.mean > half => " The lead is confirmed.".to_owned(),
            Some((difference, half)) if difference.mean < -half => " It is worse.".to_owned(),
            _ => " No difference is shown.".to_owned(),
        };
        text.push_str(&meaning);
        text
    }
}

impl Standing {
    /// Mean top-1; below all others without one.
    fn score(&self) -> f64 {
        self.sound().and_then(|row| row.top1).unwrap_or(f64::NEG_INFINITY)
    }

    /// What its seeds show, if none diverged.
    fn sound(&self) -> Option<&Row> {
        self.row.as_ref().filter(|_| !self.diverged)
    }
}

/// A step with four digits, however small it is.
fn short(step: f64) -> String {
    if step == 0.0 || step.abs() >= 1e-3 { format!("{step:.4}") } else { format!("{step:.3e}") }
}

/// Numbers with the sign that stands for less than nothing, not a hyphen.
fn minus(numbers: String) -> String {
    numbers.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use eafo::function::Function;

    use super::super::candidates::Derived;
    use super::*;
    use crate::search::file;
    use crate::sweep::compare::tests::result;
    use crate::sweep::{Choice, Override};

    fn candidate(name: &str, parent: Option<&str>) -> Candidate {
        let derived = parent.map(|parent| Derived {
            parent: parent.to_owned(),
            density: "measured".to_owned(),
            share: -0.5,
            step: -0.25,
            before: 0.5,
            after: -0.125,
            formula: None,
        });
        Candidate {
            name: name.to_owned(),
            generation: usize::from(parent.is_some()),
            function: Function::parse(if parent.is_some() { "tanh" } else { name }).unwrap(),
            choice: Choice { label: name.to_owned(), given: Override { set: String::new(), line: None } },
            derived,
        }
    }

    fn pool() -> Vec<Candidate> {
        vec![
            candidate("relu", None),
            candidate("gelu", None),
            candidate("gelu-1", Some("gelu")),
            candidate("gelu-2", Some("gelu")),
        ]
    }

    fn report(results: &[CellResult], diverged: &[String]) -> Report {
        let text = "config = 'base.toml'\nstart = ['relu', 'gelu']\nkeep = 2\nseeds = [1, 2]\nbaseline = 'gelu'\nconfirm = [3]";
        let file = file::parse(text, Path::new("s.toml")).unwrap();
        let pool = pool();
        Report::new(&file, &pool[1], &pool, results, diverged).unwrap()
    }

    fn of(name: &str, top1: [f64; 2]) -> [CellResult; 2] {
        [result("vit", name, 1, top1[0], 1.0), result("vit", name, 2, top1[1], 1.0)]
    }

    fn kept(report: &Report) -> Vec<&str> {
        report.kept().map(|one| one.name.as_str()).collect()
    }

    #[test]
    fn the_best_are_kept_those_that_diverged_or_lack_a_seed_are_not() {
        let mut results = [of("relu", [50.0, 52.0]), of("gelu", [60.0, 61.0]), of("gelu-1", [62.0, 61.0])].concat();
        results.push(result("vit", "gelu-2", 1, 90.0, 1.0));
        assert_eq!(kept(&report(&results, &[])), ["gelu-1", "gelu"]);
        results.push(result("vit", "gelu-2", 2, 90.0, 1.0));
        assert_eq!(kept(&report(&results, &[])), ["gelu-2", "gelu-1"]);
        assert_eq!(kept(&report(&results, &["gelu-2".to_owned()])), ["gelu-1", "gelu"]);
    }

    #[test]
    fn the_page_says_what_each_is_and_what_fresh_seeds_say() {
        let results = [of("relu", [50.0, 52.0]), of("gelu", [60.0, 61.0]), of("gelu-1", [62.0, 64.0])].concat();
        let mut found = report(&results, &["gelu-2".to_owned()]);
        assert!(found.markdown().contains("The best is gelu-1. It was chosen among 4"), "{}", found.markdown());
        let pool = pool();
        let fresh = [result("vit", "gelu", 3, 60.0, 1.0), result("vit", "gelu-1", 3, 59.0, 1.0)];
        found.confirm([&pool[1], &pool[2]], &fresh, Vec::new());
        found.notes.push("gelu for laplace, share 1: no correction.".to_owned());
        let page = found.markdown();
        for words in [
            "| gelu-1 | 1 | gelu, measured | −0.5 | 0.500 → −0.125 |",
            "| 63.00 ± 1.41 | +2.50 [−3.85, +8.85], n = 2 | yes |",
            "| gelu-2 | 1 | gelu, measured | −0.5 | 0.500 → −0.125 |",
            "| diverged | - |  |",
            "- `gelu-1`: the inverse of y + t·η, y being that of gelu, with t = −0.2500",
            "- gelu for laplace, share 1: no correction.",
            "On 1 fresh seed(s), which did not choose it: gelu-1 59.00 %, gelu 60.00 %, difference −1.00, n = 1: no interval. No difference is shown.",
        ] {
            assert!(page.contains(words), "{words:?} is not in\n{page}");
        }
        let numbers = found.csv().unwrap();
        assert!(
            numbers.lines().any(|line| line.starts_with("gelu-1,1,gelu,measured,-0.5,-0.25,0.5,-0.125,")),
            "{numbers}"
        );
        let terminal = found.terminal();
        assert!(terminal.contains("On 1 fresh seed(s)") && terminal.contains("no correction"), "{terminal}");
    }

    #[test]
    fn small_steps_keep_their_digits() {
        assert_eq!([-0.25, 5.0553, 0.000_041_26].map(short), ["-0.2500", "5.0553", "4.126e-5"]);
    }

    #[test]
    fn what_fresh_seeds_say_is_said_as_it_is() {
        let pool = pool();
        let said = |gelu: [f64; 2], child: [f64; 2], diverged: &[&str]| {
            let mut found = report(&[of("gelu", [60.0, 61.0]), of("gelu-1", [62.0, 64.0])].concat(), &[]);
            let diverged = diverged.iter().map(|&name| name.to_owned()).collect();
            found.confirm([&pool[1], &pool[2]], &[of("gelu", gelu), of("gelu-1", child)].concat(), diverged);
            found.verdict()
        };
        assert!(said([60.0, 61.0], [64.0, 65.1], &[]).ends_with("The lead is confirmed."));
        assert!(said([60.0, 61.0], [58.0, 58.9], &[]).ends_with("It is worse."));
        assert!(said([60.0, 61.0], [61.0, 60.5], &[]).ends_with("No difference is shown."));
        let diverged = said([60.0, 61.0], [64.0, 65.1], &["gelu-1"]);
        assert!(diverged.ends_with("Seeds of gelu-1 diverged: what is left says nothing of them."), "{diverged}");
    }

    #[test]
    fn a_baseline_that_stays_ahead_is_said_to() {
        let results = [of("relu", [50.0, 52.0]), of("gelu", [60.0, 61.0])].concat();
        assert!(report(&results, &[]).markdown().contains("No candidate is better than gelu on these seeds."));
        assert!(report(&[], &[]).markdown().contains("No candidate is trained."));
    }
}
