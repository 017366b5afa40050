//! The kernels for a GPU, compiled for a CPU and run thread by thread: their index arithmetic, their sums and what they are given.
//!
//! What is left for a GPU to show is what the compiler for GPUs makes of them, and the few instructions that formulas.h and
//! numbers.h have in its own words.

#[path = "checks/activation.rs"]
mod activation;
#[path = "checks/kernels_of_tests.rs"]
mod kernels_of_tests;
#[path = "checks/norm.rs"]
mod norm;
#[path = "checks/row_lengths.rs"]
mod row_lengths;
#[path = "checks/worst.rs"]
mod worst;

use std::collections::BTreeSet;
use std::ffi::{CStr, c_char, c_void};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::SystemTime;

use kernels::norm::LayerNorm;
use libloading::Library;
use tch::{Device, Kind, Tensor};

/// What is loaded stays for the whole process, as the table does.
static EMULATION: LazyLock<Library> = LazyLock::new(|| {
    let library = compiled();
    // SAFETY: the library is ours and does nothing when it is loaded; the function has that type, and its table lives as long
    // as the library, which is never unloaded.
    unsafe {
        let library = Library::new(&library).expect("a library that the compiler just wrote");
        let table = library.get::<unsafe extern "C" fn() -> *const c_void>(b"emulation_table").expect("defined there");
        kernels::cuda::use_table(table());
        library
    }
});

/// Where all of it is computed.
fn device() -> Device {
    LazyLock::force(&EMULATION);
    Device::Cpu
}

/// The library, compiled again where a source is newer.
fn compiled() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("librectify_emulation.so");
    let newest = ["cpp", "cuda", "tests/emulation"].iter().flat_map(|folder| times(&root.join(folder))).max();
    if fs::metadata(&library).and_then(|file| file.modified()).ok() > newest {
        return library;
    }
    // Another process may be running the one that is there.
    let fresh = library.with_extension(format!("{}.so", std::process::id()));
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let status = Command::new(&compiler)
        .args(["-std=c++17", "-O1", "-fPIC", "-shared", "-Wall", "-Wno-unknown-pragmas", "-Wno-psabi"])
        .args(["cpp", "cuda"].map(|folder| format!("-I{}", root.join(folder).display())))
        .arg(root.join("tests/emulation/kernels.cpp"))
        .arg("-o")
        .arg(&fresh)
        .status();
    assert!(status.is_ok_and(|status| status.success()), "{compiler} could not compile the kernels (see above)");
    fs::rename(&fresh, &library).expect("a file in the folder of temporary files");
    library
}

/// When the files of a folder were last changed.
fn times(folder: &Path) -> Vec<SystemTime> {
    let files = fs::read_dir(folder).expect("a folder of this crate");
    files.map(|file| file.and_then(|file| file.metadata()?.modified()).expect("a file of this crate")).collect()
}

/// The emulation has what the checks ask for, or they fail: so `compile_kernels` leaves none of it
/// out.
#[test]
fn the_kernels_of_the_checks_are_those_that_are_listed() {
    unsafe extern "C" fn add(all: *mut c_void, definitions: *const c_char) {
        // SAFETY: `all` is the set below, and the text ends with a zero.
        unsafe {
            let definitions = CStr::from_ptr(definitions).to_string_lossy().into_owned();
            (*all.cast::<BTreeSet<String>>()).insert(definitions);
        }
    }
    type Visit = unsafe extern "C" fn(*mut c_void, *const c_char);
    let mut emulated: BTreeSet<String> = BTreeSet::new();
    // SAFETY: the function has that type, and calls `add` while the set lives.
    unsafe {
        let each = EMULATION.get::<unsafe extern "C" fn(Visit, *mut c_void)>(b"emulation_each");
        each.expect("defined there")(add, (&raw mut emulated).cast());
    }
    let listed = kernels_of_tests::kernels_of_tests().into_iter().map(|kernel| kernel.definitions);
    assert_eq!(emulated, listed.collect::<BTreeSet<String>>());
}

#[test]
fn rows_that_no_kernel_takes_are_an_error() {
    let floats = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, device()));
    let (weight, bias) = (floats(&[30_000]), floats(&[30_000]));
    let norm = LayerNorm { weight: &weight, bias: &bias, eps: 1e-6 };
    let error = norm.forward(&floats(&[2, 30_000]), Kind::Float).expect_err("too long");
    assert!(error.to_string().contains("30000"), "{error}");
}
