//! What a simulation prints, and what it refuses.

use serde_json::Value;

use crate::stage::{Stage, place};

const CONFIG: &str = "name = 'far'\n[data]\npath = 'nowhere'\nexpect_train = 1281167\nexpect_val = 50000\nexpect_classes = 1000\n\
                      [model]\nname = 'deit_base_patch16_224'\n[train]\nbatch_size = 1024\n";

/// 128 images in 0.32 s.
const BENCH: &str = r#"{"images_per_second":400.0,"parameters_bytes":346270624,"mfu":0.4,
    "phases":{"loader":0.01,"forward":0.1,"backward":0.2,"optimizer":0.01}}"#;

fn stage() -> Stage {
    let stage = Stage::new("exit 1");
    stage.write("far.toml", CONFIG);
    stage
}

/// A run of two ranks, whose first step took much longer than the others.
fn leave_run(stage: &Stage, parameters: u64) {
    let summary = format!(
        r#"{{"name":"far","model":"deit_base_patch16_224","top1":null,"top5":null,"best_top1":null,"loss":1.0,"images_per_second":320.0,
        "wall_seconds":83.0,"steps":50,"steps_planned":50,"epochs":2.0,"parameters":{parameters},"world_size":2,"threads_per_rank":1,
        "seed":0,"resumed_from":null,"device":"cpu","git_commit":null,"versions":{{"rectify":"0","libtorch":"0","mpi":null}}}}"#
    );
    stage.write("runs/far/summary.json", &summary);
    let lines = [9.0, 0.1, 0.1, 0.1, 0.1].map(|forward: f64| {
        let seconds = forward + 0.3;
        format!(
            r#"{{"kind":"step","step":10,"images_per_second":{},"step_seconds":{seconds},"step_phase_seconds":{{"data_wait":0.0,"forward":{forward},"backward":0.2,"all_reduce":0.08,"optimizer":0.02}}}}"#,
            128.0 / seconds
        )
    });
    stage.write("runs/far/metrics.jsonl", &lines.join("\n"));
}

fn json(stage: &Stage, words: &str) -> Value {
    let outcome = stage.run(&format!("simulate far.toml --json {words}"));
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    serde_json::from_str(&outcome.out).unwrap()
}

#[test]
fn a_table_tells_where_communication_shows_and_what_was_assumed() {
    let outcome = stage().run("simulate far.toml --gpus 8..4096 --network ethernet-10g --images-per-second 100");
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    let told = outcome.out.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "86,567,656 parameters, 346.3 MB of gradients (f32) in 14 buckets of at most 25 MiB",
        "4,096",
        "524,288",
        "Communication shows from 16 GPUs on",
        "not yet at 8",
        "Without overlap the efficiency would be",
        "128 images a GPU",
        "50 µs and 1.125 GB/s a machine between them",
        "none: every GPU takes the same time",
    ] {
        place(&told, words);
    }
    let [given, assumed] = ["Given:", "Assumed:"].map(|title| place(&told, title));
    let [step, share] = ["--images-per-second 100", "67 % of the step"].map(|words| place(&told, words));
    assert!(given < step && step < assumed && assumed < share && !told.contains("Measured:"), "{told}");
    assert!(outcome.out.lines().all(|line| line.chars().count() <= 80), "{}", outcome.out);
}

#[test]
fn two_gpus_on_a_free_network_are_twice_one() {
    let report = json(&stage(), "--gpus 1,2 --alpha-us 0 --gb-per-s 1e9 --step-ms 500 --batch-per-gpu 64");
    let rates: Vec<f64> = [0, 1].map(|at| report["points"][at]["images_per_second"].as_f64().unwrap()).into();
    assert!((rates[0] - 128.0).abs() < 1e-6 && (rates[1] - 256.0).abs() < 0.1, "{rates:?}");
    assert!(report["communication_shows_from_gpus"].is_null());
}

#[test]
fn where_communication_shows_is_said_in_words() {
    let stage = stage();
    for (words, told) in [
        ("--gpus 1 --network ethernet-1g --step-ms 100", "One GPU communicates with nobody."),
        (
            "--gpus 1,2 --alpha-us 50 --gb-per-s 1 --step-ms 100",
            "Communication shows at 2 GPUs already: the step waits",
        ),
        (
            "--gpus 1,8 --network nvlink+ib-ndr400 --step-ms 1000",
            "Communication does not show up to 8 GPUs: the step waits",
        ),
        (
            "--gpus 8,16 --network pcie+roce-25 --step-ms 1000 --loader-images-per-second-per-node 5",
            "The loader decides the speed at 8; 16 GPUs.",
        ),
    ] {
        let outcome = stage.run(&format!("simulate far.toml {words}"));
        assert_eq!(outcome.code, Some(0), "{words}\n{}", outcome.err);
        place(&outcome.out, told);
    }
}

