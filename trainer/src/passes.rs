//! The forward and backward passes of a micro-batch: done operation by operation, or written down once as a CUDA graph and replayed.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use kernels::KernelError;
use kernels::cuda::Graph;
use plan::Plan;
use plan::config::Precision;
use tch::{Device, Tensor, no_grad};

use crate::classification::Inputs;
use crate::failure::Failure;

/// So many passes are done operation by operation before they are written down: kernels are compiled, and libraries have their memory.
const WARM_UP: usize = 3;

/// How passes are done.
pub struct Passes {
    recorder: Option<Recorder>,
    /// What is replayed.
    recorded: Option<Recorded>,
    /// Passes since the shapes of the inputs last changed, while nothing is recorded.
    warm: usize,
    /// Why there is no graph where one was asked for.
    obstacle: Option<String>,
}

/// What writes passes down.
#[derive(Clone, Copy, Debug)]
enum Recorder {
    /// A CUDA graph on the GPU of this index.
    Gpu(usize),
    /// Stands in for it on a CPU: it notes nothing but the inputs, and works on them again.
    #[cfg(test)]
    Stand { fails: bool },
}

/// Passes that were written down, on inputs of their own.
struct Recorded {
    replay: Replay,
    inputs: Inputs,
    /// Filled by a replay.
    loss: Tensor,
}

enum Replay {
    Graph(Graph),
    #[cfg(test)]
    Again,
}

impl Passes {
    /// As `train.cuda_graph` says, on `device`, which is one of `ranks`.
    ///
    /// Where there can be no graph, passes are done operation by operation, and [`Passes::obstacle`] says why.
    pub fn configured(plan: &Plan, ranks: usize, device: Device) -> Passes {
        let wanted = plan.config.train.cuda_graph;
        match (wanted, obstacle(plan, ranks), device) {
            (false, ..) => Passes::one_by_one(),
            (true, Some(obstacle), _) => Passes::hindered(obstacle),
            (true, None, Device::Cuda(index)) => Passes::recorded_by(Recorder::Gpu(index)),
            (true, None, _) => Passes::hindered("this does not run on a GPU".to_owned()),
        }
    }

    /// One operation after the other.
    pub fn one_by_one() -> Passes {
        Passes { recorder: None, recorded: None, warm: 0, obstacle: None }
    }

    fn hindered(obstacle: String) -> Passes {
        Passes { obstacle: Some(obstacle), ..Passes::one_by_one() }
    }

    fn recorded_by(recorder: Recorder) -> Passes {
        Passes { recorder: Some(recorder), ..Passes::one_by_one() }
    }

    /// Why there is no graph where one was asked for.
    pub fn obstacle(&self) -> Option<&str> {
        self.obstacle.as_deref()
    }

    /// Whether passes are still to be written down.
    pub fn will_be_recorded(&self) -> bool {
        self.recorder.is_some() && self.recorded.is_none()
    }

    /// Does `work` on `inputs`: forward, backward, and the loss as the answer, outside autograd. It reads nothing that changes
    /// from step to step but the inputs and the parameters, and asks nothing of the host; it may be done any number of times, or
    /// not at all where what it did before is replayed.
    ///
    /// # Errors
    /// When the device has failed.
    pub fn run(&mut self, inputs: Inputs, mut work: impl FnMut(&Inputs) -> Tensor) -> Result<Tensor, Failure> {
        let Some(recorder) = self.recorder else { return Ok(work(&inputs)) };
        if self.recorded.as_ref().is_some_and(|recorded| !recorded.fits(&inputs)) {
            (self.recorded, self.warm) = (None, 0);
        }
        if self.recorded.is_none() && self.warm < WARM_UP {
            self.warm += 1;
            return Ok(work(&inputs));
        }
        if self.recorded.is_none() {
            match recorder.record(inputs.copy(), &mut work) {
                Ok(recorded) => {
                    tracing::info!("forward and backward are replayed as a CUDA graph from now on");
                    self.recorded = Some(recorded);
                }
                Err(error) => {
                    tracing::warn!("no CUDA graph, steps are done operation by operation: {error}");
                    *self = Passes::hindered(error);
                    return Ok(work(&inputs));
                }
            }
        }
        let recorded = self.recorded.as_ref().expect("just recorded");
        Ok(recorded.run(&inputs, work)?)
    }
}

