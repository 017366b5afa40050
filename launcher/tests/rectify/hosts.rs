//! Hostfiles, and the line that is printed.

use std::process::Command;

use crate::stage::{Stage, nothing_started, place};

const DONE: &str = r#"echo "$OMPI_COMM_WORLD_SIZE" > "$run/size.$rank""#;

#[test]
fn a_hostfile_of_this_machine_gives_the_number_of_ranks() {
    let stage = Stage::new(DONE);
    stage.write("hosts", "# here\nlocalhost slots=2\n");
    assert_eq!(stage.run("train run.toml --hostfile hosts").code, Some(0));
    assert_eq!(stage.read("size.0") + &stage.read("size.1"), "2\n2\n");
    let more = stage.run("train run.toml --hostfile hosts --nproc 4");
    assert_eq!((more.code, stage.read("size.3").trim()), (Some(0), "4"), "{}", more.err);
    place(&more.err, "--oversubscribe");
}

#[test]
fn data_of_other_machines_are_not_looked_for_here() {
    let stage = Stage::new(DONE);
    stage.write("hosts", "far-away-1 slots=2\nfar-away-2 slots=2\n");
    let words = "train run.toml --hostfile hosts --set data.path=only-there --print-command";
    let outcome = stage.run(words);
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    place(&outcome.out, "mpirun -np 4 --hostfile hosts --map-by slot --bind-to none");
    let uneven = stage.run("train run.toml --hostfile hosts --set train.batch_size=6 --print-command");
    assert_eq!(uneven.code, Some(2), "the batch is still checked: {}", uneven.out);
}

#[test]
fn the_printed_line_can_be_pasted_into_a_shell() {
    let stage = Stage::new(DONE);
    let words = ["train", "run.toml", "--nproc", "2", "--set", "name=small", "--print-command"];
    let mut command = stage.rectify("");
    let output = command.args(words).args(["--set", r#"model.activation={ name = "crrelu" }"#]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(nothing_started(&stage));
    let line = String::from_utf8(output.stdout).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    let pasted = Command::new("sh").arg("-c").arg(&line).current_dir(stage.path("")).output().unwrap();
    assert!(pasted.status.success(), "{line}{}", String::from_utf8_lossy(&pasted.stderr));
    assert!(pasted.stderr.is_empty(), "no stray warnings: {}", String::from_utf8_lossy(&pasted.stderr));
    assert_eq!(stage.read("size.0") + &stage.read("size.1"), "2\n2\n");
    place(&stage.read("words.1"), r#"model.activation={ name = "crrelu" }"#);
}

#[test]
fn the_line_that_runs_is_the_line_that_is_printed() {
    let stage = Stage::new(DONE);
    let printed = stage.run("train run.toml --nproc 2 --print-command").out;
    let ran = stage.run("train run.toml --nproc 2");
    assert_eq!(ran.code, Some(0));
    place(&ran.err, printed.trim());
    place(&stage.read("logs/launcher.log"), printed.trim());
}
