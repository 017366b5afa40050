//! What can be wrong with a question to `rectify simulate`.

use std::path::PathBuf;

/// Why nothing can be simulated. The program ends with exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// `--gpus` cannot be read.
    #[error("--gpus {text}: {reason}; write --gpus 8..4096, which doubles from 8, or --gpus 8,16,24")]
    Counts {
        /// What was given.
        text: String,
        /// What is wrong.
        reason: String,
    },
    /// The GPUs do not fill their machines.
    #[error(
        "--gpus: {gpus} GPUs do not fill machines of {per_node}: take multiples of {per_node}, or say --gpus-per-node"
    )]
    Uneven {
        /// The number asked for.
        gpus: usize,
        /// GPUs of a machine.
        per_node: usize,
    },
    /// There is no such network.
    #[error("--network {name}: there is no such network{hint}; there are {known}", known = known.join(", "))]
    UnknownNetwork {
        /// What was asked for.
        name: String,
        /// "; did you mean …?" or nothing.
        hint: String,
        /// All names.
        known: Vec<&'static str>,
    },
    /// Nothing says how fast the network is.
    #[error(
        "how fast is the network? Name one with --network ({known}), or say --alpha-us and --gb-per-s",
        known = known.join(", ")
    )]
    NoNetwork {
        /// All names.
        known: Vec<&'static str>,
    },
    /// Machines of several GPUs without the link between them.
    #[error(
        "--gpus-per-node {per_node}: --alpha-us and --gb-per-s are the links inside a machine then; say --node-alpha-us and \
         --node-gb-per-s, too"
    )]
    NoNodeLink {
        /// GPUs of a machine.
        per_node: usize,
    },
    /// Nothing says how long a step takes.
    #[error(
        "how long does a step take on one GPU? Nothing is guessed. Measure it: `rectify train CONFIG --nproc 1 --set \
         schedule.max_steps=200`, then say --from runs/NAME; or say --step-ms or --images-per-second"
    )]
    NoStep,
    /// A number is out of its range.
    #[error("{flag} {value}: must be {expected}")]
    Range {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: f64,
        /// What it takes.
        expected: &'static str,
    },
    /// The folder holds no run.
    #[error("--from {path}: {reason}; give the folder of a run, such as runs/NAME, that `rectify train` has left", path = path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// The file is not there, or no benchmark's.
    #[error(
        "--from {path}: neither a run's folder nor a benchmark's file: {reason}; give runs/NAME that `rectify train` has left, or a JSON \
         file with images_per_second, parameters_bytes and phases (loader, forward, backward, optimizer, in seconds)",
        path = path.display()
    )]
    NoBench {
        /// The file.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// The run has not recorded enough steps.
    #[error(
        "--from {path}: metrics.jsonl has {records} records of steps with their phases after the first, too few to measure; train for \
         longer, or log more often (--set log.every_steps=5)",
        path = path.display()
    )]
    TooFewSteps {
        /// The run's folder.
        path: PathBuf,
        /// How many it has.
        records: usize,
    },
    /// Another model was measured.
    #[error(
        "--from {path}: {theirs} parameters of {their_model} were measured, the config has {ours} of {our_model}; give the config that was \
         measured (a run's is in its folder), or measure this one",
        path = path.display()
    )]
    OtherModel {
        /// The run's folder, or the benchmark's file.
        path: PathBuf,
        /// The model that was measured.
        their_model: String,
        /// Its parameters.
        theirs: u64,
        /// The config's model.
        our_model: String,
        /// Its parameters.
        ours: u64,
    },
    /// The global batch cannot be kept on so many GPUs.
    #[error("--strong keeps the global batch, which {gpus} GPUs cannot share: {source}")]
    Unshared {
        /// The number of GPUs.
        gpus: usize,
        /// What the plan says.
        source: plan::ConfigError,
    },
}
