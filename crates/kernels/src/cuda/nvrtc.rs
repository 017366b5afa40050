//! NVRTC, NVIDIA's compiler for kernels, loaded by path: from a source to machine code, which needs
//! no GPU.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::ptr;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use super::sources::{self, KernelSource};

/// The file that CUDA 13 loads.
const NVRTC: &str = "libnvrtc.so.13";
/// What NVRTC opens by name alone when it compiles; its minor version follows.
const BUILTINS: &str = "libnvrtc-builtins.so.13.";

/// Why there is no machine code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// There is no compiler.
    #[error(
        "{NVRTC}, the compiler for GPU kernels, cannot be loaded: {message}; it comes with the package nvidia-cuda-nvrtc, which torch \
         for CUDA 13 needs, or with a CUDA toolkit whose lib64 is in LD_LIBRARY_PATH"
    )]
    Missing {
        /// The loader's words.
        message: String,
    },
    /// The library lacks a function.
    #[error("{} is not NVRTC of CUDA 13: {message}", file.display())]
    Unknown {
        /// The library's file.
        file: PathBuf,
        /// What it lacks.
        message: String,
    },
    /// No file of this program has that name.
    #[error("no kernel source is called {file}")]
    NoSource {
        /// The name.
        file: String,
    },
    /// The compiler refused the source or failed.
    #[error("NVRTC could not compile {file} with {options}: {reason}: {log}{hint}")]
    Refused {
        /// The source.
        file: String,
        /// All options.
        options: String,
        /// NVRTC's name of the error.
        reason: String,
        /// What the compiler said, in one line.
        log: String,
        /// What may be the cause, where that is known.
        hint: String,
    },
}

/// Machine code, and what the compiler said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// A cubin for one architecture.
    pub code: Vec<u8>,
    /// Warnings, and with `--ptxas-options=-v` registers and spills.
    pub log: String,
}

type Program = *mut c_void;

/// The compiler.
#[derive(Debug)]
pub struct Nvrtc {
    functions: Functions,
    file: PathBuf,
    version: (i32, i32),
    bytes: u64,
    builtins: Option<PathBuf>,
}

macro_rules! functions {
    ($($field:ident: $name:literal $type:ty),* $(,)?) => {
        #[derive(Debug)]
        struct Functions { $($field: $type),* }

        impl Functions {
            /// # Safety
            /// The library is NVRTC.
            unsafe fn of(library: &Library) -> Result<Functions, libloading::Error> {
                // SAFETY: NVRTC's functions have these types (nvrtc.h).
                Ok(unsafe { Functions { $($field: *library.get::<$type>($name)?),* } })
            }
        }
    };
}

functions! {
    version: b"nvrtcVersion" unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int,
    create: b"nvrtcCreateProgram"
        unsafe extern "C" fn(*mut Program, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char) -> c_int,
    compile: b"nvrtcCompileProgram" unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    code_size: b"nvrtcGetCUBINSize" unsafe extern "C" fn(Program, *mut usize) -> c_int,
    code: b"nvrtcGetCUBIN" unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    ptx_size: b"nvrtcGetPTXSize" unsafe extern "C" fn(Program, *mut usize) -> c_int,
    ptx: b"nvrtcGetPTX" unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    log_size: b"nvrtcGetProgramLogSize" unsafe extern "C" fn(Program, *mut usize) -> c_int,
    log: b"nvrtcGetProgramLog" unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    destroy: b"nvrtcDestroyProgram" unsafe extern "C" fn(*mut Program) -> c_int,
    words: b"nvrtcGetErrorString" unsafe extern "C" fn(c_int) -> *const c_char,
}

