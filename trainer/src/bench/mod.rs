//! How fast the steps of a config are: rounds of real steps on made images, and what else they could be.
//!
//! A step here is the step of training, [`crate::step::Step`], over the ranks of a communicator; only its images are made
//! once and used again. What a loader delivers is measured by `rectify data bench`.

mod floor;
mod report;

use std::sync::Arc;
use std::time::Instant;

use collectives::{Communicator, Phase};
use dataloader::{LoaderSpec, Mixing, SampleKey};
use metrics::{StepClock, StepTimes};
use plan::Plan;
use random::{Key, Purpose};
use tch::{Device, Tensor};
use world::World;

use crate::classification::{Classification, ImageBatch};
use crate::device::{self, Asked, Placement};
use crate::failure::Failure;
use crate::footprint::{highest_peak_mib, page_faults};
use crate::loss::Loss;
use crate::normalisation::{BatchImages, Normalisation};
use crate::replay::Replays;
use crate::run::{initial_state, load_teacher, products, use_threads};
use crate::state::TrainState;
use crate::step::{MicroBatches, Step};

use floor::OtherPrecision;
use report::Cost;

pub use floor::Floor;
pub use report::{Phases, Replayed, Report};

/// How long it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// Steps before the first that counts, which fill caches and memory.
    pub warmup_steps: usize,
    /// Steps of a round.
    pub steps: usize,
}

/// Measures `plan` in rounds; rank 0 hands each to `report`, and goes on while that says so.
///
/// # Errors
/// What would end a run as well: a device that is full, a rank that is lost.
pub fn measure(
    plan: &Plan,
    world: &World,
    communicator: &Arc<dyn Communicator>,
    length: Length,
    mut report: impl FnMut(Report) -> bool,
) -> Result<(), Failure> {
    let threads = use_threads(&plan.config, world);
    kernels::memory::keep();
    let Placement { device, notice } =
        device::choose(plan.config.train.device, Asked::InConfig, &plan.config.train, world)?;
    notice.iter().for_each(|words| eprintln!("{words}"));
    let communicator = &device::join(communicator, device, &plan.config.parallel)?;
    let mut state = initial_state(plan, communicator, device)?;
    let task = Classification {
        seed: plan.config.seed,
        loss: Loss::configured(&plan.config.loss),
        mixing: Mixing::configured(&plan.config),
        teacher: load_teacher(plan, &**communicator, device)?,
    };
    let mut step = Step::new(plan, communicator, &task, state.model.parameters())?;
    let mut images = MadeImages::new(plan, communicator.rank(), device);
    let mut round = |step: &mut Step<'_>, clock: StepClock, steps| {
        take_steps(plan, &**communicator, step, &mut state, &mut images, clock, steps)
    };
    let phases_on_gpu = match device {
        Device::Cuda(index) => Some(phases_on_gpu(&mut step, index, &mut round)?),
        _ => None,
    };
    round(&mut step, StepClock::new(), length.warmup_steps)?;
    // A graph is written down in a step of its own.
    while step.replays.will_be_recorded() {
        round(&mut step, StepClock::new(), 1)?;
    }
    let mut other = None;
    loop {
        let Round { steps, seconds, page_faults } = round(&mut step, StepClock::new(), length.steps)?;
        let peak_memory_mib = highest_peak_mib(&**communicator, device)?;
        let phases = phases_on_gpu.unwrap_or_else(|| Phases::of(&steps));
        // After the peak was read: products by themselves take memory, too.
        let floor = Floor::measure(plan, products(plan), device);
        let other = other.get_or_insert_with(|| OtherPrecision::measure(plan, device));
        let graph = plan.config.train.cuda_graph.then(|| Replayed::by(&step.replays));
        let cost = Cost { seconds, page_faults, peak_memory_mib, steps: steps.len() };
        let measured = Report::new(plan, threads, phases, cost, floor, other, graph);
        let mut go_on = vec![u8::from(communicator.rank() == 0 && report(measured))];
        communicator.broadcast(Phase::new("another round"), &mut go_on, 0)?;
        if go_on != [1] {
            return Ok(());
        }
    }
}

