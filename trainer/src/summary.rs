//! What came of a run, for `summary.json`.

use metrics::{Summary, Versions};
use plan::Plan;

use crate::evaluation::Evaluated;
use crate::state::TrainState;
use crate::telemetry::Telemetry;

/// Sums the run up as it stands.
pub fn summarize(
    plan: &Plan,
    state: &TrainState,
    telemetry: &Telemetry<'_>,
    last: Option<&Evaluated>,
    resumed_from: Option<u64>,
    threads: usize,
    mpi: Option<&str>,
) -> Summary {
    Summary {
        name: plan.config.name.clone(),
        model: plan.config.model.name.clone(),
        top1: last.map(|scores| scores.weights.top1()),
        top5: last.map(|scores| scores.weights.top5()),
        ema_top1: last.and_then(|scores| Some(scores.ema?.top1())),
        ema_top5: last.and_then(|scores| Some(scores.ema?.top5())),
        best_top1: state.best_top1,
        loss: telemetry.last_loss(),
        images_per_second: telemetry.recorder().images_per_second(),
        step_seconds: telemetry.recorder().median_step_seconds(),
        peak_memory_mib: None,
        wall_seconds: state.earlier_seconds + telemetry.seconds(),
        steps: state.step,
        steps_planned: plan.total_steps,
        epochs: plan.epoch_of(state.step),
        parameters: state.model.parameters().count(),
        world_size: plan.world_size,
        threads_per_rank: threads,
        seed: plan.config.seed,
        resumed_from,
        device: crate::device::name(state.model.parameters().device()),
        git_commit: crate::GIT_COMMIT.map(str::to_owned),
        versions: Versions {
            rectify: crate::VERSION.to_owned(),
            libtorch: crate::LIBTORCH_VERSION.to_owned(),
            mpi: mpi.map(str::to_owned),
        },
    }
}
