//! `rectify sweep`: trains every combination of a sweep's axes with an equal budget, and compares what comes out.

mod axes;
mod board;
mod cells;
pub mod compare;
mod crew;
mod estimate;
mod file;
mod folder;
mod lanes;
mod running;
mod statistics;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use plan::DataFacts;
use plan::config::{Config, Data};
use world::Exit;

use crate::ending::Ending;
use crate::placement::Placement;
use crate::verdict::duration;
use crate::{check, cli, command, mpi, tools, train};
use cells::Cell;
use estimate::Done;
use folder::Standing;

pub use axes::{ACTIVATION, Axis, Choice, SEED, taken};
pub use cells::Planned;
pub use compare::{Result as CellResult, Row, compare};
pub use crew::{OnFailure, stopping_signals};
pub use file::{Override, SweepFile, shared};
pub use folder::SweepFolder;
pub use running::{Manner, Ran, exit_code, run};

/// Runs the subcommand to its end.
pub fn sweep(arguments: &cli::Sweep) -> Result<(), Ending> {
    train::refuse_to_be_a_rank()?;
    let sweep = Sweep::read(arguments)?;
    if arguments.table_only {
        return sweep.show_tables();
    }
    let placement = train::place(sweep.file.nproc, Vec::new()).map_err(Ending::config)?;
    let planned = sweep.plan(&placement)?;
    if arguments.dry_run {
        print!("{}", sweep.listing(&planned));
        return Ok(());
    }
    tools::find(tools::TRAINER).map_err(Ending::config)?;
    mpi::require(&placement).map_err(Ending::config)?;
    let _lock = sweep.folder.occupy()?;
    let on_failure = if arguments.fail_fast { OnFailure::StartNoMore } else { OnFailure::GoOn };
    let grace = Duration::from_secs(arguments.many.grace_s);
    let (restarts, asked) = (arguments.many.restarts, AtomicBool::new(false));
    let ran = run(&sweep, &planned, &placement, Manner { restarts, on_failure, grace, asked: &asked })?;
    let tables = sweep.show_tables();
    let command = command::CommandLine(std::env::args().collect()).for_shell();
    match exit_code(&ran) {
        0 => tables,
        code => {
            eprintln!("{}", ran.in_words(&sweep.folder, &command));
            Err(Ending::said(code))
        }
    }
}

/// A sweep's file with all that follows from it.
pub struct Sweep {
    file: SweepFile,
    folder: SweepFolder,
    /// Every cell with its config.
    cells: Vec<(Cell, Config)>,
    baseline: Option<String>,
}

impl Sweep {
    /// Reads the sweep's file, and checks the config of every cell.
    fn read(arguments: &cli::Sweep) -> Result<Sweep, Ending> {
        let mut file = file::read(&arguments.file).map_err(Ending::config)?;
        for set in &arguments.many.sets {
            if let Some(why) = taken(set, &file.axes) {
                return Err(Ending::config(format!("--set {set}: all cells share it, so it must be {why}")));
            }
            file.shared.push(Override { set: set.clone(), line: None });
        }
        file.nproc = arguments.many.nproc.or(file.nproc);
        file.at_a_time = arguments.many.at_a_time.map_or(file.at_a_time, usize::from);
        let root = arguments.many.run_dir.clone().unwrap_or_else(|| Path::new("runs").join(&file.name));
        Sweep::of(file, root)
    }

    /// What follows from a sweep's file, in the folder `root`.
    ///
    /// # Errors
    /// When the config of a cell is wrong, or the baseline is none of the activations.
    pub fn of(file: SweepFile, root: PathBuf) -> Result<Sweep, Ending> {
        let own = cells::own_values(&plan::load(&file.config, &[]).map_err(Ending::config)?);
        let crossed = cells::cross(&file, &own);
        let mut cells = Vec::with_capacity(crossed.len());
        for cell in &crossed {
            let config = cell.config(&file).map_err(Ending::config)?;
            cells.push((cell.clone(), config));
        }
        let baseline = cells::baseline(&file, &crossed).map_err(Ending::config)?;
        Ok(Sweep { file, folder: SweepFolder { root }, cells, baseline })
    }

    /// Checks that every cell's data are there and its batch can be shared out; says what each takes.
    ///
    /// # Errors
    /// When data are missing or wrong, or a batch does not fit.
    pub fn plan(&self, placement: &Placement) -> Result<Vec<Planned>, Ending> {
        let mut opened: Vec<(&Data, DataFacts)> = Vec::new();
        let mut planned = Vec::with_capacity(self.cells.len());
        for (cell, config) in &self.cells {
            let known = opened.iter().find(|(data, _)| **data == config.data).map(|(_, facts)| *facts);
            let facts = match known {
                Some(facts) => facts,
                None => {
                    let (facts, words) = check::data(config)?;
                    eprintln!("{words}");
                    opened.push((&config.data, facts));
                    facts
                }
            };
            let plan = cell.plan(config.clone(), facts, placement.nproc, &self.file.path);
            planned.push(plan.map_err(Ending::config)?);
        }
        Ok(planned)
    }

    fn standing(&self, planned: &Planned) -> Standing {
        self.folder.standing(&planned.cell.name, &planned.config, Some(planned.steps))
    }

