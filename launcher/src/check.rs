//! What is checked before any process starts: config, data, and whether both fit the number of ranks.

use std::path::Path;

use dataloader::{DataError, DatasetSpec, Transform};
use plan::config::Config;
use plan::{DataFacts, Plan};

use crate::ending::Ending;

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
    let words = format!(
        "{}: {} training and {} validation images of {} classes",
        config.data.path.display(),
        facts.train_samples,
        facts.val_samples,
        facts.num_classes
    );
    Ok((facts, words))
}

/// Resolves the plan for `nproc` ranks (exit 2 when the batch cannot be shared among them, or the loader knows no such
/// augmentation), and says in words what it is.
/// Without facts only what does not depend on the data is checked.
pub fn plan(config: Config, facts: Option<DataFacts>, nproc: usize) -> Result<String, Ending> {
    let plan = Plan::resolve(config, facts.unwrap_or(ELSEWHERE), nproc).map_err(Ending::config)?;
    Transform::training(&plan.config, plan.model.image_size as u32).map_err(Ending::config)?;
    let steps = facts.map_or(String::new(), |_| format!("{} steps of ", plan.total_steps));
    Ok(format!("{}, {steps}{} images, {} on each rank", plan.config.model.name, plan.global_batch, plan.rank_batch))
}
