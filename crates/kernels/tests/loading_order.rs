//! What libtorch settles with the first backward pass: why `kernels::cuda::load` comes before it,
//! and that it would notice.
//!
//! A small library registers itself with libtorch as the CUDA half does, which needs no GPU. Each
//! order is played in a process of its own, since libtorch settles it once.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::{Device, Kind, Tensor};

/// In a process that plays an order, the library to load.
const LIBRARY: &str = "RECTIFY_TEST_STAND_IN";
/// Whether there is a backward pass first.
const BACKWARD_FIRST: &str = "RECTIFY_TEST_BACKWARD_FIRST";

#[test]
fn a_backward_pass_before_the_library_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let library = compiled(folder.path());
    assert_eq!(played(&library, false), "registered");
    assert_eq!(played(&library, true), "not registered");
}

/// Does what the test asks for in its process, and nothing in any other.
#[test]
fn play() {
    let Some(library) = env::var_os(LIBRARY).map(PathBuf::from) else { return };
    if env::var_os(BACKWARD_FIRST).is_some() {
        let x = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        x.sum(Kind::Float).backward();
    }
    // SAFETY: the library registers a class with libtorch and does nothing else.
    let loaded = unsafe { Library::open(Some(&library), RTLD_NOW | RTLD_GLOBAL) };
    std::mem::forget(loaded.expect("a library that the compiler just wrote"));
    println!("<{}>", if kernels::cuda::is_registered() { "registered" } else { "not registered" });
}

/// What a process found that plays one order.
fn played(library: &Path, backward_first: bool) -> String {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args(["--exact", "play", "--nocapture"]).env(LIBRARY, library);
    if backward_first {
        command.env(BACKWARD_FIRST, "1");
    }
    let output = command.output().expect("this program starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = text.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    said.unwrap_or_else(|| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr))).0.to_owned()
}

/// The library that stands in for libtorch's CUDA half.
fn compiled(folder: &Path) -> PathBuf {
    let library = folder.join("libstand_in.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emulation/cuda_hooks.cpp");
    let libtorch = PathBuf::from(env::var_os("LIBTORCH").expect("set by .cargo/config.toml"));
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".into());
    let status = Command::new(&compiler)
        .args(["-std=c++17", "-O0", "-fPIC", "-shared", "-I"])
        .arg(libtorch.join("include"))
        .arg(source)
        .arg("-o")
        .arg(&library)
        .status();
    assert!(status.is_ok_and(|status| status.success()), "{compiler} could not compile it (see above)");
    library
}
