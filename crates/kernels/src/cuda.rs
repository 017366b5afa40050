//! The way to a GPU: loading what only a machine with one can load, its streams, graphs and pinned memory.
//!
//! Nothing here or in libtorch touches a GPU before [`load`]; kernels ([`crate::activation`], [`crate::norm`]) take tensors on one
//! after it. Tests run kernels thread by thread on a CPU, and compile them for GPUs; docs/gpu.md says what has run on one.

mod cache;
mod compiler;
mod event;
mod graph;
mod nvrtc;
mod sources;
mod stream;
mod table;

use std::env;
use std::ffi::{c_char, c_void};
use std::fs;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Mutex, OnceLock};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::Tensor;

use crate::error::{check, taken};
use crate::{KernelError, ffi};
use compiler::{COMPILER, find_cubin};
use table::CudaTable;

pub use cache::{CacheKey, KernelCache};
pub use compiler::{Cubin, FillError, KernelCompiler};
pub use event::Event;
pub use graph::Graph;
pub use nvrtc::{CompileError, Compiled, Nvrtc};
pub use sources::KernelSource;
pub use stream::{SideStream, is_used_here};

/// The half of libtorch that is for GPUs.
const LIBTORCH: &str = "libtorch_cuda.so";
/// Our own library over it.
const OURS: &str = "librectify_cuda.so";
/// Names the file of our library where it lies elsewhere.
const VARIABLE: &str = "RECTIFY_CUDA_LIBRARY";

static TABLE: OnceLock<&'static CudaTable> = OnceLock::new();

/// Why there is no way to a GPU.
#[derive(Debug, thiserror::Error)]
pub enum CudaError {
    /// A library is in none of the places where it may be.
    #[error("{file} is not in {}: run `make build`, or name the file in {VARIABLE}", in_words(looked))]
    Missing {
        /// The library's name.
        file: &'static str,
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// A library is there, and the loader does not take it.
    #[error(
        "{} cannot be loaded: {message}; on a machine with an NVIDIA GPU `make setup` brings all that it needs (RECTIFY_LIBTORCH=cuda \
         asks for that where nvidia-smi shows no GPU)", file.display()
    )]
    Refused {
        /// The library's file.
        file: PathBuf,
        /// The loader's words.
        message: String,
    },
    /// libtorch settled that there is no CUDA before its CUDA half was loaded, and keeps that for
    /// the life of the process.
    #[error(
        "{LIBTORCH} was loaded too late: libtorch had computed a gradient or was asked about CUDA before, and goes on without CUDA \
         until the process ends; kernels::cuda::load must come first (choose the device before anything else is computed)"
    )]
    TooLate,
    /// It was loaded, and there is nothing that it could use.
    #[error("{OURS} was loaded, and: {message}")]
    Unusable {
        /// What it said.
        message: String,
    },
}

fn in_words(places: &[PathBuf]) -> String {
    let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    places.join(" or ")
}

/// Loads libtorch's CUDA half from where libtorch itself was loaded, then our library over it,
/// which lies beside the program, in the folder above, or where `RECTIFY_CUDA_LIBRARY` says. Does
/// nothing when it was done before.
///
/// **It comes before the first backward pass of the process**, also one on the CPU, and before
/// anything that asks libtorch about CUDA (`tch::Cuda`, `tch::manual_seed`). Both make libtorch
/// settle which devices there are, once: after that a GPU cannot be used until the process ends,
/// and this is [`CudaError::TooLate`].
///
/// NVRTC is loaded here as well, since cuDNN may want it before the first kernel of ours does; that
/// it is missing is an error of the first kernel that needs it.
///
/// # Errors
/// [`CudaError`] where a library is missing, cannot be loaded, comes too late, or finds no GPU.
pub fn load() -> Result<(), CudaError> {
    static LOADING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = LOADING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if is_loaded() {
        return Ok(());
    }
    open(&libtorch_folder().join(LIBTORCH))?;
    if !is_registered() {
        return Err(CudaError::TooLate);
    }
    let beside: Vec<PathBuf> = packages_folder().map(|folder| folder.join("nvidia/cu13/lib")).into_iter().collect();
    COMPILER.get_or_init(|| Ok(KernelCompiler::new(Nvrtc::open(&beside)?, KernelCache::of_user())));
    let table = ours(open(&find_ours()?)?)?;
    // SAFETY: the table is one of the same layout, and its library stays.
    unsafe { use_table(ptr::from_ref(table).cast()) };
    TABLE.set(table).unwrap_or_else(|_| unreachable!("set under the lock, once"));
    Ok(())
}

