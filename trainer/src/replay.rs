//! The parts of a step that are the same work each time: done operation by operation, or written down once as CUDA graphs and replayed.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use kernels::KernelError;
use kernels::cuda::Graph;
use plan::Plan;
use plan::config::Precision;
use tch::{Device, Tensor, no_grad};

use crate::classification::Inputs;
use crate::failure::Failure;
use crate::numbers::Numbers;

/// Work is done so often operation by operation before it is written down: kernels are compiled, and libraries have their memory.
const WARM_UP: usize = 3;

/// What a piece of work reads that differs from one time to the next.
pub trait Operands {
    /// The tensors, in one order.
    fn tensors(&self) -> Vec<&Tensor>;
    /// The same in memory of their own.
    fn copy(&self) -> Self;
}

/// How the parts of a step are done. Outside of both are what each takes one operation a group of parameters: setting gradients to zero,
/// the moving average of the weights, and what [`crate::skipped`] does to gradients.
pub struct Replays {
    /// Forward and backward of a micro-batch.
    pub passes: Replay<Inputs>,
    /// The gradients' norm, clipping, and the optimiser.
    pub update: Replay<Numbers>,
}

/// How one piece of work is done.
pub struct Replay<O> {
    /// The work in words.
    what: &'static str,
    recorder: Option<Recorder>,
    /// What is replayed.
    recorded: Option<Recorded<O>>,
    /// How often it was done since the shapes of the operands last changed, while nothing is recorded.
    warm: usize,
    /// Why there is no graph where one was asked for.
    obstacle: Option<String>,
}

/// What writes work down.
#[derive(Clone, Copy, Debug)]
enum Recorder {
    /// A CUDA graph on the GPU of this index.
    Gpu(usize),
    /// Stands in for it on a CPU: it notes nothing but the operands, and works on them again.
    #[cfg(test)]
    Stand { fails: bool },
}

/// Work that was written down, on operands of its own.
struct Recorded<O> {
    replayed: Replayed,
    operands: O,
    /// Filled by a replay.
    result: Tensor,
}

enum Replayed {
    Graph(Graph),
    #[cfg(test)]
    Again,
}

impl Replays {
    /// As `train.cuda_graph` says, on `device`, which is one of `ranks`.
    ///
    /// Where there can be no graph, all is done operation by operation, and [`Replays::obstacle`] says why.
    pub fn configured(plan: &Plan, ranks: usize, device: Device) -> Replays {
        let wanted = plan.config.train.cuda_graph;
        match (wanted, obstacle(plan, ranks), device) {
            (false, ..) => Replays::one_by_one(),
            (true, Some(obstacle), _) => Replays::hindered(&obstacle),
            (true, None, Device::Cuda(index)) => Replays::recorded_by(Recorder::Gpu(index)),
            (true, None, _) => Replays::hindered("this does not run on a GPU"),
        }
    }

    /// One operation after the other.
    pub fn one_by_one() -> Replays {
        Replays::of(None, None)
    }

    fn hindered(obstacle: &str) -> Replays {
        Replays::of(None, Some(obstacle))
    }

    fn recorded_by(recorder: Recorder) -> Replays {
        Replays::of(Some(recorder), None)
    }

    fn of(recorder: Option<Recorder>, obstacle: Option<&str>) -> Replays {
        Replays {
            passes: Replay::new("forward and backward", recorder, obstacle),
            update: Replay::new("the update", recorder, obstacle),
        }
    }

    /// Why there is no graph of some part, where one was asked for.
    pub fn obstacle(&self) -> Option<&str> {
        self.passes.obstacle.as_deref().or(self.update.obstacle.as_deref())
    }

    /// Whether some part is replayed.
    pub fn any_recorded(&self) -> bool {
        self.passes.recorded.is_some() || self.update.recorded.is_some()
    }

    /// Whether some part is still to be written down.
    pub fn will_be_recorded(&self) -> bool {
        self.passes.will_be_recorded() || self.update.will_be_recorded()
    }
}

