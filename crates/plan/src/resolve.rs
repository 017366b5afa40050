//! From a config, the facts of the data and the number of ranks to steps and batches: the one place where epochs end.

use crate::config::{Config, DecayShape, ScheduleName, multiples_near};
use crate::error::ConfigError;
use crate::learning_rate::{Curve, Shape};
use crate::models::{self, ModelSpec};

/// What a plan needs to know of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataFacts {
    /// Images of the training split, after `data.subset`.
    pub train_samples: u64,
    /// Images of the validation split, after `data.val_subset`.
    pub val_samples: u64,
    /// Classes.
    pub num_classes: usize,
}

impl DataFacts {
    /// What `config` expects of its data, which need not be at hand; `None` unless it says all of it.
    pub fn expected(config: &Config) -> Option<DataFacts> {
        let data = &config.data;
        let part = |all: u64, subset: usize| if subset == 0 { all } else { all.min(subset as u64) };
        Some(DataFacts {
            train_samples: part(data.expect_train?, data.subset),
            val_samples: part(data.expect_val?, data.val_subset),
            num_classes: data.expect_classes?,
        })
    }
}

/// Keeps 0.3 epochs of 1000 samples at 300 of them, though 0.3 is no binary fraction.
const STEP_ALLOWANCE: f64 = 1e-9;
/// Epochs between the drops of "step" where the config does not say, and what they multiply the learning rate by.
const DROP_EPOCHS: f64 = 30.0;
const DROP_FACTOR: f64 = 0.1;
/// The share of what follows the warm-up in which "wsd" falls where the config does not say, as in timm.
const WSD_DECAY_SHARE: f64 = 0.2;

/// Something that happens again and again, and always after the last step.
///
/// A fraction of a step is kept, so that the third of three epochs ends where the run ends and not a step before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Every {
    /// Steps from one time to the next, at least 1; 0 = only after the last step.
    pub steps: f64,
    /// The last step of the run.
    pub total: u64,
}

/// What a run will do, in steps.
///
/// The training stream is endless: step k takes the global positions from k·`global_batch` on, and position p is number
/// p mod N of epoch p div N. So an epoch need not be a whole number of steps, and no sample is ever dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The config that this came from.
    pub config: Config,
    /// The data that this is for.
    pub facts: DataFacts,
    /// Number of ranks.
    pub world_size: usize,
    /// What to build.
    pub model: ModelSpec,
    /// The teacher to build, where there is one.
    pub teacher: Option<ModelSpec>,
    /// Steps that the run takes: those of the curve, or `schedule.max_steps` where that is less.
    pub total_steps: u64,
    /// Steps of the learning-rate curve: ceil(epochs · samples / batch).
    pub curve_steps: u64,
    /// Steps of warm-up, the first of the curve.
    pub warmup_steps: u64,
    /// Images of a step over all ranks.
    pub global_batch: usize,
    /// Images of a step on one rank.
    pub rank_batch: usize,
    /// Images of one forward pass on one rank.
    pub micro_batch: usize,
    /// Forward passes of a step.
    pub accumulation: usize,
    /// When to write a line of metrics.
    pub log: Every,
    /// When to evaluate.
    pub eval: Every,
    /// When to save the state.
    pub checkpoint: Every,
}

impl Plan {
    /// The plan of `config` for this data on `world_size` ranks.
    ///
    /// # Errors
    /// [`ConfigError::Value`], with the place of the value, where the batch cannot be shared out, the model cannot be built,
    /// or there is nothing to train on.
    pub fn resolve(config: Config, facts: DataFacts, world_size: usize) -> Result<Plan, ConfigError> {
        config.check()?;
        let world_size = world_size.max(1);
        if facts.train_samples == 0 || facts.num_classes == 0 {
            let found = format!("{} images of {} classes", facts.train_samples, facts.num_classes);
            return Err(config.bad_value("data.path", "a data set with images to train on".to_owned(), found));
        }
        check_expectations(&config, facts)?;
        let (global_batch, accumulation) = (config.train.batch_size, config.train.accumulation);
        check_shares(&config, world_size)?;
        check_groups(&config, global_batch / world_size / accumulation)?;
        check_threshold(&config, facts.num_classes)?;
        let model =
            models::configured(&config.model, facts.num_classes).map_err(|bad| config.bad_model("model", bad))?;
        check_statistics(&config, &model, global_batch / world_size / accumulation)?;
        check_recomputation(&config, &model)?;
        let teacher = resolve_teacher(&config, &model, facts.num_classes)?;

        let steps = |epochs: f64| epochs * facts.train_samples as f64 / global_batch as f64;
        let curve_steps = ((steps(config.schedule.epochs) - STEP_ALLOWANCE).ceil() as u64).max(1);
        let warmup_steps = (steps(config.schedule.warmup_epochs).round() as u64).min(curve_steps);
        let total_steps = match config.schedule.max_steps {
            0 => curve_steps,
            max_steps => curve_steps.min(max_steps),
        };
        let every = |steps: f64| Every { steps, total: total_steps };
        let every_epochs = |epochs: f64| every(if epochs == 0.0 { 0.0 } else { steps(epochs).max(1.0) });
        let checkpoint = match config.checkpoint.every_steps {
            0 => every_epochs(config.checkpoint.every_epochs),
            steps => every(steps as f64),
        };
        Ok(Plan {
            facts,
            world_size,
            model,
            teacher,
            total_steps,
            curve_steps,
            warmup_steps,
            global_batch,
            rank_batch: global_batch / world_size,
            micro_batch: global_batch / world_size / accumulation,
            accumulation,
            log: every(config.log.every_steps as f64),
            eval: every_epochs(config.eval.every_epochs),
            checkpoint,
            config,
        })
    }