/// Whether libtorch knows its CUDA half. Asking settles it, so this comes after the half is loaded.
#[doc(hidden)]
pub fn is_registered() -> bool {
    // SAFETY: takes nothing.
    unsafe { ffi::rectify_cuda_is_registered() }
}

/// Whether [`load`] succeeded.
pub fn is_loaded() -> bool {
    TABLE.get().is_some()
}

/// Makes a device the current one of this thread (`cudaSetDevice`). Each rank calls it once, after
/// it has chosen its device: without it, CUDA calls that take no device open a context on device 0,
/// which costs memory there and, in a later call, waits for the wrong GPU. Other threads keep their
/// own current device.
///
/// # Errors
/// When there is no such device, or its context cannot be created (its memory is full, or it is in
/// exclusive mode).
///
/// # Panics
/// When CUDA is not loaded.
pub fn use_device(index: usize) -> Result<(), KernelError> {
    // SAFETY: takes a number.
    check("making a GPU the current device", unsafe { (table().use_device)(number(index)) })
}

/// The name of a device as the driver gives it, such as `NVIDIA H200` (`cudaGetDeviceProperties`).
///
/// # Errors
/// When there is no such device.
///
/// # Panics
/// When CUDA is not loaded.
pub fn device_name(index: usize) -> Result<String, KernelError> {
    let mut name = ptr::null_mut();
    // SAFETY: `name` is written before null is answered.
    check("the name of a GPU", unsafe { (table().device_name)(number(index), &mut name) })?;
    // SAFETY: a string of `strdup` that nothing else has.
    Ok(unsafe { taken(name) })
}

/// The stream that libtorch's operations on a device go to at present, in this thread: a `cudaStream_t`.
///
/// # Panics
/// When CUDA is not loaded or there is no such device.
pub fn current_stream(device: usize) -> *mut c_void {
    let mut stream = ptr::null_mut();
    // SAFETY: `stream` is written before null is answered.
    let answer = unsafe { (table().current_stream)(number(device), &mut stream) };
    check("the current stream", answer).expect("a device that is there");
    stream
}

/// Waits until a device has done all that was asked of its current stream in this thread; what goes on beside it is not waited for.
///
/// # Errors
/// What went wrong on it since it was last asked.
///
/// # Panics
/// When CUDA is not loaded.
pub fn synchronise(device: usize) -> Result<(), KernelError> {
    // SAFETY: takes a number.
    check("waiting for a GPU", unsafe { (table().synchronise)(number(device)) })
}

/// The most bytes that tensors on a device ever had at once.
///
/// # Panics
/// When CUDA is not loaded or there is no such device.
pub fn peak_memory(device: usize) -> u64 {
    let mut bytes = 0;
    // SAFETY: `bytes` is written before null is answered.
    check("the memory of a GPU", unsafe { (table().peak_memory)(number(device), &mut bytes) })
        .expect("a device that is there");
    bytes as u64
}

/// A copy of a tensor on the CPU in pinned memory: copies between it and a GPU can be under way while both work.
///
/// # Errors
/// When the system pins no more memory.
///
/// # Panics
/// When CUDA is not loaded.
pub fn pinned(tensor: &Tensor) -> Result<Tensor, KernelError> {
    let mut pinned = ptr::null_mut();
    // SAFETY: the tensor lives, and `pinned` is written before null is answered.
    check("pinned memory", unsafe { (table().pin)(tensor.as_ptr().cast(), &mut pinned) })?;
    // SAFETY: made with `new`, as tch makes its own, and nobody else has it.
    Ok(unsafe { Tensor::from_ptr(pinned.cast()) })
}

/// Makes kernels go by another table, which tests have.
///
/// # Safety
/// It points to a `CudaTable` (cpp/cuda_table.h) that lives as long as the process.
#[doc(hidden)]
pub unsafe fn use_table(table: *const c_void) {
    // SAFETY: the caller says so.
    unsafe { ffi::rectify_use_cuda_table(table) }
}

