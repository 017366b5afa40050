//! Every kernel compiles for GPUs, from the sources that the program carries and with the options that it gives, without a warning.
//!
//! This needs NVIDIA's compiler, which `make setup` brings, and no GPU. It goes down to machine code, so that the few instructions
//! written by hand are assembled too.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::PathBuf;
use std::ptr;
use std::thread;

use kernels::cuda::SOURCES;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

/// As formulas.h calls them.
const FORMULAS: [&str; 15] = [
    "Relu",
    "CrRelu",
    "PRelu",
    "Gelu",
    "Silu",
    "Mish",
    "StarRelu",
    "CrGelu",
    "CrSilu",
    "CrMish",
    "Tabulated",
    "Adjusted<Relu>",
    "Adjusted<Gelu>",
    "Adjusted<Silu>",
    "Adjusted<Mish>",
];

/// The oldest that CUDA 13 knows, which has no bf16 of its own, and those of most clusters.
const ARCHITECTURES: [u32; 3] = [75, 80, 90];

struct Nvrtc {
    library: Library,
}

type Program = *mut c_void;

impl Nvrtc {
    fn open() -> Nvrtc {
        let folder = std::env::var("CUDA_BUILD").map(PathBuf::from).unwrap_or_default().join("nvidia/cu13/lib");
        let open = |name: &str| {
            let file = folder.join(name);
            // SAFETY: NVIDIA's libraries do nothing when they are loaded.
            unsafe { Library::open(Some(&file), RTLD_NOW | RTLD_GLOBAL) }
                .unwrap_or_else(|error| panic!("{error}: run `make setup`, which brings {}", file.display()))
        };
        // The second looks for the first by name alone.
        std::mem::forget(open("libnvrtc-builtins.so.13.0"));
        Nvrtc { library: open("libnvrtc.so.13") }
    }

    /// Compiles a file; what the compiler says, and whether it is content.
    fn compile(&self, file: &str, definitions: &str, architecture: u32) -> (bool, String) {
        let text =
            |name: &str| SOURCES.iter().find(|(file, _)| file.trim_end_matches('\0') == name).expect("a source").1;
        let names: Vec<*const c_char> = SOURCES.iter().map(|(file, _)| file.as_ptr().cast()).collect();
        let texts: Vec<*const c_char> = SOURCES.iter().map(|(_, text)| text.as_ptr().cast()).collect();
        let fixed = ["--std=c++17", "--device-as-default-execution-space"].map(str::to_owned);
        let options = [format!("--gpu-architecture=sm_{architecture}")].into_iter().chain(fixed);
        let options = options.chain(definitions.split(' ').map(str::to_owned));
        let options: Vec<CString> = options.map(|option| CString::new(option).expect("no zero")).collect();
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let name = CString::new(file).expect("no zero");
        let mut program: Program = ptr::null_mut();
        let count = |length: usize| length as c_int;
        // SAFETY: the functions have these types; all texts end with a zero and outlive the program.
        unsafe {
            type Create = unsafe extern "C" fn(
                *mut Program,
                *const c_char,
                *const c_char,
                c_int,
                *const *const c_char,
                *const *const c_char,
            ) -> c_int;
            let create = self.library.get::<Create>(b"nvrtcCreateProgram").expect("NVRTC");
            type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
            let compile = self.library.get::<Compile>(b"nvrtcCompileProgram").expect("NVRTC");
            let of = text(file).as_ptr().cast();
            assert_eq!(create(&mut program, of, name.as_ptr(), count(names.len()), texts.as_ptr(), names.as_ptr()), 0);
            let result = compile(program, count(pointers.len()), pointers.as_ptr());
            let log = self.log(program);
            let destroy = self.library.get::<unsafe extern "C" fn(*mut Program) -> c_int>(b"nvrtcDestroyProgram");
            destroy.expect("NVRTC")(&mut program);
            (result == 0, log)
        }
    }

    /// # Safety
    /// The program is one.
    unsafe fn log(&self, program: Program) -> String {
        // SAFETY: the functions have these types, and the memory has the size that the first one tells.
        unsafe {
            let size_of =
                self.library.get::<unsafe extern "C" fn(Program, *mut usize) -> c_int>(b"nvrtcGetProgramLogSize");
            let write = self.library.get::<unsafe extern "C" fn(Program, *mut c_char) -> c_int>(b"nvrtcGetProgramLog");
            let mut size = 0;
            size_of.expect("NVRTC")(program, &mut size);
            let mut log = vec![0u8; size.max(1)];
            write.expect("NVRTC")(program, log.as_mut_ptr().cast());
            CStr::from_bytes_until_nul(&log).expect("a text").to_string_lossy().into_owned()
        }
    }
}

/// All formulas in f32 and bf16 for the newest, and every storage once for each architecture.
fn all() -> Vec<(&'static str, String, u32)> {
    let mut all = Vec::new();
    for formula in FORMULAS {
        for storage in ["float", "Bf16"] {
            all.push(("activation.cu", format!("-DFORMULA={formula} -DSTORAGE={storage}"), 90));
        }
    }
    for (index, architecture) in ARCHITECTURES.into_iter().enumerate() {
        for (storage, formula) in ["float", "double", "Bf16", "F16"].into_iter().zip(&FORMULAS[9 + index..]) {
            all.push(("activation.cu", format!("-DFORMULA={formula} -DSTORAGE={storage}"), architecture));
        }
        let kinds = [("float", "float"), ("double", "double"), ("float", "Bf16"), ("float", "F16")];
        for (place, (wide, narrow)) in kinds.into_iter().enumerate() {
            let (groups, lanes) = ((place + index) % 3 + 1, [16, 32, 256][index]);
            let access = ["Words", "Grouped", "Spread"][(place + index) % 3];
            let branch = ["None", "Plain", "Scaled"][index];
            let definitions = format!(
                "-DWIDE={wide} -DNARROW={narrow} -DROW_LANES={lanes} -DROW_GROUPS={groups} \
                 -DROW_ACCESS={access} -DROW_BRANCH={branch}"
            );
            all.push(("norm.cu", definitions, architecture));
        }
        for (from, to) in [("float", "float"), ("double", "double"), ("double", "float")] {
            all.push(("sums.cu", format!("-DFROM={from} -DTO={to}"), architecture));
        }
    }
    all
}

#[test]
fn kernels_compile_for_gpus() {
    let nvrtc = Nvrtc::open();
    let (all, nvrtc) = (all(), &nvrtc);
    thread::scope(|scope| {
        for half in all.chunks(all.len().div_ceil(2)) {
            scope.spawn(move || {
                for (file, definitions, architecture) in half {
                    let (compiled, log) = nvrtc.compile(file, definitions, *architecture);
                    assert!(compiled && log.trim().is_empty(), "{file} {definitions} for sm_{architecture}:\n{log}");
                }
            });
        }
    });
}
