//! Ranks with GPUs, over libraries that pretend to be NCCL and CUDA's driver and work on the host's memory.
//!
//! The libraries are C, in `tests/fake/`; one process loads such libraries once, so every scenario is a process of its own, the
//! example `devices`. What a GPU would do in its own time happens at once here: these tests say nothing about that.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use collectives::{Buffer, CommError, Reduction};
use world::Exit;

mod threads;

/// The folder with the libraries, made by the C compiler that links Rust programs too.
fn libraries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fake");
        std::fs::create_dir_all(&folder).unwrap();
        let library = folder.join(format!("of-{}", std::process::id())); // then renamed: another test may use the last
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-pthread", "-O1", "-std=gnu11", "-Wall", "-Werror", "-o"]);
        compiler.arg(&library).args(["cuda.c", "nccl.c"].map(|file| sources.join(file)));
        let output = compiler.output().expect("cc, from the package build-essential");
        assert!(output.status.success(), "{}", text(&output.stderr));
        // One file under two names is loaded once, and so the halves know of each other.
        std::fs::rename(&library, folder.join("libcuda.so.1")).unwrap();
        match std::os::unix::fs::symlink("libcuda.so.1", folder.join("libnccl.so.2")) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => panic!("{error}"),
            _ => {}
        }
        folder
    })
}

