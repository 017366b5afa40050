//! The passes in plain Rust: what the vector code must agree with, and what runs where there is none.

use super::{Column, ROWS};
use crate::PIXEL_BYTES;
use crate::table::{HALF, PLACES, Table};

/// Bytes that are summed at once.
const BLOCK: usize = 16;

fn byte(sum: i32) -> u8 {
    (sum >> PLACES).clamp(0, 255) as u8
}

fn times(value: u8, weight: i32) -> i32 {
    i32::from(value).wrapping_mul(weight)
}

/// See [`Passes::across`](super::Passes::across).
pub(super) fn across(table: &Table, rows: [&[u8]; ROWS], into: &mut [u8]) {
    let pitch = into.len() / ROWS;
    for (row, into) in rows.into_iter().zip(into.chunks_exact_mut(pitch)) {
        let pixels = row.as_chunks::<PIXEL_BYTES>().0;
        let runs = table.firsts().iter().zip(table.weights().chunks_exact(table.run()));
        let results = into.as_chunks_mut::<PIXEL_BYTES>().0.iter_mut();
        for (((&first, weights), &count), result) in runs.zip(table.counts()).zip(results) {
            let mut sums = [HALF; PIXEL_BYTES];
            for (pixel, &weight) in pixels[first as usize..].iter().zip(&weights[..count as usize]) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum = sum.wrapping_add(times(value, weight));
                }
            }
            *result = sums.map(byte);
        }
    }
}

/// See [`Passes::down`](super::Passes::down).
pub(super) fn down(Column { rows, starts, weights }: Column<'_>, into: &mut [u8]) {
    for (block, into) in into.chunks_mut(BLOCK).enumerate() {
        let mut sums = [HALF; BLOCK];
        for (start, &weight) in starts.iter().zip(weights) {
            let from = start + block * BLOCK;
            for (sum, &value) in sums.iter_mut().zip(&rows[from..from + BLOCK]) {
                *sum = sum.wrapping_add(times(value, weight));
            }
        }
        for (byte_into, sum) in into.iter_mut().zip(sums) {
            *byte_into = byte(sum);
        }
    }
}
