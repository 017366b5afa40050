//! One run from its config to its summary: puts the parts together and takes them apart again.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context;
use std::sync::Arc;

use collectives::{Communicator, Phase};
use dataloader::{Dataset, DatasetSpec, LoaderStats, Mixing, with_batches};
use metrics::{
    Endpoint, Event, Identity, JsonLines, Metrics, Progress, ProgressMode, Recorder, RunShape, Target, check_ports,
    draw_curves, port_of_rank,
};
use models::Model;
use plan::config::Precision;
use plan::{DataFacts, Plan};
use random::{Key, Purpose};
use tch::{Device, Kind};
use tracing::info;
use world::{Exit, World};

use crate::beginning::{begin_from, told};
use crate::classification::Classification;
use crate::data_parallel::{Exchanges, Sharding, Slice};
use crate::device::{self, Asked, Placement};
use crate::ema::Ema;
use crate::evaluation::Evaluation;
use crate::failure::{Failure, agreed};
use crate::feed::Feed;
use crate::footprint::highest_peak_mib;
use crate::loss::Loss;
use crate::loss_scale::LossScale;
use crate::memory::ImageMemory;
use crate::resume::{Chosen, Resume, differences, resume};
use crate::run_folder::RunFolder;
use crate::saving::Saving;
use crate::sketches::Sketches;
use crate::state::TrainState;
use crate::step::Step;
use crate::stop::StopFlag;
use crate::summary::summarize;
use crate::teacher::Teacher;
use crate::telemetry::Telemetry;
use crate::training::{Ending, Training};
use crate::{loading, logging, optimizer};

/// What the command line says beyond the config.
#[derive(Clone, Debug)]
pub struct Options {
    /// The run's folder; `runs/<name>` where none is named.
    pub run_dir: Option<PathBuf>,
    /// Where the run begins.
    pub resume: Resume,
    /// Port of rank 0's metrics; each local rank takes its own after it, and with 0 any free one. `None` serves none.
    pub metrics_port: Option<u16>,
    /// Address that metrics are served at.
    pub metrics_host: IpAddr,
    /// How progress is shown on rank 0.
    pub progress: ProgressMode,
}