impl<O: Operands> Replay<O> {
    fn new(what: &'static str, recorder: Option<Recorder>, obstacle: Option<&str>) -> Replay<O> {
        Replay { what, recorder, recorded: None, warm: 0, obstacle: obstacle.map(str::to_owned) }
    }

    fn will_be_recorded(&self) -> bool {
        self.recorder.is_some() && self.recorded.is_none()
    }

    /// Does `work` on `operands`; the answer is a tensor outside autograd, good until the next time. The work reads nothing that
    /// changes from step to step but the operands and memory that stays where it is, and asks nothing of the host; it may be done any
    /// number of times, or not at all where what it did before is replayed.
    ///
    /// # Errors
    /// When the device has failed.
    pub fn run(&mut self, operands: O, mut work: impl FnMut(&O) -> Tensor) -> Result<Tensor, Failure> {
        let Some(recorder) = self.recorder else { return Ok(work(&operands)) };
        if self.recorded.as_ref().is_some_and(|recorded| !recorded.fits(&operands)) {
            (self.recorded, self.warm) = (None, 0);
        }
        if self.recorded.is_none() && self.warm < WARM_UP {
            self.warm += 1;
            return Ok(work(&operands));
        }
        if self.recorded.is_none() {
            match recorder.record(operands.copy(), &mut work) {
                Ok(recorded) => {
                    tracing::info!("{}: replayed as a CUDA graph from now on", self.what);
                    self.recorded = Some(recorded);
                }
                Err(error) => {
                    tracing::warn!("{}: no CUDA graph, it is done operation by operation: {error}", self.what);
                    *self = Replay::new(self.what, None, Some(&error));
                    return Ok(work(&operands));
                }
            }
        }
        let recorded = self.recorded.as_ref().expect("just recorded");
        Ok(recorded.run(&operands, work)?)
    }
}

/// What stands in the way of a graph, whatever the device.
fn obstacle(plan: &Plan, ranks: usize) -> Option<String> {
    let (config, activations) = (&plan.config, &plan.model.activations);
    let is_dynamic = activations.default.dynamic || activations.layers.iter().any(|(_, spec)| spec.dynamic);
    let what = if ranks > 1 {
        "gradients of several ranks travel while the backward pass goes on, which is no part of a graph"
    } else if config.parallel.shard_optimizer {
        "the norm of gradients that are spread over ranks is asked of them by the host"
    } else if config.train.precision == Precision::F16 {
        "the loss of a step in f16 is multiplied by a number that changes from step to step"
    } else if config.eafo.watch || is_dynamic {
        "activations are followed while they are computed (eafo)"
    } else {
        return None;
    };
    Some(what.to_owned())
}

impl Recorder {
    /// Writes down what `work` does on `operands`; nothing of it is done yet.
    fn record<O: Operands>(self, operands: O, work: &mut dyn FnMut(&O) -> Tensor) -> Result<Recorded<O>, String> {
        match self {
            Recorder::Gpu(device) => {
                // What a graph cannot hold ends as an error of libtorch's, which its binding turns into a panic.
                let captured = catch_unwind(AssertUnwindSafe(|| Graph::capture(device, || work(&operands))));
                let captured = captured.map_err(|panic| words_of(&*panic))?;
                let (graph, result) = captured.map_err(|error: KernelError| error.to_string())?;
                Ok(Recorded { replayed: Replayed::Graph(graph), operands, result })
            }
            #[cfg(test)]
            Recorder::Stand { fails: true } => Err("no".to_owned()),
            #[cfg(test)]
            Recorder::Stand { fails: false } => {
                let result = Tensor::zeros([], (tch::Kind::Float, Device::Cpu));
                Ok(Recorded { replayed: Replayed::Again, operands, result })
            }
        }
    }
}

impl<O: Operands> Recorded<O> {
    fn fits(&self, operands: &O) -> bool {
        let (own, new) = (self.operands.tensors(), operands.tensors());
        own.len() == new.len()
            && own.iter().zip(new).all(|(own, new)| (own.size(), own.kind()) == (new.size(), new.kind()))
    }

