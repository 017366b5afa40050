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
        let (compiled, log, _) = self.compile_to_ptx(file, definitions, architecture);
        (compiled, log)
    }

    /// The same, and the kernel in the assembly language of GPUs.
    fn compile_to_ptx(&self, file: &str, definitions: &str, architecture: u32) -> (bool, String, String) {
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
            let log = self.text(program, "nvrtcGetProgramLog");
            let ptx = if result == 0 { self.text(program, "nvrtcGetPTX") } else { String::new() };
            let destroy = self.library.get::<unsafe extern "C" fn(*mut Program) -> c_int>(b"nvrtcDestroyProgram");
            destroy.expect("NVRTC")(&mut program);
            (result == 0, log, ptx)
        }
    }

    /// What the function `name` of NVRTC writes about a program.
    ///
    /// # Safety
    /// The program is one.
    unsafe fn text(&self, program: Program, name: &str) -> String {
        // SAFETY: the functions have these types, and the memory has the size that the first one tells.
        unsafe {
            type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
            type Write = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
            let mut size = 0;
            self.library.get::<Size>(format!("{name}Size").as_bytes()).expect("NVRTC")(program, &mut size);
            let mut text = vec![0u8; size.max(1)];
            self.library.get::<Write>(name.as_bytes()).expect("NVRTC")(program, text.as_mut_ptr().cast());
            CStr::from_bytes_until_nul(&text).expect("a text").to_string_lossy().into_owned()
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
        for (groups, (wide, narrow)) in
            [("float", "float"), ("double", "double"), ("float", "Bf16"), ("float", "F16")].into_iter().enumerate()
        {
            let groups = (groups + index) % 4 + 1;
            let threads = if groups == 4 { 1024 } else { 256 };
            let definitions = format!("-DWIDE={wide} -DNARROW={narrow} -DROW_GROUPS={groups} -DROW_THREADS={threads}");
            all.push(("norm.cu", definitions, architecture));
        }
        for storage in ["float", "double", "Bf16", "F16"] {
            all.push(("input.cu", format!("-DSTORAGE={storage}"), architecture));
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

/// Images are prepared to the bits of the loader, which rounds each product before it adds to it,
/// and of libtorch's mixing, which does not. Left to itself, this compiler makes one operation of
/// any product and sum; the emulation on a CPU does not show that.
#[test]
fn preparing_images_rounds_where_the_loader_and_mixing_round() {
    let nvrtc = Nvrtc::open();
    for storage in ["float", "Bf16"] {
        let (compiled, log, ptx) = nvrtc.compile_to_ptx("input.cu", &format!("-DSTORAGE={storage}"), 90);
        assert!(compiled, "{log}");
        let [fused, sums, products] =
            ["fma.rn.f32", "add.rn.f32", "mul.rn.f32"].map(|operation| ptx.matches(operation).count());
        // For a number and its partner: two are normalized, one is scaled, and the other is scaled
        // and added in one.
        assert!(fused > 0 && [sums, products] == [2 * fused, 3 * fused], "{fused}, {sums}, {products}:\n{ptx}");
    }
}