/// The example with the scenario's name, a number of ranks, and folders to look for NCCL in.
fn devices(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples/devices");
    assert!(program.exists(), "{} is missing: cargo builds it by `cargo build --examples`", program.display());
    let mut command = Command::new("timeout"); // nothing that is tested here may wait for ever
    command
        .arg("120")
        .arg(program)
        .args(arguments)
        .env_remove("RECTIFY_NCCL_LIBRARY")
        .env("LD_LIBRARY_PATH", libraries());
    command.envs(variables.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the ranks printed, sorted, and what the libraries did.
fn play(arguments: &[&str], variables: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let output = devices(arguments, variables);
    assert!(output.status.success(), "{arguments:?}: {}\n{}", text(&output.stdout), text(&output.stderr));
    let lines = |bytes| text(bytes).lines().map(str::to_string).collect::<Vec<_>>();
    let (mut said, mut done) = (lines(&output.stdout), lines(&output.stderr));
    said.sort();
    done.sort();
    (said, done)
}

fn count(lines: &[String], part: &str) -> usize {
    lines.iter().filter(|line| line.contains(part)).count()
}

#[test]
fn devices_give_the_numbers_that_hosts_give() {
    for size in 1..=3 {
        let (said, done) = play(&["agree", &size.to_string()], &[]);
        let expected: Vec<_> = (0..size).map(|rank| format!("rank {rank} agrees")).collect();
        assert_eq!(said, expected);
        for end in ["fake: finalize", "fake: destroy"] {
            assert_eq!(count(&done, end), size, "{done:?}");
        }
        assert_eq!(count(&done, "fake: abort"), 0, "{done:?}");
        // For the longest exchange so far, of 2 bytes a number; a world of one rounds nothing.
        let growths = [2, 4, 8, 16, 32, 2048, 4096].map(|bytes| format!("fake: allocated {bytes} bytes"));
        let expected = if size == 1 { 0 } else { growths.len() * size };
        let allocated = growths.iter().map(|line| count(&done, line)).sum::<usize>();
        assert_eq!((allocated, count(&done, "allocated")), (expected, expected), "{done:?}");
    }
}

#[test]
fn the_library_says_its_version() {
    let (said, _) = play(&["join", "1"], &[("FAKE_NCCL_VERSION", "22703")]);
    assert_eq!(said, ["NCCL 2.27.3"]);
}

#[test]
fn a_version_too_old_is_refused() {
    let (said, _) = play(&["join", "2"], &[("FAKE_NCCL_VERSION", "21602")]);
    assert_eq!(count(&said, "this is NCCL 2.16.2, and NCCL 2.18.0 is the oldest that will do"), 2, "{said:?}");
}

#[test]
fn a_missing_library_is_an_error_that_says_where_it_was_looked_for() {
    let (said, _) = play(&["join", "2"], &[("RECTIFY_NCCL_LIBRARY", "nowhere/libnccl.so.2")]);
    assert_eq!(count(&said, "Some(Config): cannot connect the ranks: NCCL was not found"), 2, "{said:?}");
    for part in ["nowhere/libnccl.so.2 (no such file)", "`make setup` on a machine with a GPU", "RECTIFY_NCCL_LIBRARY"]
    {
        assert_eq!(count(&said, part), 2, "{part}: {said:?}");
    }
    // The folder that the caller gives is looked at first. A library without NCCL's functions is none.
    let folder = libraries().join("wheel");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("libnccl.so.2"), "not a library").unwrap();
    let named = folder.join("libnccl.so.2");
    let (said, _) = play(&["join", "1"], &[("RECTIFY_NCCL_LIBRARY", named.to_str().unwrap())]);
    assert_eq!(count(&said, "wheel/libnccl.so.2 ("), 1, "{said:?}");
    let (said, _) = play(&["join", "1", folder.to_str().unwrap()], &[]);
    assert_eq!(said, ["NCCL 2.28.9"], "the next place has it");
}

/// As libtorch's CUDA half brings the wheel's NCCL, which is another than that of the search path.
#[test]
fn a_copy_that_is_loaded_already_comes_first() {
    let library = libraries().join(format!("loaded-{}.so", std::process::id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake/nccl.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-pthread", "-std=gnu11", "-DVERSION=22701", "-Wl,-soname,libnccl.so.2", "-o"]);
    let output = compiler.arg(&library).arg(source).output().expect("cc, from the package build-essential");
    assert!(output.status.success(), "{}", text(&output.stderr));
    // It needs the half that is CUDA.
    let loaded = format!("{}:{}", libraries().join("libcuda.so.1").display(), library.display());
    let folder = libraries().to_str().expect("a path in Unicode");
    let version = |variables: &[(&str, &str)]| play(&["join", "1", folder], variables).0;
    assert_eq!(version(&[]), ["NCCL 2.28.9"], "that of the folder and the search path");
    assert_eq!(version(&[("LD_PRELOAD", &loaded)]), ["NCCL 2.27.1"]);
    let named = libraries().join("libnccl.so.2");
    let named = ("RECTIFY_NCCL_LIBRARY", named.to_str().expect("a path in Unicode"));
    assert_eq!(version(&[("LD_PRELOAD", &loaded), named]), ["NCCL 2.28.9"], "what is named comes before it");
}

#[test]
fn ranks_without_nccl_compare_their_gpus_too() {
    let (said, _) = play(&["distinct", "2"], &[("RECTIFY_NCCL_LIBRARY", "nowhere")]);
    assert_eq!(said, ["rank 0 has a GPU of its own", "rank 1 has a GPU of its own"]);
    let (said, _) = play(&["shared", "4"], &[("RECTIFY_NCCL_LIBRARY", "nowhere")]);
    for shared in ["ranks 0 and 1 have the same GPU, device 0 of", "ranks 2 and 3 have the same GPU, device 1 of"] {
        assert_eq!(count(&said, shared), 4, "{said:?}");
    }
    assert_eq!(count(&said, "Some(Config)"), 4, "{said:?}");
}

#[test]
fn ranks_on_one_gpu_are_named_on_all() {
    let (said, done) = play(&["crowd", "2"], &[]);
    assert_eq!(count(&said, "Some(Config): cannot connect the ranks: ranks 0 and 1 have the same GPU, device 0 of"), 2);
    assert_eq!(count(&done, "fake: abort"), 0, "nobody joined");
}

#[test]
fn a_rank_without_a_gpu_is_named_on_all() {
    let (said, _) = play(&["beyond", "2"], &[]);
    assert!(said[0].contains("rank 1 cannot use its GPU: there is no device 4: this process sees 4"), "{said:?}");
    assert!(said[1].contains("cannot connect the ranks: there is no device 4"), "{said:?}");
}

#[test]
fn joining_fails_in_words() {
    let (said, done) = play(&["join", "2"], &[("FAKE_NCCL_INIT", "fails")]);
    assert_eq!(count(&said, "Some(Retry)"), 2, "{said:?}");
    assert_eq!(count(&said, "NCCL: unhandled system error (2): a fake cause"), 2, "{said:?}");
    assert_eq!(count(&done, "fake: abort"), 2, "{done:?}");
}

#[test]
fn joining_has_a_time_out() {
    let (said, done) = play(&["join", "2"], &[("FAKE_NCCL_INIT", "never")]);
    assert_eq!(count(&said, "the ranks did not all join by NCCL within 2.0 s"), 2, "{said:?}");
    assert_eq!(count(&done, "fake: abort"), 2, "{done:?}");
}

#[test]
fn a_rank_that_does_not_come_is_named() {
    let (said, done) = play(&["missing", "2"], &[]);
    assert_eq!(said.len(), 1, "{said:?}");
    for part in ["rank 0: Some(Retry): rank 0 waited", "s in \"gradients of step 12\" for rank 1:"] {
        assert!(said[0].contains(part), "{said:?}");
    }
    assert_eq!(done.iter().filter(|line| line.starts_with("fake: abort")).count(), 1, "{done:?}");
}

#[test]
fn an_exchange_that_does_not_end_is_ended() {
    let (said, done) = play(&["watched", "2"], &[("FAKE_STUCK", "end")]);
    for (rank, line) in said.iter().enumerate() {
        let part = format!("\"gradients of step 12\" for rank {}:", 1 - rank);
        assert!(line.contains("Some(Retry)") && line.contains(&part), "{line}");
    }
    assert_eq!((said.len(), count(&done, "fake: abort")), (2, 2), "{said:?} {done:?}");
}

#[test]
fn a_call_that_does_not_return_is_ended() {
    let (said, done) = play(&["watched", "2"], &[("FAKE_NCCL_STUCK", "call")]);
    assert_eq!(count(&said, "s in \"gradients of step 12\" for rank"), 2, "{said:?}");
    assert_eq!(count(&done, "fake: abort"), 2, "{done:?}");
}

#[test]
fn a_gpu_that_does_not_get_to_an_exchange_is_not_blamed_on_others() {
    let (said, _) = play(&["watched", "2"], &[("FAKE_STUCK", "ready")]);
    assert_eq!(count(&said, "\"gradients of step 12\": this rank's GPU did not get there within"), 2, "{said:?}");
}

#[test]
fn an_error_of_nccl_ends_all_later_calls() {
    let (said, done) = play(&["watched", "2"], &[("FAKE_NCCL_ERROR", "async")]);
    let words = "NCCL: remote process exited or there was a network error (6): a fake cause";
    assert_eq!((count(&said, words), count(&said, "Some(Retry)")), (2, 2), "{said:?}");
    assert_eq!(count(&done, "fake: abort"), 2, "{done:?}");
}

#[test]
fn events_of_a_captured_exchange_are_not_asked_for() {
    let (said, done) = play(&["captured", "2"], &[("FAKE_CAPTURING", "1")]);
    assert_eq!(said, ["rank 0 captured", "rank 1 captured"]);
    assert_eq!(count(&done, "captured"), 0, "{done:?}");
}

#[test]
fn one_rank_ends_all_and_its_gpu_first() {
    let output = devices(&["abort", "2"], &[]);
    assert_eq!(output.status.code(), Some(Exit::Data.code()), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("fake: abort 0"), "rank 1 is NCCL's rank 0: {}", text(&output.stderr));
}

#[test]
fn hosts_refuse_numbers_of_a_gpu_and_go_on() {
    threads::on_ranks(2, threads::PATIENT, |rank| {
        // SAFETY: no communicator of hosts looks at the address.
        let buffer = unsafe { Buffer::on_device(4096, 10, std::ptr::null_mut()) };
        let error = rank.start_all_reduce("gradients".into(), buffer, Reduction::Mean).wait().unwrap_err();
        assert_eq!(error, CommError::OnDevice { rank: rank.rank(), phase: "gradients".into() });
        assert!(error.exit().is_none(), "a bug of ours");
        rank.barrier("it still works".into()).unwrap();
    });
}
