//! The cells of a sweep: every combination of its axes, each with its name and the config that it trains.

use std::path::Path;

use dataloader::Transform;
use plan::config::Config;
use plan::{ConfigError, DataFacts, Place, Plan};

use super::axes::{ACTIVATION, Axis, Choice, MODEL, SEED};
use super::file::{Override, SweepFile};
use crate::reader::folder_name;

/// One run of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Names the run and its folder.
    pub name: String,
    /// The model.
    pub model: String,
    /// The activation as tables show it.
    pub activation: String,
    /// The seed.
    pub seed: String,
    /// Further keys and their values.
    pub further: Vec<(String, String)>,
    /// All that it changes of the sweep's config.
    pub overrides: Vec<Override>,
}

/// A cell that can be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// The cell.
    pub cell: Cell,
    /// What it trains.
    pub config: Config,
    /// Steps that it takes.
    pub steps: u64,
    /// Floating-point operations of its training and evaluation, about.
    pub flops: f64,
}

/// What cells have where the sweep's file has no axis: the config's own values.
pub fn own_values(config: &Config) -> [Axis; 3] {
    let one = |key: &str, label: String| Axis {
        key: key.to_owned(),
        choices: vec![Choice { label, given: Override { set: String::new(), line: None } }],
    };
    let activation = config.model.activation.as_ref().map_or("own".to_owned(), |activation| activation.words());
    [one(MODEL, config.model.name.clone()), one(ACTIVATION, activation), one(SEED, config.seed.to_string())]
}

/// Every combination, the seeds outermost, so that a sweep that is cut short has compared all activations on its first seeds.
pub fn cross(file: &SweepFile, own: &[Axis; 3]) -> Vec<Cell> {
    let axis = |index: usize| file.axes.iter().find(|axis| axis.key == own[index].key).unwrap_or(&own[index]);
    let (models, activations, seeds) = (axis(0), axis(1), axis(2));
    let is_further = |axis: &&Axis| ![MODEL, ACTIVATION, SEED].contains(&axis.key.as_str());
    let further: Vec<&Axis> = file.axes.iter().filter(is_further).collect();

    let mut order = vec![seeds, models];
    order.extend(&further);
    order.push(activations);
    let combinations = order.into_iter().fold(vec![Vec::new()], longer);
    combinations.iter().map(|choices| cell(file, &further, choices)).collect()
}

/// Each combination with each choice of one more axis.
fn longer<'a>(combinations: Vec<Vec<&'a Choice>>, axis: &'a Axis) -> Vec<Vec<&'a Choice>> {
    let with = |taken: &Vec<&'a Choice>, choice| taken.iter().copied().chain([choice]).collect();
    combinations.iter().flat_map(|taken| axis.choices.iter().map(move |choice| with(taken, choice))).collect()
}

/// The cell of these choices: seed, model, further keys, activation.
fn cell(file: &SweepFile, further: &[&Axis], choices: &[&Choice]) -> Cell {
    let (seed, model, activation) = (&choices[0].label, &choices[1].label, &choices[choices.len() - 1].label);
    let further: Vec<(String, String)> =
        further.iter().zip(&choices[2..]).map(|(axis, choice)| (axis.key.clone(), choice.label.clone())).collect();
    let mut parts = vec![folder_name(model), folder_name(activation)];
    parts.extend(further.iter().map(|(key, value)| {
        let short = key.rsplit('.').next().unwrap_or(key);
        folder_name(&format!("{short}_{value}"))
    }));
    parts.push(format!("seed-{}", folder_name(seed)));
    let name = parts.join(".");

    let mut overrides = file.shared.clone();
    overrides.extend(choices.iter().map(|choice| choice.given.clone()).filter(|given| !given.set.is_empty()));
    overrides.push(Override { set: format!("name={name}"), line: None });
    Cell { model: model.clone(), activation: activation.clone(), seed: seed.clone(), name, further, overrides }
}

impl Cell {
    /// The overrides as `--set` takes them.
    pub fn sets(&self) -> Vec<String> {
        self.overrides.iter().map(|given| given.set.clone()).collect()
    }

    /// Its config, checked.
    ///
    /// # Errors
    /// As for any config; what the sweep's file is to blame for is told with its line.
    pub fn config(&self, file: &SweepFile) -> Result<Config, ConfigError> {
        plan::load(&file.config, &self.sets()).map_err(|error| self.blame(error, &file.path))
    }

