//! What a person sees of a run that goes well, of the doctor, and of words handed on to other binaries.

use crate::stage::{Stage, place};

/// Tells progress as a trainer does, and leaves a summary.
const GOOD: &str = r#"
[ $rank = 0 ] || { echo "a warning of rank 1" >&2; exit 0; }
[ "$RECTIFY_PROGRESS" = wire ] || fail 2 1.0 "nobody asked for events"
echo '@rectify {"event":"begin","run":"small","shape":{"total_steps":10,"start_step":0,"epochs":2.0,"global_batch":12,"world_size":2}}'
echo '@rectify {"event":"endpoints","targets":[{"address":"127.0.0.1:9400","run":"small","rank":0,"host":"h"}]}'
echo 'a plain line'
echo '@rectify {"event":"step","step":10,"epoch":2.0,"loss":0.25,"learning_rate":0.1,"images_per_second":321.0}'
echo '@rectify {"event":"eval","step":10,"epoch":2.0,"top1_percent":97.25,"top5_percent":100.0}'
cp "$run/prometheus/targets.json" "$run/seen.json" 2>/dev/null || { sleep 0.5; cp "$run/prometheus/targets.json" "$run/seen.json"; }
mkdir -p "$run/checkpoints/step-00000010"
echo '<svg/>' > "$run/curves.svg"
cat > "$run/summary.json" <<'SUMMARY'
{"name":"small","model":"vit","top1":97.25,"top5":100.0,"best_top1":97.5,"loss":0.25,"images_per_second":321.0,
 "wall_seconds":83.0,"steps":10,"steps_planned":10,"epochs":2.0,"parameters":1234567,"world_size":2,"threads_per_rank":1,
 "seed":0,"resumed_from":null,"device":"cpu","git_commit":null,"versions":{"rectify":"0","libtorch":"0","mpi":null}}
SUMMARY
echo '@rectify {"event":"end","step":10}'
"#;

#[test]
fn a_good_run_shows_progress_and_ends_with_a_table() {
    let stage = Stage::new(GOOD);
    let outcome = stage.run("train run.toml --nproc 2 --prometheus-targets targets");
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    for text in [
        "2 training and 2 validation images of 2 classes",
        "321 images/s",
        "loss 0.25",
        "a plain line",
        "a warning of rank 1",
    ] {
        place(&outcome.err, text);
    }
    assert!(!outcome.err.contains("@rectify"), "{}", outcome.err);
    for text in
        ["97.25 %", "97.50 %", "1 min 23 s", "1,234,567", "step-00000010", "curves.svg", "rank-0000.log", "try next"]
    {
        place(&outcome.out, text);
    }
}

#[test]
fn prometheus_is_told_where_the_ranks_are_while_they_are() {
    let stage = Stage::new(GOOD);
    assert_eq!(stage.run("train run.toml --nproc 2 --prometheus-targets targets").code, Some(0));
    place(&stage.read("seen.json"), "127.0.0.1:9400");
    assert!(!stage.run_file("prometheus/targets.json").exists());
    assert!(stage.path("targets").exists() && !stage.path("targets/small.json").exists());
}

#[test]
fn the_doctor_shows_each_rank_with_all_cores() {
    let stage = Stage::new("echo rectify-trainer 1.2.3");
    let output = stage.rectify("doctor --nproc 3 --json").output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let finding = |part: &str| {
        let findings = report["findings"].as_array().unwrap();
        findings
            .iter()
            .find(|finding| finding["part"] == part)
            .unwrap_or_else(|| panic!("no {part} in {report}"))
            .clone()
    };
    let allowed = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = allowed.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    let ranks = finding("ranks")["found"].as_str().unwrap().to_string();
    assert_eq!(ranks.lines().count(), 3, "{ranks}");
    for (rank, line) in ranks.lines().enumerate() {
        assert!(line.starts_with(&format!("{rank} of 3 on ")), "{ranks}");
        assert!(line.ends_with(&format!("cores {allowed}")), "a rank is pinned: {ranks}");
    }
    for part in ["trainer", "Open MPI", "libtorch", "GPUs", "NCCL", "cores", "memory", "/dev/shm"] {
        assert!(finding(part)["state"].is_string());
    }
    place(finding("trainer")["found"].as_str().unwrap(), "1.2.3");
}

#[test]
fn the_doctor_fails_when_a_required_part_is_missing() {
    let stage = Stage::new("exit 1");
    let output = stage.rectify("doctor").env("RECTIFY_TRAINER", stage.path("gone")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    place(&table, "missing");
    place(&table, "Not ready");
}

#[test]
fn data_words_go_to_the_data_tool() {
    let stage = Stage::new("exit 0");
    stage.script("data-tool", "#!/bin/sh\necho \"$@\"\nexit 3\n");
    let output = stage.rectify("data check --help x").env("RECTIFY_DATA", stage.path("data-tool")).output().unwrap();
    assert_eq!((output.status.code(), &*output.stdout), (Some(3), b"check --help x\n".as_slice()));
}

#[test]
fn eafo_words_go_to_the_search_tool() {
    let stage = Stage::new("exit 0");
    stage.script("eafo-tool", "#!/bin/sh\necho \"$@\"\nexit 2\n");
    let output = stage.rectify("eafo derive --help x").env("RECTIFY_EAFO", stage.path("eafo-tool")).output().unwrap();
    assert_eq!((output.status.code(), &*output.stdout), (Some(2), b"derive --help x\n".as_slice()));
}

#[test]
fn help_names_flags_and_exit_codes() {
    let stage = Stage::new("exit 0");
    let help = stage.run("train --help").out;
    for text in
        ["--nproc", "--hostfile", "--set", "--resume", "--run-dir", "--restarts", "--grace-s", "75  worth a retry"]
    {
        place(&help, text);
    }
}
