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

section! {
    /// `[parallel]`: how ranks agree on numbers.
    pub struct Parallel {
        /// What carries messages between ranks.
        backend: Backend = Backend::Auto, Kind::OneOf { what: "a backend", names: Backend::names };
        /// Size of a bucket of gradients that is averaged at once, in MiB; fractions are allowed.
        bucket_mib: f64 = 25.0, Kind::Positive { max: 4096.0 };
        /// How long a rank waits for another before the run ends, in seconds.
        timeout_s: f64 = 600.0, Kind::Positive { max: 604_800.0 };
    }
}
