//! The kernels' sources, in this program, since they are compiled where they run.

use std::ffi::{CStr, c_char, c_void};

use crate::ffi;

macro_rules! sources {
    ($($folder:literal / $file:literal),* $(,)?) => {
        /// Name and text of each file.
        const SOURCES: &[(&str, &str)] = &[$(($file, include_str!(concat!("../../", $folder, "/", $file)))),*];
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

/// What machine code is made from: a file under `cuda/` and what it is compiled with. One file has
/// one or two kernels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelSource {
    /// The file's name.
    pub file: String,
    /// `-DNAME=VALUE`, with blanks between them.
    pub definitions: String,
}

impl KernelSource {
    /// All that operations of this crate can ask for, in any kind of numbers, on rows of these
    /// lengths where kernels are for a length.
    ///
    /// Comes from the code that starts kernels, so it lacks none.
    pub fn all(row_lengths: &[i64]) -> Vec<KernelSource> {
        unsafe extern "C" fn add(all: *mut c_void, file: *const c_char, definitions: *const c_char) {
            // SAFETY: `all` is the vector below, and both texts end with a zero.
            unsafe {
                let text = |pointer| CStr::from_ptr(pointer).to_string_lossy().into_owned();
                (*all.cast::<Vec<KernelSource>>())
                    .push(KernelSource { file: text(file), definitions: text(definitions) });
            }
        }
        let mut all: Vec<KernelSource> = Vec::new();
        // SAFETY: the lengths are as many as that, and `add` is called while both live.
        unsafe {
            ffi::rectify_each_kernel(row_lengths.as_ptr(), row_lengths.len(), add, (&raw mut all).cast());
        }
        all
    }
}

/// A file and the headers that it names, directly or through others, in an order that stays: the
/// file itself is the first. `None` where there is no such file.
pub(super) fn with_headers(file: &str) -> Option<Vec<(&'static str, &'static str)>> {
    let find = |name: &str| SOURCES.iter().find(|(file, _)| *file == name).copied();
    let mut found = vec![find(file)?];
    let mut looked_at = 0;
    while let Some((_, text)) = found.get(looked_at).copied() {
        looked_at += 1;
        let named = text.lines().filter_map(|line| line.trim().strip_prefix("#include \"")?.strip_suffix('"'));
        for header in named.filter_map(find) {
            if !found.contains(&header) {
                found.push(header);
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_with_the_headers_that_it_names() {
        let names = |file| with_headers(file).expect("a file").into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names("sums.cu"), ["sums.cu", "memory.h", "sums_launch.h", "numbers.h", "plain_c.h"]);
        assert!(names("activation.cu").contains(&"catalogue.h"));
        assert_eq!(with_headers("none.cu"), None);
    }

    #[test]
    fn kernels_of_a_row_length_are_listed_once() {
        let some = KernelSource::all(&[]);
        let more = KernelSource::all(&[384, 384, 380, 7]);
        assert!(some.iter().any(|kernel| kernel.definitions == "-DFORMULA=Adjusted<Mish> -DSTORAGE=Bf16"));
        let norms: Vec<_> = more.iter().filter(|kernel| !some.contains(kernel)).collect();
        // Of f32 to three kinds: two ways to read rows of 384 (380 have the same), one of 7; f64
        // likewise; with three kinds of branch.
        let of_f32 = norms.iter().filter(|kernel| kernel.definitions.contains("WIDE=float")).count();
        assert_eq!(of_f32, 3 * (2 + 1) * 3);
        assert!(norms.iter().any(|kernel| kernel.definitions.ends_with("-DROW_ACCESS=Spread -DROW_BRANCH=Scaled")));
        let mut sorted = more.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), more.len());
    }
}
