//! Each launcher's variables, their contradictions, and the traps of a batch system.

use world::{LauncherKind, World, WorldError};

fn read(variables: &[(&str, &str)]) -> Result<World, WorldError> {
    let lookup = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string());
    World::from_vars(lookup, "node7".into())
}

fn numbers(world: &World) -> [usize; 4] {
    [world.rank, world.size, world.local_rank, world.local_size]
}

const RECTIFY: [(&str, &str); 4] =
    [("RECTIFY_RANK", "5"), ("RECTIFY_WORLD_SIZE", "8"), ("RECTIFY_LOCAL_RANK", "1"), ("RECTIFY_LOCAL_SIZE", "4")];
const OPEN_MPI: [(&str, &str); 5] = [
    ("OMPI_COMM_WORLD_RANK", "3"),
    ("OMPI_COMM_WORLD_SIZE", "6"),
    ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
    ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
    ("PMIX_RANK", "3"),
];
const PMI: [(&str, &str); 4] =
    [("PMI_RANK", "2"), ("PMI_SIZE", "4"), ("MPI_LOCALRANKID", "0"), ("MPI_LOCALNRANKS", "2")];
const SRUN: [(&str, &str); 7] = [
    ("SLURM_STEP_ID", "0"),
    ("SLURM_PROCID", "9"),
    ("SLURM_LOCALID", "1"),
    ("SLURM_NODEID", "2"),
    ("SLURM_NTASKS", "11"),
    ("SLURM_STEP_NUM_TASKS", "11"),
    ("SLURM_STEP_TASKS_PER_NODE", "4(x2),3"),
];
const BATCH_SCRIPT: [(&str, &str); 6] = [
    ("SLURM_JOB_ID", "77"),
    ("SLURM_NTASKS", "8"),
    ("SLURM_PROCID", "0"),
    ("SLURM_LOCALID", "0"),
    ("SLURM_NODEID", "0"),
    ("SLURM_TASKS_PER_NODE", "4(x2)"),
];

/// `base` with some variables replaced, added, or (value "") taken away.
fn with<'a>(base: &[(&'a str, &'a str)], changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    changes.iter().chain(base).copied().collect()
}

#[test]
fn every_launcher_is_understood() {
    for (variables, launcher, expected) in [
        (&RECTIFY[..], LauncherKind::Rectify, [5, 8, 1, 4]),
        (&RECTIFY[..2], LauncherKind::Rectify, [5, 8, 5, 8]),
        (&OPEN_MPI, LauncherKind::OpenMpi, [3, 6, 1, 2]),
        (&PMI, LauncherKind::Pmi, [2, 4, 0, 2]),
        (&SRUN, LauncherKind::Slurm, [9, 11, 1, 3]),
        (&[], LauncherKind::Alone, [0, 1, 0, 1]),
    ] {
        let world = read(variables).unwrap();
        assert_eq!((world.launcher, numbers(&world)), (launcher, expected));
        assert_eq!(world.host, "node7");
        assert_eq!(world.is_main(), expected[0] == 0);
    }
    let pmix = read(&with(&SRUN, &[("PMIX_RANK", "9")])).unwrap();
    assert_eq!((pmix.launcher, numbers(&pmix)), (LauncherKind::Pmix, [9, 11, 1, 3]));
    let pmix = read(&with(&PMI, &[("PMIX_RANK", "2")])).unwrap();
    assert_eq!((pmix.launcher, numbers(&pmix)), (LauncherKind::Pmix, [2, 4, 0, 2]));
    let pmi_in_slurm = read(&with(&SRUN, &[("PMI_RANK", "9"), ("PMI_SIZE", "11")])).unwrap();
    assert_eq!((pmi_in_slurm.launcher, numbers(&pmi_in_slurm)), (LauncherKind::Pmi, [9, 11, 1, 3]));
}

#[test]
fn slurm_node_lists_are_read_to_the_node() {
    for (node, tasks) in [("0", 4), ("1", 4), ("2", 3)] {
        let world = read(&with(&SRUN, &[("SLURM_NODEID", node)])).unwrap();
        assert_eq!(world.local_size, tasks, "node {node}");
    }
    let error = read(&with(&SRUN, &[("SLURM_NODEID", "3")])).unwrap_err();
    assert!(error.to_string().contains("SLURM_STEP_TASKS_PER_NODE"), "{error}");
}

#[test]
fn a_process_in_a_batch_script_is_alone() {
    assert_eq!(read(&BATCH_SCRIPT).unwrap().launcher, LauncherKind::Alone);
    for special in ["4294967290", "4294967291"] {
        let world = read(&with(&BATCH_SCRIPT, &[("SLURM_STEP_ID", special)])).unwrap();
        assert_eq!((world.launcher, world.size), (LauncherKind::Alone, 1), "step {special}");
    }
    let allocation_shell = read(&[("SLURM_NTASKS", "8"), ("SLURM_JOB_ID", "77")]).unwrap();
    assert_eq!(allocation_shell.size, 1);
}

