//! A resize: four rows at a time across into a few rows in between, and down as soon as enough of them are there.

use crate::axis::{Axis, Kernel};
use crate::backend::{Backend, Column, Passes, ROWS, VECTOR};
use crate::table::{Runs, Table};
use crate::{PIXEL_BYTES, ResampleError};

/// (height, width, 4): an image of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// Rows one after the other, without gaps.
    pub pixels: &'a [u8],
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// Whole pixels of an image. What lies outside has no influence on the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// What becomes the result, in pixels from the corner of a part. Near its edge what lies around it in the part counts too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// From the part's left edge.
    pub left: f64,
    /// From the part's upper edge.
    pub top: f64,
    /// Pixels across.
    pub width: f64,
    /// Pixels down.
    pub height: f64,
}

/// How far a window may reach out of its part, in pixels: sums of fractions round.
const SLACK: f64 = 1e-6;

impl Image<'_> {
    /// All of it.
    pub fn whole(&self) -> Part {
        Part { left: 0, top: 0, width: self.width, height: self.height }
    }

    fn check(&self, part: Part) -> Result<(), ResampleError> {
        let Image { pixels, width, height } = *self;
        let needed = u64::from(width) * u64::from(height) * PIXEL_BYTES as u64;
        if (pixels.len() as u64) < needed {
            return Err(ResampleError::ShortImage { width, height, needed, bytes: pixels.len() });
        }
        let inside = |start: u32, length: u32, limit: u32| {
            length > 0 && u64::from(start) + u64::from(length) <= u64::from(limit)
        };
        if !inside(part.left, part.width, width) || !inside(part.top, part.height, height) {
            return Err(ResampleError::PartOutside { part, width, height });
        }
        Ok(())
    }

    /// The pixels of a row of a part; rows behind its last are the last.
    fn row(&self, part: Part, row: u32) -> &[u8] {
        let y = part.top as usize + row.min(part.height - 1) as usize;
        let start = (y * self.width as usize + part.left as usize) * PIXEL_BYTES;
        &self.pixels[start..start + part.width as usize * PIXEL_BYTES]
    }
}

impl Part {
    /// All of it as a window.
    pub fn window(&self) -> Window {
        Window { left: 0.0, top: 0.0, width: f64::from(self.width), height: f64::from(self.height) }
    }
}

impl Window {
    fn check(self, part: Part) -> Result<(), ResampleError> {
        let inside = |start: f64, length: f64, limit: u32| {
            start >= -SLACK && length > 0.0 && start + length <= f64::from(limit) + SLACK
        };
        if inside(self.left, self.width, part.width) && inside(self.top, self.height, part.height) {
            return Ok(());
        }
        Err(ResampleError::WindowOutside { window: self, width: part.width, height: part.height })
    }
}

/// One vector of a row in between, where vectors like to lie.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Vector([u8; VECTOR]);

/// Resizes images in memory that is kept: sizes that were seen allocate nothing.
#[derive(Debug)]
pub struct Resampler {
    passes: Passes,
    across: Table,
    down: Table,
    between: Between,
}

/// Rows in between, in turn: row `r` of those that are needed lies in slot `r` modulo the number of slots.
#[derive(Debug, Default)]
struct Between {
    vectors: Vec<Vector>,
    /// Bytes of a slot.
    pitch: usize,
    /// A power of two, at least four.
    slots: usize,
    /// Of each row that counts for a row of the result, in bytes.
    starts: Vec<usize>,
}

impl Default for Resampler {
    fn default() -> Resampler {
        Resampler::of(Passes::of(Backend::fastest()).unwrap_or(Passes::portable()))
    }
}

impl Resampler {
    /// A resampler that computes with a backend; `None` where the processor lacks it.
    pub fn with(backend: Backend) -> Option<Resampler> {
        Passes::of(backend).map(Resampler::of)
    }

    /// What computes.
    pub fn backend(&self) -> Backend {
        self.passes.backend()
    }

    fn of(passes: Passes) -> Resampler {
        Resampler { passes, across: Table::default(), down: Table::default(), between: Between::default() }
    }

