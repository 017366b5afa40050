//! Processes as ranks, started by the real `mpirun`: the same bits as threads give, and bad ends that name who is to blame.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Mutex;

use collectives::Wire;
use world::Exit;

mod numbers;
mod threads;

/// One `mpirun` at a time: this machine may have fewer cores than one of them starts ranks.
static TURN: Mutex<()> = Mutex::new(());

/// The program of a rank: the example `ranks`, which `cargo test` builds beside the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples/ranks");
    assert!(path.exists(), "{} is missing: cargo builds it by `cargo build --examples`", path.display());
    path
}

fn mpirun(size: usize, scenario: &[&str]) -> Output {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut command = Command::new("mpirun");
    command.args(["--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-np", &size.to_string()]);
    // Only shared memory and loopback, so that the test needs no network.
    command.args([
        "--mca",
        "btl",
        "self,vader,tcp",
        "--mca",
        "btl_tcp_if_include",
        "lo",
        "--mca",
        "oob_tcp_if_include",
        "lo",
    ]);
    // A test may itself run under a launcher.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if ["OMPI_", "PMIX_", "PMI_", "SLURM_", "RECTIFY_"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(&*name);
        }
    }
    command.arg(program()).args(scenario);
    command.output().expect("mpirun, from the package openmpi-bin")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What ranks said was wrong, one line each.
fn errors(output: &Output) -> Vec<String> {
    text(&output.stderr).lines().filter_map(|line| Some(line.split_once("error: ")?.1.to_string())).collect()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("mpirun ended by itself")
}

/// The digest that the example prints, of the same reductions over threads.
fn digest_of_threads(size: usize) -> String {
    let digests = threads::on_ranks(size, threads::PATIENT, |rank| {
        let mut digest = DefaultHasher::new();
        for len in numbers::LENGTHS {
            for wire in [Wire::Full, Wire::Bf16] {
                numbers::reduced_bits(&*rank, len, wire).hash(&mut digest);
            }
        }
        digest.finish()
    });
    format!("digest {:016x}", digests[0])
}

#[test]
fn processes_give_the_same_bits_as_threads() {
    for size in 1..=4 {
        let output = mpirun(size, &["agree"]);
        assert!(output.status.success(), "{size} ranks: {}", text(&output.stderr));
        let lines: Vec<_> = text(&output.stdout).lines().map(str::to_string).collect();
        assert_eq!(lines, vec![digest_of_threads(size); size], "{size} ranks");
        let again = mpirun(size, &["agree"]);
        assert_eq!(text(&again.stdout), text(&output.stdout), "two runs of {size} ranks");
    }
}

#[test]
fn a_rank_that_does_not_come_ends_the_others_in_time() {
    for (size, missing) in [(2, "1"), (3, "0"), (4, "2")] {
        let output = mpirun(size, &["missing", missing, "5"]);
        assert_eq!(code(&output), Exit::Retry.code(), "{}", text(&output.stderr));
        let errors = errors(&output);
        assert!(!errors.is_empty(), "{}", text(&output.stderr));
        for error in errors {
            assert!(error.contains(&format!("\"gradients of step 12\" for rank {missing}:")), "{error}");
        }
    }
}

#[test]
fn a_rank_that_never_starts_ends_the_others_in_time() {
    let output = mpirun(3, &["late", "2", "5"]);
    assert_eq!(code(&output), Exit::Retry.code(), "{}", text(&output.stderr));
    let errors = errors(&output);
    assert!(
        !errors.is_empty() && errors.iter().all(|error| error.contains("did not all start within 5.0 s")),
        "{errors:?}"
    );
}

#[test]
fn ranks_in_different_operations_are_told_so() {
    for (scenario, odd) in [("mismatch", "mean of 101 f32, gradients"), ("wires", "mean of 100 f32 as bf16, gradients")]
    {
        let output = mpirun(3, &[scenario]);
        assert_eq!(code(&output), 1, "a bug of ours: {}", text(&output.stderr));
        let errors = errors(&output);
        assert!(!errors.is_empty(), "{}", text(&output.stderr));
        for error in errors {
            assert!(error.contains("mean of 100 f32, gradients") && error.contains(odd), "{error}");
        }
    }
}

#[test]
fn one_rank_ends_all_with_its_exit_code() {
    let output = mpirun(3, &["leave", "1", "3"]);
    assert_eq!(code(&output), Exit::Data.code(), "{}", text(&output.stderr));
}

#[test]
fn a_rank_that_returns_early_is_named_and_nobody_waits_for_ever() {
    let output = mpirun(3, &["return", "1"]);
    assert_ne!(code(&output), 0);
    let errors = errors(&output);
    assert!(!errors.is_empty(), "{}", text(&output.stderr));
    for error in errors {
        assert!(error.contains("rank 1 ended while the others were in \"evaluation\""), "{error}");
    }
}
