//! Pretends to be ranks that train, with made-up numbers that look real: for trying deploy/ and the curves without a
//! run. `cargo run --release -p metrics --example pretend -- FOLDER [SECONDS [RANKS]]` writes FOLDER/metrics.jsonl,
//! FOLDER/curves.svg and FOLDER/targets.json, serves each rank's metrics from port 9400 on, and shows a bar.

use std::{error::Error, net::Ipv4Addr, path::PathBuf, thread, time::Duration, time::Instant, time::SystemTime};

use metrics::{
    Endpoint, EvalReport, Identity, JsonLines, LayerEntropies, LoaderReport, Metrics, Phase, Progress, ProgressMode,
    Recorder, RunShape, StepClock, StepReport, Target, draw_curves, write_targets,
};

const STEPS_PER_EPOCH: u64 = 45;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("which folder?")?);
    let seconds: f64 = arguments.next().as_deref().unwrap_or("60").parse()?;
    let ranks: usize = arguments.next().as_deref().unwrap_or("2").parse()?;
    std::fs::create_dir_all(&folder)?;
    let shape = RunShape { total_steps: 900, start_step: 0, epochs: 20.0, global_batch: 32, world_size: ranks };
    let mut recorders = Vec::new();
    let mut endpoints = Vec::new();
    let mut targets = Vec::new();
    for rank in 0..ranks {
        let identity = Identity { run: "pretend".into(), rank, host: "here".into() };
        let metrics = Metrics::new(&identity);
        metrics.set_build(env!("CARGO_PKG_VERSION"), "none", "");
        let endpoint = Endpoint::start(&metrics, Ipv4Addr::LOCALHOST.into(), 9400 + rank as u16)?;
        targets.push(Target::new(&identity, endpoint.address()));
        endpoints.push(endpoint);
        let main = rank == 0;
        let lines = if main { Some(JsonLines::create(&folder.join("metrics.jsonl"))?) } else { None };
        let progress = Progress::new(if main { ProgressMode::choose(None) } else { ProgressMode::Off });
        recorders.push(Recorder::new(metrics, lines, progress, shape));
    }
    write_targets(&folder.join("targets.json"), &targets)?;
    let pause = Duration::from_secs_f64(seconds / shape.total_steps as f64);
    for step in 1..=shape.total_steps {
        thread::sleep(pause);
        for (rank, recorder) in recorders.iter_mut().enumerate() {
            one_step(recorder, rank, step, pause, shape)?;
        }
    }
    recorders[0].finish(shape.total_steps);
    draw_curves(&folder.join("metrics.jsonl"), &folder.join("curves.svg"))?;
    Ok(())
}

fn one_step(
    recorder: &mut Recorder,
    rank: usize,
    step: u64,
    pause: Duration,
    shape: RunShape,
) -> Result<(), Box<dyn Error>> {
    let mut clock = StepClock::new();
    let mut now = Instant::now();
    let jitter = 1.0 + 0.2 * ((step as f64) * 12.9898 + rank as f64).sin();
    for (phase, share) in Phase::ALL.into_iter().zip([0.04, 0.26, 0.52, 0.08, 0.04, 0.4]) {
        if phase != Phase::Checkpoint || step % 90 == 1 {
            clock.enter_at(phase, now);
            now += pause.mul_f64(share * jitter);
        }
    }
    recorder.step(&clock.finish_step_at(now), shape.global_batch / shape.world_size as u64);
    let progress = step as f64 / shape.total_steps as f64;
    let epoch = step as f64 / STEPS_PER_EPOCH as f64;
    if step.is_multiple_of(5) {
        let noise = (step as f64 * 78.233).sin() * (step as f64 * 3.7).cos();
        recorder.record(StepReport {
            step,
            epoch,
            loss: 2.3 * (-4.0 * progress).exp() + 0.05 + 0.15 * noise * (1.0 - progress),
            learning_rate: 1e-3 * (epoch / 2.0).min(0.5 + 0.5 * (std::f64::consts::PI * progress).cos()),
            gradient_norm: Some(1.5 + noise),
            loss_scale: None,
            epsilon: (0..6).map(|i| (format!("blocks.{i}.mlp.act"), 0.01 - 0.02 * progress * i as f64)).collect(),
            loader: LoaderReport {
                queue_depth: 2 + step % 3,
                read_bytes: step * 20_000,
                bad_images: vec![("truncated".into(), step / 200), ("not_an_image".into(), 0)],
            },
        })?;
    }
    if step.is_multiple_of(STEPS_PER_EPOCH) {
        let top1 = 98.0 - 88.0 * (-5.0 * progress).exp();
        let top5 = 100.0 - 50.0 * (-9.0 * progress).exp();
        let (loss, samples, seconds) = (2.2 * (-3.5 * progress).exp() + 0.1, 360, 1.5 + 0.2 * jitter);
        recorder.record_eval(EvalReport {
            step,
            epoch,
            loss,
            top1_percent: top1,
            top5_percent: top5,
            ema: None,
            samples,
            seconds,
            entropies: (0..6)
                .map(|block| LayerEntropies {
                    layer: format!("blocks.{block}.mlp.act"),
                    before: 0.1 * f64::from(block) + progress,
                    after: 0.1 * f64::from(block) + progress - 0.8,
                })
                .collect(),
        })?;
    }
    if step.is_multiple_of(90) && rank == 0 {
        recorder.metrics().checkpoint_saved(SystemTime::now());
    }
    Ok(())
}