    fn run(&self, operands: &O, work: impl FnMut(&O) -> Tensor) -> Result<Tensor, KernelError> {
        no_grad(|| {
            for (own, new) in self.operands.tensors().into_iter().zip(operands.tensors()) {
                own.shallow_clone().copy_(new);
            }
        });
        match &self.replayed {
            Replayed::Graph(graph) => {
                drop(work); // a graph holds it
                graph.replay()?;
            }
            #[cfg(test)]
            Replayed::Again => {
                let mut work = work;
                self.result.shallow_clone().copy_(&work(&self.operands));
            }
        }
        Ok(self.result.shallow_clone())
    }
}

/// The first line of what a panic said.
fn words_of(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    words.and_then(|words| words.lines().next()).unwrap_or("a panic without words").to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use collectives::local_ranks;
    use dataloader::augment::Erasure;
    use dataloader::{LoaderSpec, Mixing, SampleKey};
    use metrics::StepClock;
    use random::Purpose;

    use super::*;
    use crate::classification::{Classification, ImageBatch};
    use crate::loss::Loss;
    use crate::normalisation::Normalisation;
    use crate::run::initial_state;
    use crate::small;
    use crate::state::TrainState;
    use crate::step::{MicroBatches, Step};

    /// Batches of bytes that differ in everything; the number of images changes with the sixth, as
    /// the last batch of an order may be smaller.
    struct Made {
        taken: u64,
        spec: LoaderSpec,
        normalisation: Normalisation,
    }

    impl Made {
        fn new(plan: &Plan) -> Made {
            let mut spec = LoaderSpec::training(&plan.config, 16, 16).expect("a recipe");
            let normalisation = Normalisation::instead_of(&mut spec, Device::Cpu);
            Made { taken: 0, spec, normalisation }
        }

        /// What is erased from each image, `(N, R, 9)`.
        fn erasures(&self, samples: &[SampleKey]) -> Tensor {
            let erasing = self.spec.transform.augment.erasing.expect("rectangles");
            let mut records = vec![Erasure::NONE; samples.len() * erasing.most()];
            for (sample, records) in samples.iter().zip(records.chunks_mut(erasing.most())) {
                erasing.note(16, sample.key(self.spec.seed, Purpose::Augment), records);
            }
            let shape = [samples.len() as i64, erasing.most() as i64, Erasure::WORDS as i64];
            Tensor::from_slice(&records.concat()).view(shape)
        }
    }

    impl MicroBatches for Made {
        fn next<T>(&mut self, work: impl FnOnce(&ImageBatch<'_>) -> T) -> Result<T, Failure> {
            let count = if self.taken < 6 { 16 } else { 8 };
            tch::manual_seed(self.taken as i64);
            let bytes = Tensor::randint(256, [count, 16, 16, 3], (tch::Kind::Uint8, Device::Cpu));
            let labels: Vec<i64> = (0..count).map(|image| (3 * image + self.taken as i64) % 10).collect();
            let key = |image: i64| {
                let position = 16 * self.taken + image as u64;
                SampleKey { epoch: 0, position, sample: position }
            };
            let samples: Vec<SampleKey> = (0..count).map(key).collect();
            self.taken += 1;
            let images = self.normalisation.images(bytes, Some(self.erasures(&samples)));
            Ok(work(&ImageBatch { images, labels: &labels, samples: &samples }))
        }
    }

    /// Where in memory all lies that a step changes and the next one reads.
    fn places(state: &TrainState, step: &Step<'_>) -> Vec<usize> {
        let groups = state.model.parameters().groups().iter().flat_map(|group| [&group.values, &group.grads]);
        let moments = state.optimizer.buffers().into_iter().flat_map(|(_, buffers)| buffers);
        let all: Vec<Tensor> =
            groups.map(Tensor::shallow_clone).chain(moments).chain([step.divergence.flag()]).collect();
        all.iter().map(|tensor| tensor.data_ptr() as usize).collect()
    }

    /// All bits of the parameters after some steps, and of each step's loss and gradient norm.
    type Outcome = (blake3::Hash, Vec<[u64; 2]>);

    /// What twelve steps come to with `optimizer` done in this way, each at another learning rate.
    fn trained(optimizer: &str, replays: Replays) -> (Outcome, Replays) {
        let plan = small::plan_with(&[
            &format!("optimizer.name={optimizer}"),
            "optimizer.clip_norm=0.5",
            "model.drop_path=0.4",
            "augment.erase=0.5",
            "augment.erase_count=2",
            "augment.mixup=0.8",
            "augment.cutmix=1.0",
            "loss.smoothing=0.1",
        ]);
        let communicator = local_ranks(1, Duration::from_secs(5)).remove(0);
        let mut state = initial_state(&plan, &communicator, Device::Cpu).expect("a small model");
        let task = Classification {
            seed: 1,
            loss: Loss::configured(&plan.config.loss),
            mixing: Mixing::configured(&plan.config),
            teacher: None,
        };
        let mut step = Step::new(&plan, &communicator, &task, state.model.parameters()).expect("hooks");
        step.replays = replays;
        let begun = places(&state, &step);
        let (mut clock, mut batches, mut told) = (StepClock::new(), Made::new(&plan), Vec::new());
        for number in 0..12 {
            step.take(&mut state, &mut batches, 1e-3 / f64::from(1 + number), &mut clock).expect("a step");
            let norm = step.divergence.norm().expect("no step is left out");
            told.push([state.loss_sum.double_value(&[]), norm].map(f64::to_bits));
        }
        assert_eq!(places(&state, &step), begun, "a graph would go on with the memory that it knew");
        ((state.model.parameters().hash(), told), step.replays)
    }

    /// What works on operands that are filled anew learns the same, bit for bit, with any optimiser.
    #[test]
    fn replayed_steps_learn_the_same() {
        for optimizer in ["sgd", "adamw", "lamb", "lion", "muon"] {
            let (one_by_one, replays) = trained(optimizer, Replays::one_by_one());
            assert!(replays.passes.recorded.is_none() && replays.update.recorded.is_none());
            let (replayed, replays) = trained(optimizer, Replays::recorded_by(Recorder::Stand { fails: false }));
            assert!(replays.passes.recorded.is_some() && replays.update.recorded.is_some());
            assert!(replays.obstacle().is_none());
            assert_eq!(one_by_one, replayed, "{optimizer}");
        }
    }

    #[test]
    fn a_recording_that_fails_costs_nothing_but_the_graph() {
        let (one_by_one, _) = trained("adamw", Replays::one_by_one());
        let (without, replays) = trained("adamw", Replays::recorded_by(Recorder::Stand { fails: true }));
        assert_eq!((one_by_one, Some("no")), (without, replays.obstacle()));
    }

    #[test]
    fn what_no_graph_holds_is_said() {
        let of = |sets: &[&str], ranks: usize| {
            let plan = small::plan_with(&[&["train.cuda_graph=true"], sets].concat());
            let replays = Replays::configured(&plan, ranks, Device::Cuda(0));
            replays.obstacle().unwrap_or("none").to_owned()
        };
        assert_eq!(of(&[], 1), "none");
        assert!(of(&[], 2).contains("several ranks"));
        assert!(of(&["parallel.shard_optimizer=true"], 1).contains("norm"));
        assert!(of(&["train.precision=f16"], 1).contains("f16"));
        assert!(of(&["eafo.watch=true"], 1).contains("eafo"));
        assert!(of(&["model.activation={name='crrelu', dynamic=true}"], 1).contains("eafo"));
        let plan = small::plan_with(&["train.cuda_graph=true"]);
        assert!(Replays::configured(&plan, 1, Device::Cpu).obstacle().is_some_and(|why| why.contains("GPU")));
        assert!(Replays::configured(&small::plan(), 1, Device::Cpu).obstacle().is_none());
    }
}