    /// Resizes the window of a part of an image into `into`, which becomes (rows, columns, 4) for `[columns, rows]`.
    ///
    /// As `image.crop(part).resize((columns, rows), kernel, window)` in PIL, to the bit.
    ///
    /// # Errors
    /// When the image is short of bytes, or part, window or result are empty or not inside of what they belong to.
    pub fn resize(
        &mut self,
        image: Image<'_>,
        part: Part,
        window: Window,
        kernel: Kernel,
        [columns, rows]: [u32; 2],
        into: &mut Vec<u8>,
    ) -> Result<(), ResampleError> {
        image.check(part)?;
        window.check(part)?;
        if columns == 0 || rows == 0 {
            return Err(ResampleError::EmptyResult { columns, rows });
        }
        let across = Axis { kernel, pixels: part.width, start: window.left, length: window.width, results: columns };
        let down = Axis { kernel, pixels: part.height, start: window.top, length: window.height, results: rows };
        let across_by = self.make_tables(across, down);
        let row_bytes = columns as usize * PIXEL_BYTES;
        self.between.make_room(row_bytes, self.down.run());
        into.resize(row_bytes * rows as usize, 0);
        self.pass(|row| image.row(part, row), across_by, row_bytes, into);
        Ok(())
    }

    /// Rows shorter than the runs of the backend are left to plain Rust; returns what resizes across.
    fn make_tables(&mut self, across: Axis, down: Axis) -> Passes {
        self.down.make(down, self.passes, Runs::FromFirst);
        self.across.make(across, self.passes, Runs::Inside);
        if self.across.end() <= across.pixels as usize {
            return self.passes;
        }
        self.across.make(across, Passes::portable(), Runs::Inside);
        Passes::portable()
    }

    fn pass<'a>(&mut self, row: impl Fn(u32) -> &'a [u8], across_by: Passes, row_bytes: usize, into: &mut [u8]) {
        let Resampler { passes, across, down, between } = self;
        let top = down.firsts()[0];
        let mut ready = top;
        let results = into.chunks_exact_mut(row_bytes).zip(down.firsts()).zip(down.counts());
        for (((result, &first), &count), weights) in results.zip(down.weights().chunks_exact(down.run())) {
            while ready < first + count {
                across_by.across(across, [0, 1, 2, 3].map(|more| row(ready + more)), between.four_from(ready - top));
                ready += ROWS as u32;
            }
            passes.down(between.column(first - top, count, weights), result);
        }
    }
}

impl Between {
    /// Room for rows of `row_bytes`, of which `run` count at once.
    fn make_room(&mut self, row_bytes: usize, run: usize) {
        self.pitch = row_bytes.next_multiple_of(VECTOR);
        // Four rows are made at once, three of which may come too early.
        self.slots = (run + ROWS - 1).next_power_of_two();
        let vectors = self.pitch / VECTOR * self.slots;
        if self.vectors.len() < vectors {
            self.vectors.resize(vectors, Vector([0; VECTOR]));
        }
    }

    /// The slots of four rows from `row` on, which is the first of a four.
    fn four_from(&mut self, row: u32) -> &mut [u8] {
        let start = (row as usize & (self.slots - 1)) * self.pitch;
        let (vectors, bytes) = (self.vectors.as_mut_ptr(), self.vectors.len() * VECTOR);
        // SAFETY: a vector is 64 bytes without padding, and the bytes are borrowed as the vectors are.
        let all = unsafe { std::slice::from_raw_parts_mut(vectors.cast::<u8>(), bytes) };
        &mut all[start..start + ROWS * self.pitch]
    }

    /// `count` rows from `first` on with their weights, which may be more: any row will do for those.
    fn column<'a>(&'a mut self, first: u32, count: u32, weights: &'a [i32]) -> Column<'a> {
        let (slots, pitch) = (self.slots, self.pitch);
        let start_of = |row: usize| ((first as usize + row) & (slots - 1)) * pitch;
        self.starts.clear();
        self.starts.extend((0..weights.len()).map(|row| start_of(row.min(count as usize - 1))));
        let bytes = self.vectors.len() * VECTOR;
        // SAFETY: as in `four_from`.
        let rows = unsafe { std::slice::from_raw_parts(self.vectors.as_ptr().cast::<u8>(), bytes) };
        Column { rows, starts: &self.starts, weights }
    }
}
