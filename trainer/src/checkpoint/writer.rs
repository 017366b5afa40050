//! Saving in the background: one thread writes snapshots, prunes old ones, and tells how it went.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};

use super::folder::{list, remove, write};
use super::{RunState, STATE, Snapshot};

/// What became of a snapshot.
#[derive(Debug)]
pub enum CheckpointEvent {
    /// It is on disk, whole.
    Saved {
        /// Its step.
        step: u64,
        /// Its folder.
        path: PathBuf,
        /// How long the writing took, in the background.
        took: Duration,
    },
    /// It could not be written; older checkpoints are as they were.
    Failed {
        /// The step that was not saved.
        step: u64,
        /// Why.
        why: String,
    },
}

/// The checkpoints of a run, written one at a time behind the training.
pub struct Checkpoints {
    snapshots: Option<Sender<Snapshot>>,
    events: Receiver<CheckpointEvent>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Keeps the newest `keep` checkpoints in `folder` and, with `keep_best`, the one of the best top-1.
    pub fn new(folder: &Path, keep: usize, keep_best: bool) -> Checkpoints {
        let (snapshots, pending) = bounded::<Snapshot>(1);
        let (report, events) = unbounded();
        let folder = folder.to_owned();
        let thread = std::thread::spawn(move || {
            for snapshot in pending {
                let begun = Instant::now();
                let step = snapshot.state.step;
                let event = match fs::create_dir_all(&folder).and_then(|()| write(&folder, &snapshot)) {
                    Ok(path) => CheckpointEvent::Saved { step, path, took: begun.elapsed() },
                    Err(error) => CheckpointEvent::Failed { step, why: error.to_string() },
                };
                if matches!(event, CheckpointEvent::Saved { .. }) {
                    prune(&folder, keep, keep_best);
                }
                let _ = report.send(event);
            }
        });
        Checkpoints { snapshots: Some(snapshots), events, thread: Some(thread) }
    }

    /// Hands a snapshot to the writer; waits only when two older ones are still unwritten.
    pub fn save(&self, snapshot: Snapshot) {
        if let Some(snapshots) = &self.snapshots {
            let _ = snapshots.send(snapshot);
        }
    }

    /// What has become of snapshots since the last call.
    pub fn events(&self) -> impl Iterator<Item = CheckpointEvent> + '_ {
        self.events.try_iter()
    }

    /// Waits until everything is written and tells what became of it.
    pub fn finish(mut self) -> Vec<CheckpointEvent> {
        self.join();
        self.events.try_iter().collect()
    }

    fn join(&mut self) {
        self.snapshots = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.join();
    }
}

/// Removes all but the newest `keep` checkpoints and the best one, and what a killed run left half-written.
fn prune(folder: &Path, keep: usize, keep_best: bool) {
    let found = list(folder);
    let best = if keep_best { best_step(&found) } else { None };
    let old = &found[..found.len().saturating_sub(keep.max(1))];
    for (step, path) in old {
        if Some(*step) != best {
            let _ = remove(path);
        }
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(".partial") {
            let _ = remove(&entry.path());
        }
    }
}

/// The step of the best top-1 among checkpoints; `None` where none was evaluated.
pub(super) fn best_step(found: &[(u64, PathBuf)]) -> Option<u64> {
    let scored = found.iter().filter_map(|(step, path)| {
        let state: RunState = serde_json::from_slice(&fs::read(path.join(STATE)).ok()?).ok()?;
        Some((*step, state.top1?.max(state.ema_top1.unwrap_or(0.0))))
    });
    // The earliest of equals: a later checkpoint must be better to take its place.
    scored.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(step, _)| step)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::checkpoint::{MANIFEST, PARAMETERS, load, newest_good};

    fn snapshot(step: u64, top1: Option<f64>) -> Snapshot {
        let state = RunState {
            step,
            seed: 0,
            config: String::new(),
            top1,
            ema_top1: None,
            best_top1: top1,
            loss_sum: 0.25,
            loss_steps: 1,
            loss_scale: None,
            wall_seconds: 2.0,
            classes: vec!["tabby cat".to_owned()],
            sketches: BTreeMap::from([("act".to_owned(), eafo::sketch::Sketch::default())]),
        };
        Snapshot::of(state, vec![("weight".to_owned(), tch::Tensor::from_slice(&[step as f32, 1.0]))], Vec::new())
    }

    fn steps(folder: &Path) -> Vec<u64> {
        list(folder).into_iter().map(|(step, _)| step).collect()
    }

    #[test]
    fn the_newest_and_the_best_are_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let checkpoints = Checkpoints::new(folder.path(), 2, true);
        for (step, top1) in [(1, Some(10.0)), (2, Some(50.0)), (3, Some(50.0)), (4, Some(20.0)), (5, None)] {
            checkpoints.save(snapshot(step, top1));
        }
        let saved = checkpoints.finish().into_iter();
        assert!(saved.filter(|event| matches!(event, CheckpointEvent::Saved { .. })).count() == 5);
        assert_eq!(steps(folder.path()), [2, 4, 5]);
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = write(folder.path(), &snapshot(7, None)).expect("a checkpoint");
        let loaded = load(&path).expect("a good checkpoint");
        assert_eq!(loaded.state, snapshot(7, None).state);
        assert_eq!(loaded.parameters, snapshot(7, None).parameters_file().expect("bytes"));
    }

    #[test]
    fn every_damage_is_noticed_and_passed_over() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for step in 1..=5 {
            write(folder.path(), &snapshot(step, None)).expect("a checkpoint");
        }
        let file = |step: u64, name: &str| folder.path().join(format!("step-{step:08}")).join(name);
        fs::write(file(5, PARAMETERS), "short").expect("a file");
        let mut bytes = fs::read(file(4, STATE)).expect("a file");
        bytes[20] ^= 1;
        fs::write(file(4, STATE), bytes).expect("a file");
        fs::remove_file(file(3, MANIFEST)).expect("a file");
        let (found, passed_over) = newest_good(folder.path(), |loaded| match loaded.state.step {
            2 => Err("it is of another model".to_owned()),
            _ => Ok(()),
        });
        assert_eq!(found.expect("a good one").state.step, 1);
        assert_eq!(passed_over.len(), 4);
        for (why, said) in passed_over.iter().zip(["bytes where", "its hash", "cannot read", "another model"]) {
            assert!(why.contains(said), "{why}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_event() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let blocked = folder.path().join("file");
        fs::write(&blocked, "in the way").expect("a file");
        let checkpoints = Checkpoints::new(&blocked, 2, true);
        checkpoints.save(snapshot(1, None));
        assert!(matches!(&checkpoints.finish()[..], [CheckpointEvent::Failed { step: 1, .. }]));
    }
}
