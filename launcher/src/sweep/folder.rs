//! A sweep's folder: where each file is, how each cell stands, and that one sweep at a time works in it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use metrics::{Record, Summary};
use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use plan::config::Config;

use crate::ending::Ending;

/// How long the cells of a sweep that was killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// The folder of one sweep.
#[derive(Clone, Debug)]
pub struct SweepFolder {
    /// The folder itself.
    pub root: PathBuf,
}

/// How a cell stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Nothing is there.
    New,
    /// Its run was begun; its checkpoints, if any, can be gone on from.
    Begun,
    /// All its steps are done.
    Finished(Box<Summary>),
    /// A run with another config is in its folder.
    Another,
}

impl SweepFolder {
    /// The run's folder of a cell.
    pub fn cell(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// What `rectify train` said of a cell.
    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}.log"))
    }

    /// One line a cell.
    pub fn csv(&self) -> PathBuf {
        self.root.join("results.csv")
    }

    /// The comparison.
    pub fn markdown(&self) -> PathBuf {
        self.root.join("results.md")
    }

    /// How the cell of this name and config stands; `steps` are those of its plan, where they are known.
    pub fn standing(&self, name: &str, config: &Config, steps: Option<u64>) -> Standing {
        let folder = self.cell(name);
        let path = folder.join("config.toml");
        match plan::load(&path, &[]) {
            Err(_) if !path.exists() => return Standing::New,
            Ok(found) if found == *config => {}
            _ => return Standing::Another,
        }
        match Summary::read(&folder.join("summary.json")) {
            Ok(summary) if is_whole(&summary, config, steps) => Standing::Finished(Box::new(summary)),
            _ => Standing::Begun,
        }
    }

    /// The mean of the ε that a finished cell ended with; `None` where nothing of that name is learned.
    pub fn learned_epsilon(&self, name: &str) -> Option<f64> {
        let records = metrics::read_records(&self.cell(name).join("metrics.jsonl")).ok()?;
        let last = records.into_iter().rev().find_map(|record| match record {
            Record::Step(step) => Some(step.epsilon),
            Record::Eval(_) => None,
        })?;
        let values: Vec<f64> = last.into_iter().map(|(_, epsilon)| epsilon).collect();
        super::statistics::mean(&values)
    }

    /// Makes the folder, and keeps other sweeps out of it as long as the result lives, or any process that was started
    /// meanwhile: cells of a sweep that was killed may still be writing their checkpoint.
    pub fn occupy(&self) -> Result<Flock<File>, Ending> {
        let path = self.root.join(".lock");
        let make = || -> anyhow::Result<File> {
            fs::create_dir_all(self.root.join("logs"))?;
            Ok(File::create(&path)?)
        };
        let mut file = make().with_context(|| format!("cannot make the sweep's folder {}", self.root.display()))?;
        let deadline = Instant::now() + PATIENCE;
        let mut told = false;
        loop {
            file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => {
                    // Children inherit the open file, and with it the lock.
                    fcntl(&*lock, FcntlArg::F_SETFD(FdFlag::empty())).context("cannot hand on the lock")?;
                    return Ok(lock);
                }
                Err((file, _)) => file,
            };
            if Instant::now() >= deadline {
                let root = self.root.display();
                return Err(Ending::config(format!(
                    "another sweep works in {root}: let it end, or give this one a folder of its own with --run-dir"
                )));
            }
            if !told {
                eprintln!("waiting for the cells of an earlier sweep in {} to end", self.root.display());
                told = true;
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Writes a table whole.
    pub fn write(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        let new = path.with_extension("new");
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

fn is_whole(summary: &Summary, config: &Config, steps: Option<u64>) -> bool {
    summary.name == config.name
        && summary.steps == summary.steps_planned
        && steps.is_none_or(|steps| steps == summary.steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &str) -> Config {
        let text = format!("name = 'a'\n[data]\npath = 'x'\n[model]\nname = 'vit_tiny_patch16_224'\n{more}");
        plan::parse(&text, Path::new("x.toml"), &[]).unwrap()
    }

    fn stage() -> (tempfile::TempDir, SweepFolder) {
        let folder = tempfile::tempdir().unwrap();
        let sweep = SweepFolder { root: folder.path().join("s") };
        fs::create_dir_all(sweep.cell("a")).unwrap();
        (folder, sweep)
    }

    #[test]
    fn a_cell_is_finished_by_its_config_and_its_steps() {
        let (_folder, sweep) = stage();
        let config = config("");
        assert_eq!(sweep.standing("a", &config, Some(10)), Standing::New);
        fs::write(sweep.cell("a").join("config.toml"), config.to_toml()).unwrap();
        assert_eq!(sweep.standing("a", &config, Some(10)), Standing::Begun);
        let whole = Summary { name: "a".into(), steps: 10, steps_planned: 10, ..Summary::default() };
        let written = |summary: &Summary| summary.write(&sweep.cell("a").join("summary.json")).unwrap();
        written(&Summary { steps: 7, ..whole.clone() });
        assert_eq!(sweep.standing("a", &config, Some(10)), Standing::Begun);
        written(&whole);
        assert_eq!(sweep.standing("a", &config, Some(10)), Standing::Finished(Box::new(whole.clone())));
        assert_eq!(sweep.standing("a", &config, None), Standing::Finished(Box::new(whole)));
        assert_eq!(sweep.standing("a", &config, Some(20)), Standing::Begun, "of a shorter plan");
        let other = self::config("drop_path = 0.1");
        assert_eq!(sweep.standing("a", &other, Some(10)), Standing::Another);
        fs::write(sweep.cell("a").join("config.toml"), "no config").unwrap();
        assert_eq!(sweep.standing("a", &config, Some(10)), Standing::Another);
    }

    #[test]
    fn the_learned_epsilon_is_the_mean_of_the_last_record() {
        let (_folder, sweep) = stage();
        assert_eq!(sweep.learned_epsilon("a"), None);
        let mut lines = metrics::JsonLines::create(&sweep.cell("a").join("metrics.jsonl")).unwrap();
        for (step, epsilon) in [(1, vec![9.0]), (2, vec![-0.1, -0.3])] {
            let epsilon = epsilon.into_iter().map(|value| ("blocks".to_owned(), value)).collect();
            lines.write(&Record::Step(metrics::StepRecord { step, epsilon, ..Default::default() })).unwrap();
        }
        lines.write(&Record::Eval(metrics::EvalRecord::default())).unwrap();
        assert!((sweep.learned_epsilon("a").unwrap() + 0.2).abs() < 1e-12);
    }

    #[test]
    fn one_sweep_at_a_time_works_in_a_folder() {
        let (_folder, sweep) = stage();
        let lock = sweep.occupy().unwrap();
        let second = File::create(sweep.root.join(".lock")).unwrap();
        assert!(Flock::lock(second, FlockArg::LockExclusiveNonblock).is_err());
        drop(lock);
        assert!(sweep.occupy().is_ok());
    }
}
