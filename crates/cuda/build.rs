//! Compiles the C++ under `cpp/` against the CUDA half of libtorch and NVIDIA's headers, none of which needs a GPU.

use std::path::{Path, PathBuf};

fn main() {
    for changed in ["cpp", "../kernels/cpp/border.h", "../kernels/cpp/cuda_table.h"] {
        println!("cargo:rerun-if-changed={changed}");
    }
    let libtorch = folder("LIBTORCH", "include/c10/cuda/CUDAStream.h");
    let headers = folder("CUDA_BUILD", "nvidia/cu13/include/nvrtc.h").join("nvidia/cu13");
    let runtime = libtorch.join("../nvidia/cu13");
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(2).pic(true).warnings(false).include("../kernels/cpp");
    build.include(libtorch.join("include")).include(headers.join("include")).include(runtime.join("include"));
    for file in ["device", "graph", "kernels", "stream", "table"] {
        build.file(Path::new("cpp").join(file).with_extension("cpp"));
    }
    build.compile("rectify_cuda_parts");
    println!("cargo:rustc-link-search=native={}", libtorch.join("lib").display());
    println!("cargo:rustc-link-search=native={}", runtime.join("lib").display());
    for library in ["torch_cuda", "c10_cuda", "torch_cpu", "c10"] {
        println!("cargo:rustc-link-lib=dylib={library}");
    }
    println!("cargo:rustc-link-lib=dylib:+verbatim=libcudart.so.13");
    println!("cargo:rustc-link-lib=dylib=dl");
}

/// The folder that a variable names, in which there is a file.
fn folder(variable: &str, file: &str) -> PathBuf {
    println!("cargo:rerun-if-env-changed={variable}");
    let folder = std::env::var(variable).map(PathBuf::from).unwrap_or_default();
    if !folder.join(file).is_file() {
        panic!("no {file} below {variable} = {:?}: run `make setup`, which lays it", folder.display());
    }
    folder
}