impl Nvrtc {
    /// Loads the compiler for good, from the first of `folders` that has it, else from where the
    /// loader looks.
    ///
    /// Its builtins are loaded at once, from beside it: NVRTC itself, and cuDNN through it, opens
    /// them by name alone, and the loader does not look into the folders of wheels.
    ///
    /// # Errors
    /// [`CompileError::Missing`] or [`CompileError::Unknown`].
    pub fn open(folders: &[PathBuf]) -> Result<Nvrtc, CompileError> {
        let beside = folders.iter().map(|folder| folder.join(NVRTC)).find(|file| file.is_file());
        let wanted = beside.unwrap_or_else(|| NVRTC.into());
        let library = open(&wanted).map_err(|error| CompileError::Missing { message: error.to_string() })?;
        let unknown =
            |error: libloading::Error| CompileError::Unknown { file: wanted.clone(), message: error.to_string() };
        // SAFETY: the file is called as NVRTC of CUDA 13 is.
        let functions = unsafe { Functions::of(&library) }.map_err(unknown)?;
        let file = crate::cuda::library_of(functions.version as *const c_void).unwrap_or_else(|| wanted.clone());
        mem::forget(library);
        let mut version = (0, 0);
        // SAFETY: writes two numbers.
        unsafe { (functions.version)(&mut version.0, &mut version.1) };
        let builtins = file.parent().and_then(|folder| builtins_in(folder, version.1));
        if let Some(found) = &builtins {
            let library = open(found).map_err(|error| CompileError::Missing { message: error.to_string() })?;
            mem::forget(library);
        }
        let bytes = fs::metadata(&file).map_or(0, |file| file.len());
        Ok(Nvrtc { functions, file, version, bytes, builtins })
    }

    /// Which compiler it is. NVRTC does not tell its patch version, so the length of its file
    /// stands in for that.
    pub fn identity(&self) -> String {
        format!("NVRTC {}.{} of {} bytes", self.version.0, self.version.1, self.bytes)
    }

    /// The library's file, links followed.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Compiles a source for an architecture (90 for sm_90), with further options of NVRTC.
    ///
    /// # Errors
    /// [`CompileError::NoSource`] or [`CompileError::Refused`].
    pub fn compile(&self, source: &KernelSource, architecture: u32, more: &[&str]) -> Result<Compiled, CompileError> {
        self.compile_and(source, architecture, more, |program| {
            Ok(Compiled { code: program.code()?, log: program.log() })
        })
    }

    /// The instructions of a source in PTX, the assembly language that machine code is made from.
    ///
    /// # Errors
    /// As [`Nvrtc::compile`].
    pub fn ptx(&self, source: &KernelSource, architecture: u32) -> Result<String, CompileError> {
        self.compile_and(source, architecture, &[], |program| program.ptx())
    }

    fn compile_and<T>(
        &self,
        source: &KernelSource,
        architecture: u32,
        more: &[&str],
        read: impl FnOnce(&Created<'_>) -> Result<T, (c_int, String)>,
    ) -> Result<T, CompileError> {
        let options = options(source, architecture).into_iter().chain(more.iter().map(|&option| option.to_owned()));
        let options: Vec<String> = options.collect();
        let texts =
            sources::with_headers(&source.file).ok_or_else(|| CompileError::NoSource { file: source.file.clone() })?;
        let program = Created::new(&self.functions, &source.file, &texts);
        let c_options: Vec<CString> = options.iter().map(|option| c_string(option)).collect();
        let pointers: Vec<*const c_char> = c_options.iter().map(|option| option.as_ptr()).collect();
        let result = program.and_then(|program| {
            // SAFETY: the program lives, and the options outlive the call.
            let status = unsafe { (self.functions.compile)(program.program, count(pointers.len()), pointers.as_ptr()) };
            if status == 0 { read(&program) } else { Err((status, program.log())) }
        });
        result.map_err(|(status, log)| self.refused(source, &options, status, &log))
    }

    fn refused(&self, source: &KernelSource, options: &[String], status: c_int, log: &str) -> CompileError {
        // SAFETY: answers with a text that stays, whatever the number is.
        let reason = unsafe { CStr::from_ptr((self.functions.words)(status)) }.to_string_lossy().into_owned();
        let hint = match (&self.builtins, reason.contains("BUILTIN")) {
            (None, true) => {
                let folder = self.file.parent().unwrap_or(Path::new("")).display();
                format!(" (there is no {BUILTINS}* in {folder}, and the loader finds none)")
            }
            _ => String::new(),
        };
        // A message is one line.
        let log = log.split_whitespace().collect::<Vec<_>>().join(" ");
        CompileError::Refused { file: source.file.clone(), options: options.join(" "), reason, log, hint }
    }
}

/// The options of a source, which are part of what its machine code is kept under.
pub(super) fn options(source: &KernelSource, architecture: u32) -> Vec<String> {
    let fixed = [format!("--gpu-architecture=sm_{architecture}"), "--std=c++17".into()];
    let fixed = fixed.into_iter().chain(["--device-as-default-execution-space".into()]);
    fixed.chain(source.definitions.split_whitespace().map(str::to_owned)).collect()
}

/// A program of NVRTC's, destroyed when it is dropped.
struct Created<'a> {
    functions: &'a Functions,
    program: Program,
}

