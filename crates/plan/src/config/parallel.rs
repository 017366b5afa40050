//! `[parallel]`: how ranks agree on numbers.

use crate::schema::{Kind, choice, section};

choice! {
    /// What carries messages between ranks.
    pub enum Backend {
        /// MPI where there is more than one rank, otherwise nothing.
        Auto = "auto",
        /// Threads of one process; a single rank needs no more.
        Local = "local",
        /// MPI.
        Mpi = "mpi",
    }
}

choice! {
    /// In which form gradients travel between ranks.
    pub enum Wire {
        /// As they are.
        F32 = "f32",
        /// Rounded to bf16 on every hop: half the bytes; sums are added up in f32.
        Bf16 = "bf16",
    }
}

section! {
    /// `[parallel]`: how ranks agree on numbers.
    pub struct Parallel {
        /// What carries messages between ranks.
        backend: Backend = Backend::Auto, Kind::OneOf { what: "a backend", names: Backend::names };
        /// Size of a bucket of gradients that is averaged at once, in MiB; fractions are allowed.
        bucket_mib: f64 = 25.0, Kind::Positive { max: 4096.0 };
        /// Whether a bucket is averaged as soon as the backward pass has filled it; without, when the pass has ended. Results are the same.
        overlap: bool = true, Kind::Flag;
        /// In which form gradients travel between ranks.
        wire: Wire = Wire::F32, Kind::OneOf { what: "a form", names: Wire::names };
        /// Whether each rank keeps the optimiser's memory of its share of the parameters alone (ZeRO-1); checkpoints stay whole.
        shard_optimizer: bool = false, Kind::Flag;
        /// How long a rank waits for another before the run ends, in seconds.
        timeout_s: f64 = 600.0, Kind::Positive { max: 604_800.0 };
    }
}
