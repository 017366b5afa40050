//! What a round of steps came to, as numbers and in words.

use metrics::{Phase as Time, StepTimes};
use plan::Plan;
use serde::Serialize;

use super::floor::{Floor, OtherPrecision};
use crate::replay::Replays;

/// A forward pass once, and a backward pass that costs twice as much.
const PASSES: f64 = 3.0;

/// What a round of steps came to. `rectify simulate --from` reads it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The model's name, as in timm.
    pub model: String,
    /// The activation of most of its layers.
    pub activation: String,
    /// In which numbers products are computed.
    pub precision: String,
    /// Pixels of a side of an image.
    pub image_size: usize,
    /// Ranks.
    pub world_size: usize,
    /// Threads of libtorch, on each rank.
    pub threads: usize,
    /// Images of a step on each rank.
    pub rank_batch: usize,
    /// Micro-batches of a step.
    pub accumulation: usize,
    /// Images a second on each rank, over the whole round.
    pub images_per_second: f64,
    /// Whether steps were replayed as CUDA graphs, where these were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cuda_graph: Option<Replayed>,
    /// Median seconds of each phase of a step, on rank 0; on a GPU of steps that are done operation by operation and wait for it at
    /// the end of each phase, so that they take longer in all.
    pub phases: Phases,
    /// Bytes of the parameters in f32.
    pub parameters_bytes: u64,
    /// Floating-point operations of the model for one image, forward and backward; a multiply-add counts as two.
    pub flops_per_image: f64,
    /// What this rank's matrix products reach by themselves, in operations a second.
    pub product_flops_per_second: f64,
    /// The share of that which the steps reach.
    pub mfu: f64,
    /// Highest memory of a rank since it began, in MiB: of tensors on a GPU, else of all that was resident.
    pub peak_memory_mib: Option<f64>,
    /// Pages that the system gave to rank 0, a step.
    pub page_faults_per_step: f64,
    /// What holds the steps back, in words.
    pub bottleneck: String,
}

/// Seconds of a step.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Phases {
    /// Waiting for images.
    pub loader: f64,
    /// Forward pass and loss.
    pub forward: f64,
    /// Backward pass, with what it hides of the exchange of gradients.
    pub backward: f64,
    /// Waiting for gradients when the backward pass has ended.
    pub all_reduce: f64,
    /// Clipping and update.
    pub optimizer: f64,
}

/// What became of a CUDA graph that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Replayed {
    /// Steps replay it.
    Yes,
    /// They replay a part of it; what of the rest could not be recorded, for this reason.
    Part(String),
    /// They do not, for this reason.
    No(String),
}

impl Replayed {
    /// What became of it in `replays` that are not to be recorded any more.
    pub fn by(replays: &Replays) -> Replayed {
        match replays.obstacle() {
            None => Replayed::Yes,
            Some(obstacle) if replays.any_recorded() => Replayed::Part(obstacle.to_owned()),
            Some(obstacle) => Replayed::No(obstacle.to_owned()),
        }
    }
}

/// What a round of steps took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// How many steps it had.
    pub steps: usize,
    /// Of all steps together.
    pub seconds: f64,
    /// Pages that the system gave to rank 0, in all steps together.
    pub page_faults: u64,
    /// As in [`Report::peak_memory_mib`].
    pub peak_memory_mib: Option<f64>,
}

impl Phases {
    /// The medians over some steps.
    pub(super) fn of(steps: &[StepTimes]) -> Phases {
        Phases {
            loader: median_of(steps, Time::DataWait),
            forward: median_of(steps, Time::Forward),
            backward: median_of(steps, Time::Backward),
            all_reduce: median_of(steps, Time::AllReduce),
            optimizer: median_of(steps, Time::Optimizer),
        }
    }
}

impl Report {
    /// Of a round of steps.
    pub(super) fn new(
        plan: &Plan,
        threads: usize,
        phases: Phases,
        cost: Cost,
        floor: Floor,
        other: &OtherPrecision,
        cuda_graph: Option<Replayed>,
    ) -> Report {
        let Cost { steps, seconds, page_faults, peak_memory_mib } = cost;
        let count = steps.max(1) as f64;
        let images_per_second = count * plan.rank_batch as f64 / seconds;
        let flops_per_image = PASSES * plan.model.flops() as f64;
        let mfu = images_per_second * flops_per_image / floor.flops_per_second;
        Report {
            model: plan.config.model.name.clone(),
            activation: plan.model.activations.default.function.name().to_owned(),
            precision: plan.config.train.precision.name().to_owned(),
            image_size: plan.model.image_size,
            world_size: plan.world_size,
            threads,
            rank_batch: plan.rank_batch,
            accumulation: plan.accumulation,
            images_per_second,
            cuda_graph,
            phases,
            parameters_bytes: 4 * plan.model.parameters(),
            flops_per_image,
            product_flops_per_second: floor.flops_per_second,
            mfu,
            peak_memory_mib,
            page_faults_per_step: page_faults as f64 / count,
            bottleneck: bottleneck(&phases, mfu) + &other.hint(floor),
        }
    }
}

/// The median seconds of a phase over steps.
fn median_of(steps: &[StepTimes], phase: Time) -> f64 {
    let mut seconds: Vec<f64> =
        steps.iter().map(|step| step.phase(phase).map_or(0.0, |time| time.as_secs_f64())).collect();
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(0.0)
}

/// The phase to look at first.
fn bottleneck(phases: &Phases, mfu: f64) -> String {
    let Phases { loader, forward, backward, all_reduce, optimizer } = *phases;
    let total = (loader + forward + backward + all_reduce + optimizer).max(f64::MIN_POSITIVE);
    let percent = |part: f64| format!("{:.0} %", 100.0 * part / total);
    if all_reduce > 0.15 * total {
        return format!(
            "the network: {} of a step is spent waiting for gradients after the backward pass; try parallel.wire = \
             \"bf16\", or more images a step",
            percent(all_reduce)
        );
    }
    if optimizer > 0.15 * total {
        return format!(
            "the update: {} of a step; try more images a step, or parallel.shard_optimizer with several ranks",
            percent(optimizer)
        );
    }
    if mfu > 0.8 {
        return format!("the matrix products: the step reaches {:.0} % of what they would alone", 100.0 * mfu);
    }
    format!(
        "what lies between the matrix products (attention, normalisation, activations, memory): they are {:.0} % of the \
         {} that forward and backward take",
        100.0 * (1.0 - mfu * total / (forward + backward)).max(0.0),
        percent(forward + backward)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bottleneck_is_the_phase_that_stands_out() {
        let even = Phases { loader: 0.0, forward: 0.3, backward: 0.6, all_reduce: 0.01, optimizer: 0.02 };
        assert!(bottleneck(&even, 0.85).starts_with("the matrix products: the step reaches 85 %"));
        assert!(bottleneck(&even, 0.5).starts_with("what lies between"));
        assert!(bottleneck(&Phases { all_reduce: 0.4, ..even }, 0.5).starts_with("the network: 30 %"));
        assert!(bottleneck(&Phases { optimizer: 0.4, ..even }, 0.5).starts_with("the update: 31 %"));
    }
}
