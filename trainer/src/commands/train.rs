//! `train`: one rank of a run.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use collectives::Communicator;
use metrics::{PROGRESS_VARIABLE, ProgressMode};
use trainer::failure::{Failure, leave_report};
use trainer::resume::Resume;
use trainer::run::{Options, train};
use trainer::run_folder::RunFolder;
use trainer::stop::StopFlag;
use trainer::training::Ending;
use world::{Exit, World};

/// What `train` is asked for.
#[derive(Args)]
pub struct Arguments {
    /// The config of the run, a TOML file.
    config: PathBuf,
    /// Change one key of the config, as in `--set optimizer.learning_rate=1e-3`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Where to begin: `none`, `auto` (the newest good checkpoint of the run's folder), or a checkpoint's folder.
    #[arg(long, value_name = "none|auto|PATH", default_value = "none")]
    resume: Resume,
    /// The run's folder [default: runs/<name>].
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Serve Prometheus metrics at this port plus the local rank; 0 takes any free port.
    #[arg(long, value_name = "PORT")]
    metrics_port: Option<u16>,
    /// Address that metrics are served at.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    metrics_host: IpAddr,
}

/// Trains, and says in an exit code how that ended.
pub fn run(arguments: &Arguments) -> Exit {
    let world = match World::from_env() {
        Ok(world) => world,
        Err(error) => {
            eprintln!("error: {error}");
            return Exit::Config;
        }
    };
    match join_and_train(arguments, &world) {
        Ok(Ending::Finished) => Exit::Done,
        Ok(Ending::Stopped) => {
            // The launcher says so itself, with the whole command.
            if world.is_main() && ProgressMode::choose(progress_variable().as_deref()) != ProgressMode::Wire {
                eprintln!("stopped as asked, with a checkpoint; go on with --resume auto");
            }
            Exit::Retry
        }
        Err(failure) => failure.exit,
    }
}

/// Loads the config, joins the ranks and trains; a failure is told, left in the run's folder, and ends all ranks.
fn join_and_train(arguments: &Arguments, world: &World) -> Result<Ending, Failure> {
    let config =
        plan::load(&arguments.config, &arguments.sets).map_err(|error| tell(world, None, None, error.into()))?;
    let folder = RunFolder::new(arguments.run_dir.as_deref(), &config.name);
    let told = |communicator: Option<&dyn Communicator>, failure| tell(world, Some(&folder), communicator, failure);

    let stop = StopFlag::on_signals().map_err(|error| told(None, Failure::new(Exit::Retry, error)))?;
    let timeout = Duration::from_secs_f64(config.parallel.timeout_s);
    let communicator =
        collectives::connect(backend(&config), world, timeout).map_err(|error| told(None, error.into()))?;
    let options = Options {
        run_dir: arguments.run_dir.clone(),
        resume: arguments.resume.clone(),
        metrics_port: arguments.metrics_port,
        metrics_host: arguments.metrics_host,
        progress: progress(&config),
    };
    train(config, &options, world, &communicator, &stop).map_err(|failure| told(Some(&*communicator), failure))
}

pub(super) fn backend(config: &plan::Config) -> collectives::Backend {
    match config.parallel.backend {
        plan::config::Backend::Auto => collectives::Backend::Auto,
        plan::config::Backend::Local => collectives::Backend::Local,
        plan::config::Backend::Mpi => collectives::Backend::Mpi,
    }
}

fn progress(config: &plan::Config) -> ProgressMode {
    if !config.log.progress {
        return ProgressMode::Off;
    }
    ProgressMode::choose(progress_variable().as_deref())
}

fn progress_variable() -> Option<String> {
    std::env::var(PROGRESS_VARIABLE).ok()
}

/// Tells a failure to whoever watches: the terminal, the log, the launcher. Other ranks that wait for this one are ended.
fn tell(
    world: &World,
    folder: Option<&RunFolder>,
    communicator: Option<&dyn Communicator>,
    failure: Failure,
) -> Failure {
    match world.size {
        1 => eprintln!("error: {:#}", failure.error),
        _ => eprintln!("error: rank {} on {}: {:#}", world.rank, world.host, failure.error),
    }
    tracing::error!("{:#}", failure.error);
    if let Some(folder) = folder {
        leave_report(&folder.logs(), world, &failure);
    }
    match communicator {
        Some(communicator) if communicator.size() > 1 => communicator.abort(failure.exit.code()),
        _ => failure,
    }
}
