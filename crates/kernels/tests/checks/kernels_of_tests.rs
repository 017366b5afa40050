//! The kernels that the checks of activations and norms ask for.

use kernels::cuda::KernelSource;

use crate::row_lengths;

/// All of them, as `compile_kernels` compiles them for a GPU that runs the tests.
pub fn kernels_of_tests() -> Vec<KernelSource> {
    let every_variant = KernelSource::all(&row_lengths::EVERY_VARIANT).into_iter();
    let in_bf16 = every_variant.filter(|kernel| kernel.definitions.contains("NARROW=Bf16"));
    KernelSource::all(&row_lengths::SOME).into_iter().chain(in_bf16).collect()
}