    /// The learning rate of step `step`, counted from 0.
    pub fn learning_rate(&self, step: u64) -> f64 {
        self.curve().at(step)
    }

    /// The whole learning-rate curve, scaled to the batch.
    pub fn curve(&self) -> Curve {
        let (optimizer, schedule) = (&self.config.optimizer, &self.config.schedule);
        let factor = optimizer.scale_factor(self.global_batch);
        let at_ends = if optimizer.scale_ends { factor } else { 1.0 };
        let end = schedule.final_learning_rate() * at_ends;
        let steps = |epochs: f64| epochs * self.steps_per_epoch();
        let shape = match schedule.name {
            ScheduleName::Cosine => Shape::Cosine { end },
            ScheduleName::Linear => Shape::Linear { end },
            ScheduleName::Constant => Shape::Constant,
            ScheduleName::Step => Shape::Step {
                every_steps: steps(schedule.decay_epochs.unwrap_or(DROP_EPOCHS)),
                factor: schedule.decay_rate.unwrap_or(DROP_FACTOR),
            },
            ScheduleName::Wsd => {
                let rest = self.curve_steps - self.warmup_steps;
                let decay = schedule.decay_epochs.map_or(WSD_DECAY_SHARE * rest as f64, steps);
                Shape::WarmupStableDecay {
                    end,
                    decay_steps: (decay.round() as u64).clamp(1, rest.max(1)),
                    decay: schedule.decay_shape.unwrap_or(DecayShape::OneMinusSqrt),
                }
            }
        };
        Curve {
            start: schedule.warmup_learning_rate * at_ends,
            peak: optimizer.learning_rate * factor,
            warmup_steps: self.warmup_steps,
            total_steps: self.curve_steps,
            shape,
        }
    }

    /// How many epochs have been seen once `step` steps are done.
    pub fn epoch_of(&self, step: u64) -> f64 {
        step as f64 * self.global_batch as f64 / self.facts.train_samples as f64
    }

    /// Steps of one epoch; not a whole number in general.
    pub fn steps_per_epoch(&self) -> f64 {
        self.facts.train_samples as f64 / self.global_batch as f64
    }
}

impl Every {
    /// Whether it is due once `step` steps are done.
    pub fn due(&self, step: u64) -> bool {
        // How many times it is due up to a step: once for every whole interval.
        let times = |step: u64| (step as f64 / self.steps + STEP_ALLOWANCE).floor();
        step > 0 && (step == self.total || (self.steps > 0.0 && times(step) > times(step - 1)))
    }
}

/// Checks that the data is what the config expects.
fn check_expectations(config: &Config, facts: DataFacts) -> Result<(), ConfigError> {
    let data = &config.data;
    let train = data.expect_train.filter(|_| data.subset == 0);
    let val = data.expect_val.filter(|_| data.val_subset == 0);
    for (key, expected, found) in [
        ("expect_train", train, facts.train_samples),
        ("expect_val", val, facts.val_samples),
        ("expect_classes", data.expect_classes.map(|n| n as u64), facts.num_classes as u64),
    ] {
        if let Some(expected) = expected.filter(|&expected| expected != found) {
            let must = format!("the {found} that the data in {} has, or absent", data.path.display());
            return Err(config.bad_value(&format!("data.{key}"), must, expected.to_string()));
        }
    }
    Ok(())
}

