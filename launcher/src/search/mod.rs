//! `rectify search`: generations of derive, short training with an equal budget, keep.

mod candidates;
mod file;
mod report;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use eafo::density::{self, Density};
use eafo::layers::LayerFile;
use world::Exit;

use crate::command::CommandLine;
use crate::ending::Ending;
use crate::placement::Placement;
use crate::sweep::{
    self, ACTIVATION, Axis, CellResult, Choice, Manner, OnFailure, Override, Ran, SEED, Sweep, SweepFile, SweepFolder,
};
use crate::{cli, mpi, tools, train};
use candidates::{Candidate, Origin, Shelf};
use file::{MEASURED, SearchFile};
use report::Report;

/// Runs the subcommand to its end.
pub fn search(arguments: &cli::Search) -> Result<(), Ending> {
    train::refuse_to_be_a_rank()?;
    let mut file = file::read(&arguments.file).map_err(Ending::config)?;
    for set in &arguments.many.sets {
        if let Some(why) = file::taken(set) {
            return Err(Ending::config(format!("--set {set}: all candidates share it, so it must be {why}")));
        }
        file.shared.push(Override { set: set.clone(), line: None });
    }
    file.nproc = arguments.many.nproc.or(file.nproc);
    file.at_a_time = arguments.many.at_a_time.map_or(file.at_a_time, usize::from);
    let root = arguments.many.run_dir.clone().unwrap_or_else(|| Path::new("runs").join(&file.name));
    let placement = train::place(file.nproc, Vec::new()).map_err(Ending::config)?;
    let search = Search::new(file, root, placement, arguments);
    if arguments.dry_run {
        print!("{}", search.listing()?);
        return Ok(());
    }
    tools::find(tools::TRAINER).map_err(Ending::config)?;
    mpi::require(&search.placement).map_err(Ending::config)?;
    let _lock = SweepFolder { root: search.root.clone() }.occupy()?;
    for signal in sweep::stopping_signals() {
        signal_hook::flag::register(signal, Arc::clone(&search.stop)).context("cannot watch for signals")?;
    }
    search.run()
}

struct Search {
    file: SearchFile,
    root: PathBuf,
    shelf: Shelf,
    placement: Placement,
    restarts: u32,
    grace: Duration,
    /// Somebody asked for a stop.
    stop: Arc<AtomicBool>,
}

impl Search {
    fn new(file: SearchFile, root: PathBuf, placement: Placement, arguments: &cli::Search) -> Search {
        let shelf = Shelf { folder: root.join("candidates") };
        let (restarts, grace) = (arguments.many.restarts, Duration::from_secs(arguments.many.grace_s));
        Search { file, root, shelf, placement, restarts, grace, stop: Arc::default() }
    }

    /// Generation after generation; then the best and the baseline once more, with seeds that have not chosen it.
    fn run(&self) -> Result<(), Ending> {
        let mut pool = self.shelf.start(&self.file)?;
        let baseline = pool[self.file.baseline_place()].clone();
        let (mut parents, mut diverged, mut notes) = (HashSet::new(), Vec::new(), Vec::new());
        let mut report = self.train(&pool, &baseline, &mut diverged)?;
        for generation in 1..=self.file.generations {
            let kept: Vec<Candidate> = report.kept().filter(|one| !parents.contains(&one.name)).cloned().collect();
            let before = pool.len();
            for parent in &kept {
                parents.insert(parent.name.clone());
                self.derive(parent, &mut pool, &mut notes)?;
            }
            if pool.len() == before {
                let why = if kept.is_empty() { "nothing new was kept before it" } else { "nothing could be derived" };
                notes.push(format!("Generation {generation} is empty: {why}."));
                break;
            }
            report = self.train(&pool, &baseline, &mut diverged)?;
        }
        report.notes = notes;
        let winner = report.kept().next().filter(|best| best.name != baseline.name).cloned();
        if let Some(winner) = winner.filter(|_| !self.file.confirm.is_empty()) {
            let two = [baseline, winner];
            let (results, out) = self.train_with(&two, &two[0], &self.file.confirm, &self.root.join("confirm"))?;
            report.confirm(two.each_ref(), &results, out);
        }
        println!("{}\n", report.terminal());
        for (what, path) in report.write(&self.root)? {
            println!("  {what:<13}{}", path.display());
        }
        Ok(())
    }

