//! Numbers whose sums show their order in their bits, for the tests of every backend.

use collectives::{Communicator, Phase, Reduction, Wire};

const SEGMENT: usize = 64 * 1024; // numbers in one message

/// None, fewer than ranks, primes, and more than a message.
pub const LENGTHS: [usize; 10] = [0, 1, 2, 3, 4, 5, 7, 1009, 2 * SEGMENT + 1, 5 * SEGMENT + 3];

/// Number `index` of `rank`: of either sign and many magnitudes.
pub fn number(rank: usize, index: usize) -> f32 {
    let mixed = (rank as u64 * 1_000_003 + index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let size = 2f32.powi((mixed >> 60) as i32 - 8);
    ((mixed >> 20) as u32 as f32 / u32::MAX as f32 - 0.5) * size
}

/// The first `len` numbers of a rank.
pub fn numbers(rank: usize, len: usize) -> Vec<f32> {
    (0..len).map(|index| number(rank, index)).collect()
}

/// The bits of the sum and of the mean of every rank's first `len` numbers.
pub fn reduced_bits(ranks: &dyn Communicator, len: usize, wire: Wire) -> [Vec<u32>; 2] {
    let start = |reduction| {
        let buffer = numbers(ranks.rank(), len).into();
        ranks.start_all_reduce_over(Phase::new("bits"), buffer, reduction, wire)
    };
    [Reduction::Sum, Reduction::Mean].map(start).map(|pending| bits(&pending.wait().unwrap().into_f32().unwrap()))
}

pub fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}
