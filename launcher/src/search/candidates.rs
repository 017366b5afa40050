//! The candidates of a search: the activations that it begins with, and those that are derived from what was kept.

use std::path::{Path, PathBuf};

use activations::{Activation, TableFile};
use anyhow::Context;
use eafo::correction::{Derivation, Form, derive_with_share, derive_with_step};
use eafo::density::{self, Density};
use eafo::formula::formula;
use eafo::function::Function;

use super::file::{self, SearchFile};
use crate::sweep::{ACTIVATION, Choice, Override};

/// Entropies of tables are known to half of this: less is no gain.
const CLOSE: f64 = 2e-4;

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

impl Derived {
    /// The correction: in symbols, or what it is by numbers.
    pub fn in_words(&self) -> String {
        self.formula.clone().unwrap_or_else(|| {
            let (parent, density) = (&self.parent, &self.density);
            format!("η(x) = −(p(y)·y″/y′ + p′(y)·y′) by numbers, where y is the inverse of {parent} and p the density {density}")
        })
    }
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

    /// What a search begins with. An activation of the catalogue is trained by its name, with all that it learns, and a file as it is;
    /// any other function is tabulated.
    ///
    /// # Errors
    /// When a function cannot be tabulated, or a file not be written.
    pub fn start(&self, file: &SearchFile) -> anyhow::Result<Vec<Candidate>> {
        let begin = |(text, line): &(String, usize)| -> anyhow::Result<Candidate> {
            let function = Function::parse(text)?;
            let name = file::name(text, &function);
            let set = if text.ends_with(".toml") {
                by_file(Path::new(text))
            } else if let Some(known) = function.activation() {
                by_name(known, function.values())
            } else {
                let gaussian = density::parse("gaussian")?;
                let unchanged = derive_with_step(&function, gaussian.as_ref(), None, 0.0)?;
                self.write(&unchanged, Form::Exact, &name)?
            };
            let choice = Choice { label: name.clone(), given: Override { set, line: Some(*line) } };
            Ok(Candidate { name, generation: 0, function, choice, derived: None })
        };
        file.start.iter().map(|start| begin(start).with_context(|| start.0.clone())).collect()
    }

    /// The child of a candidate for a density and a share. Its name says both.
    ///
    /// # Errors
    /// Where there is no correction that lowers entropy, with the reason; where a file cannot be written.
    pub fn derive(&self, origin: Origin<'_>, form: Form) -> anyhow::Result<Candidate> {
        let Origin { parent, named, density, share } = origin;
        let mut name = format!("{}-{}", parent.name, file::slug(named));
        if share != 1.0 {
            name.push_str(&format!("-x{share}"));
        }
        let found = derive_with_share(&parent.function, density, None, share)?;
        let (step, after) = match form {
            Form::Exact => (found.step, found.after.mixed()),
            Form::FirstOrder => (found.first_order_step, found.first_order.mixed()),
        };
        let before = found.before.mixed();
        anyhow::ensure!(step != 0.0 && (share < 0.0 || after < before - CLOSE), "no correction lowers its entropy");
        let derived = Derived {
            parent: parent.name.clone(),
            density: named.to_owned(),
            share,
            step,
            before,
            after,
            formula: formula(&parent.function, density),
        };
        let set = self.write(&found, form, &name)?;
        let function = Function::table(&TableFile::read(&self.path(&name))?);
        let choice = Choice { label: name.clone(), given: Override { set, line: None } };
        Ok(Candidate { name, generation: parent.generation + 1, function, choice, derived: Some(derived) })
    }

    /// Writes the file of a candidate; what sets it in a config.
    fn write(&self, found: &Derivation<'_>, form: Form, name: &str) -> anyhow::Result<String> {
        std::fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot make the folder {}", self.folder.display()))?;
        let (table, _) = found.file(form, name)?;
        let path = self.path(name);
        table.write(&path)?;
        Ok(by_file(&path))
    }
}

