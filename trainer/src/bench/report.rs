//! What a round of steps came to, as numbers and in words.

use metrics::{Phase as Time, StepTimes};
use plan::Plan;
use serde::Serialize;

use super::{Floor, median_of};

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
    /// Median seconds of each phase of a step, on rank 0.
    pub phases: Phases,
    /// Bytes of the parameters in f32.
    pub parameters_bytes: u64,
    /// Floating-point operations of the model for one image, forward and backward; a multiply-add counts as two.
    pub flops_per_image: f64,
    /// What this rank's matrix products reach by themselves, in operations a second.
    pub product_flops_per_second: f64,
    /// The share of that which the steps reach.
    pub mfu: f64,
    /// Highest resident memory of a rank since it began, in MiB.
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

impl Report {
    /// Of a round of `steps` that took `seconds` in all.
    pub(super) fn new(
        plan: &Plan,
        threads: usize,
        steps: &[StepTimes],
        seconds: f64,
        page_faults: u64,
        peak_memory_mib: Option<f64>,
        floor: Floor,
    ) -> Report {
        let phases = Phases {
            loader: median_of(steps, Time::DataWait),
            forward: median_of(steps, Time::Forward),
            backward: median_of(steps, Time::Backward),
            all_reduce: median_of(steps, Time::AllReduce),
            optimizer: median_of(steps, Time::Optimizer),
        };
        let count = steps.len().max(1) as f64;
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
            phases,
            parameters_bytes: 4 * plan.model.parameters(),
            flops_per_image,
            product_flops_per_second: floor.flops_per_second,
            mfu,
            peak_memory_mib,
            page_faults_per_step: page_faults as f64 / count,
            bottleneck: bottleneck(&phases, mfu),
        }
    }
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
        return format!(
            "the matrix products: the step reaches {:.0} % of what they would alone; a narrower train.precision or a \
             faster machine is what is left",
            100.0 * mfu
        );
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