    /// What it takes on `nproc` ranks.
    ///
    /// # Errors
    /// [`ConfigError`] where batch and ranks do not fit, or there is no such augmentation.
    pub fn plan(&self, config: Config, facts: DataFacts, nproc: usize, path: &Path) -> Result<Planned, ConfigError> {
        let plan = Plan::resolve(config, facts, nproc).map_err(|error| self.blame(error, path))?;
        Transform::training(&plan.config, plan.model.image_size as u32).map_err(|error| self.blame(error, path))?;
        let evaluations = match plan.eval.steps {
            0.0 => 1.0,
            steps => (plan.total_steps as f64 / steps).ceil(),
        };
        // Backward takes about twice what forward does.
        let passes =
            3.0 * (plan.total_steps as f64 * plan.global_batch as f64) + evaluations * facts.val_samples as f64;
        let flops = passes * plan.model.flops() as f64;
        Ok(Planned { cell: self.clone(), steps: plan.total_steps, config: plan.config, flops })
    }

    /// Puts the line of the sweep's file in the place of an override that it made.
    fn blame(&self, error: ConfigError, path: &Path) -> ConfigError {
        let line = |set: &str| self.overrides.iter().find(|given| given.set == set)?.line;
        let blamed = |place: Box<Place>| match place.as_ref() {
            Place::Set { set } => match line(set) {
                Some(line) => Box::new(Place::File { path: path.to_owned(), line }),
                None => place,
            },
            _ => place,
        };
        match error {
            ConfigError::Value { place, key, expected, found, nearest } => {
                ConfigError::Value { place: blamed(place), key, expected, found, nearest }
            }
            ConfigError::UnknownKey { place, key, nearest, known } => {
                ConfigError::UnknownKey { place: blamed(place), key, nearest, known }
            }
            ConfigError::Set { set, reason } => match line(&set) {
                Some(line) => ConfigError::Value {
                    place: Box::new(Place::File { path: path.to_owned(), line }),
                    key: "set".to_owned(),
                    expected: "text such as \"section.key=value\"".to_owned(),
                    found: format!("\"{set}\": {reason}"),
                    nearest: Vec::new(),
                },
                None => ConfigError::Set { set, reason },
            },
            other => other,
        }
    }
}

/// The activation that the others are compared with, by its label; `None` where the file names none.
///
/// # Errors
/// [`ConfigError::Value`] for one that the sweep has not, or has with several starts.
pub fn baseline(file: &SweepFile, cells: &[Cell]) -> Result<Option<String>, ConfigError> {
    let Some((wanted, line)) = &file.baseline else { return Ok(None) };
    let mut labels: Vec<&str> = Vec::new();
    for cell in cells {
        if !labels.contains(&cell.activation.as_str()) {
            labels.push(&cell.activation);
        }
    }
    let of_this_name: Vec<&str> =
        labels.iter().copied().filter(|label| label.split(' ').next() == Some(wanted.as_str())).collect();
    if let Some(label) = labels.iter().find(|label| *label == wanted) {
        return Ok(Some((*label).to_owned()));
    }
    match of_this_name.as_slice() {
        [label] => Ok(Some((*label).to_owned())),
        several => Err(ConfigError::Value {
            place: Box::new(Place::File { path: file.path.clone(), line: *line }),
            key: "baseline".to_owned(),
            expected: format!("one of the activations of this sweep: {}", quoted(&labels)),
            found: match several {
                [] => format!("\"{wanted}\""),
                several => format!("\"{wanted}\", which is {} of them", several.len()),
            },
            nearest: if several.is_empty() { plan::nearest(wanted, labels.iter().copied()) } else { Vec::new() },
        }),
    }
}