/// Checks that the batch falls into equal micro-batches.
fn check_shares(config: &Config, world_size: usize) -> Result<(), ConfigError> {
    let (batch, accumulation) = (config.train.batch_size, config.train.accumulation);
    let unit = world_size.saturating_mul(accumulation).max(1);
    if batch > 0 && batch.is_multiple_of(unit) {
        return Ok(());
    }
    let near = multiples_near(batch, unit);
    let ranks = if world_size == 1 { "1 rank".to_owned() } else { format!("{world_size} ranks") };
    let expected = format!("a multiple of {unit} ({ranks} × accumulation {accumulation}); the nearest: {near}");
    Err(config.bad_value("train.batch_size", expected, batch.to_string()))
}

/// Checks that a micro-batch consists of whole groups of samples that are mixed among themselves.
fn check_groups(config: &Config, micro_batch: usize) -> Result<(), ConfigError> {
    let group = config.augment.mix_group;
    if !config.augment.mixes() || micro_batch.is_multiple_of(group) {
        return Ok(());
    }
    let fits = |n: &usize| n.is_multiple_of(2) && micro_batch.is_multiple_of(*n);
    let (below, above) = ((2..group).rev().find(fits), (group + 1..=micro_batch).find(fits));
    let near: Vec<String> = [below, above].into_iter().flatten().map(|n| n.to_string()).collect();
    let remedy = match near.as_slice() {
        [] => "none is, so change train.batch_size".to_owned(),
        near => format!("the nearest: {}", near.join(" or ")),
    };
    let expected = format!("even and a divisor of the micro-batch of {micro_batch} images; {remedy}");
    Err(config.bad_value("augment.mix_group", expected, group.to_string()))
}

/// One value has no variance: where BatchNorm takes its statistics of one value an image, a micro-batch has two images.
fn check_statistics(config: &Config, model: &ModelSpec, micro_batch: usize) -> Result<(), ConfigError> {
    let family = model.architecture.family();
    match sides(config, model).find(|side| family.values_of_a_statistic(*side).is_some_and(|n| n * micro_batch < 2)) {
        None => Ok(()),
        Some(side) => {
            let expected = format!(
                "at least 2 for each rank and each of `train.accumulation`: of an image of {side} pixels, {} leaves \
                 BatchNorm one value to take its statistics of",
                config.model.name
            );
            Err(config.bad_value("train.batch_size", expected, config.train.batch_size.to_string()))
        }
    }
}

/// Blocks that hold what each pass changes cannot be computed twice.
fn check_recomputation(config: &Config, model: &ModelSpec) -> Result<(), ConfigError> {
    let family = model.architecture.family();
    if !config.train.recompute || family.kept_when_recomputed(model.shape()).is_some() {
        return Ok(());
    }
    let expected = format!(
        "false: the blocks of {} have BatchNorm, whose running statistics would count every batch twice",
        config.model.name
    );
    Err(config.bad_value("train.recompute", expected, "true".to_owned()))
}

/// The sizes of training images.
fn sides<'a>(config: &'a Config, model: &ModelSpec) -> impl Iterator<Item = usize> + use<'a> {
    std::iter::once(model.image_size).chain(config.augment.sizes.iter().map(|(_, side)| *side as usize))
}

/// Smoothing gives every class a target of smoothing over classes: a threshold below that would make all of them 1.
fn check_threshold(config: &Config, num_classes: usize) -> Result<(), ConfigError> {
    let floor = config.loss.smoothing / num_classes as f64;
    match config.loss.target_threshold {
        Some(threshold) if threshold < floor => {
            let expected = format!("at least {floor}, to which `loss.smoothing` raises the target of every class");
            Err(config.bad_value("loss.target_threshold", expected, threshold.to_string()))
        }
        _ => Ok(()),
    }
}

/// The teacher, which must take the images that the model takes.
fn resolve_teacher(config: &Config, model: &ModelSpec, num_classes: usize) -> Result<Option<ModelSpec>, ConfigError> {
    let Some(described) = config.distillation.model() else { return Ok(None) };
    let teacher = models::configured(&described, num_classes).map_err(|bad| {
        let key = if bad.key == "name" { "teacher".to_owned() } else { bad.key };
        config.bad_model("distillation", models::BadModel { key, ..bad })
    })?;
    let patch = teacher.stride();
    match sides(config, model).find(|side| !side.is_multiple_of(patch)) {
        None => Ok(Some(teacher)),
        Some(side) => {
            let expected = format!("a model whose stride divides the {side} pixels of the images");
            Err(config.bad_value("distillation.teacher", expected, format!("{} with {patch}", described.name)))
        }
    }
}
