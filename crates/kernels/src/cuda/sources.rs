//! The kernels' sources, in this program, since they are compiled where they run.

use std::sync::LazyLock;

use super::c_text;
use super::table::Source;

macro_rules! sources {
    ($($folder:literal / $file:literal),* $(,)?) => {
        /// Name and text of each file, both with a zero at the end, as C has them.
        #[doc(hidden)]
        pub const SOURCES: &[(&str, &str)] = &[$((
            concat!($file, "\0"),
            concat!(include_str!(concat!("../../", $folder, "/", $file)), "\0"),
        )),*];
    };
}

sources![
    "cuda" / "activation.cu",
    "cuda" / "activation_launch.h",
    "cuda" / "input.cu",
    "cuda" / "input_launch.h",
    "cuda" / "memory.h",
    "cuda" / "norm.cu",
    "cuda" / "norm_launch.h",
    "cuda" / "sums.cu",
    "cuda" / "sums_launch.h",
    "cpp" / "catalogue.h",
    "cpp" / "formulas.h",
    "cpp" / "norm_tensors.h",
    "cpp" / "numbers.h",
    "cpp" / "plain_c.h",
];

/// The same for C++.
pub fn all() -> &'static [Source] {
    static ALL: LazyLock<Vec<Source>> = LazyLock::new(|| {
        SOURCES.iter().map(|&(file, text)| Source { file: c_text(file), text: c_text(text) }).collect()
    });
    &ALL
}