#[test]
fn mpirun_inside_slurm_wins_over_the_daemons_variables() {
    let world =
        read(&with(&OPEN_MPI, &[("SLURM_STEP_ID", "0"), ("SLURM_PROCID", "1"), ("SLURM_NTASKS", "2")])).unwrap();
    assert_eq!((world.launcher, world.rank, world.size), (LauncherKind::OpenMpi, 3, 6));
}

#[test]
fn half_set_variables_are_named() {
    for (variables, set, missing) in [
        (&RECTIFY[..1], "RECTIFY_RANK", "RECTIFY_WORLD_SIZE"),
        (&RECTIFY[1..2], "RECTIFY_WORLD_SIZE", "RECTIFY_RANK"),
        (&RECTIFY[..3], "RECTIFY_LOCAL_RANK", "RECTIFY_LOCAL_SIZE"),
        (&RECTIFY[2..], "RECTIFY_LOCAL_RANK", "RECTIFY_RANK"),
        (&OPEN_MPI[..1], "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
        (&OPEN_MPI[..2], "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
        (&PMI[..1], "PMI_RANK", "PMI_SIZE"),
        (&[("PMIX_RANK", "0")], "PMIX_RANK", "PMI_SIZE"),
        (&SRUN[..1], "SLURM_STEP_ID", "SLURM_PROCID"),
        (&SRUN[..4], "SLURM_STEP_ID", "SLURM_NTASKS"),
        (&SRUN[..6], "SLURM_STEP_NUM_TASKS", "SLURM_STEP_TASKS_PER_NODE"),
    ] {
        match read(variables) {
            Err(WorldError::HalfSet { set: s, missing: m, .. }) => {
                assert!(s == set && m.contains(missing), "{variables:?} gave {s} without {m}");
            }
            other => panic!("{variables:?} gave {other:?}"),
        }
    }
    assert_eq!(read(&PMI[..2]), Err(WorldError::NoLocalRank { set: "PMI_RANK".into() }));
    assert_eq!(numbers(&read(&[("PMI_RANK", "0"), ("PMI_SIZE", "1")]).unwrap()), [0, 1, 0, 1]);
}

#[test]
fn contradictions_are_named() {
    for (variables, first, second) in [
        (with(&RECTIFY, &OPEN_MPI), "RECTIFY_RANK", "OMPI_COMM_WORLD_RANK"),
        (
            with(&[("RECTIFY_RANK", "3"), ("RECTIFY_WORLD_SIZE", "8")], &OPEN_MPI),
            "RECTIFY_WORLD_SIZE",
            "OMPI_COMM_WORLD_SIZE",
        ),
        (with(&OPEN_MPI, &[("PMIX_RANK", "1")]), "OMPI_COMM_WORLD_RANK", "PMIX_RANK"),
        (with(&SRUN, &[("PMIX_RANK", "1")]), "PMIX_RANK", "SLURM_PROCID"),
    ] {
        match read(&variables) {
            Err(WorldError::Contradiction { first: a, second: b, .. }) => assert_eq!((&*a, &*b), (first, second)),
            other => panic!("{variables:?} gave {other:?}"),
        }
    }
}

#[test]
fn numbers_out_of_range_or_not_numbers_are_named() {
    for (changes, rank, size) in [
        ([("RECTIFY_RANK", "8")], "RECTIFY_RANK", "RECTIFY_WORLD_SIZE"),
        ([("RECTIFY_WORLD_SIZE", "0")], "RECTIFY_RANK", "RECTIFY_WORLD_SIZE"),
        ([("RECTIFY_LOCAL_RANK", "4")], "RECTIFY_LOCAL_RANK", "RECTIFY_LOCAL_SIZE"),
        ([("RECTIFY_LOCAL_SIZE", "9")], "RECTIFY_LOCAL_SIZE", "RECTIFY_WORLD_SIZE"),
    ] {
        match read(&with(&RECTIFY, &changes)) {
            Err(WorldError::OutOfRange { rank_variable, size_variable, .. }) => {
                assert_eq!((&*rank_variable, &*size_variable), (rank, size));
            }
            other => panic!("{changes:?} gave {other:?}"),
        }
    }
    for text in ["-1", "two", "1.0"] {
        let error = read(&with(&OPEN_MPI, &[("OMPI_COMM_WORLD_RANK", text)])).unwrap_err();
        assert_eq!(error, WorldError::NotANumber { variable: "OMPI_COMM_WORLD_RANK".into(), value: text.into() });
    }
}

#[test]
fn an_empty_variable_counts_as_unset() {
    assert_eq!(read(&[("RECTIFY_RANK", ""), ("OMPI_COMM_WORLD_RANK", "")]).unwrap().launcher, LauncherKind::Alone);
}