#[test]
fn a_run_is_the_measure_of_a_step() {
    let stage = stage();
    leave_run(&stage, 86_567_656);
    // 64 images a rank in 0.1 + 0.2 s and 0.02 s for the update: twice the images take 0.62 s.
    let report = json(&stage, "--gpus 1..8 --network nvlink+ib-ndr400 --from runs/far --batch-per-gpu 128");
    let one = &report["points"][0];
    assert!((one["step_seconds"].as_f64().unwrap() - 0.62).abs() < 1e-9, "{one}");
    let told = ["step", "gradients"].map(|title| report["measured"][title].as_str().unwrap());
    place(told[0], "64 images on each of 2 ranks at once (cpu), medians of 4 records (320.0 images/s over all)");
    // 14 buckets: 14·2·3.4 µs + 346 MB over 470 GB/s.
    place(
        told[1],
        "the 2 ranks of that run waited 80.0 ms for them; on the network below they would take 0.83 ms, 0.06 ms",
    );
    place(report["assumed"]["images"].as_str().unwrap(), "64 images were timed");
    assert_eq!(report["points"][3]["global_batch"], 1024);
}

#[test]
fn a_benchmark_is_the_measure_of_a_step() {
    let stage = stage();
    stage.write("bench.json", BENCH);
    let report = json(&stage, "--gpus 1,8 --network nvlink+ib-ndr400 --from bench.json --set train.batch_size=128");
    let step = &report["step_on_one_gpu"];
    assert_eq!((&step["images"], &step["waiting_s"], &step["backward_s"]), (&128.0.into(), &0.01.into(), &0.2.into()));
    assert!((report["points"][0]["images_per_second"].as_f64().unwrap() - 400.0).abs() < 1e-9, "{report}");
    place(report["measured"]["step"].as_str().unwrap(), "bench.json: 128 images, 400.0 images/s");
    assert!(report["assumed"]["images"].is_null() && report["assumed"]["backward"].is_null(), "{report}");
}

#[test]
fn overlap_is_worth_what_it_hides() {
    let words = "--gpus 8..512 --network ethernet-10g --images-per-second 100";
    let [with, without] =
        [true, false].map(|overlap| json(&stage(), &format!("{words} --set parallel.overlap={overlap}")));
    for (with, without) in with["points"].as_array().unwrap().iter().zip(without["points"].as_array().unwrap()) {
        let [told, is] =
            [&with["efficiency_without_overlap"], &without["efficiency"]].map(|share| share.as_f64().unwrap());
        assert!((told - is).abs() < 1e-9, "{told} {is}");
        assert_eq!((&without["hidden"], &with["all_reduce_seconds"]), (&0.0.into(), &without["all_reduce_seconds"]));
        assert!(with["efficiency"].as_f64() > without["efficiency"].as_f64());
    }
}

#[test]
fn the_wire_and_the_sharding_of_the_config_count() {
    let total = |sets: &str| {
        let words = format!("--gpus 16 --gb-per-s 1 --alpha-us 0 --step-ms 1000 --algorithm ring {sets}");
        json(&stage(), &words)["points"][0]["all_reduce_seconds"].as_f64().unwrap()
    };
    let ring = 2.0 * 15.0 / 16.0 * 4.0 * 86_567_656.0 / 1e9;
    for (sets, seconds) in [
        ("", ring),
        ("--set parallel.wire=bf16", ring / 2.0),
        ("--set parallel.shard_optimizer=true", ring),
        ("--set parallel.shard_optimizer=true --set parallel.wire=bf16", ring * 0.75),
    ] {
        assert!((total(sets) - seconds).abs() < 1e-9, "{sets}: {} {seconds}", total(sets));
    }
}

