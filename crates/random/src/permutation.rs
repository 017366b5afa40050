//! Permutations with random access: the order of an epoch, without holding it in memory.

use crate::{Key, philox4x32};

const ROUNDS: u64 = 8;

/// A pseudorandom bijection of `0..len`, evaluated one position at a time.
///
/// A balanced Feistel network over the next even power of two, walked until it lands inside `0..len` (fewer than four
/// steps on average). Needs no memory, so a run resumes in the middle of an epoch of any size at once.
#[derive(Clone, Debug)]
pub struct Permutation {
    len: u64,
    half_bits: u32,
    round_keys: [[u32; 2]; ROUNDS as usize],
}

impl Permutation {
    /// The permutation of `0..len` that `key` names.
    pub fn new(key: Key, len: u64) -> Permutation {
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        let round_keys = std::array::from_fn(|round| {
            let word = key.child(round as u64).rng().next_u64();
            [word as u32, (word >> 32) as u32]
        });
        Permutation { len, half_bits: bits.div_ceil(2).max(1), round_keys }
    }

    /// How many positions there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True when there are no positions.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The element at `position`.
    ///
    /// # Panics
    /// When `position` is not below `len`.
    pub fn at(&self, position: u64) -> u64 {
        assert!(position < self.len, "position {position} of a permutation of {}", self.len);
        let mut value = self.scramble(position);
        while value >= self.len {
            value = self.scramble(value);
        }
        value
    }

    fn scramble(&self, value: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in self.round_keys {
            let word = philox4x32([right as u32, (right >> 32) as u32, 0, 0], key)[0];
            (left, right) = (right, left ^ (u64::from(word) & mask));
        }
        left << self.half_bits | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_bijection_for_any_length() {
        for len in [1, 2, 3, 5, 16, 17, 1000, 4097] {
            let order = Permutation::new(Key::root(3).child(len), len);
            let mut seen: Vec<u64> = (0..len).map(|i| order.at(i)).collect();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..len), "length {len}");
        }
    }

    #[test]
    fn keys_give_different_orders() {
        let (a, b) = (Permutation::new(Key::root(1), 1000), Permutation::new(Key::root(2), 1000));
        let same = (0..1000).filter(|&i| a.at(i) == b.at(i)).count();
        assert!(same < 10, "{same} of 1000 positions agree");
    }

    /// Neighbours land far apart: the mean distance of a uniform shuffle of 0..n is n/3.
    #[test]
    fn neighbours_are_scattered() {
        let n = 10_000;
        let order = Permutation::new(Key::root(4), n);
        let mean = (1..n).map(|i| order.at(i).abs_diff(order.at(i - 1))).sum::<u64>() as f64 / (n - 1) as f64;
        assert!((mean / (n as f64 / 3.0) - 1.0).abs() < 0.05, "mean distance {mean}");
    }
}
