//! The command line: subcommands, flags and their help.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::simulate::{self, Algorithm};

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  2   the command line or the config is wrong, or MPI or the trainer is missing; never retry
  3   the data are missing or wrong
  4   the loss was not finite
  75  worth a retry, with --resume auto: interrupted after a checkpoint, a rank was
      killed by a signal, or one did not answer in time
  any other code is a bug of Rectify's or of something around it";

const EXAMPLES: &str = "\
Examples:
  rectify train configs/demo.toml --nproc 2
  rectify train configs/demo.toml --nproc 2 --set schedule.epochs=20 --set seed=1 --run-dir runs/seed-1
  rectify train configs/demo.toml --nproc 2 --resume auto          go on where it was interrupted
  rectify train configs/demo.toml --hostfile hosts                 as many ranks as the hostfile has slots
  rectify train configs/demo.toml --nproc 2 --print-command        check everything, start nothing
  rectify train configs/deit_small.toml --nproc 8 --dry-run        what it comes to, and where it departs from its recipe

Ctrl-C, SIGTERM and SIGUSR1 make all ranks write a checkpoint at the same step and end; a second Ctrl-C ends them at once.
Inside a Slurm allocation mpirun asks Slurm for the machines (not tried on a cluster yet).
";

const SWEEP_EXAMPLES: &str = "\
Examples:
  rectify sweep configs/paper/cifar10_table_short.toml             goes on where it was interrupted
  rectify sweep configs/paper/cifar10_table.toml --dry-run         the cells, their steps, the time that they will take
  rectify sweep configs/paper/cifar10_table.toml --table-only      the tables of what is finished

Ctrl-C makes the running cells write a checkpoint and end. A finished cell is never run again. docs/sweeps.md has the file's keys.
";

const SEARCH_EXAMPLES: &str = "\
Examples:
  rectify search configs/search_demo.toml                          goes on where it was interrupted
  rectify search configs/paper/search_cifar10.toml --dry-run       what it begins with, and how many runs it comes to

Each generation derives corrections of the activations that were kept, trains them with an equal budget, and keeps the best.
Ctrl-C makes the running ones write a checkpoint and end. A finished run is never run again. docs/eafo.md has the file's keys.
";

const SIMULATE_EXAMPLES: &str = "\
Examples:
  rectify simulate configs/deit_base.toml --gpus 8..4096 --network nvlink+ib-ndr400 --images-per-second 900
  rectify simulate configs/demo.toml --gpus 1,2,4 --alpha-us 50 --gb-per-s 1.1 --from runs/demo
  rectify simulate configs/deit_base.toml --gpus 8..512 --network ethernet-10g --step-ms 330 --set parallel.wire=bf16 --strong

The step is measured, never guessed: `rectify train CONFIG --nproc 1 --set schedule.max_steps=200` leaves one for --from.
docs/simulate.md has the model, and how far it is from what was measured.
";