/// What stands in the way of a graph, whatever the device.
fn obstacle(plan: &Plan, ranks: usize) -> Option<String> {
    let (config, activations) = (&plan.config, &plan.model.activations);
    let is_dynamic = activations.default.dynamic || activations.layers.iter().any(|(_, spec)| spec.dynamic);
    let what = if ranks > 1 {
        "gradients of several ranks travel while the backward pass goes on, which is no part of a graph"
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
    /// Writes down what `work` does on `inputs`; nothing of it is done yet.
    fn record(self, inputs: Inputs, work: &mut dyn FnMut(&Inputs) -> Tensor) -> Result<Recorded, String> {
        match self {
            Recorder::Gpu(device) => {
                // What a graph cannot hold ends as an error of libtorch's, which its binding turns into a panic.
                let captured = catch_unwind(AssertUnwindSafe(|| Graph::capture(device, || work(&inputs))));
                let captured = captured.map_err(|panic| words_of(&*panic))?;
                let (graph, loss) = captured.map_err(|error: KernelError| error.to_string())?;
                Ok(Recorded { replay: Replay::Graph(graph), inputs, loss })
            }
            #[cfg(test)]
            Recorder::Stand { fails: true } => Err("no".to_owned()),
            #[cfg(test)]
            Recorder::Stand { fails: false } => {
                let loss = Tensor::zeros([], (tch::Kind::Float, inputs.images.device()));
                Ok(Recorded { replay: Replay::Again, inputs, loss })
            }
        }
    }
}

impl Recorded {
    fn fits(&self, inputs: &Inputs) -> bool {
        let (own, new) = (self.inputs.tensors(), inputs.tensors());
        own.len() == new.len() && own.iter().zip(new).all(|(own, new)| own.size() == new.size())
    }

    fn run(&self, inputs: &Inputs, work: impl FnMut(&Inputs) -> Tensor) -> Result<Tensor, KernelError> {
        no_grad(|| {
            for (own, new) in self.inputs.tensors().into_iter().zip(inputs.tensors()) {
                own.shallow_clone().copy_(new);
            }
        });
        match &self.replay {
            Replay::Graph(graph) => {
                drop(work); // a graph holds it
                graph.replay()?;
            }
            #[cfg(test)]
            Replay::Again => {
                let mut work = work;
                self.loss.shallow_clone().copy_(&work(&self.inputs));
            }
        }
        Ok(self.loss.shallow_clone())
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
    use dataloader::{Mixing, SampleKey};
    use metrics::StepClock;

    use super::*;
    use crate::classification::{Classification, ImageBatch};
    use crate::loss::Loss;
    use crate::run::initial_state;
    use crate::small;
    use crate::step::{MicroBatches, Step};

    /// Batches that differ in everything; the number of images changes with the sixth, as the last batch of an order may be smaller.
    struct Made {
        taken: u64,
    }

    impl MicroBatches for Made {
        fn next<T>(&mut self, work: impl FnOnce(&ImageBatch<'_>) -> T) -> Result<T, Failure> {
            let count = if self.taken < 6 { 16 } else { 8 };
            tch::manual_seed(self.taken as i64);
            let images = Tensor::randn([count, 3, 16, 16], (tch::Kind::Float, Device::Cpu));
            let labels: Vec<i64> = (0..count).map(|image| (3 * image + self.taken as i64) % 10).collect();
            let key = |image: i64| {
                let position = 16 * self.taken + image as u64;
                SampleKey { epoch: 0, position, sample: position }
            };
            let samples: Vec<SampleKey> = (0..count).map(key).collect();
            self.taken += 1;
            Ok(work(&ImageBatch { images, labels: &labels, samples: &samples }))
        }
    }

    /// What twelve steps come to with these passes: all bits of parameters and losses; and the passes.
    fn trained(passes: Passes) -> ((blake3::Hash, Vec<u64>), Passes) {
        let plan =
            small::plan_with(&["model.drop_path=0.4", "augment.mixup=0.8", "augment.cutmix=1.0", "loss.smoothing=0.1"]);
        let communicator = local_ranks(1, Duration::from_secs(5)).remove(0);
        let mut state = initial_state(&plan, &communicator, Device::Cpu).expect("a small model");
        let task = Classification {
            seed: 1,
            loss: Loss::configured(&plan.config.loss),
            mixing: Mixing::configured(&plan.config),
            teacher: None,
        };
        let mut step = Step::new(&plan, &communicator, &task, state.model.parameters()).expect("hooks");
        step.passes = passes;
        let (mut clock, mut batches, mut losses) = (StepClock::new(), Made { taken: 0 }, Vec::new());
        for _ in 0..12 {
            step.take(&mut state, &mut batches, 1e-3, &mut clock).expect("a step");
            losses.push(state.loss_sum.double_value(&[]).to_bits());
        }
        ((state.model.parameters().hash(), losses), step.passes)
    }

    /// What is replayed on memory that is filled anew learns the same, bit for bit: of tensors, a pass reads nothing that changes but
    /// its inputs and the parameters.
    #[test]
    fn replayed_passes_learn_the_same() {
        let (one_by_one, passes) = trained(Passes::one_by_one());
        assert!(passes.recorded.is_none());
        let (replayed, passes) = trained(Passes::recorded_by(Recorder::Stand { fails: false }));
        assert!(passes.recorded.is_some() && passes.obstacle().is_none());
        assert_eq!(one_by_one, replayed);
    }

    #[test]
    fn a_recording_that_fails_costs_nothing_but_the_graph() {
        let (one_by_one, _) = trained(Passes::one_by_one());
        let (without, passes) = trained(Passes::recorded_by(Recorder::Stand { fails: true }));
        assert_eq!((one_by_one, Some("no")), (without, passes.obstacle()));
    }

    #[test]
    fn what_no_graph_holds_is_said() {
        let of = |sets: &[&str], ranks: usize| {
            let plan = small::plan_with(&[&["train.cuda_graph=true"], sets].concat());
            let passes = Passes::configured(&plan, ranks, Device::Cuda(0));
            passes.obstacle().unwrap_or("none").to_owned()
        };
        assert_eq!(of(&[], 1), "none");
        assert!(of(&[], 2).contains("several ranks"));
        assert!(of(&["train.precision=f16"], 1).contains("f16"));
        assert!(of(&["eafo.watch=true"], 1).contains("eafo"));
        assert!(of(&["model.activation={name='crrelu', dynamic=true}"], 1).contains("eafo"));
        let plan = small::plan_with(&["train.cuda_graph=true"]);
        assert!(Passes::configured(&plan, 1, Device::Cpu).obstacle().is_some_and(|why| why.contains("GPU")));
        assert!(Passes::configured(&small::plan(), 1, Device::Cpu).obstacle().is_none());
    }
}
