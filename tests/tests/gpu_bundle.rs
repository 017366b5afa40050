//! The GPU bundle, tried without a GPU: its stages' command lines, results, limits and archive.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{Job, binary, copy_of_digits, digits, processes_naming, wait_until};
use nix::sys::signal::Signal;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder of the repository").to_path_buf()
}

/// A bundle as `make gpu-bundle` makes it, with the programs of this build in place of packed ones.
struct Bundle {
    folder: tempfile::TempDir,
}

/// Stands in for the test programs of kernels and NCCL, which are not built with this one.
const PROGRAM_OF_TESTS: &str = "#!/bin/sh
case \"$*\" in
  '--test-threads 1' | 'norm:: --test-threads 1')
    echo 'test a_kernel ... ok'
    echo 'test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out' ;;
  '--ignored --list --test-threads 1') echo 'a_rank: test'; echo; echo '1 test, 0 benchmarks' ;;
  *) echo \"$*\"; exit 2 ;;
esac
";

impl Bundle {
    fn new() -> Bundle {
        let bundle = Bundle { folder: tempfile::tempdir().expect("a temporary folder") };
        let assembled = Command::new(repository().join("scripts/gpu/assemble.sh")).arg(bundle.path("")).status();
        assert!(assembled.expect("bash").success());
        let programs = bundle.path("target/release");
        fs::create_dir_all(&programs).expect("a folder");
        for program in ["rectify", "rectify-trainer", "rectify-data"] {
            symlink(binary(program), programs.join(program)).expect("a link");
        }
        for program in ["test-fused", "test-nccl"] {
            fs::write(programs.join(program), PROGRAM_OF_TESTS).expect("a script");
            fs::set_permissions(programs.join(program), fs::Permissions::from_mode(0o755)).expect("a script");
        }
        symlink(digits(), bundle.path("target/digits")).expect("a link");
        bundle
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn job(&self) -> Job {
        let mut job = Job::new(&self.path("run.sh"), self.folder.path());
        job.env("OUT", &self.path("out").display().to_string());
        job
    }

    /// The one file that a call left, and the names and the summary in it.
    fn archive(&self) -> (PathBuf, String, String) {
        let files: Vec<PathBuf> =
            fs::read_dir(self.path("out")).expect("reports").flatten().map(|e| e.path()).collect();
        let [file] = &files[..] else { panic!("not one archive: {files:?}") };
        let tar = |arguments: &[&str]| {
            let done =
                Command::new("tar").args(arguments).arg("-f").arg(file).arg("summary.txt").output().expect("tar");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8(done.stdout).expect("UTF-8")
        };
        let names = Command::new("tar").arg("-tzf").arg(file).output().expect("tar");
        assert!(names.status.success(), "the archive is damaged");
        (file.clone(), String::from_utf8(names.stdout).expect("UTF-8"), tar(&["-xzO"]))
    }
}

/// The lines of a summary that say what came of a stage.
fn stages(summary: &str) -> Vec<&str> {
    summary.lines().filter(|line| line.starts_with("stage ")).collect()
}

#[test]
fn every_stage_runs_as_far_as_a_machine_without_a_gpu_can() {
    let bundle = Bundle::new();
    let ended = bundle.job().argument("--dry").run();
    let (file, names, summary) = bundle.archive();
    let lines = stages(&summary);
    assert_eq!(lines.len(), 8, "{}", ended.text());
    let says = |stage: usize, words: &[&str]| {
        let line = lines[stage];
        let fine = line.starts_with(&format!("stage {stage}, ")) && line.contains(": ok in ");
        let missing: Vec<_> = words.iter().filter(|word| !line.contains(**word)).collect();
        assert!(fine && missing.is_empty(), "{missing:?} is missing in {line}\n{}", ended.text());
    };
    says(0, &["nvidia-smi: a made GPU", "doctor: "]);
    says(1, &["eager: 3 steps, loss 2.", "graph: 7 steps, loss 2.", "0 of 2 parts captured"]);
    says(2, &["flash right in 6 of 7", "cudnn right in 6 of 6"]);
    let alike = "4 losses, the first 0.0e+00 and the farthest 0.0e+00 apart";
    let (across, graph) = (format!("CPU to GPU: {alike}"), format!("eager to graph: {alike}"));
    says(3, &["fused: 1 passed", "nccl: 1 listed", &across, &graph, "racecheck: 0 hazards", "memcheck: 0 errors"]);
    let cases = ["deit_small-bf16-cuda: ", "vit_tiny-bf16-cuda: ", "swin_tiny-bf16-cuda: ", "-gelu-cudnn-nograph: "];
    says(4, &cases);
    says(5, &["by CUPTI: 12 kernels in 0.58 ms", "by ncu: 12 kernels in 0.58 ms"]);
    says(6, &["loader: ", "erasing: ", "plain: "]);
    // A python3 without timm leaves the peers out, any other has ratios.
    says(7, &["deit_small-bf16-cuda-gelu against eager: ", "deit_small-bf16-cuda against compile: "]);
    assert!(summary.starts_with("DRY RUN"), "{summary}");
    for report in
        ["stage-0/doctor.txt", "stage-3/parity-cpu/metrics.jsonl", "stage-4/alone.jsonl", "stage-5/kernels.txt"]
    {
        assert!(names.lines().any(|name| name == report), "no {report} in\n{names}");
    }
    assert!(!names.contains("safetensors") && !names.contains("JPEG"), "{names}");
    assert!(fs::metadata(&file).expect("the archive").len() < 8_000_000);
    let _ = ended.code(0);
}

#[test]
fn cifar10_is_trained_with_both_activations() {
    let bundle = Bundle::new();
    bundle.job().arguments(["--dry", "cifar10", "1"]).run().code(1).says(&["CIFAR=cifar10.tar.xz"]);
    let images = bundle.path("images");
    copy_of_digits(&images, 6);
    fs::rename(images.join("val"), images.join("test")).expect("a folder"); // as the recipe calls it
    // Python's tarfile detects the compression itself.
    let packed =
        Command::new("tar").arg("-cf").arg(bundle.path("cifar10.tar.xz")).arg("-C").arg(&images).arg(".").status();
    assert!(packed.expect("tar").success());
    fs::remove_dir_all(bundle.path("out")).expect("a folder");
    let says = ["cifar10: ok in ", " epochs each; crrelu: top1 ", "; gelu: top1 "];
    bundle.job().arguments(["--dry", "cifar10", "1"]).run().code(0).says(&says);
    let (_, names, _) = bundle.archive();
    assert!(names.contains("cifar10/gelu/summary.json"), "{names}");
}

#[test]
fn a_stop_in_a_stage_keeps_what_was_there_and_leaves_nothing_running() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let bundle = Bundle::new();
        let running = bundle.job().arguments(["--dry", "0", "3"]).start();
        // The first stage is done, and trainings of the second write their records.
        wait_until("stage 3", || bundle.path("work/reports/stage-3/parity-cpu/config.toml").exists());
        running.signal(signal);
        let ended = running.wait().code(code);
        let (_, _, summary) = bundle.archive();
        let lines = stages(&summary);
        assert_eq!(lines.len(), 2, "{summary}\n{}", ended.text());
        assert!(lines[0].contains(": ok in ") && lines[1].contains(": STOPPED in "), "{summary}");
        let left = processes_naming(&bundle.path("").display().to_string());
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn what_cannot_work_is_refused_with_what_to_do() {
    let bundle = Bundle::new();
    bundle.job().run().code(2).says(&["./run.sh 0 1 2 3"]);
    bundle.job().argument("9").run().code(2).says(&["there is no stage 9"]);
    bundle.job().arguments(["cifar10", "soon"]).run().code(2).says(&["whole number of minutes"]);
    let broken = bundle.path("a-file");
    fs::write(&broken, "").expect("a file");
    bundle.job().arguments(["--dry", "0"]).env("OUT", &broken.display().to_string()).run().code(1).says(&["OUT"]);
    // A python3 whose torch is for another CUDA.
    fs::create_dir(bundle.path("torch")).expect("a folder");
    let torch = "__version__ = '2.11.0+cu128'\nclass version:\n    cuda = '12.8'\n";
    fs::write(bundle.path("torch/__init__.py"), torch).expect("a module");
    let packages = bundle.path("").display().to_string();
    bundle.job().argument("0").env("PYTHONPATH", &packages).run().code(1).says(&["+cu130", "libcudart.so.13"]);
    assert!(!bundle.path("work").exists(), "a stage was begun");
}

/// The words by which stage 1 knows that a step was captured are the trainer's.
#[test]
fn the_trainer_says_what_stage_1_looks_for() {
    let stages = fs::read_to_string(repository().join("scripts/gpu/checks.py")).expect("the stages");
    let words = stages.split("CAPTURED = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("words");
    let trainer = fs::read_to_string(repository().join("trainer/src/replay.rs")).expect("the trainer's source");
    assert!(trainer.contains(words), "trainer/src/replay.rs does not say {words:?}");
}

#[test]
fn the_library_that_times_kernels_compiles() {
    let mut compiler = Job::new(Path::new("cc"), &repository());
    compiler.arguments(["-fsyntax-only", "-Wall", "-Wextra", "-Werror"]);
    compiler.arguments(["-I", ".libtorch/../nvidia/cu13/include", "-I", ".cuda-build/nvidia/cu13/include"]);
    compiler.argument("scripts/gpu/kernel_times.c").run().code(0);
}

#[test]
fn unit_tests_in_python_pass() {
    for folder in ["scripts/gpu", "bench"] {
        let mut tests = Job::new(Path::new("python3"), &repository().join(folder));
        tests.arguments(["-B", "-m", "unittest", "-q"]).run().code(0).says(&["OK"]);
    }
}
