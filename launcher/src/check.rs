//! What is checked before any process starts: config, data, and whether both fit the number of ranks.

use std::path::Path;

use dataloader::{DataError, DatasetSpec, Transform};
use plan::config::Config;
use plan::{DataFacts, Plan};

use crate::ending::Ending;
use crate::verdict::grouped;

/// Stands in for data that this machine does not have: what is checked with it does not depend on it.
const ELSEWHERE: DataFacts = DataFacts { train_samples: 1 << 20, val_samples: 1 << 16, num_classes: 1000 };

/// Reads the config (exit 2 when it is wrong).
pub fn config(path: &Path, sets: &[String]) -> Result<Config, Ending> {
    plan::load(path, sets).map_err(Ending::config)
}

/// Opens the data set (exit 3 when it is missing or wrong), and says in words what it holds.
pub fn data(config: &Config) -> Result<(DataFacts, String), Ending> {
    let dataset = dataloader::open(&DatasetSpec::configured(config)).map_err(|error| match error {
        DataError::SubsetTooLarge { .. } => Ending::config(error),
        error => Ending::data(error),
    })?;
    let facts = DataFacts {
        train_samples: dataset.train.len() as u64,
        val_samples: dataset.validation.len() as u64,
        num_classes: dataset.train.classes().len(),
    };
    let words = describe(config, facts);
    Ok((facts, words))
}

/// The plan for `nproc` ranks, and in words what its images are and how that is known: from the config if it says what it
/// expects, otherwise from the data, which then must be there.
pub fn without_data(config: Config, nproc: usize) -> Result<(Plan, [String; 2]), Ending> {
    let (facts, known) = match DataFacts::expected(&config) {
        Some(facts) => (facts, "as the config expects; they were not looked at"),
        None => (data(&config)?.0, "as they are there"),
    };
    let words = [describe(&config, facts), known.to_owned()];
    Ok((resolve(config, facts, nproc)?, words))
}

/// Resolves the plan for `nproc` ranks (exit 2 when the batch cannot be shared among them, or the loader knows no such
/// augmentation), and says in words what it is.
/// Without facts only what does not depend on the data is checked.
pub fn plan(config: Config, facts: Option<DataFacts>, nproc: usize) -> Result<String, Ending> {
    let plan = resolve(config, facts.unwrap_or(ELSEWHERE), nproc)?;
    let steps = facts.map_or(String::new(), |_| format!("{} steps of ", plan.total_steps));
    Ok(format!("{}, {steps}{} images, {} on each rank", plan.config.model.name, plan.global_batch, plan.rank_batch))
}

fn resolve(config: Config, facts: DataFacts, nproc: usize) -> Result<Plan, Ending> {
    let plan = Plan::resolve(config, facts, nproc).map_err(Ending::config)?;
    Transform::training(&plan.config, plan.model.image_size as u32).map_err(Ending::config)?;
    Ok(plan)
}

fn describe(config: &Config, facts: DataFacts) -> String {
    let [train, val, classes] = [facts.train_samples, facts.val_samples, facts.num_classes as u64].map(grouped);
    format!("{}: {train} training and {val} validation images of {classes} classes", config.data.path.display())
}