fn by_file(path: &Path) -> String {
    format!("{ACTIVATION}={{ file = {} }}", toml_edit::Value::from(path.to_string_lossy().into_owned()))
}

/// An activation of the catalogue that starts from these values.
fn by_name(activation: Activation, values: &[f64]) -> String {
    if values == activation.initial_values() {
        return format!("{ACTIVATION}={activation}");
    }
    let values = activation.parameters().iter().zip(values);
    let values = values.map(|(parameter, value)| format!(", {} = {value:?}", parameter.name)).collect::<String>();
    format!("{ACTIVATION}={{ name = \"{activation}\"{values} }}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(start: &str) -> (tempfile::TempDir, Vec<Candidate>, Shelf) {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("config = 'x'\nstart = [{start}]\nkeep = 1\nseeds = [1]\nbaseline = 'gelu'");
        let file = file::parse(&text, Path::new("s.toml")).unwrap();
        let shelf = Shelf { folder: folder.path().to_owned() };
        let pool = shelf.start(&file).unwrap();
        (folder, pool, shelf)
    }

    fn child(shelf: &Shelf, parent: &Candidate, law: &str, share: f64, form: Form) -> anyhow::Result<Candidate> {
        let density = density::parse(law).unwrap();
        shelf.derive(Origin { parent, named: law, density: density.as_ref(), share }, form)
    }

    #[test]
    fn a_search_begins_with_names_values_tables_and_files() {
        let (_folder, pool, shelf) = begun("'gelu', 'Softplus', 'crrelu(-0.1)'");
        let sets: Vec<&str> = pool.iter().map(|one| one.choice.given.set.as_str()).collect();
        assert_eq!(
            [sets[0], sets[2]],
            ["model.activation=gelu", r#"model.activation={ name = "crrelu", epsilon = -0.1 }"#]
        );
        let softplus = shelf.path("softplus");
        assert_eq!(sets[1], format!("model.activation={{ file = \"{}\" }}", softplus.display()));
        // A file is trained as it is.
        let before = std::fs::read(&softplus).unwrap();
        let (_other, pool, _) = begun(&format!("'gelu', '{}'", softplus.display()));
        assert_eq!(pool[1].choice.given.set, sets[1]);
        assert_eq!((pool[1].name.as_str(), std::fs::read(&softplus).unwrap()), ("softplus", before));
    }

    #[test]
    fn a_child_is_what_its_file_says() {
        let (_folder, pool, shelf) = begun("'gelu', 'softplus'");
        let exact = child(&shelf, &pool[1], "gaussian", 1.0, Form::Exact).unwrap();
        let half = child(&shelf, &exact, "student-t(5)", 0.5, Form::Exact).unwrap();
        assert_eq!(
            [exact.name.as_str(), half.name.as_str()],
            ["softplus-gaussian", "softplus-gaussian-student-t_5-x0.5"]
        );
        assert_eq!((half.generation, half.derived.as_ref().unwrap().parent.as_str()), (2, "softplus-gaussian"));
        let first = child(&shelf, &pool[1], "gaussian", 1.0, Form::FirstOrder).unwrap();
        for (form, one) in [(Form::Exact, &exact), (Form::FirstOrder, &first)] {
            let derived = one.derived.as_ref().unwrap();
            let gaussian = density::parse("gaussian").unwrap();
            let found = derive_with_share(&pool[1].function, gaussian.as_ref(), None, 1.0).unwrap();
            let own = eafo::rank::rank(std::slice::from_ref(&one.function), gaussian.as_ref()).unwrap()[0].mixed;
            assert!((own - derived.after).abs() < 0.02, "{form:?}: {own}, {derived:?}");
            let step = if form == Form::Exact { found.step } else { found.first_order_step };
            assert_eq!(derived.step, step, "{form:?}");
        }
        // Nothing lowers the entropy of what has hardly any left to lose at so small a step.
        let error = child(&shelf, &pool[1], "gaussian", 1e-6, Form::Exact).unwrap_err().to_string();
        assert!(error.contains("no correction lowers"), "{error}");
    }
}