/// Trains as `config` says, together with the other ranks of `communicator`.
///
/// # Errors
/// What went wrong and the exit code for it; the caller ends the other ranks.
pub fn train(
    config: plan::Config,
    options: &Options,
    world: &World,
    communicator: &Arc<dyn Communicator>,
    stop: &StopFlag,
) -> Result<Ending, Failure> {
    if let Some(first) = options.metrics_port {
        check_ports(first, world.local_size).map_err(|error| Failure::new(Exit::Config, error))?;
    }
    let Placement { device, notice } = device::choose(config.train.device, Asked::InConfig, &config.train, world)?;
    let ranks = &device::join(communicator, device, &config.parallel)?;
    let communicator = &**ranks;
    let folder = RunFolder::new(options.run_dir.as_deref(), &config.name);
    communicator.all_equal(Phase::new("config check"), config.to_toml().as_bytes())?;
    let threads = use_threads(&config, world);
    kernels::memory::keep();
    let dataset = dataloader::open(&DatasetSpec::configured(&config))?;
    let plan = Plan::resolve(config, facts(&dataset), communicator.size())?;
    let aside = prepare_folder(&folder, &plan, &options.resume, communicator)?;
    logging::begin(&folder.log(communicator.rank())).map_err(|error| Failure::new(Exit::Retry, error))?;

    let mut state = initial_state(&plan, ranks, device)?;
    let chosen = resume(&options.resume, &folder.checkpoints(), &mut state, communicator)?;
    let begun_from = begin(&plan, &state, &chosen, communicator)?;
    communicator.all_equal(Phase::new("parameter check"), state.model.parameters().hash().as_bytes())?;
    let stats = LoaderStats::new();
    let (recorder, endpoint) = sinks(&plan, options, world, communicator, &folder, &state)?;
    let telemetry = Telemetry::new(recorder, &stats, device::step_clock(device));
    introduce(&telemetry, &plan, &chosen, aside, threads);
    for words in begun_from.iter().chain(&notice) {
        telemetry.notice(words);
    }

    let task = Classification {
        seed: plan.config.seed,
        loss: Loss::configured(&plan.config.loss),
        mixing: Mixing::configured(&plan.config),
        teacher: load_teacher(&plan, communicator, device)?,
    };
    let image_size = plan.model.image_size;
    let validation_stats = LoaderStats::new();
    let validation = loading::validation_spec(&plan, communicator, &folder);
    let mut training = Training {
        plan: &plan,
        communicator,
        task: &task,
        evaluation: Evaluation::new(&*dataset.validation, validation, image_size, &validation_stats),
        saving: Saving::new(communicator.rank(), &folder.checkpoints(), &plan),
        telemetry,
        step: Step::new(&plan, ranks, &task, state.model.parameters())?,
        stop,
    };
    if let Some(obstacle) = training.step.replays.obstacle() {
        training.telemetry.notice(&format!("train.cuda_graph: there is none, since {obstacle}"));
    }
    let (spec, normalisation) = loading::training_spec(&plan, communicator, &folder, state.step, device)?;
    let largest = plan.config.augment.largest_size(image_size);
    let memory = (0..loading::memories(&plan)).map(|_| ImageMemory::for_loader(&spec, largest, device));
    let memory = memory.collect::<Result<_, _>>()?;
    let ending = with_batches(&*dataset.train, &spec, memory, &stats, |batches| {
        training.run(&mut state, &mut Feed::new(batches, normalisation, device)?)
    })??;

    let Training { saving, telemetry, evaluation, .. } = training;
    let saved = saving.finish(&telemetry);
    telemetry.recorder().finish(state.step);
    let peak_memory_mib = highest_peak_mib(communicator, device)?;
    if communicator.rank() == 0 {
        let last = evaluation.last();
        let resumed_from = chosen.origin.map(|(step, _)| step);
        let summary =
            summarize(&plan, &state, &telemetry, last.as_ref(), resumed_from, threads, communicator.library());
        let mut summary = metrics::Summary { peak_memory_mib, ..summary };
        if resumed_from == Some(state.step) {
            tell_of_earlier(&mut summary, &folder);
        }
        summary.write(&folder.summary()).map_err(|error| Failure::new(Exit::Retry, error))?;
        if let Err(error) = draw_curves(&folder.metrics(), &folder.curves()) {
            telemetry.notice(&format!("the curves could not be drawn: {error}"));
        }
    }
    agreed(saved, Exit::Retry, communicator, Phase::new("end of the run"))?;
    drop(endpoint);
    Ok(ending)
}

/// Keeps what an earlier start of this run said of steps, where none was left to do now.
fn tell_of_earlier(summary: &mut metrics::Summary, folder: &RunFolder) {
    if let Ok(earlier) = metrics::Summary::read(&folder.summary())
        && earlier.steps == summary.steps
    {
        summary.loss = earlier.loss;
        summary.images_per_second = earlier.images_per_second;
        summary.step_seconds = earlier.step_seconds;
        summary.peak_memory_mib = earlier.peak_memory_mib;
        return;
    }
    let records = metrics::read_records(&folder.metrics()).unwrap_or_default();
    let last = records.into_iter().rev().find_map(|record| match record {
        metrics::Record::Step(step) => Some(step),
        metrics::Record::Eval(_) => None,
    });
    if let Some(last) = last {
        summary.loss = Some(last.loss);
        summary.images_per_second = last.images_per_second;
    }
}

fn facts(dataset: &Dataset) -> DataFacts {
    DataFacts {
        train_samples: dataset.train.len() as u64,
        val_samples: dataset.validation.len() as u64,
        num_classes: dataset.train.classes().len(),
    }
}

/// Gives libtorch this rank's share of the cores, and says how many.
pub(crate) fn use_threads(config: &plan::Config, world: &World) -> usize {
    let threads = match config.train.threads {
        0 => (world::cores() / world.local_size.max(1)).max(1),
        threads => threads,
    };
    tch::set_num_threads(threads as i32);
    threads
}

