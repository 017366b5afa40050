//! Compiles the C++ under `cpp/` against the headers of the libtorch that cargo links.

use std::path::{Path, PathBuf};

/// Levels of the instruction set that the loops are compiled for; the best one is chosen at run time.
const LEVELS: [(&str, &[&str]); 3] = [
    ("baseline", &[]),
    ("avx2", &["-mavx2", "-mfma", "-mf16c", "-mprfchw"]),
    (
        "avx512",
        &[
            "-mavx512f",
            "-mavx512bw",
            "-mavx512dq",
            "-mavx512vl",
            "-mfma",
            "-mf16c",
            "-mprfchw",
            "-mprefer-vector-width=512",
        ],
    ),
];

fn main() {
    println!("cargo:rerun-if-changed=cpp");
    // Of the kernels themselves nothing is compiled here.
    for header in ["activation", "input", "norm", "sums"] {
        println!("cargo:rerun-if-changed=cuda/{header}_launch.h");
    }
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let libtorch = std::env::var("LIBTORCH").map(PathBuf::from).unwrap_or_default();
    let include = libtorch.join("include");
    if !include.join("ATen/ATen.h").is_file() {
        panic!("no libtorch at LIBTORCH = {:?}: run `make setup`, which lays .libtorch", libtorch.display());
    }
    for (level, flags) in LEVELS {
        let mut build = cpp();
        build.define("LEVEL", level).flag("-fno-math-errno").flag("-fno-trapping-math");
        // GCC 12 warns of registers in its own AVX-512 header that are left as they are on purpose.
        build.flag("-Wno-maybe-uninitialized");
        build.file("cpp/activation_loops.cpp").file("cpp/attention_loops.cpp").file("cpp/norm_loops.cpp");
        flags.iter().for_each(|flag| {
            build.flag(flag);
        });
        build.compile(&format!("rectify_loops_{level}"));
    }
    let mut build = cpp();
    build.include(&include).include(include.join("torch/csrc/api/include")).flag("-fopenmp").warnings(false);
    const FILES: &[&str] = &[
        "activation",
        "activation_cuda",
        "allocator",
        "attention",
        "autograd",
        "backends",
        "input",
        "launch",
        "norm",
        "norm_cuda",
        "optimizer",
        "product",
        "recompute",
    ];
    for file in FILES {
        build.file(Path::new("cpp").join(file).with_extension("cpp"));
    }
    build.compile("rectify_kernels");
    // The loops again, after those who call them.
    for (level, _) in LEVELS {
        println!("cargo:rustc-link-lib=static=rectify_loops_{level}");
    }
    println!("cargo:rustc-link-lib=gomp");
    println!("cargo:rustc-link-lib=dl");
}

fn cpp() -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(3).pic(true).include("cpp").include("cuda");
    build
}