/// Train vision transformers, on one core or on many machines.
#[derive(Debug, Parser)]
#[command(name = "rectify", version, max_term_width = 100, arg_required_else_help = true, after_help = EXIT_CODES)]
#[command(disable_help_subcommand = true, infer_subcommands = false)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a model: check config and data, start the ranks, watch them to the end.
    #[command(after_help = format!("{EXAMPLES}\n{EXIT_CODES}"))]
    Train(Train),
    /// Train every combination of models, activations and seeds of a sweep's file, and compare them.
    #[command(after_help = format!("{SWEEP_EXAMPLES}\n{EXIT_CODES}"))]
    Sweep(Sweep),
    /// Search for activations: derive corrections, train them shortly with an equal budget, keep the best, again and again.
    #[command(after_help = format!("{SEARCH_EXAMPLES}\n{EXIT_CODES}"))]
    Search(Search),
    /// Score a trained network on a set of images, ImageNet-V2, A, R, Sketch and ReaL among them; `--nproc N` ranks
    /// (hands over to rectify-trainer; see `rectify eval --help`).
    #[command(disable_help_flag = true)]
    Eval {
        /// Words for rectify-trainer.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Name what images show, with a checkpoint or weights of timm's (likewise).
    #[command(disable_help_flag = true)]
    Predict {
        /// Words for rectify-trainer.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Write histograms of what a trained network's activations are applied to, for `rectify eafo layers` (likewise).
    #[command(disable_help_flag = true)]
    Inspect {
        /// Words for rectify-trainer.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Measure how fast a config's steps are, and what holds them back (likewise).
    #[command(disable_help_flag = true)]
    Bench {
        /// Words for rectify-trainer.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Write a checkpoint's weights as a safetensors file that timm loads (likewise).
    #[command(disable_help_flag = true)]
    Export {
        /// Words for rectify-trainer.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Say how fast a config would train on more GPUs than are there, from the step of one and a stated network.
    #[command(after_help = format!("Networks:\n{}\n{SIMULATE_EXAMPLES}\n{EXIT_CODES}", simulate::listing()))]
    Simulate(Box<Simulate>),
    /// List the models, with parameters, GFLOPs, published top-1 and activation.
    Models(Models),
    /// Say what this machine has: libtorch, GPUs, MPI, NCCL, cores, memory.
    Doctor(Doctor),
    /// Look after data sets (hands over to rectify-data; see `rectify data --help`).
    #[command(disable_help_flag = true)]
    Data {
        /// Words for rectify-data.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Derive and rank activations by entropy (hands over to rectify-eafo; see `rectify eafo --help`).
    #[command(disable_help_flag = true)]
    Eafo {
        /// Words for rectify-eafo.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run a command that ends with the launcher.
    #[command(name = crate::guard::KEEPER, hide = true)]
    Keep(Kept),
    /// Become a command that ends with its keeper.
    #[command(name = crate::guard::TIED, hide = true)]
    Tied(Kept),
}

/// A command and the process with which it ends.
#[derive(Debug, Args)]
pub struct Kept {
    /// That process's id.
    pub parent: u32,
    /// The program and its arguments.
    #[arg(last = true)]
    pub words: Vec<String>,
}

/// `rectify train`.
#[derive(Debug, Args)]
pub struct Train {
    /// The TOML file that says what to train, on what, and how.
    pub config: PathBuf,

    /// Number of ranks (processes). Without it: the slots of the hostfile, the tasks of the Slurm allocation, or 1.
    /// One rank is started without MPI.
    #[arg(long, value_name = "N")]
    pub nproc: Option<usize>,

    /// File with one machine a line, such as `node1 slots=4`.
    #[arg(long, value_name = "FILE")]
    pub hostfile: Option<PathBuf>,

    /// Set a key of the config; may be given many times. Example: --set train.batch_size=256
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,

    /// `auto` goes on from the run's newest good checkpoint, or begins anew if there is none; `none` begins anew; a path
    /// goes on from that checkpoint.
    #[arg(long, value_name = "auto|none|PATH", default_value = "none")]
    pub resume: String,

    /// The run's folder. Default: runs/NAME, with the name that the config gives.
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,

    /// Serve metrics for Prometheus; each rank at this port plus its number on its machine. A taken port moves on, and
    /// 0 takes any free one for each.
    #[arg(long, value_name = "PORT")]
    pub metrics_port: Option<u16>,

    /// Address at which metrics are served. Loopback unless told otherwise; 0.0.0.0 lets other machines ask.
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_host: Option<IpAddr>,

    /// Also write the file that tells Prometheus where the ranks are into this folder, as NAME.json.
    #[arg(long, value_name = "DIR")]
    pub prometheus_targets: Option<PathBuf>,

    /// Start again from the newest checkpoint at most this many times, if the run ends with exit code 75.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub restarts: u32,

    /// Seconds that ranks have to write their checkpoint after Ctrl-C, SIGTERM or SIGUSR1.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub grace_s: u64,

    /// Check config and data, print the command that would start the ranks, and start nothing.
    #[arg(long)]
    pub print_command: bool,

    /// Print the plan and start nothing: model, batch, steps, learning rate, memory, and what differs from the recipe that
    /// the config names. Data that the config describes (data.expect_…) need not be there.
    #[arg(long, conflicts_with = "print_command")]
    pub dry_run: bool,
}

/// `rectify sweep`.
#[derive(Debug, Args)]
pub struct Sweep {
    /// The TOML file that says which config is trained with which models, activations and seeds.
    pub file: PathBuf,

    /// How its cells are run.
    #[command(flatten)]
    pub many: Many,

    /// Start no further cell once one has failed. Without it the others go on.
    #[arg(long)]
    pub fail_fast: bool,

    /// Check every cell's config, list the cells with their steps and the time that they will take, and start nothing.
    #[arg(long, conflicts_with = "table_only")]
    pub dry_run: bool,

    /// Write and show the tables of the cells that are finished, and start nothing.
    #[arg(long)]
    pub table_only: bool,
}

/// `rectify search`.
#[derive(Debug, Args)]
pub struct Search {
    /// The TOML file that says which activations to begin with, what to derive from them, and how to train them.
    pub file: PathBuf,

    /// How its runs are started.
    #[command(flatten)]
    pub many: Many,

    /// Check the config with each activation that the search begins with, say how many runs there will be at most, and start
    /// nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// What is said of many runs at once.
#[derive(Debug, Args)]
pub struct Many {
    /// Number of ranks of each run, in the place of the file's `nproc`.
    #[arg(long, value_name = "N")]
    pub nproc: Option<usize>,

    /// Runs at the same time, in the place of the file's `at_a_time`; they share the cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub at_a_time: Option<u16>,

    /// Set a key of the config for all runs; may be given many times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,

    /// The folder of all runs. Default: runs/NAME, with the name that the file gives.
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,

    /// Start a run again from its newest checkpoint at most this many times, if it ends with exit code 75.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub restarts: u32,

    /// Seconds that runs have to write their checkpoint after Ctrl-C, SIGTERM or SIGUSR1.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub grace_s: u64,
}

/// `rectify simulate`.
#[derive(Debug, Args)]
pub struct Simulate {
    /// The TOML file that says what to train: model, batch, `train.accumulation` and `[parallel]` count here.
    pub config: PathBuf,

    /// Numbers of GPUs: FROM..TO doubles from FROM on, N,N,… lists.
    #[arg(long, value_name = "FROM..TO|N,N,…", allow_hyphen_values = true)]
    pub gpus: String,

    /// Set a key of the config; may be given many times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,

    /// What measured the step: a run's folder, such as runs/NAME (medians of the phases in its metrics.jsonl), or the JSON file of
    /// `rectify-trainer bench`.
    #[arg(long, value_name = "RUN|FILE", help_heading = "The step on one GPU (one of these)")]
    #[arg(conflicts_with_all = ["step_ms", "images_per_second", "backward_share"])]
    pub from: Option<PathBuf>,

    /// A step with its images a GPU takes this long on one GPU, communication left out.
    #[arg(long, value_name = "MS", conflicts_with = "images_per_second")]
    #[arg(help_heading = "The step on one GPU (one of these)")]
    pub step_ms: Option<f64>,

    /// One GPU trains on so many images a second.
    #[arg(long, value_name = "N", help_heading = "The step on one GPU (one of these)")]
    pub images_per_second: Option<f64>,

    /// The backward pass' share of such a step; 2/3 unless told otherwise.
    #[arg(long, value_name = "SHARE", help_heading = "The step on one GPU (one of these)")]
    pub backward_share: Option<f64>,

    /// A network by its name; see below.
    #[arg(long, value_name = "NAME", help_heading = "The network (a name, or α and β)")]
    #[arg(conflicts_with_all = ["alpha_us", "gb_per_s", "node_alpha_us", "node_gb_per_s"])]
    pub network: Option<String>,

    /// α: microseconds of a hop from GPU to GPU.
    #[arg(long, value_name = "US", requires = "gb_per_s", help_heading = "The network (a name, or α and β)")]
    pub alpha_us: Option<f64>,

    /// β: 10⁹ bytes a second that a GPU sends, as NCCL's tests report bus bandwidth.
    #[arg(long, value_name = "GB/S", requires = "alpha_us", help_heading = "The network (a name, or α and β)")]
    pub gb_per_s: Option<f64>,

    /// α between machines; --alpha-us and --gb-per-s are inside them then.
    #[arg(long, value_name = "US", requires_all = ["node_gb_per_s", "alpha_us"])]
    #[arg(help_heading = "The network (a name, or α and β)")]
    pub node_alpha_us: Option<f64>,

    /// β between machines: of a whole machine, all its cards together.
    #[arg(long, value_name = "GB/S", requires_all = ["node_alpha_us", "alpha_us"])]
    #[arg(help_heading = "The network (a name, or α and β)")]
    pub node_gb_per_s: Option<f64>,

    /// GPUs of a machine. Default: 8, or 1 where only --alpha-us and --gb-per-s are given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    #[arg(help_heading = "The network (a name, or α and β)")]
    pub gpus_per_node: Option<u16>,

    /// Images a GPU. Default: the config's batch over the smallest number of GPUs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_per_gpu: Option<u32>,

    /// Keep the global batch; without it the batch of each GPU is kept.
    #[arg(long)]
    pub strong: bool,

    /// How gradients are summed.
    #[arg(long, default_value = "auto")]
    pub algorithm: Algorithm,

    /// Standard deviation of a GPU's step, as a share of it: all wait for the slowest.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub jitter: f64,

    /// Images that the loader of a machine makes ready a second, such as `rectify data bench` reports.
    #[arg(long, value_name = "N")]
    pub loader_images_per_second_per_node: Option<f64>,

    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// `rectify models`.
#[derive(Debug, Args)]
pub struct Models {
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// `rectify doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Also start this many ranks with mpirun, and show where each one runs and which cores it may use.
    #[arg(long, value_name = "N")]
    pub nproc: Option<usize>,

    /// The machines of these ranks, as for `rectify train`.
    #[arg(long, value_name = "FILE", requires = "nproc")]
    pub hostfile: Option<PathBuf>,

    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,

    /// Print where this rank runs, and end.
    #[arg(long, hide = true)]
    pub rank_report: bool,
}
