//! The folder that a run leaves behind: where each file is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// `runs/<name>/` of one run.
#[derive(Clone, Debug)]
pub struct RunFolder {
    root: PathBuf,
}

impl RunFolder {
    /// The folder at `root`, or `runs/<name>` where none is named.
    pub fn new(root: Option<&Path>, name: &str) -> RunFolder {
        RunFolder { root: root.map_or_else(|| Path::new("runs").join(name), Path::to_owned) }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The resolved config.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// One line a logged step.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    /// What came of the run.
    pub fn summary(&self) -> PathBuf {
        self.root.join("summary.json")
    }

    /// Loss, accuracy and throughput over the steps.
    pub fn curves(&self) -> PathBuf {
        self.root.join("curves.svg")
    }

    /// One folder a saved step.
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// One log a rank.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The log of one rank.
    pub fn log(&self, rank: usize) -> PathBuf {
        self.logs().join(format!("rank-{rank:04}.log"))
    }

    /// The images that could not be used, as this rank met them.
    pub fn bad_images(&self, rank: usize) -> PathBuf {
        match rank {
            0 => self.root.join("bad_images.txt"),
            _ => self.root.join(format!("bad_images.rank-{rank:04}.txt")),
        }
    }

    /// Whether a run has been here.
    pub fn is_used(&self) -> bool {
        self.metrics().exists() || self.checkpoints().exists()
    }

    /// Moves what an earlier run left here to the first free `<name>-1`, `<name>-2`, …, and says where it is now.
    ///
    /// # Errors
    /// When the folder cannot be renamed.
    pub fn set_aside(&self) -> io::Result<PathBuf> {
        let name = self.root.file_name().map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned());
        let free = (1u32..)
            .map(|number| self.root.with_file_name(format!("{name}-{number}")))
            .find(|path| !path.exists())
            .expect("numbers do not run out before folders do");
        fs::rename(&self.root, &free)?;
        Ok(free)
    }

    /// Keeps the records of a run from which this one does not go on, as the first free `metrics-1.jsonl`, …; best effort.
    pub fn set_metrics_aside(&self) {
        let free = (1u32..).map(|number| self.root.join(format!("metrics-{number}.jsonl"))).find(|path| !path.exists());
        if let Some(free) = free {
            let _ = fs::rename(self.metrics(), free);
        }
    }

    /// Makes the folders that are written into, and removes what earlier failures left in them.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn create(&self) -> io::Result<()> {
        fs::create_dir_all(self.logs())?;
        for entry in fs::read_dir(self.logs())?.flatten() {
            if entry.file_name().to_string_lossy().ends_with(".error.json") {
                fs::remove_file(entry.path())?;
            }
        }
        fs::create_dir_all(self.checkpoints())
    }
}