    /// The cells with their steps and state, and the time that the sweep will take.
    fn listing(&self, planned: &[Planned]) -> String {
        let (mut done, mut left, mut waiting) = (Vec::new(), 0.0, 0);
        let mut text = String::new();
        let width = planned.iter().map(|cell| cell.cell.name.len()).max().unwrap_or(0);
        for cell in planned {
            let state = match self.standing(cell) {
                Standing::Finished(summary) => {
                    done.push(Done { flops: cell.flops, seconds: summary.wall_seconds });
                    "finished"
                }
                standing => {
                    (left, waiting) = (left + cell.flops, waiting + 1);
                    match standing {
                        Standing::Begun => "begun",
                        Standing::Another => "another config is there: begins anew",
                        _ => "to run",
                    }
                }
            };
            text.push_str(&format!("  {:<width$} {:>9} steps  {state}\n", cell.cell.name, cell.steps));
        }
        let lanes = self.file.at_a_time;
        let (pace, source) = match estimate::pace(&done) {
            Some(pace) => (pace, "at the pace of the finished cells"),
            None => (estimate::guessed_pace(world::cores(), lanes), "a guess until the first cell is finished"),
        };
        let time = estimate::time_for(left, pace, waiting, lanes);
        text + &format!(
            "{}: {} cells, {} finished, {waiting} to run; about {} ({source})\n",
            self.file.name,
            planned.len(),
            done.len(),
            duration(time.as_secs_f64()),
        )
    }

    /// The folders of the cells' runs.
    pub fn folders(&self) -> Vec<PathBuf> {
        self.cells.iter().map(|(cell, _)| self.folder.cell(&cell.name)).collect()
    }

    /// What came of the finished cells, and the names of the others.
    pub fn results(&self) -> (Vec<CellResult>, Vec<String>) {
        let (mut results, mut missing) = (Vec::new(), Vec::new());
        for (cell, config) in &self.cells {
            match self.folder.standing(&cell.name, config, None) {
                Standing::Finished(summary) => results.push(CellResult {
                    cell: cell.clone(),
                    epsilon_start: epsilon_start(config),
                    epsilon_mean: self.folder.learned_epsilon(&cell.name),
                    summary: *summary,
                }),
                _ => missing.push(cell.name.clone()),
            }
        }
        (results, missing)
    }

    /// Writes the tables of all finished cells, if there are any; returns how they look on a terminal.
    fn write_tables(&self) -> anyhow::Result<Option<String>> {
        let (results, missing) = self.results();
        if results.is_empty() {
            return Ok(None);
        }
        let frame = tables::Frame {
            name: self.file.name.clone(),
            config: self.file.config.display().to_string(),
            shared: self.file.shared.iter().map(|given| given.set.clone()).collect(),
            baseline: self.baseline.clone(),
            missing,
        };
        let groups = compare(&results, self.baseline.as_deref());
        self.folder.write(&self.folder.csv(), &tables::csv(&results)?)?;
        self.folder.write(&self.folder.markdown(), &tables::markdown(&frame, &results, &groups))?;
        Ok(Some(tables::terminal(&frame, &groups)))
    }

    fn show_tables(&self) -> Result<(), Ending> {
        match self.write_tables()? {
            Some(text) => {
                let (csv, markdown) = (self.folder.csv(), self.folder.markdown());
                println!("{text}  table    {}\n  numbers  {}", markdown.display(), csv.display());
                Ok(())
            }
            None => {
                eprintln!("no cell of this sweep is finished in {}", self.folder.root.display());
                Err(Ending::said(Exit::Config.code()))
            }
        }
    }
}

/// The ε that a config's activation starts from; `None` where it has none.
fn epsilon_start(config: &Config) -> Option<f64> {
    let model = plan::models::configured(&config.model, 1).ok()?;
    let spec = model.activations.default;
    let index = spec.function.parameters().iter().position(|parameter| parameter.name == "epsilon")?;
    spec.values.get(index).copied()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// The sweeps among the configs that ship: those that name a config, and nothing to begin a search with.
    fn shipped() -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/paper");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let is_sweep = |text: &str| text.contains("\nconfig = ") && !text.contains("\nstart = ");
        files.filter(|file| is_sweep(&std::fs::read_to_string(file).unwrap())).collect()
    }

    #[test]
    fn every_sweep_that_ships_has_cells_that_can_be_run() {
        assert!(shipped().len() >= 2);
        for path in shipped() {
            let file = file::read(&path).unwrap_or_else(|error| panic!("{error}"));
            let own = cells::own_values(&plan::load(&file.config, &[]).unwrap());
            let all = cells::cross(&file, &own);
            assert!(cells::baseline(&file, &all).unwrap().is_some(), "{}", path.display());
            let facts = DataFacts { train_samples: 50_000, val_samples: 10_000, num_classes: 10 };
            for (cell, nproc) in all.iter().flat_map(|cell| [1, 2, 4].map(|nproc| (cell, nproc))) {
                let config = cell.config(&file).unwrap_or_else(|error| panic!("{error}"));
                let planned = cell.plan(config, facts, nproc, &path).unwrap_or_else(|error| panic!("{error}"));
                assert_eq!((planned.config.model.image_size, planned.config.model.patch_size), (Some(32), Some(4)));
            }
        }
    }
}