pub(crate) fn initial_state(
    plan: &Plan,
    communicator: &Arc<dyn Communicator>,
    device: Device,
) -> Result<TrainState, Failure> {
    let key = Key::root(plan.config.seed).child(Purpose::Init as u64);
    let model = Model::new(&plan.model, &plan.config.optimizer, key, device)?.with_products_in(products(plan));
    let model = if plan.config.train.recompute { model.recomputed() } else { model };
    let parameters = model.parameters();
    let sharding = plan.config.parallel.shard_optimizer.then(|| {
        let bucket_elements = Exchanges::configured(&plan.config.parallel).bucket_elements;
        Sharding::new(communicator, parameters, bucket_elements)
    });
    let slices = sharding.as_ref().map_or_else(|| Slice::whole_groups(parameters), Sharding::slices);
    let optimizer = optimizer::new(&plan.config.optimizer, parameters, slices);
    let ema = Ema::new(&plan.config.ema, model.parameters());
    let sketches = Sketches::new(plan, &model);
    let loss_scale = (plan.config.train.precision == Precision::F16).then(LossScale::default);
    Ok(TrainState::new(model, optimizer, sharding, ema, sketches, loss_scale))
}

/// In which kind a run computes matrix products.
pub(crate) fn products(plan: &Plan) -> Kind {
    match plan.config.train.precision {
        Precision::F32 => Kind::Float,
        Precision::Bf16 => Kind::BFloat16,
        Precision::F16 => Kind::Half,
    }
}

/// Loads the teacher on every rank, and checks that it is the same on all.
pub(crate) fn load_teacher(
    plan: &Plan,
    communicator: &dyn Communicator,
    device: Device,
) -> Result<Option<Teacher>, Failure> {
    let teacher = Teacher::load(plan, device)?;
    if let Some(teacher) = &teacher {
        communicator.all_equal(Phase::new("teacher check"), teacher.model().parameters().hash().as_bytes())?;
    }
    Ok(teacher)
}

/// Takes the weights that the config names, unless the run goes on from a checkpoint; says in words which.
fn begin(
    plan: &Plan,
    state: &TrainState,
    chosen: &Chosen,
    communicator: &dyn Communicator,
) -> Result<Option<String>, Failure> {
    match &plan.config.model.init_from {
        Some(path) if chosen.origin.is_none() => {
            let report = begin_from(path, &state.model, communicator)?;
            Ok(Some(told(path, &report)))
        }
        _ => Ok(None),
    }
}

/// Makes the run's folder on rank 0, after moving aside what another run left there; returns where that is now.
fn prepare_folder(
    folder: &RunFolder,
    plan: &Plan,
    resume: &Resume,
    communicator: &dyn Communicator,
) -> Result<Option<PathBuf>, Failure> {
    let prepare = || -> anyhow::Result<Option<PathBuf>> {
        let aside = if *resume == Resume::None && folder.is_used() { Some(folder.set_aside()?) } else { None };
        folder.create()?;
        std::fs::write(folder.config(), plan.config.to_toml())?;
        Ok(aside)
    };
    let prepared = if communicator.rank() == 0 { prepare() } else { Ok(None) };
    let aside = prepared
        .with_context(|| format!("cannot prepare the run's folder {}", folder.root().display()))
        .map_err(|error| Failure::new(Exit::Config, error))?;
    communicator.barrier(Phase::new("run folder"))?;
    Ok(aside)
}

