//! `[train]`: batches and threads.

use crate::schema::{Kind, section};

section! {
    /// `[train]`: batches and threads.
    pub struct Train {
        /// Images of one step over all ranks: the batch that the optimiser sees, however many ranks share it.
        batch_size: usize = 1024, Kind::Whole { min: 1, max: 1 << 24 };
        /// Micro-batches into which each rank splits its share of a step, to save memory.
        accumulation: usize = 1, Kind::Whole { min: 1, max: 65536 };
        /// Threads of libtorch, per rank; 0 = as many as this rank has cores.
        threads: usize = 0, Kind::Whole { min: 0, max: 4096 };
    }
}
