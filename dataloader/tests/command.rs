//! The program `rectify-data`, from outside.

use std::process::{Command, Output};

fn rectify_data(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rectify-data")).args(arguments).output().expect("the program starts")
}

#[test]
fn sample_says_what_it_wrote_and_what_to_do_next() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let folder = scratch.path().join("digits");
    let folder = folder.to_str().expect("plain text");
    for verb in ["wrote", "already there"] {
        let output = rectify_data(&["sample", folder]);
        assert!(output.status.success());
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.starts_with(verb) && said.contains("1797 images of 10 classes"), "{said}");
        assert!(said.contains(&format!("next: rectify train configs/demo.toml --nproc 2 --set data.path={folder}")));
    }
}

#[test]
fn a_folder_of_other_files_is_bad_data() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    std::fs::write(scratch.path().join("thesis.txt"), "precious").expect("written");
    let output = rectify_data(&["sample", scratch.path().to_str().expect("plain text")]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not the sample's"));
}

#[test]
fn bench_measures_every_stage_and_names_the_bottleneck() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let folder = scratch.path().join("digits");
    let folder = folder.to_str().expect("plain text");
    assert!(rectify_data(&["sample", folder]).status.success());
    let output = rectify_data(&["bench", folder, "--workers", "1", "--size", "32", "--seconds", "0.2"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for expected in ["images/s", "storage", "decode", "resize", "write", "bottleneck: "] {
        assert!(said.contains(expected), "no {expected} in {said}");
    }
    let output = rectify_data(&[
        "bench",
        folder,
        "--workers",
        "1",
        "--readers",
        "64",
        "--size",
        "32",
        "--seconds",
        "0.2",
        "--json",
    ]);
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert!(line["images_per_second"].as_f64() > Some(0.0) && line["readers"]["threads"] == 64, "{line}");
}

#[test]
fn an_unknown_command_is_wrong_usage() {
    assert_eq!(rectify_data(&["sampel"]).status.code(), Some(2));
}