fn quoted(labels: &[&str]) -> String {
    labels.iter().map(|label| format!("\"{label}\"")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::file;

    const BASE: &str =
        "[data]\npath = 'x'\n[model]\nname = 'vit_tiny_patch16_224'\nactivation = 'gelu'\n[train]\nbatch_size = 64\n";
    const FACTS: DataFacts = DataFacts { train_samples: 640, val_samples: 100, num_classes: 10 };

    fn sweep(text: &str) -> (tempfile::TempDir, SweepFile) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("base.toml"), BASE).unwrap();
        let path = folder.path().join("s.toml");
        let file = file::parse(&format!("config = 'base.toml'\n{text}"), &path).unwrap();
        (folder, file)
    }

    fn cells(file: &SweepFile) -> Vec<Cell> {
        cross(file, &own_values(&plan::load(&file.config, &[]).unwrap()))
    }

    #[test]
    fn every_combination_is_a_cell_seeds_outermost() {
        let (_folder, file) = sweep("activations = ['gelu', { name = 'crrelu', epsilon = -0.1 }]\nseeds = [1, 2]");
        let names: Vec<String> = cells(&file).into_iter().map(|cell| cell.name).collect();
        let expected = ["gelu.seed-1", "crrelu_epsilon_-0.1.seed-1", "gelu.seed-2", "crrelu_epsilon_-0.1.seed-2"];
        assert_eq!(names, expected.map(|name| format!("vit_tiny_patch16_224.{name}")));
    }

    #[test]
    fn what_is_not_an_axis_is_the_config_s_own() {
        let (_folder, file) = sweep("[axes]\n'optimizer.learning_rate' = [1e-4, 1e-3]");
        let all = cells(&file);
        assert_eq!(all.len(), 2);
        assert_eq!(all[1].name, "vit_tiny_patch16_224.gelu.learning_rate_0.001.seed-0");
        assert_eq!(all[1].further, [("optimizer.learning_rate".to_owned(), "0.001".to_owned())]);
        let config = all[1].config(&file).unwrap();
        assert_eq!((config.optimizer.learning_rate, config.name.as_str()), (1e-3, all[1].name.as_str()));
    }

    #[test]
    fn cells_differ_in_their_axes_and_share_all_else() {
        let text = "activations = ['relu', { name = 'crrelu', epsilon = [-0.1, 0.2] }]\nseeds = [3]\nset = ['schedule.epochs=7']";
        let (_folder, file) = sweep(text);
        let configs: Vec<Config> = cells(&file).iter().map(|cell| cell.config(&file).unwrap()).collect();
        let mut alike = configs.clone();
        for config in &mut alike {
            assert_eq!((config.schedule.epochs, config.seed), (7.0, 3));
            config.name.clear();
            config.model.activation = None;
        }
        assert!(alike.windows(2).all(|pair| pair[0] == pair[1]));
        let epsilons: Vec<Option<f64>> =
            configs.iter().map(|config| config.model.activation.as_ref().unwrap().default.epsilon).collect();
        assert_eq!(epsilons, [None, Some(-0.1), Some(0.2)]);
    }

    #[test]
    fn the_sweep_s_line_is_to_blame_for_what_it_sets() {
        let refused = |text: &str, says: &[&str]| {
            let (_folder, file) = sweep(text);
            let error = cells(&file).iter().find_map(|cell| cell.config(&file).err()).expect(text).to_string();
            assert!(says.iter().all(|words| error.contains(words)), "{error}");
        };
        refused("activations = ['gelu',\n'crelu']", &["s.toml:3", "model.activation", "`crrelu`"]);
        refused("activations = [{ name = 'gelu', epsilon = 1 }]", &["s.toml:2", "has no parameters"]);
        refused("models = ['vit_tinny_patch16_224']", &["s.toml:2", "vit_tiny_patch16_224"]);
        refused("set = ['schedule.epoch=3']", &["s.toml:2", "`schedule.epochs`"]);
        refused("set = ['schedule']", &["s.toml:2", "there is no `=`"]);
        refused("[axes]\noptimizer.learning_rat = [1]", &["s.toml:3", "`optimizer.learning_rate`"]);
    }

    #[test]
    fn a_cell_knows_its_steps_and_refuses_a_batch_that_does_not_fit() {
        let (_folder, file) = sweep("set = ['schedule.epochs=2', 'schedule.warmup_epochs=0', 'eval.every_epochs=1']");
        let cell = &cells(&file)[0];
        let planned = cell.plan(cell.config(&file).unwrap(), FACTS, 2, &file.path).unwrap();
        assert_eq!(planned.steps, 20);
        let model = plan::models::configured(&planned.config.model, 10).unwrap();
        let passes = planned.flops / model.flops() as f64;
        assert!((passes - (3.0 * 20.0 * 64.0 + 2.0 * 100.0)).abs() < 1e-6, "two evaluations of 100 images: {passes}");
        let (_folder, file) = sweep("set = [\n'train.batch_size=63']");
        let cell = &cells(&file)[0];
        let error = cell.plan(cell.config(&file).unwrap(), FACTS, 2, &file.path).unwrap_err().to_string();
        assert!(error.contains("s.toml:3: `train.batch_size`") && error.contains("62 or 64"), "{error}");
    }

    #[test]
    fn the_baseline_is_one_activation_of_the_sweep() {
        let named = |name: &str| {
            let text = format!(
                "activations = ['gelu', {{ name = 'crrelu', epsilon = [-0.1, 0.1] }}, {{ name = 'prelu', slope = 0.1 }}]\nbaseline = '{name}'"
            );
            let (_folder, file) = sweep(&text);
            baseline(&file, &cells(&file)).map_err(|error| error.to_string())
        };
        assert_eq!(named("gelu").unwrap().as_deref(), Some("gelu"));
        assert_eq!(named("prelu").unwrap().as_deref(), Some("prelu slope=0.1"));
        assert_eq!(named("crrelu epsilon=0.1").unwrap().as_deref(), Some("crrelu epsilon=0.1"));
        let several = named("crrelu").unwrap_err();
        assert!(several.contains("s.toml:3: `baseline`") && several.contains("2 of them"), "{several}");
        assert!(named("glu").unwrap_err().contains("did you mean `gelu`"));
    }
}
