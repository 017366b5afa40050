//! Row lengths of the norms' tests: what kernels are compiled for.

/// In every kind of numbers: shorter and longer than a warp, with and without whole accesses.
pub const SOME: [i64; 9] = [1, 7, 8, 16, 33, 64, 257, 1500, 3001];

/// One for each number of threads and groups of a row that is whole accesses of f32, then one of
/// each that is not.
pub const EVERY_VARIANT: [i64; 26] = [
    24, 64, 128, 192, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, //
    23, 63, 127, 191, 383, 511, 767, 1023, 1535, 2047, 3071, 4095, 6143,
];