#[test]
fn strong_scaling_keeps_the_batch() {
    let report = json(&stage(), "--gpus 8,64 --network nvlink+ib-hdr200 --step-ms 320 --strong");
    let points = report["points"].as_array().unwrap();
    assert!(points.iter().all(|point| point["global_batch"] == 1024), "{report}");
    let computed = [0, 1].map(|at| points[at]["compute_seconds"].as_f64().unwrap());
    assert!((computed[0] - 0.32).abs() < 1e-9 && (computed[1] - 0.04).abs() < 1e-9, "{computed:?}");
}

#[test]
fn what_cannot_be_simulated_says_what_to_do() {
    let stage = stage();
    leave_run(&stage, 5);
    stage.write("runs/empty/other", "");
    stage.write("half.json", &BENCH.replace("backward", "sideways"));
    stage.write("still.json", &BENCH.replace("0.2", "0.0"));
    stage.write("small.json", &BENCH.replace("346270624", "346270620"));
    let good = "--network ethernet-1g --step-ms 100";
    for (words, told) in [
        (format!("--gpus 0 {good}"), "0 GPUs train nothing"),
        (format!("--gpus 64..8 {good}"), "64 is more than 8; write --gpus 8..4096"),
        (format!("--gpus -8 {good}"), "`-8` is no whole number"),
        (format!("--gpus 8,12 {good}"), "12 GPUs do not fill machines of 8"),
        ("--gpus 8 --step-ms 100 --network ethernet-1gb".into(), "did you mean ethernet-1g"),
        ("--gpus 8 --step-ms 100".into(), "how fast is the network?"),
        ("--gpus 8 --step-ms 100 --alpha-us 5 --gb-per-s 10 --gpus-per-node 8".into(), "--node-gb-per-s"),
        ("--gpus 8 --network ethernet-1g".into(), "Measure it"),
        ("--gpus 8 --network ethernet-1g --step-ms 0".into(), "--step-ms 0: must be a number above 0"),
        ("--gpus 8 --network ethernet-1g --step-ms NaN".into(), "--step-ms NaN: must be"),
        (format!("--gpus 8 {good} --jitter 2"), "--jitter 2"),
        ("--gpus 8 --network ethernet-1g --from runs/gone".into(), "neither a run's folder nor a benchmark's file"),
        (
            "--gpus 8 --network ethernet-1g --from far.toml".into(),
            "a JSON file with images_per_second, parameters_bytes and phases",
        ),
        ("--gpus 8 --network ethernet-1g --from half.json".into(), "missing field `backward`"),
        ("--gpus 8 --network ethernet-1g --from still.json".into(), "its phases.backward is 0"),
        ("--gpus 8 --network ethernet-1g --from small.json".into(), "86567655 parameters of a model were measured"),
        ("--gpus 8 --network ethernet-1g --from runs/empty".into(), "cannot read its summary.json"),
        (
            "--gpus 8 --network ethernet-1g --from runs/far".into(),
            "5 parameters of deit_base_patch16_224 were measured",
        ),
        (format!("--gpus 24 {good}"), "train.batch_size"),
        (format!("--gpus 8..2048 --strong {good}"), "--strong keeps the global batch, which 2048 GPUs cannot share"),
        (format!("--gpus 8 {good} --set parallel.bucket_mib=1e-6"), "at most a million buckets"),
    ] {
        let outcome = stage.run(&format!("simulate far.toml {words}"));
        assert_eq!(outcome.code, Some(2), "{words}\n{}", outcome.err);
        place(&outcome.err, told);
        assert!(outcome.out.is_empty());
    }
    leave_run(&stage, 86_567_656);
    stage.write("runs/silent/other", "");
    std::fs::copy(stage.path("runs/far/summary.json"), stage.path("runs/silent/summary.json")).unwrap();
    let silent = stage.run("simulate far.toml --gpus 8 --network ethernet-1g --from runs/silent");
    assert_eq!(silent.code, Some(2), "{}", silent.err);
    place(&silent.err, "cannot read its metrics.jsonl");
    stage.write("runs/silent/metrics.jsonl", "");
    let short = stage.run("simulate far.toml --gpus 8 --network ethernet-1g --from runs/silent");
    place(&short.err, "has 0 records of steps");
}

#[test]
fn data_that_nobody_describes_must_be_there() {
    let stage = stage();
    stage.write("far.toml", &CONFIG.replace("expect_val = 50000\n", ""));
    let outcome = stage.run("simulate far.toml --gpus 8 --network ethernet-1g --step-ms 100");
    assert_eq!(outcome.code, Some(3), "{}", outcome.err);
    place(&outcome.err, "--set data.expect_train=N");
}