impl<'a> Created<'a> {
    fn new(functions: &'a Functions, file: &str, texts: &[(&str, &str)]) -> Result<Created<'a>, (c_int, String)> {
        let name = c_string(file);
        let owned: Vec<(CString, CString)> =
            texts.iter().map(|(name, text)| (c_string(name), c_string(text))).collect();
        let names: Vec<*const c_char> = owned.iter().map(|(name, _)| name.as_ptr()).collect();
        let contents: Vec<*const c_char> = owned.iter().map(|(_, text)| text.as_ptr()).collect();
        let mut program = ptr::null_mut();
        // SAFETY: all texts end with a zero and outlive the call, which copies them; the first is
        // the source itself.
        let status = unsafe {
            let headers = count(names.len());
            (functions.create)(&mut program, contents[0], name.as_ptr(), headers, contents.as_ptr(), names.as_ptr())
        };
        if status == 0 { Ok(Created { functions, program }) } else { Err((status, String::new())) }
    }

    fn log(&self) -> String {
        text(self.read(self.functions.log_size, self.functions.log).unwrap_or_default())
    }

    fn code(&self) -> Result<Vec<u8>, (c_int, String)> {
        self.read(self.functions.code_size, self.functions.code)
    }

    fn ptx(&self) -> Result<String, (c_int, String)> {
        self.read(self.functions.ptx_size, self.functions.ptx).map(text)
    }

    /// What a pair of NVRTC's functions answers: the first tells a size, and the second fills memory of that size.
    fn read(
        &self,
        size_of: unsafe extern "C" fn(Program, *mut usize) -> c_int,
        fill: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    ) -> Result<Vec<u8>, (c_int, String)> {
        let (mut size, mut bytes) = (0, Vec::new());
        // SAFETY: the program lives, and the memory has the size that the first call tells.
        let status = unsafe {
            match size_of(self.program, &mut size) {
                0 => {
                    bytes = vec![0u8; size];
                    fill(self.program, bytes.as_mut_ptr().cast())
                }
                status => status,
            }
        };
        if status == 0 { Ok(bytes) } else { Err((status, String::new())) }
    }
}

impl Drop for Created<'_> {
    fn drop(&mut self) {
        // SAFETY: created by NVRTC, and destroyed once.
        unsafe { (self.functions.destroy)(&mut self.program) };
    }
}

fn open(file: &Path) -> Result<Library, libloading::Error> {
    // SAFETY: NVIDIA's libraries do nothing when they are loaded.
    unsafe { Library::open(Some(file), RTLD_NOW | RTLD_GLOBAL) }
}

/// NVRTC's builtins in a folder: those of NVRTC's own minor version, else the newest.
fn builtins_in(folder: &Path, own: i32) -> Option<PathBuf> {
    let minor = |path: &PathBuf| path.file_name()?.to_str()?.strip_prefix(BUILTINS)?.parse::<i32>().ok();
    let files = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    files.filter(|path| minor(path).is_some()).max_by_key(|path| (minor(path) == Some(own), minor(path)))
}

/// A text of NVRTC's, which ends with a zero.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
}

fn c_string(text: &str) -> CString {
    CString::new(text).expect("options, names and sources without zeros")
}

fn count(length: usize) -> c_int {
    c_int::try_from(length).expect("a short list")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builtins_are_found_by_pattern() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(builtins_in(folder.path(), 0), None);
        for file in [
            "libnvrtc-builtins.alt.so.13.9",
            "libnvrtc-builtins.so.12.8",
            "libnvrtc-builtins.so.13.x",
            "libnvrtc.so.13",
        ] {
            fs::write(folder.path().join(file), "").expect("a file");
        }
        assert_eq!(builtins_in(folder.path(), 0), None);
        for file in ["libnvrtc-builtins.so.13.2", "libnvrtc-builtins.so.13.10"] {
            fs::write(folder.path().join(file), "").expect("a file");
        }
        let found = |own| builtins_in(folder.path(), own).expect("two of them");
        assert_eq!(found(2), folder.path().join("libnvrtc-builtins.so.13.2"));
        assert_eq!(found(0), folder.path().join("libnvrtc-builtins.so.13.10"));
    }
}
