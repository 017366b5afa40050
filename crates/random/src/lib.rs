//! The one source of random choices: counter-based, so that every choice is a pure function of its key.
//!
//! Nothing here has hidden state. A [`Key`] names a stream of numbers; children of a key name independent streams. A
//! training run derives every choice from `(seed, purpose, epoch, position, sample, draw)`, so the choice does not depend
//! on ranks, workers, timing or restarts.
//!
//! ```
//! use random::{Key, Purpose};
//! let key = Key::root(42).child(Purpose::DropPath as u64).child(3);
//! assert_eq!(key.rng().next_u64(), key.rng().next_u64());
//! ```

mod beta;
mod permutation;
mod philox;

pub use permutation::Permutation;
use philox::philox4x32;

/// What a choice is for: the first child of a run's root key, so that two uses never share a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// The order of the samples of an epoch.
    Order = 1,
    /// Transforms of a training image.
    Augment = 2,
    /// Drop-path masks.
    DropPath = 3,
    /// Dropout masks.
    Dropout = 4,
    /// Initial values of parameters.
    Init = 5,
    /// Which samples a subset holds.
    Subset = 6,
    /// Mixup and CutMix plans of a group of positions.
    Mix = 7,
    /// The order in which images are packed into shards.
    Pack = 8,
}

/// The name of one stream of random numbers: 128 bits, mixed from the seed and the tags of its ancestors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    high: u64,
    low: u64,
}

impl Key {
    /// The key of a whole run.
    pub fn root(seed: u64) -> Key {
        Key { high: 0, low: 0 }.child(seed)
    }

    /// The key of the child `tag`: equal for equal tags, independent of its siblings otherwise.
    pub fn child(self, tag: u64) -> Key {
        let counter = [tag as u32, (tag >> 32) as u32, self.high as u32, (self.high >> 32) as u32];
        let block = philox4x32(counter, [self.low as u32, (self.low >> 32) as u32]);
        Key { high: pair(block[0], block[1]), low: pair(block[2], block[3]) }
    }

    /// The numbers of this stream, from its beginning.
    pub fn rng(self) -> Rng {
        Rng { key: self, counter: 0, block: [0; 4], used: 4 }
    }

    /// One uniform number in `[0, 1)`: the first of the stream.
    pub fn uniform(self) -> f64 {
        self.rng().uniform()
    }

    /// The key as code outside of this crate needs it to compute the same stream: words 0 and 1 are
    /// the key of Philox, words 2 and 3 the upper half of its counter, whose lower half counts
    /// blocks of four numbers.
    pub fn words(self) -> [u32; 4] {
        let Key { high, low } = self;
        [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32]
    }

    /// The key of these [`words`](Key::words).
    pub fn from_words([low, middle, high, highest]: [u32; 4]) -> Key {
        Key { high: pair(high, highest), low: pair(low, middle) }
    }
}

/// The numbers of one stream, in order (Philox4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
#[derive(Clone, Debug)]
pub struct Rng {
    key: Key,
    counter: u64,
    block: [u32; 4],
    used: usize,
}

impl Rng {
    /// 32 uniform bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.block = self.block_at(self.counter);
            self.counter += 1;
            self.used = 0;
        }
        let word = self.block[self.used];
        self.used += 1;
        word
    }

    fn block_at(&self, counter: u64) -> [u32; 4] {
        let [low, middle, high, highest] = self.key.words();
        philox4x32([counter as u32, (counter >> 32) as u32, high, highest], [low, middle])
    }

    /// How many numbers of 32 bits were taken from the stream.
    pub fn position(&self) -> u64 {
        4 * self.counter - (4 - self.used) as u64
    }

    /// Passes over the next `count` numbers of 32 bits, at the cost of none of them.
    pub fn skip(&mut self, count: u64) {
        let position = self.position() + count;
        (self.counter, self.used) = (position.div_ceil(4), 4);
        if !position.is_multiple_of(4) {
            self.block = self.block_at(position / 4);
            self.used = (position % 4) as usize;
        }
    }

    /// 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        let low = self.next_u32();
        pair(low, self.next_u32())
    }

    /// Uniform in `[0, 1)`, with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in `[low, high)`; `low` itself where the two are equal.
    pub fn uniform_in(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// A whole number in `0..bound`, without bias (Lemire's method); 0 for a bound of 0 or 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound < 2 {
            return 0;
        }
        let rejected_below = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= rejected_below {
                return (product >> 64) as u64;
            }
        }
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// Standard normal (Box–Muller; the second of the pair is not kept, so that draws stay countable).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Normal with the given mean and standard deviation, redrawn until it lies in `[low, high]`.
    ///
    /// The interval must hold a fair share of the distribution (timm and PyTorch use ±2 around a small `std`).
    pub fn truncated_normal(&mut self, mean: f64, std: f64, low: f64, high: f64) -> f64 {
        loop {
            let value = mean + std * self.normal();
            if (low..=high).contains(&value) {
                return value;
            }
        }
    }
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_and_generations_differ() {
        let root = Key::root(0);
        let keys = [root, Key::root(1), root.child(0), root.child(1), root.child(0).child(0), root.child(1 << 32)];
        for (i, a) in keys.iter().enumerate() {
            for b in &keys[i + 1..] {
                assert_ne!(a.rng().next_u64(), b.rng().next_u64());
            }
        }
    }

    #[test]
    fn words_name_the_key() {
        let key = Key::root(5).child(9);
        assert_eq!(Key::from_words(key.words()), key);
    }

    #[test]
    fn skipping_leads_to_where_drawing_leads() {
        for drawn in 0..6 {
            for skipped in [0, 1, 2, 3, 4, 5, 8, 1001] {
                let mut rng = Key::root(6).rng();
                let pass = |rng: &mut Rng, count: u64| (0..count).for_each(|_| _ = rng.next_u32());
                pass(&mut rng, drawn);
                let mut far = rng.clone();
                pass(&mut rng, skipped);
                far.skip(skipped);
                assert_eq!((far.position(), rng.position()), (drawn + skipped, drawn + skipped));
                assert_eq!([far.next_u32(), far.next_u32()], [rng.next_u32(), rng.next_u32()]);
            }
        }
    }

    #[test]
    fn uniform_has_the_moments_of_the_uniform() {
        let mut rng = Key::root(7).rng();
        let draws: Vec<f64> = (0..100_000).map(|_| rng.uniform()).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!((mean - 0.5).abs() < 0.005, "mean {mean}");
        assert!((variance - 1.0 / 12.0).abs() < 0.002, "variance {variance}");
    }

    #[test]
    fn normal_has_the_moments_of_the_normal() {
        let mut rng = Key::root(8).rng();
        let draws: Vec<f64> = (0..100_000).map(|_| rng.normal()).collect();
        let moment = |k: i32| draws.iter().map(|x| x.powi(k)).sum::<f64>() / draws.len() as f64;
        assert!(moment(1).abs() < 0.02);
        assert!((moment(2) - 1.0).abs() < 0.03);
        assert!((moment(4) - 3.0).abs() < 0.2);
    }

    #[test]
    fn truncated_normal_stays_inside() {
        let mut rng = Key::root(9).rng();
        assert!((0..10_000).all(|_| rng.truncated_normal(0.0, 1.0, -0.5, 0.25).clamp(-0.5, 0.25).abs() <= 0.5));
    }

    #[test]
    fn below_is_even_and_bounded() {
        let mut rng = Key::root(10).rng();
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[rng.below(7) as usize] += 1;
        }
        assert!(counts.iter().all(|&n| (9_500..10_500).contains(&n)), "{counts:?}");
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
    }
}
