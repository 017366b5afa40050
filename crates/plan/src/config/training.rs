//! What must hold among the keys of how a model is trained: which belong to which optimiser, schedule and loss.

use super::{Config, DistillationKind, LossName, OptimizerName, ScaleRule, ScheduleName};
use crate::error::ConfigError;

impl Config {
    /// Refuses keys that the chosen optimiser, schedule, loss or distillation has not, and values that contradict each other.
    pub(super) fn check_training(&self) -> Result<(), ConfigError> {
        self.check_optimizer()?;
        self.check_sharding()?;
        self.check_clipping()?;
        self.check_schedule()?;
        self.check_loss()?;
        self.check_distillation()
    }

    fn check_optimizer(&self) -> Result<(), ConfigError> {
        use OptimizerName::{AdamW, Lamb, Lion, Muon, Sgd};
        let config = &self.optimizer;
        let owners: [(&str, Option<String>, &[OptimizerName]); 5] = [
            ("betas", config.betas.map(|betas| format!("{betas:?}")), &[AdamW, Lamb, Lion, Muon]),
            ("eps", text(config.eps), &[AdamW, Lamb, Muon]),
            ("momentum", text(config.momentum), &[Sgd, Muon]),
            ("nesterov", text(config.nesterov), &[Sgd, Muon]),
            ("max_grad_norm", text(config.max_grad_norm), &[Lamb]),
        ];
        for (key, found, owners) in owners {
            let owners: Vec<&str> = owners.iter().map(|owner| owner.name()).collect();
            self.check_owner(&format!("optimizer.{key}"), found, config.name.name(), &owners)?;
        }
        if config.name == Sgd && config.nesterov() && config.momentum() == 0.0 {
            let expected = "false, since there is no momentum to look along".to_owned();
            return Err(self.bad_value("optimizer.nesterov", expected, "true".to_owned()));
        }
        if config.scale == ScaleRule::None {
            let expected = || "absent, unless `optimizer.scale` is \"linear\" or \"sqrt\"".to_owned();
            if let Some(batch) = config.base_batch {
                return Err(self.bad_value("optimizer.base_batch", expected(), batch.to_string()));
            }
            if config.scale_ends {
                return Err(self.bad_value("optimizer.scale_ends", expected(), "true".to_owned()));
            }
        }
        Ok(())
    }

    /// A rank that has parts of tensors cannot do what needs whole ones.
    fn check_sharding(&self) -> Result<(), ConfigError> {
        let whole = match self.optimizer.name {
            name @ (OptimizerName::Lamb | OptimizerName::Muon) => format!("`optimizer.name` is \"{}\"", name.name()),
            _ if self.optimizer.clip_adaptive > 0.0 => "`optimizer.clip_adaptive` is above 0".to_owned(),
            _ => return Ok(()),
        };
        if self.parallel.shard_optimizer {
            let expected = format!("false, since {whole}, which looks at whole tensors");
            return Err(self.bad_value("parallel.shard_optimizer", expected, "true".to_owned()));
        }
        Ok(())
    }

    /// One kind of clipping at a time.
    fn check_clipping(&self) -> Result<(), ConfigError> {
        let config = &self.optimizer;
        let limits = [
            ("clip_norm", config.clip_norm),
            ("clip_value", config.clip_value),
            ("clip_adaptive", config.clip_adaptive),
        ];
        let mut on = limits.into_iter().filter(|(_, limit)| *limit > 0.0);
        match (on.next(), on.next()) {
            (Some((first, _)), Some((second, limit))) => {
                let expected = format!("0, since gradients are clipped in one way and `optimizer.{first}` is above 0");
                Err(self.bad_value(&format!("optimizer.{second}"), expected, limit.to_string()))
            }
            _ => Ok(()),
        }
    }

    fn check_schedule(&self) -> Result<(), ConfigError> {
        use ScheduleName::{Cosine, Linear, Step, Wsd};
        let config = &self.schedule;
        let owners: [(&str, Option<String>, &[ScheduleName]); 4] = [
            ("final_learning_rate", text(config.final_learning_rate), &[Cosine, Linear, Wsd]),
            ("decay_epochs", text(config.decay_epochs), &[Step, Wsd]),
            ("decay_rate", text(config.decay_rate), &[Step]),
            ("decay_shape", config.decay_shape.map(|shape| shape.name().to_owned()), &[Wsd]),
        ];
        for (key, found, owners) in owners {
            let owners: Vec<&str> = owners.iter().map(|owner| owner.name()).collect();
            self.check_owner(&format!("schedule.{key}"), found, config.name.name(), &owners)?;
        }
        let rest = config.epochs - config.warmup_epochs;
        match config.decay_epochs {
            Some(decay) if config.name == Wsd && decay > rest => {
                let expected = format!("at most {rest}, the epochs after the warm-up");
                Err(self.bad_value("schedule.decay_epochs", expected, decay.to_string()))
            }
            _ => Ok(()),
        }
    }

    fn check_loss(&self) -> Result<(), ConfigError> {
        let config = &self.loss;
        let keys = [("target_threshold", text(config.target_threshold)), ("sum_classes", text(config.sum_classes))];
        for (key, found) in keys {
            self.check_owner(&format!("loss.{key}"), found, config.name.name(), &[LossName::Bce.name()])?;
        }
        Ok(())
    }

    fn check_distillation(&self) -> Result<(), ConfigError> {
        let config = &self.distillation;
        if config.kind == DistillationKind::None {
            return Ok(());
        }
        let needs = [
            ("teacher", config.teacher.is_none(), "the name of a model"),
            ("weights", config.weights.is_none(), "a safetensors file with the teacher's weights"),
        ];
        if let Some((key, _, what)) = needs.into_iter().find(|(_, missing, _)| *missing) {
            let expected = format!("{what}, since `distillation.kind` is \"{}\"", config.kind.name());
            return Err(self.bad_value(&format!("distillation.{key}"), expected, "nothing".to_owned()));
        }
        let owners = [DistillationKind::Soft.name()];
        self.check_owner("distillation.tau", text(config.tau), config.kind.name(), &owners)
    }

    /// Refuses a key that is given although the choice made has no such setting.
    fn check_owner(&self, key: &str, found: Option<String>, chosen: &str, owners: &[&str]) -> Result<(), ConfigError> {
        match found {
            Some(found) if !owners.contains(&chosen) => {
                let owners: Vec<String> = owners.iter().map(|owner| format!("\"{owner}\"")).collect();
                let expected = format!("absent: \"{chosen}\" has no such setting, only {} has", owners.join(" or "));
                Err(self.bad_value(key, expected, found))
            }
            _ => Ok(()),
        }
    }
}

fn text<T: std::fmt::Display>(value: Option<T>) -> Option<String> {
    value.map(|value| value.to_string())
}
