//! Going on from a checkpoint: rank 0 chooses and reads it, and every rank takes the same state.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use collectives::{Communicator, Phase};
use models::from_safetensors;
use world::Exit;

use crate::checkpoint::{Loaded, load, newest_good, set_aside_after};
use crate::failure::{Failure, agreed};
use crate::state::TrainState;

/// Where a run begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// At its first step.
    None,
    /// At the newest checkpoint of its folder that verifies and fits; at its first step if there is none.
    Auto,
    /// At this checkpoint, or not at all.
    From(PathBuf),
}

impl FromStr for Resume {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Resume, Self::Err> {
        Ok(match text {
            "none" => Resume::None,
            "auto" => Resume::Auto,
            path => Resume::From(path.into()),
        })
    }
}

/// The checkpoint that a run goes on from, and what a person should know about the choice.
#[derive(Default)]
pub struct Chosen {
    /// Its step and its config; `None` for a run that begins anew.
    pub origin: Option<(u64, String)>,
    /// Newer checkpoints that could not be used, and why.
    pub notices: Vec<String>,
}

/// Puts `state` where `resume` says, on all ranks alike; only rank 0 needs the files.
///
/// # Errors
/// [`Exit::Config`] when the checkpoint named by [`Resume::From`] is damaged or of another model.
pub fn resume(
    resume: &Resume,
    folder: &Path,
    state: &mut TrainState,
    communicator: &dyn Communicator,
) -> Result<Chosen, Failure> {
    let mut notices = Vec::new();
    let found = if communicator.rank() == 0 { choose(resume, folder, state, &mut notices) } else { Ok(None) };
    let loaded = agreed(found, Exit::Config, communicator, Phase::new("checkpoint choice"))?;
    let mut header = vec![u8::from(loaded.is_some())];
    communicator.broadcast(Phase::new("checkpoint choice"), &mut header, 0)?;
    if header == [0] {
        return Ok(Chosen { origin: None, notices });
    }
    let loaded = share(loaded, communicator)?;
    if communicator.rank() != 0 {
        restore(state, &loaded).map_err(|why| Failure::because(Exit::Config, why))?;
    }
    Ok(Chosen { origin: Some((loaded.state.step, loaded.state.config)), notices })
}

fn choose(
    resume: &Resume,
    folder: &Path,
    state: &mut TrainState,
    notices: &mut Vec<String>,
) -> Result<Option<Loaded>, String> {
    let found = match resume {
        Resume::None => return Ok(None),
        Resume::Auto => {
            let (found, passed_over) = newest_good(folder, |loaded| restore(state, loaded));
            *notices = passed_over;
            found
        }
        Resume::From(path) => {
            let fail = |why: String| format!("cannot go on from checkpoint {}: {why}", path.display());
            let loaded = load(path).map_err(|error| fail(error.to_string()))?;
            restore(state, &loaded).map_err(fail)?;
            Some(loaded)
        }
    };
    let aside = set_aside_after(folder, found.as_ref().map(|loaded| loaded.state.step))
        .map_err(|error| format!("cannot set checkpoints in {} aside: {error}", folder.display()))?;
    if let Some(aside) = aside {
        notices.push(format!("later checkpoints, from which this run does not go on, are kept in {}", aside.display()));
    }
    Ok(found)
}

/// Gives every rank the files of rank 0.
fn share(loaded: Option<Loaded>, communicator: &dyn Communicator) -> Result<Loaded, Failure> {
    let phase = Phase::new("checkpoint");
    let (path, state, mut parameters, mut optimizer, mut ema) = match loaded {
        Some(Loaded { path, state, parameters, optimizer, ema }) => (path, Some(state), parameters, optimizer, ema),
        None => (PathBuf::new(), None, Vec::new(), Vec::new(), Vec::new()),
    };
    let mut json = serde_json::to_vec(&state).expect("a state has string keys only");
    for bytes in [&mut json, &mut parameters, &mut optimizer, &mut ema] {
        communicator.broadcast(phase, bytes, 0)?;
    }
    let state = serde_json::from_slice(&json).expect("rank 0 sent a state of this version");
    Ok(Loaded { path, state, parameters, optimizer, ema })
}

/// Makes `state` the one that was saved; on failure it is unchanged or to be overwritten by the next try.
fn restore(state: &mut TrainState, loaded: &Loaded) -> Result<(), String> {
    let parameters = state.model.parameters();
    let read = |bytes: &[u8]| from_safetensors(bytes).map_err(|error| error.to_string());
    parameters.restore(&read(&loaded.parameters)?).map_err(|error| error.to_string())?;
    let moments = read(&loaded.optimizer)?;
    state.restore_moments(&moments)?;
    let parameters = state.model.parameters();
    match &mut state.ema {
        // A run that takes an average only now begins it here.
        Some(ema) if loaded.ema.is_empty() => ema.begin_at(parameters),
        Some(ema) => {
            let named = read(&loaded.ema)?;
            parameters.restore_into(ema.averages(), &named).map_err(|error| format!("average: {error}"))?;
        }
        None => {}
    }
    let saved = &loaded.state;
    state.step = saved.step;
    state.loss_steps = saved.loss_steps;
    let _ = state.loss_sum.fill_(saved.loss_sum);
    if let (Some(scale), Some(saved)) = (&mut state.loss_scale, saved.loss_scale) {
        *scale = saved;
    }
    state.best_top1 = saved.best_top1;
    state.earlier_seconds = saved.wall_seconds;
    if let Some(sketches) = &mut state.sketches {
        sketches.restore(&saved.sketches);
    }
    Ok(())
}

/// The keys whose values differ between two configs, as `section.key old → new`.
pub fn differences(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (flatten(old), flatten(new));
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let show = |value: Option<&String>| value.map_or_else(|| "unset".to_owned(), String::clone);
    keys.into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| format!("{key} {} → {}", show(old.get(key)), show(new.get(key))))
        .collect()
}

fn flatten(text: &str) -> std::collections::BTreeMap<String, String> {
    let mut flat = std::collections::BTreeMap::new();
    for (section, value) in text.parse::<toml::Table>().unwrap_or_default() {
        match value {
            toml::Value::Table(keys) => {
                flat.extend(keys.into_iter().map(|(key, value)| (format!("{section}.{key}"), value.to_string())));
            }
            value => {
                flat.insert(section, value.to_string());
            }
        }
    }
    flat
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_section_and_key() {
        let old = "seed = 0\n[train]\nbatch_size = 64\n";
        let new = "seed = 0\n[train]\nbatch_size = 128\n[log]\nevery_steps = 5\n";
        assert_eq!(differences(old, new), ["log.every_steps unset → 5", "train.batch_size 64 → 128"]);
        assert!(differences(old, old).is_empty());
    }
}