/// Steps of which phases are timed on a GPU.
const PHASE_STEPS: usize = 3;

/// The phases of steps on a GPU: it is waited for at the end of each, and all is done operation by operation, since a graph has
/// forward and backward in one. Comes before there is a graph, which keeps memory of its own.
fn phases_on_gpu(
    step: &mut Step<'_>,
    index: usize,
    round: &mut impl FnMut(&mut Step<'_>, StepClock, usize) -> Result<Round, Failure>,
) -> Result<Phases, Failure> {
    let replays = std::mem::replace(&mut step.replays, Replays::one_by_one());
    round(step, StepClock::new(), PHASE_STEPS)?; // to warm up
    // What goes wrong on the device is said by the step itself.
    let found = round(step, StepClock::settling(move |_| drop(kernels::cuda::synchronise(index))), PHASE_STEPS)?;
    step.replays = replays;
    Ok(Phases::of(&found.steps))
}

/// What was measured of some steps.
struct Round {
    steps: Vec<StepTimes>,
    /// Of all steps together.
    seconds: f64,
    /// Pages that the system gave to this process, in all steps together.
    page_faults: u64,
}

fn take_steps(
    plan: &Plan,
    communicator: &dyn Communicator,
    step: &mut Step<'_>,
    state: &mut TrainState,
    images: &mut MadeImages,
    mut clock: StepClock,
    count: usize,
) -> Result<Round, Failure> {
    communicator.barrier(Phase::new("steps that are measured"))?;
    let (begun, faults) = (Instant::now(), page_faults());
    let mut steps = Vec::with_capacity(count);
    for _ in 0..count {
        // A constant rate, small enough that noise as data does not blow up.
        step.take(state, images, plan.config.optimizer.learning_rate.min(1e-5), &mut clock)?;
        steps.push(clock.finish_step());
    }
    step.divergence.check(plan)?; // waits for the device
    let (seconds, faults) = (begun.elapsed().as_secs_f64(), page_faults().saturating_sub(faults));
    communicator.barrier(Phase::new("steps that are measured"))?;
    Ok(Round { steps, seconds, page_faults: faults })
}

/// One micro-batch of noise with labels, handed out again and again: as a loader delivers it to the
/// device, so bytes to a GPU. Nothing is erased, as no peer erases.
struct MadeImages {
    images: BatchImages,
    labels: Vec<i64>,
    samples: Vec<SampleKey>,
}

impl MadeImages {
    fn new(plan: &Plan, rank: usize, device: Device) -> MadeImages {
        let (count, side) = (plan.micro_batch, plan.model.image_size);
        let mut rng = Key::root(plan.config.seed).child(Purpose::Init as u64).child(rank as u64).rng();
        let numbers = (0..count * 3 * side * side).map(|_| rng.uniform());
        let [n, pixels] = [count, side].map(|size| size as i64);
        let images = if device.is_cuda() {
            let bytes: Vec<u8> = numbers.map(|number| (256.0 * number) as u8).collect();
            let mut spec = LoaderSpec::evaluation(&plan.config, side as u32, count);
            let bytes = Tensor::from_slice(&bytes).view([n, pixels, pixels, 3]).to_device(device);
            Normalisation::instead_of(&mut spec, device).images(bytes, None)
        } else {
            let values: Vec<f32> = numbers.map(|number| (4.0 * number - 2.0) as f32).collect();
            Tensor::from_slice(&values).view([n, 3, pixels, pixels]).into()
        };
        MadeImages {
            images,
            labels: (0..count).map(|image| (image % plan.facts.num_classes) as i64).collect(),
            samples: (0..count as u64).map(|position| SampleKey { epoch: 0, position, sample: position }).collect(),
        }
    }
}

impl MicroBatches for MadeImages {
    fn next<T>(&mut self, work: impl FnOnce(&ImageBatch<'_>) -> T) -> Result<T, Failure> {
        let images = self.images.map(Tensor::shallow_clone);
        Ok(work(&ImageBatch { images, labels: &self.labels, samples: &self.samples }))
    }
}