fn table() -> &'static CudaTable {
    TABLE.get().expect("kernels::cuda::load comes first")
}

/// A device as libtorch counts them.
fn number(device: usize) -> i32 {
    i32::try_from(device).expect("no machine has so many GPUs")
}

/// The folder that libtorch was loaded from, links followed: `.libtorch` is one.
pub fn libtorch_folder() -> PathBuf {
    library_of(ptr::null()).as_deref().and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default()
}

/// The folder of the Python packages that libtorch's wheel is among, in which NVIDIA's wheels have
/// their libraries (`nvidia/cu13/lib`, `nvidia/nccl/lib`); links are followed. `None` where
/// libtorch is not in a folder of a folder.
pub fn packages_folder() -> Option<PathBuf> {
    // …/torch/lib
    libtorch_folder().ancestors().nth(2).map(Path::to_path_buf)
}

/// The file of the library that a function lies in, or of libtorch where it is null. Links of
/// folders are followed, and those of the file itself are not, since what lies beside the link
/// belongs to it.
fn library_of(function: *const c_void) -> Option<PathBuf> {
    // SAFETY: answers with null or a string of `strdup`.
    let path = unsafe {
        let path = ffi::rectify_library_path(function);
        if path.is_null() { return None } else { taken(path) }
    };
    let path = Path::new(&path);
    Some(fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?))
}

fn find_ours() -> Result<PathBuf, CudaError> {
    if let Some(file) = env::var_os(VARIABLE) {
        return Ok(file.into());
    }
    let program = env::current_exe().unwrap_or_default();
    let looked: Vec<PathBuf> = program.ancestors().skip(1).take(2).map(Path::to_path_buf).collect();
    let found = looked.iter().map(|folder| folder.join(OURS)).find(|file| file.is_file());
    found.ok_or(CudaError::Missing { file: OURS, looked })
}

/// Loads a library for good, its names known to those that come later.
fn open(file: &Path) -> Result<&'static Library, CudaError> {
    // SAFETY: what libtorch and our library do when they are loaded is register themselves.
    let library = unsafe { Library::open(Some(file), RTLD_NOW | RTLD_GLOBAL) };
    let library = library.map_err(|error| CudaError::Refused { file: file.to_owned(), message: error.to_string() })?;
    // A library is closed when its handle is dropped, and this one never is.
    Ok(Box::leak(Box::new(library)))
}

/// What our library offers, once it knows where machine code of kernels comes from.
fn ours(library: &'static Library) -> Result<&'static CudaTable, CudaError> {
    type Open = unsafe extern "C" fn(usize, *const c_void, *mut *mut c_char) -> *const CudaTable;
    let unusable = |message: String| CudaError::Unusable { message };
    let mut message = ptr::null_mut();
    // SAFETY: the function has that type, and the table stays with its library, which is never
    // closed.
    let table = unsafe {
        let open = library.get::<Open>(b"rectify_cuda_table_of").map_err(|error| unusable(error.to_string()))?;
        open(size_of::<CudaTable>(), find_cubin as *const c_void, &mut message).as_ref()
    };
    table.ok_or_else(|| {
        // SAFETY: without a table there is a message, a string of `strdup`.
        let message = unsafe { taken(message) };
        // What follows the first line is where in libtorch it happened.
        unusable(message.lines().next().unwrap_or_default().trim_end_matches('.').to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a machine without a GPU: libtorch's CUDA half lacks libraries, or finds no device.
    #[test]
    fn without_a_gpu_the_error_says_what_to_do() {
        if let Err(error) = load() {
            let text = error.to_string();
            assert!(text.contains(".so") && (text.contains("make ") || text.contains("GPU")), "{text}");
            assert!(!is_loaded());
        }
    }

    #[test]
    fn libtorch_is_found_where_it_was_loaded_from() {
        assert!(libtorch_folder().join("libtorch_cpu.so").is_file(), "{:?}", libtorch_folder());
        // `.libtorch` is a link: above it lies the checkout, and above what it names the other
        // wheels.
        let packages = packages_folder().expect("a wheel's libtorch");
        assert!(packages.join("nvidia").is_dir(), "{}", packages.display());
    }
}
