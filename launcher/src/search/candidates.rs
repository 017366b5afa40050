//! The candidates of a search: the activations that it begins with, and those that are derived from what was kept.

use std::path::{Path, PathBuf};

use activations::TableFile;
use anyhow::Context;
use eafo::correction::{Derivation, derive_with_share, derive_with_step};
use eafo::density::{self, Density};
use eafo::formula::formula;
use eafo::function::Function;

use super::file::SearchFile;
use crate::reader::folder_name;
use crate::sweep::{ACTIVATION, Choice, Override};

/// An activation that is trained.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What tables, files and runs call it.
    pub name: String,
    /// 0 for what the search began with.
    pub generation: usize,
    /// The function.
    pub function: Function,
    /// What sets it in a config, and how tables show it.
    pub choice: Choice,
    /// Where it comes from; `None` for what the search began with.
    pub derived: Option<Derived>,
}

/// How a candidate was derived.
#[derive(Clone, Debug, PartialEq)]
pub struct Derived {
    /// The candidate whose correction it is.
    pub parent: String,
    /// The density that the correction is for.
    pub density: String,
    /// The share of the best step.
    pub share: f64,
    /// The step.
    pub step: f64,
    /// Entropy of the parent's output on that density, in nats, atoms and continuous part together.
    pub before: f64,
    /// The same of its own output.
    pub after: f64,
    /// The correction in symbols, where there are some.
    pub formula: Option<String>,
}

/// What a candidate is to be derived from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The parent.
    pub parent: &'a Candidate,
    /// The density as the search's file has it.
    pub named: &'a str,
    /// The density itself.
    pub density: &'a dyn Density,
    /// The share of the best step.
    pub share: f64,
}

/// Where the files of candidates are.
#[derive(Clone, Debug)]
pub struct Shelf {
    /// The folder.
    pub folder: PathBuf,
}

impl Shelf {
    /// The file of a candidate.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.toml"))
    }

    /// What a search begins with. An activation of the catalogue is trained by its name, with all that it learns; anything else is
    /// tabulated.
    ///
    /// # Errors
    /// When a function cannot be tabulated, or a file not be written.
    pub fn start(&self, file: &SearchFile) -> anyhow::Result<Vec<Candidate>> {
        let begin = |(text, line): &(String, usize)| -> anyhow::Result<Candidate> {
            let function = Function::parse(text)?;
            let name =
                folder_name(text.strip_suffix(".toml").map_or(text, |path| path.rsplit('/').next().unwrap_or(path)));
            let set = if function.activation().is_some_and(|known| known.name() == text) {
                format!("{ACTIVATION}={text}")
            } else {
                let gaussian = density::parse("gaussian")?;
                let unchanged = derive_with_step(&function, gaussian.as_ref(), None, 0.0)?;
                self.write(&unchanged, file, &name)?
            };
            let choice = Choice { label: name.clone(), given: Override { set, line: Some(*line) } };
            Ok(Candidate { name, generation: 0, function, choice, derived: None })
        };
        file.start.iter().map(|start| begin(start).with_context(|| start.0.clone())).collect()
    }

    /// The `number`th child of a candidate.
    ///
    /// # Errors
    /// Where there is no correction, with the reason; where a file cannot be written.
    pub fn derive(&self, origin: Origin<'_>, number: usize, file: &SearchFile) -> anyhow::Result<Candidate> {
        let Origin { parent, named, density, share } = origin;
        let name = format!("{}-{number}", parent.name);
        let found = derive_with_share(&parent.function, density, None, share)?;
        anyhow::ensure!(found.step != 0.0, "no correction lowers its entropy on {named}");
        let set = self.write(&found, file, &name)?;
        let derived = Derived {
            parent: parent.name.clone(),
            density: named.to_owned(),
            share,
            step: found.step,
            before: found.before.mixed(),
            after: found.after.mixed(),
            formula: formula(&parent.function, density),
        };
        let function = Function::table(&TableFile::read(&self.path(&name))?);
        let choice = Choice { label: name.clone(), given: Override { set, line: None } };
        Ok(Candidate { name, generation: parent.generation + 1, function, choice, derived: Some(derived) })
    }

    /// Writes the file of a candidate; what sets it in a config.
    fn write(&self, found: &Derivation<'_>, file: &SearchFile, name: &str) -> anyhow::Result<String> {
        std::fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot make the folder {}", self.folder.display()))?;
        let (table, _) = found.file(file.form, name)?;
        let path = self.path(name);
        table.write(&path)?;
        Ok(by_file(&path))
    }
}

fn by_file(path: &Path) -> String {
    format!("{ACTIVATION}={{ file = {} }}", toml_edit::Value::from(path.to_string_lossy().into_owned()))
}