    /// Trains what is not trained yet, and says how all of the pool stand. Candidates that diverge are out from then on.
    fn train(&self, pool: &[Candidate], baseline: &Candidate, diverged: &mut Vec<String>) -> Result<Report, Ending> {
        let sound: Vec<Candidate> = pool.iter().filter(|one| !diverged.contains(&one.name)).cloned().collect();
        let (results, failed) = self.train_with(&sound, baseline, &self.file.seeds, &self.root)?;
        diverged.extend(failed);
        let report = Report::new(&self.file, baseline, pool, &results, diverged)?;
        report.write(&self.root)?;
        Ok(report)
    }

    /// Trains candidates with these seeds. What came of it, and the names of those whose loss was not finite.
    fn train_with(
        &self,
        pool: &[Candidate],
        baseline: &Candidate,
        seeds: &[u64],
        root: &Path,
    ) -> Result<(Vec<CellResult>, Vec<String>), Ending> {
        self.refuse_stopped()?;
        let sweep = Sweep::of(self.sweep_file(pool, baseline, seeds), root.to_owned())?;
        std::fs::create_dir_all(root.join("logs")).context("cannot make the folder of logs")?;
        let planned = sweep.plan(&self.placement)?;
        let (restarts, grace, on_failure) = (self.restarts, self.grace, OnFailure::GoOn);
        let ran =
            sweep::run(&sweep, &planned, &self.placement, Manner { restarts, on_failure, grace, asked: &self.stop })?;
        let (diverged, failed): (Vec<_>, Vec<_>) =
            ran.failed.into_iter().partition(|(_, code)| *code == Exit::Diverged.code());
        let ran = Ran { failed, ..ran };
        if ran.stopped || !ran.failed.is_empty() {
            let command = CommandLine(std::env::args().collect()).for_shell();
            eprintln!("{}", ran.in_words(&SweepFolder { root: root.to_owned() }, &command));
            return Err(Ending::said(sweep::exit_code(&ran)));
        }
        let of_cell = |(name, _): &(String, i32)| {
            planned.iter().find(|planned| planned.cell.name == *name).map(|planned| planned.cell.activation.clone())
        };
        let mut names: Vec<String> = diverged.iter().filter_map(of_cell).collect();
        names.sort();
        names.dedup();
        Ok((sweep.results().0, names))
    }

    fn sweep_file(&self, pool: &[Candidate], baseline: &Candidate, seeds: &[u64]) -> SweepFile {
        let seed = |seed: &u64| Choice {
            label: seed.to_string(),
            given: Override { set: format!("{SEED}={seed}"), line: None },
        };
        let activations = pool.iter().map(|candidate| candidate.choice.clone()).collect();
        SweepFile {
            path: self.file.path.clone(),
            name: self.file.name.clone(),
            config: self.file.config.clone(),
            axes: vec![
                Axis { key: ACTIVATION.to_owned(), choices: activations },
                Axis { key: SEED.to_owned(), choices: seeds.iter().map(seed).collect() },
            ],
            shared: self.file.shared.clone(),
            baseline: pool
                .iter()
                .any(|one| one.name == baseline.name)
                .then(|| (baseline.name.clone(), self.file.baseline.1)),
            nproc: self.file.nproc,
            at_a_time: self.file.at_a_time,
        }
    }

    /// The children of a candidate, one for each density and share. Those that cannot be are noted.
    fn derive(&self, parent: &Candidate, pool: &mut Vec<Candidate>, notes: &mut Vec<String>) -> Result<(), Ending> {
        for named in &self.file.densities {
            let density = match self.density(named, parent) {
                Ok(density) => density,
                Err(error) => {
                    self.refuse_stopped()?;
                    notes.push(format!("{} for {named}: {error:#}.", parent.name));
                    continue;
                }
            };
            for &share in &self.file.shares {
                self.refuse_stopped()?;
                let origin = Origin { parent, named, density: density.as_ref(), share };
                match self.shelf.derive(origin, self.file.form) {
                    Ok(child) => {
                        eprintln!("derived {} from {} for {named}, {share} of the best step", child.name, parent.name);
                        pool.push(child);
                    }
                    Err(error) => notes.push(format!("{} for {named}, share {share}: {error:#}.", parent.name)),
                }
            }
        }
        Ok(())
    }