/// Opens where measurements go: metrics on every rank, the file and the console on rank 0.
fn sinks(
    plan: &Plan,
    options: &Options,
    world: &World,
    communicator: &dyn Communicator,
    folder: &RunFolder,
    state: &TrainState,
) -> Result<(Recorder, Option<Endpoint>), Failure> {
    let main = communicator.rank() == 0;
    let identity = Identity { run: plan.config.name.clone(), rank: communicator.rank(), host: world.host.clone() };
    let metrics = Metrics::new(&identity);
    metrics.set_build(crate::VERSION, crate::LIBTORCH_VERSION, crate::GIT_COMMIT.unwrap_or(""));
    let lines = main.then(|| open_lines(folder, state.step)).transpose().map_err(|e| Failure::new(Exit::Retry, e))?;
    let progress = Progress::new(if main { options.progress } else { ProgressMode::Off });
    let shape = RunShape {
        total_steps: plan.total_steps,
        start_step: state.step,
        epochs: plan.config.schedule.epochs,
        global_batch: plan.global_batch as u64,
        world_size: communicator.size(),
    };
    let endpoint = match options.metrics_port {
        None => None,
        Some(port) => Some(serve(&metrics, options.metrics_host, port, world)?),
    };
    let mut recorder = Recorder::new(metrics, lines, progress, shape);
    recorder.restore_best_top1(state.best_top1);
    announce(&recorder, endpoint.as_ref(), &identity, communicator)?;
    Ok((recorder, endpoint))
}

fn open_lines(folder: &RunFolder, step: u64) -> Result<JsonLines, metrics::MetricsError> {
    if step > 0 {
        return Ok(JsonLines::resume(&folder.metrics(), step)?.0);
    }
    folder.set_metrics_aside();
    JsonLines::create(&folder.metrics())
}

fn serve(metrics: &Metrics, host: IpAddr, port: u16, world: &World) -> Result<Endpoint, Failure> {
    let port = port_of_rank(port, world.local_rank).expect("checked before the run began");
    let endpoint = Endpoint::start(metrics, host, port).map_err(|error| Failure::new(Exit::Config, error))?;
    match moved(&endpoint) {
        Some(words) => tracing::warn!("{words}"),
        None => info!("metrics are at http://{}/metrics", endpoint.address()),
    }
    Ok(endpoint)
}

/// That an endpoint is not where it was asked for, in words.
fn moved(endpoint: &Endpoint) -> Option<String> {
    let taken = endpoint.moved_from()?;
    Some(format!("port {taken} is taken: metrics are at http://{}/metrics instead", endpoint.address()))
}

/// Tells the launcher where every rank's metrics are.
fn announce(
    recorder: &Recorder,
    endpoint: Option<&Endpoint>,
    identity: &Identity,
    communicator: &dyn Communicator,
) -> Result<(), Failure> {
    type Told = (Option<Target>, Option<String>);
    let mine: Told = (endpoint.map(|endpoint| Target::new(identity, endpoint.address())), endpoint.and_then(moved));
    let mine = serde_json::to_vec(&mine).expect("a target has string keys only");
    let all = communicator.all_gather(Phase::new("metrics addresses"), &mine)?;
    let all: Vec<Told> = all.iter().filter_map(|bytes| serde_json::from_slice(bytes).ok()).collect();
    for text in all.iter().filter_map(|(_, moved)| moved.clone()) {
        recorder.progress().show(&Event::Notice { text });
    }
    let targets: Vec<Target> = all.into_iter().filter_map(|(target, _)| target).collect();
    if !targets.is_empty() {
        recorder.progress().show(&Event::Endpoints { targets });
    }
    Ok(())
}

/// Tells a person what begins here.
fn introduce(telemetry: &Telemetry<'_>, plan: &Plan, chosen: &Chosen, aside: Option<PathBuf>, threads: usize) {
    for notice in &chosen.notices {
        telemetry.notice(notice);
    }
    if let Some(aside) = aside {
        telemetry.notice(&format!("an earlier run of this name is kept in {}", aside.display()));
    }
    if let Some((step, config)) = &chosen.origin {
        telemetry.notice(&format!("going on from the checkpoint of step {step}"));
        for difference in differences(config, &plan.config.to_toml()) {
            telemetry.notice(&format!("the config differs from the checkpoint's: {difference}"));
        }
    }
    info!(
        steps = plan.total_steps,
        global_batch = plan.global_batch,
        micro_batch = plan.micro_batch,
        world_size = plan.world_size,
        threads,
        "training begins"
    );
}
