//! `bench`: how fast a config's steps are.

use std::io::BufRead;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use plan::{DataFacts, Plan};
use trainer::bench::{Length, Replayed, Report, measure};
use trainer::failure::Failure;
use world::{Exit, World};

/// Examples for the help.
pub const EXAMPLES: &str = "\
Examples:
  rectify-trainer bench configs/deit_small.toml --set train.batch_size=16
  mpirun -np 2 rectify-trainer bench configs/deit_base.toml --set train.batch_size=4 --json
  rectify-trainer bench configs/vit_tiny.toml --json > step.json
  rectify simulate configs/vit_tiny.toml --gpus 8..64 --network nvlink+ib-ndr --from step.json

Steps are those of training, on images that are made: `rectify data bench` says what the
loader adds. Data need not be there.
";

/// Stands in for data that are not looked at, where the config does not say what it expects: those of ImageNet-1K.
const IMAGENET: DataFacts = DataFacts { train_samples: 1_281_167, val_samples: 50_000, num_classes: 1000 };

/// What `bench` is asked for.
#[derive(Args)]
pub struct Arguments {
    /// The config, a TOML file.
    config: PathBuf,
    /// Change one key of the config, as in `--set train.precision=bf16`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Steps that are measured.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Steps before them.
    #[arg(long, value_name = "N", default_value_t = 3)]
    warmup: u32,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Measure again for every line of standard input, one JSON object each; end with it.
    #[arg(long)]
    each_line: bool,
}

/// Measures on this rank, together with the others; rank 0 says what came of it.
pub fn run(arguments: &Arguments) -> Exit {
    let world = match World::from_env() {
        Ok(world) => world,
        Err(error) => return super::tell(&Failure::new(Exit::Config, error)),
    };
    match load_and_measure(arguments, &world) {
        Ok(()) => Exit::Done,
        Err(failure) => super::tell(&failure),
    }
}

fn load_and_measure(arguments: &Arguments, world: &World) -> Result<(), Failure> {
    let config = plan::load(&arguments.config, &arguments.sets)?;
    let facts = DataFacts::expected(&config).unwrap_or(IMAGENET);
    let plan = Plan::resolve(config, facts, world.size)?;
    let timeout = Duration::from_secs_f64(plan.config.parallel.timeout_s);
    let communicator = collectives::connect(super::train::backend(&plan.config), world, timeout)?;
    let length = Length { warmup_steps: arguments.warmup as usize, steps: arguments.steps as usize };
    let mut lines = std::io::stdin().lock().lines();
    // The first round is for the first line.
    if arguments.each_line && world.is_main() && lines.next().is_none() {
        return Ok(());
    }
    let measured = measure(&plan, world, &communicator, length, |report| {
        let words = if arguments.json || arguments.each_line { to_json(&report) } else { to_text(&report) };
        super::say(&words).is_ok() && arguments.each_line && lines.next().is_some()
    });
    measured.inspect_err(|failure| {
        if communicator.size() > 1 {
            let exit = super::tell(failure);
            communicator.abort(exit.code());
        }
    })
}

fn to_json(report: &Report) -> String {
    serde_json::to_string(report).expect("a report has string keys only")
}

fn to_text(report: &Report) -> String {
    let phases = &report.phases;
    let total = phases.loader + phases.forward + phases.backward + phases.all_reduce + phases.optimizer;
    let row =
        |name: &str, seconds: f64| format!("  {name:<22}{:9.1} ms  {:5.1} %", 1e3 * seconds, 100.0 * seconds / total);
    let memory = report.peak_memory_mib.map_or_else(|| "unknown".to_owned(), |mib| format!("{mib:.0} MiB"));
    let ranks = if report.world_size == 1 { String::new() } else { format!(" on each of {} ranks", report.world_size) };
    let graph = report.cuda_graph.as_ref().map(|replayed| match replayed {
        Replayed::Yes => "  steps are replayed as CUDA graphs; phases are those without them".to_owned(),
        Replayed::Part(why) => format!("  steps are replayed as a CUDA graph in part, since {why}"),
        Replayed::No(why) => format!("  no CUDA graph, since {why}"),
    });
    let lines = [
        format!(
            "{} with {}, {} pixels, {}, {} images a step, {} threads",
            report.model, report.activation, report.image_size, report.precision, report.rank_batch, report.threads
        ),
        format!("  {:.2} images/s{ranks}", report.images_per_second),
        row("forward", phases.forward),
        row("backward", phases.backward),
        row("waiting for gradients", phases.all_reduce),
        row("update", phases.optimizer),
        format!(
            "  MFU {:.1} % of {:.0} GFLOP/s, which the model's matrix products reach by themselves",
            100.0 * report.mfu,
            report.product_flops_per_second / 1e9
        ),
        format!("  peak memory {memory}, {:.0} page faults a step", report.page_faults_per_step),
        format!("  held back by {}", report.bottleneck),
    ];
    lines.into_iter().chain(graph).collect::<Vec<_>>().join("\n")
}
