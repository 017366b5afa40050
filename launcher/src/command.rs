//! The command that starts the ranks: a pure function from a placement to words, and their form for a shell.

use std::path::{Path, PathBuf};

use crate::placement::{Placement, Start};

/// What besides the placement shapes the line.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// The hostfile, if there is one.
    pub hostfile: Option<PathBuf>,
    /// We are root.
    pub is_root: bool,
    /// One process may read another one's memory (see `machine::allows_single_copy`).
    pub single_copy: bool,
    /// There is no `ssh` here and all ranks are; Open MPI would refuse to start without one.
    pub needs_no_remote_shell: bool,
    /// Names of the environment variables that ranks need, wherever they run.
    pub variables: Vec<String>,
}

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine(pub Vec<String>);

impl CommandLine {
    /// The line as a shell takes it.
    pub fn for_shell(&self) -> String {
        self.0.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

/// The line that starts `program` as many times as the placement says.
pub fn compose(placement: &Placement, circumstances: &Circumstances, program: &[String]) -> CommandLine {
    let mut words = match placement.start {
        Start::Alone => Vec::new(),
        Start::Mpirun | Start::MpirunInSlurm => mpirun(placement, circumstances),
    };
    words.extend_from_slice(program);
    CommandLine(words)
}

fn mpirun(placement: &Placement, circumstances: &Circumstances) -> Vec<String> {
    let mut words = vec!["mpirun".to_string(), "-np".into(), placement.nproc.to_string()];
    let mut add = |more: &[&str]| words.extend(more.iter().map(|word| word.to_string()));
    if let Some(hostfile) = &circumstances.hostfile {
        // By slot: the machines are filled in the order that `placement` has told.
        add(&["--hostfile", &hostfile.to_string_lossy(), "--map-by", "slot"]);
    }
    // Open MPI's default pins each of two ranks, all its loader threads included, to one core.
    add(&["--bind-to", "none"]);
    if placement.oversubscribe {
        // Ranks that wait spin by default, and would starve those that work.
        add(&["--oversubscribe", "--mca", "mpi_yield_when_idle", "1"]);
    }
    if circumstances.is_root {
        add(&["--allow-run-as-root"]);
    }
    if circumstances.needs_no_remote_shell {
        add(&["--mca", "plm", "isolated"]);
    }
    if !circumstances.single_copy {
        add(&["--mca", "btl_vader_single_copy_mechanism", "none"]);
    }
    add(&["--mca", "btl_base_warn_component_unused", "0"]);
    for variable in &circumstances.variables {
        add(&["-x", variable]);
    }
    words
}

/// Which of `names` ranks on another machine need: ours, and those that steer the libraries below us. Who is which rank is never
/// handed on.
pub fn variables_to_forward(names: impl IntoIterator<Item = String>) -> Vec<String> {
    const PREFIXES: [&str; 6] = ["RECTIFY_", "NCCL_", "OMP_", "GOMP_", "RUST_", "TORCH_"];
    let wanted = |name: &String| {
        !is_rank_variable(name)
            && (name == "LD_LIBRARY_PATH" || PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
            && !matches!(name.as_str(), "RUST_RECURSION_COUNT" | "RUST_TEST_THREADS" | "RECTIFY_TRAINER")
    };
    let mut variables: Vec<String> = names.into_iter().filter(wanted).collect();
    variables.sort();
    variables.dedup();
    variables
}

/// Whether a variable tells a process its rank; left over from an outer job, it would contradict the new one.
pub fn is_rank_variable(name: &str) -> bool {
    use world::variables::{LOCAL_RANK, LOCAL_SIZE, RANK, WORLD_SIZE};
    [RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_SIZE].contains(&name)
}

/// The trainer's own words, after its name: what a person would type after `rectify-trainer`.
pub fn trainer_words(trainer: &Path, config: &Path, sets: &[String], flags: &[(&str, Option<String>)]) -> Vec<String> {
    let mut words = vec![trainer.to_string_lossy().into_owned(), "train".into(), config.to_string_lossy().into_owned()];
    for set in sets {
        words.extend(["--set".to_string(), set.clone()]);
    }
    for (flag, value) in flags {
        if let Some(value) = value {
            words.extend([flag.to_string(), value.clone()]);
        }
    }
    words
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placement(start: Start, nproc: usize, oversubscribe: bool) -> Placement {
        Placement {
            start,
            nproc,
            ranks_per_host: Vec::new(),
            oversubscribe,
            threads_per_rank: None,
            reason: String::new(),
        }
    }

    fn circumstances() -> Circumstances {
        Circumstances {
            hostfile: None,
            is_root: false,
            single_copy: true,
            needs_no_remote_shell: false,
            variables: Vec::new(),
        }
    }

    fn line(placement: &Placement, circumstances: &Circumstances) -> String {
        compose(placement, circumstances, &["trainer".into(), "train".into(), "a b.toml".into()]).for_shell()
    }

    #[test]
    fn the_line_for_two_ranks() {
        assert_eq!(
            line(&placement(Start::Mpirun, 2, false), &circumstances()),
            "mpirun -np 2 --bind-to none --mca btl_base_warn_component_unused 0 trainer train 'a b.toml'"
        );
    }

    #[test]
    fn each_circumstance_adds_its_words() {
        let two = placement(Start::Mpirun, 2, false);
        let root = Circumstances { is_root: true, ..circumstances() };
        assert!(line(&two, &root).contains(" --allow-run-as-root "));
        let hosts = Circumstances { hostfile: Some("my hosts".into()), ..circumstances() };
        assert!(line(&two, &hosts).contains(" --hostfile 'my hosts' --map-by slot "));
        let bare = Circumstances { needs_no_remote_shell: true, ..circumstances() };
        assert!(line(&two, &bare).contains(" --mca plm isolated "));
        let container = Circumstances { single_copy: false, ..circumstances() };
        assert!(line(&two, &container).contains(" --mca btl_vader_single_copy_mechanism none "));
        let variables = Circumstances { variables: vec!["A".into(), "B".into()], ..circumstances() };
        assert!(line(&two, &variables).contains(" -x A -x B trainer"));
        let crowded = line(&placement(Start::Mpirun, 9, true), &circumstances());
        assert!(crowded.contains(" --oversubscribe --mca mpi_yield_when_idle 1 "));
    }

    #[test]
    fn one_rank_is_started_without_mpirun_and_slurm_without_machines() {
        assert_eq!(line(&placement(Start::Alone, 1, false), &circumstances()), "trainer train 'a b.toml'");
        let slurm = line(&placement(Start::MpirunInSlurm, 4, false), &circumstances());
        assert!(slurm.starts_with("mpirun -np 4 --bind-to none ") && !slurm.contains("host"), "{slurm}");
    }

    #[test]
    fn variables_of_ours_are_handed_on_but_never_a_rank() {
        let names =
            ["PATH", "OMP_NUM_THREADS", "RECTIFY_RANK", "RECTIFY_X", "LD_LIBRARY_PATH", "NCCL_DEBUG", "RECTIFY_X"];
        let forwarded = variables_to_forward(names.map(String::from));
        assert_eq!(forwarded, ["LD_LIBRARY_PATH", "NCCL_DEBUG", "OMP_NUM_THREADS", "RECTIFY_X"]);
    }

    #[test]
    fn a_shell_reads_the_words_back() {
        let words = ["plain", "two words", "it's", "$HOME", "", "a=b", r#"model={name="x"}"#, "*", "~"];
        let line = CommandLine(std::iter::once("printf").chain(["%s\\n"]).chain(words).map(String::from).collect());
        let output = std::process::Command::new("sh").arg("-c").arg(line.for_shell()).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), words.join("\n") + "\n");
    }
}
