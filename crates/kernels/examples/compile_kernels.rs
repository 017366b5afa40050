//! Fills a folder with the machine code of kernels for one architecture, without a GPU:
//! `compile_kernels ARCHITECTURE FOLDER`.
//!
//! With `RECTIFY_KERNEL_CACHE=FOLDER`, a run on such a GPU then compiles nothing, as long as its
//! NVRTC is the same; an entry that does not fit is passed over. The kernels are those of every
//! activation and of norms of rows of 8, 16, … 2048 elements, which holds what ViT, DeiT, Swin, TNT
//! and ResNet ask for, and those of the tests under `tests/checks`.

#[path = "../tests/checks/kernels_of_tests.rs"]
mod kernels_of_tests;
#[path = "../tests/checks/row_lengths.rs"]
mod row_lengths;

use std::collections::BTreeSet;
use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kernels::cuda::{KernelCache, KernelCompiler, KernelSource, Nvrtc, packages_folder};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let [architecture, folder] = words.as_slice() else { return refuse("two words are wanted") };
    let Some(architecture) = architecture.trim_start_matches("sm_").parse::<u32>().ok() else {
        return refuse("the architecture is a number such as 90 (H100, H200), or sm_90");
    };
    match compile(architecture, folder.into()) {
        Ok((compiled, cached)) => {
            println!("{compiled} kernels compiled for sm_{architecture}, {cached} were there: {folder}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("compile_kernels: error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("compile_kernels: error: {why}; usage: compile_kernels ARCHITECTURE FOLDER");
    ExitCode::from(2)
}

/// Compiles what is not in the folder yet, and counts both.
fn compile(architecture: u32, folder: PathBuf) -> Result<(usize, usize), String> {
    let built_with = env::var_os("CUDA_BUILD").map(PathBuf::from);
    let nvrtc: Vec<PathBuf> =
        [built_with, packages_folder()].into_iter().flatten().map(|folder| folder.join("nvidia/cu13/lib")).collect();
    let compiler = KernelCompiler::new(Nvrtc::open(&nvrtc).map_err(|error| error.to_string())?, None);
    let cache = KernelCache::new(folder);
    let kernels: Vec<KernelSource> = wanted().into_iter().collect();
    let (next, compiled) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || -> Result<(), String> {
        while let Some(kernel) = kernels.get(next.fetch_add(1, Ordering::Relaxed)) {
            let fresh = compiler.fill(&cache, kernel, architecture).map_err(|error| error.to_string())?;
            compiled.fetch_add(usize::from(fresh), Ordering::Relaxed);
        }
        Ok(())
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no panic"))
    })?;
    let compiled = compiled.into_inner();
    Ok((compiled, kernels.len() - compiled))
}

/// The kernels of runs and of tests.
fn wanted() -> BTreeSet<KernelSource> {
    let of_runs: Vec<i64> = (1..=256).map(|groups| 8 * groups).collect();
    let of_runs = KernelSource::all(&of_runs).into_iter().filter(|kernel| {
        // A run's tensors begin on 16 bytes, and none is in f64.
        !["ACCESS=Grouped", "STORAGE=double", "WIDE=double"].iter().any(|word| kernel.definitions.contains(word))
    });
    of_runs.chain(kernels_of_tests::kernels_of_tests()).collect()
}
