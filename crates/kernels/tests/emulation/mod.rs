//! Loads the kernels for a GPU, compiled for a CPU, into a process of tests: those of this crate
//! and of the trainer.

use std::ffi::c_void;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::SystemTime;

use libloading::Library;

/// What is loaded stays for the whole process, as the table does.
static EMULATION: LazyLock<Library> = LazyLock::new(|| {
    let library = compiled();
    // SAFETY: the library is ours and does nothing when it is loaded; the function has that type,
    // and its table lives as long as the library, which is never unloaded.
    unsafe {
        let library = Library::new(&library).expect("a library that the compiler just wrote");
        let table = library.get::<unsafe extern "C" fn() -> *const c_void>(b"emulation_table").expect("defined there");
        kernels::cuda::use_table(table());
        library
    }
});

/// From now on tensors on the CPU go by the kernels, in the whole process.
pub fn load() {
    let _ = library();
}

/// The library, which is loaded now.
pub fn library() -> &'static Library {
    LazyLock::force(&EMULATION)
}

/// The library, compiled again where a source is newer.
fn compiled() -> PathBuf {
    // From whichever crate of the workspace the tests are.
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find(|folder| folder.join("Cargo.lock").is_file());
    let root = workspace.expect("the workspace").join("crates/kernels");
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
