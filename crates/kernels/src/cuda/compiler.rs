//! Machine code of kernels: from the cache where it has it, else compiled and kept there.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

use super::cache::{CacheKey, KernelCache};
use super::nvrtc::{CompileError, Nvrtc, options};
use super::sources::{self, KernelSource};

/// NVRTC and a cache before it.
#[derive(Debug)]
pub struct KernelCompiler {
    nvrtc: Nvrtc,
    cache: Option<KernelCache>,
}

/// Machine code, and where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cubin {
    /// For one architecture.
    pub code: Vec<u8>,
    /// Whether it was in the cache.
    pub cached: bool,
}

/// Why a cache was not filled.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// There is no machine code.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The folder cannot be written.
    #[error("{} cannot be written: {error}", folder.display())]
    Unwritten {
        /// The cache's folder.
        folder: PathBuf,
        /// The system's words.
        error: io::Error,
    },
}

impl KernelCompiler {
    /// A compiler that keeps what it compiles in `cache`, if there is one.
    pub fn new(nvrtc: Nvrtc, cache: Option<KernelCache>) -> KernelCompiler {
        KernelCompiler { nvrtc, cache }
    }

    /// The machine code of a source for an architecture (90 for sm_90).
    ///
    /// A cache that cannot be written costs only time, so that is not an error. Processes that need
    /// the same kernel at once each compile it, and the last one's entry stays.
    ///
    /// # Errors
    /// When the source does not compile.
    pub fn cubin(&self, source: &KernelSource, architecture: u32) -> Result<Cubin, CompileError> {
        let key = self.key(source, architecture)?;
        if let Some(code) = self.cache.as_ref().and_then(|cache| cache.get(&key)) {
            return Ok(Cubin { code, cached: true });
        }
        let code = self.nvrtc.compile(source, architecture, &[])?.code;
        if let Some(cache) = &self.cache {
            let _ = cache.put(&key, &code);
        }
        Ok(Cubin { code, cached: false })
    }

    /// Puts the machine code of a source into a cache that may be for other machines, and answers
    /// whether it was compiled for that.
    ///
    /// # Errors
    /// When the source does not compile, or the cache cannot be written.
    pub fn fill(&self, cache: &KernelCache, source: &KernelSource, architecture: u32) -> Result<bool, FillError> {
        let key = self.key(source, architecture)?;
        if cache.get(&key).is_some() {
            return Ok(false);
        }
        let code = self.nvrtc.compile(source, architecture, &[])?.code;
        let written = cache.put(&key, &code);
        written.map_err(|error| FillError::Unwritten { folder: cache.folder().to_owned(), error })?;
        Ok(true)
    }

    /// All that machine code depends on: the compiler, its options, architecture included, and the
    /// texts of all files.
    fn key(&self, source: &KernelSource, architecture: u32) -> Result<CacheKey, CompileError> {
        let texts =
            sources::with_headers(&source.file).ok_or_else(|| CompileError::NoSource { file: source.file.clone() })?;
        let (compiler, options) = (self.nvrtc.identity(), options(source, architecture));
        let texts = texts.iter().flat_map(|&(name, text)| [name, text]);
        let parts = [compiler.as_str()].into_iter().chain(options.iter().map(String::as_str));
        Ok(CacheKey::of(parts.chain(["texts"]).chain(texts)))
    }
}

/// The compiler of this process, once [`super::load`] has looked for it.
pub(super) static COMPILER: OnceLock<Result<KernelCompiler, CompileError>> = OnceLock::new();

/// Takes machine code of a number of bytes, which is there for the time of the call.
pub(super) type Take = unsafe extern "C" fn(to: *mut c_void, code: *const c_void, bytes: usize);

/// What `librectify_cuda.so` asks for machine code: calls `take` with it, and answers with null or
/// a message to be freed.
///
/// # Safety
/// Both texts end with a zero, and `take` can be called with `to`.
pub(super) unsafe extern "C" fn find_cubin(
    file: *const c_char,
    definitions: *const c_char,
    architecture: c_int,
    take: Take,
    to: *mut c_void,
) -> *mut c_char {
    // SAFETY: the caller says so.
    let text = |pointer| unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned();
    let source = KernelSource { file: text(file), definitions: text(definitions) };
    let compiler = COMPILER.get().expect("load sets it before it hands this function out").as_ref();
    let found = compiler.map_err(CompileError::clone).and_then(|all| all.cubin(&source, architecture.unsigned_abs()));
    match found {
        Ok(cubin) => {
            // SAFETY: the caller says so.
            unsafe { take(to, cubin.code.as_ptr().cast(), cubin.code.len()) };
            std::ptr::null_mut()
        }
        Err(error) => {
            let message = CString::new(error.to_string().replace('\0', " ")).expect("no zeros");
            // SAFETY: copies a text that ends with a zero.
            unsafe { strdup(message.as_ptr()) }
        }
    }
}

unsafe extern "C" {
    fn strdup(text: *const c_char) -> *mut c_char;
}
