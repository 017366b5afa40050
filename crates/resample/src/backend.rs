//! The passes of a resize, in plain Rust and in the processor's vector instructions; all compute the same bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use crate::Kernel;
use crate::table::{Table, weigh};

/// Rows that are resized across at once.
pub(crate) const ROWS: usize = 4;

/// Rows in between are whole vectors long: of so many bytes.
pub(crate) const VECTOR: usize = 64;

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// Plain Rust, for every processor.
    Portable,
    /// 256-bit integers of x86-64.
    Avx2,
    /// 512-bit integers of x86-64 with dot products of bytes (AVX-512 F, BW and VNNI).
    Avx512Vnni,
}

/// Rows in between, resized across and not down yet, and which of them count for one row of the result.
#[derive(Clone, Copy)]
pub(crate) struct Column<'a> {
    /// Whole vectors.
    pub(crate) rows: &'a [u8],
    /// Where each row begins that counts, in bytes; whole groups of the backend.
    pub(crate) starts: &'a [usize],
    /// As many, in the backend's layout.
    pub(crate) weights: &'a [i32],
}

impl Backend {
    /// Every backend, the fastest first.
    pub const ALL: [Backend; 3] = [Backend::Avx512Vnni, Backend::Avx2, Backend::Portable];

    /// The fastest backend of this processor.
    pub fn fastest() -> Backend {
        Backend::ALL.into_iter().find(|backend| backend.is_available()).unwrap_or(Backend::Portable)
    }

    /// True where this processor has the instructions.
    pub fn is_available(self) -> bool {
        match self {
            Backend::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512Vnni => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Backend::Avx2 | Backend::Avx512Vnni => false,
        }
    }
}

/// The passes of a backend that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passes(Backend);

impl Passes {
    pub(crate) fn of(backend: Backend) -> Option<Passes> {
        backend.is_available().then_some(Passes(backend))
    }

    pub(crate) fn portable() -> Passes {
        Passes(Backend::Portable)
    }

    pub(crate) fn backend(self) -> Backend {
        self.0
    }

    /// Weights that are read together: runs are whole groups of them.
    pub(crate) fn group(self) -> usize {
        match self.0 {
            Backend::Portable => 1,
            Backend::Avx2 => 2,
            Backend::Avx512Vnni => 4,
        }
    }

    /// Turns (results, run) distances into weights in the backend's layout.
    pub(crate) fn weigh(self, kernel: Kernel, run: usize, distances: &mut [f64], weights: &mut [i32]) {
        match self.0 {
            // SAFETY: `Passes` exist only of what the processor has.
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => unsafe { avx2::weigh(kernel, run, distances, weights) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512Vnni => unsafe { avx512::weigh(kernel, run, distances, weights) },
            _ => weigh(kernel, run, distances, weights),
        }
    }

    /// Resizes four rows of pixels across, each into a quarter of `into`; the table was made for these passes.
    ///
    /// # Panics
    /// When a row is shorter than the table's end, or a quarter than the table's results.
    pub(crate) fn across(self, table: &Table, rows: [&[u8]; ROWS], into: &mut [u8]) {
        match self.0 {
            // SAFETY: as in `weigh`.
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => unsafe { avx2::across(table, rows, into) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512Vnni => unsafe { avx512::across(table, rows, into) },
            _ => portable::across(table, rows, into),
        }
    }

    /// Sums rows into one row of the result.
    ///
    /// # Panics
    /// When a row does not hold as many whole vectors as the result begins, or weights and rows are not equally many.
    pub(crate) fn down(self, column: Column<'_>, into: &mut [u8]) {
        match self.0 {
            // SAFETY: as in `weigh`.
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => unsafe { avx2::down(column, into) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512Vnni => unsafe { avx512::down(column, into) },
            _ => portable::down(column, into),
        }
    }
}

/// What the vector code relies on, checked once for four rows: every run of pixels lies inside each row, every four results
/// inside each quarter of `into`, and there are weights for all of them. Returns the bytes of a quarter.
#[cfg(target_arch = "x86_64")]
fn check_across(table: &Table, rows: [&[u8]; ROWS], into: &[u8]) -> usize {
    let (results, pitch) = (table.firsts().len(), into.len() / ROWS);
    assert!(rows.iter().all(|row| row.len() >= table.end() * crate::PIXEL_BYTES), "a row is too short");
    assert!(results.is_multiple_of(4) && pitch >= results * crate::PIXEL_BYTES, "no room for the results");
    assert!(table.weights().len() >= results * table.run(), "weights are missing");
    pitch
}

/// What the vector code relies on, checked once for a row: whole groups of rows, each with whole vectors of `bytes`.
#[cfg(target_arch = "x86_64")]
fn check_down(Column { rows, starts, weights }: Column<'_>, group: usize, bytes: usize) {
    let whole = bytes.next_multiple_of(VECTOR);
    assert!(starts.iter().all(|start| start.checked_add(whole).is_some_and(|end| end <= rows.len())), "a row is short");
    assert!(starts.len() == weights.len() && starts.len().is_multiple_of(group), "not whole groups of rows");
}
