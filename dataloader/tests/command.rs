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

#[test]
fn pack_says_what_it_wrote_and_bench_takes_it() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let (folder, out) = (scratch.path().join("digits"), scratch.path().join("packed"));
    let (folder, out) = (folder.to_str().expect("plain text"), out.to_str().expect("plain text"));
    assert!(rectify_data(&["sample", folder]).status.success());
    let output = rectify_data(&["pack", folder, out, "--verify", "--shard-images", "700"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    let expected =
        ["packed 1797 images into 4 shards", "verified against", "next: rectify data bench", "source=shards"];
    for expected in expected {
        assert!(said.contains(expected), "no {expected} in {said}");
    }
    let again = rectify_data(&["pack", folder, out, "--shard-images", "700"]);
    assert!(String::from_utf8_lossy(&again.stdout).starts_with("already packed: 1797 images"));
    let other = rectify_data(&["pack", folder, out]);
    assert_eq!(other.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&other.stderr).contains("other options"));

    let output = rectify_data(&["bench", out, "--workers", "1", "--size", "32", "--seconds", "0.2"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(rectify_data(&["bench", out, "--source", "shardz"]).status.code(), Some(2));
}
