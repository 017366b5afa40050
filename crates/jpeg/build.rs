//! Compiles the C shim against the very libjpeg-turbo that `turbojpeg-sys` built from the source it carries.

use std::path::{Path, PathBuf};

fn main() {
    for file in ["border.c", "decode.c", "encode.c", "shim.h"] {
        println!("cargo:rerun-if-changed=csrc/{file}");
    }
    let include = std::env::var_os("DEP_TURBOJPEG_INCLUDE").map(PathBuf::from);
    let include = include.expect("turbojpeg-sys 1.2 or later tells where its headers are");
    let internals = source_folder(&include);
    cc::Build::new()
        .files(["csrc/border.c", "csrc/decode.c", "csrc/encode.c"])
        .include(&include)
        // Only jpegint.h, which is not installed, comes from here; before a system's, which may be of another version.
        .include(internals)
        .flag_if_supported("-std=c99")
        .warnings(true)
        .opt_level(2)
        .compile("rectify_jpeg_shim");
}

/// The source of the library, from the record that its cmake build keeps: `jpegint.h` (the entropy decoder's slot) is
/// there and must be of the same version as the library.
fn source_folder(include: &Path) -> PathBuf {
    let record = include.parent().expect("OUT_DIR/include").join("build/CMakeCache.txt");
    let text = std::fs::read_to_string(&record).unwrap_or_else(|error| {
        panic!(
            "{}: {error}. The jpeg crate needs the libjpeg-turbo that turbojpeg-sys builds from source: unset TURBOJPEG_SOURCE",
            record.display()
        )
    });
    let home = text.lines().find_map(|line| line.strip_prefix("CMAKE_HOME_DIRECTORY:INTERNAL="));
    let home = PathBuf::from(home.expect("cmake records CMAKE_HOME_DIRECTORY"));
    [home.join("src"), home.clone()]
        .into_iter()
        .find(|folder| folder.join("jpegint.h").is_file())
        .unwrap_or_else(|| panic!("no jpegint.h under {}", home.display()))
}