    /// A density of the search's file; what a candidate's own network sees, if that is asked for.
    fn density(&self, named: &str, parent: &Candidate) -> anyhow::Result<Box<dyn Density>> {
        if named != MEASURED {
            return Ok(density::parse(named)?);
        }
        let file = self.sweep_file(std::slice::from_ref(parent), parent, &self.file.seeds[..1]);
        let sweep = Sweep::of(file, self.root.clone()).map_err(|ending| anyhow::anyhow!(ending.message))?;
        let cell = sweep.folders().swap_remove(0);
        let path = cell.join("layers.json");
        if !path.is_file() {
            inspect(&cell, &path)?;
        }
        // Called after the candidate: with a path in its name a file would be another one elsewhere.
        Ok(Box::new(LayerFile::read(&path)?.density(&parent.name, None)?))
    }

    fn refuse_stopped(&self) -> Result<(), Ending> {
        if !self.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let command = CommandLine(std::env::args().collect()).for_shell();
        Err(Ending {
            code: Exit::Retry.code(),
            message: format!("Stopped. Finished runs are kept; go on with: {command}"),
        })
    }

    /// What the search comes to, at most. Nothing stays on disk.
    fn listing(&self) -> Result<String, Ending> {
        let scratch = std::env::temp_dir().join(format!("rectify-search-{}", std::process::id()));
        let pool = Shelf { folder: scratch.clone() }.start(&self.file)?;
        let baseline = &pool[self.file.baseline_place()];
        let sweep = Sweep::of(self.sweep_file(&pool, baseline, &self.file.seeds), self.root.clone())?;
        let planned = sweep.plan(&self.placement);
        let _ = std::fs::remove_dir_all(scratch);
        let planned = planned?;
        let children = self.file.keep * self.file.densities.len() * self.file.shares.len();
        let most = pool.len() + children * self.file.generations;
        let runs = most * self.file.seeds.len() + 2 * self.file.confirm.len();
        let mut text = String::new();
        for cell in &planned {
            text.push_str(&format!("  {:<40} {:>9} steps\n", cell.cell.name, cell.steps));
        }
        Ok(text
            + &format!(
                "{}: begins with {} activations; {} generation(s) of at most {children} more; at most {runs} runs in all\n",
                self.file.name,
                pool.len(),
                self.file.generations,
            ))
    }
}

/// Writes histograms of what the activations of the run in `cell` are applied to.
fn inspect(cell: &Path, to: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(tools::find(tools::TRAINER)?);
    command.arg("inspect").arg(cell).arg("--out").arg(to);
    let done = command.output().context("cannot start rectify-trainer inspect")?;
    let said = String::from_utf8_lossy(&done.stderr);
    anyhow::ensure!(done.status.success(), "rectify inspect {}: {}", cell.display(), said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_that_ships_can_be_run() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/paper/search_cifar10.toml");
        let file = file::read(&path).unwrap_or_else(|error| panic!("{error}"));
        let folder = tempfile::tempdir().unwrap();
        let placement = train::place(Some(1), Vec::new()).unwrap();
        let shelf = Shelf { folder: folder.path().join("candidates") };
        let (root, grace) = (folder.path().to_owned(), Duration::from_secs(1));
        let search = Search { file, root, shelf, placement, restarts: 0, grace, stop: Arc::default() };
        let mut pool = search.shelf.start(&search.file).unwrap();
        let baseline = pool[search.file.baseline_place()].clone();
        assert_eq!(baseline.name, "gelu");
        let gaussian = density::parse("gaussian").unwrap();
        for share in [1.0, 0.3] {
            let origin = Origin { parent: &baseline, named: "gaussian", density: gaussian.as_ref(), share };
            pool.push(search.shelf.derive(origin, search.file.form).unwrap());
        }
        // Softplus is no activation of the catalogue: like those that are derived it has a file.
        assert!(search.shelf.path("softplus").is_file() && !search.shelf.path("gelu").exists());
        let sweep = Sweep::of(search.sweep_file(&pool, &baseline, &search.file.seeds), search.root.clone()).unwrap();
        assert_eq!(sweep.folders().len(), pool.len() * search.file.seeds.len());
    }
}
