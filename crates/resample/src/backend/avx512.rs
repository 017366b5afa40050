//! The passes in 512-bit integers: dot products of four bytes with four 8-bit digits of the weights.

use std::arch::x86_64::*;

use super::{Column, ROWS, check_across, check_down};
use crate::table::{self, HALF, PLACES, Table};
use crate::{Kernel, PIXEL_BYTES};

/// Bytes of a vector.
const BYTES: usize = 64;

/// Bits of a digit of a weight.
const DIGIT: u32 = 8;

type Pixel = [u8; PIXEL_BYTES];

/// Sums of the three digits, the lowest first.
type Digits = [__m512i; 3];

/// See [`Passes::weigh`](super::Passes::weigh). Of each four weights the lowest digits (signed, base 2^8) stand together, then
/// the middle ones, the highest, and four bytes that are not read.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn weigh(kernel: Kernel, run: usize, distances: &mut [f64], weights: &mut [i32]) {
    table::weigh(kernel, run, distances, weights);
    let turned = _mm_set1_epi32(0x0080_8080);
    let digits = _mm_setr_epi32(0x0C08_0400, 0x0D09_0501, 0x0E0A_0602, 0x0F0B_0703);
    for quad in weights.as_chunks_mut::<4>().0 {
        // SAFETY: four weights are 16 bytes.
        unsafe {
            let place = quad.as_mut_ptr().cast::<__m128i>();
            // Half a base more, and a digit with its sign turned, is one that begins at its least value.
            let signed = _mm_xor_si128(_mm_add_epi32(_mm_loadu_si128(place), turned), turned);
            _mm_storeu_si128(place, _mm_shuffle_epi8(signed, digits));
        }
    }
}

/// See [`Passes::across`](super::Passes::across).
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn across(table: &Table, rows: [&[u8]; ROWS], into: &mut [u8]) {
    match table.run() {
        4 => across_of::<1>(table, rows, into),
        8 => across_of::<2>(table, rows, into),
        _ => across_of::<0>(table, rows, into),
    }
}

/// `QUADS` times four pixels a result; as many as the table says where that is 0.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn across_of<const QUADS: usize>(table: &Table, rows: [&[u8]; ROWS], into: &mut [u8]) {
    let pitch = check_across(table, rows, into);
    let quads = if QUADS == 0 { table.run() / 4 } else { QUADS };
    assert_eq!(quads * 4, table.run(), "weights for other runs");
    let rows = rows.map(|row| row.as_ptr().cast::<Pixel>());
    let (mut weights, mut place) = (table.weights().as_ptr().cast::<[i32; 4]>(), into.as_mut_ptr());
    for firsts in table.firsts().as_chunks::<4>().0 {
        // SAFETY: `check_across` has found the runs inside every row, weights for every run, and room for all results in each
        // quarter of `into`.
        unsafe {
            let sums = [
                result::<QUADS>(quads, rows, firsts[0], weights),
                result::<QUADS>(quads, rows, firsts[1], weights.add(quads)),
                result::<QUADS>(quads, rows, firsts[2], weights.add(2 * quads)),
                result::<QUADS>(quads, rows, firsts[3], weights.add(3 * quads)),
            ];
            let bytes = bytes(sums);
            _mm_storeu_si128(place.cast(), _mm512_castsi512_si128(bytes));
            _mm_storeu_si128(place.add(pitch).cast(), _mm512_extracti32x4_epi32::<1>(bytes));
            _mm_storeu_si128(place.add(2 * pitch).cast(), _mm512_extracti32x4_epi32::<2>(bytes));
            _mm_storeu_si128(place.add(3 * pitch).cast(), _mm512_extracti32x4_epi32::<3>(bytes));
            weights = weights.add(4 * quads);
            place = place.add(4 * PIXEL_BYTES);
        }
    }
}

/// One result of four rows, rounded, in 32 bits; `quads` is `QUADS`, unless that is 0.
///
/// # Safety
/// `4 · quads` pixels from `first` on can be read from each of `rows`, and as many weights.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn result<const QUADS: usize>(
    quads: usize,
    rows: [*const Pixel; ROWS],
    first: u32,
    weights: *const [i32; 4],
) -> __m512i {
    // Of four pixels in each quarter: the four reds, greens, blues, and what is no colour.
    let channels = _mm512_set4_epi32(0x0F0B_0703, 0x0E0A_0602, 0x0D09_0501, 0x0C08_0400);
    let quads = if QUADS == 0 { quads } else { QUADS };
    let mut digits = no_digits();
    let mut quad = 0;
    while quad < quads {
        // SAFETY: the caller's promise.
        unsafe {
            let at = (first as usize).wrapping_add(quad.wrapping_mul(4));
            let pixels = _mm512_castsi128_si512(_mm_loadu_si128(rows[0].add(at).cast()));
            let pixels = _mm512_inserti32x4::<1>(pixels, _mm_loadu_si128(rows[1].add(at).cast()));
            let pixels = _mm512_inserti32x4::<2>(pixels, _mm_loadu_si128(rows[2].add(at).cast()));
            let pixels = _mm512_inserti32x4::<3>(pixels, _mm_loadu_si128(rows[3].add(at).cast()));
            add(&mut digits, _mm512_shuffle_epi8(pixels, channels), &*weights.add(quad));
        }
        quad = quad.wrapping_add(1);
    }
    whole(digits)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn no_digits() -> Digits {
    [_mm512_set1_epi32(HALF), _mm512_setzero_si512(), _mm512_setzero_si512()]
}

/// Adds the dot products of each four bytes with four weights.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn add(digits: &mut Digits, bytes: __m512i, weights: &[i32; 4]) {
    digits[0] = _mm512_dpbusd_epi32(digits[0], bytes, _mm512_set1_epi32(weights[0]));
    digits[1] = _mm512_dpbusd_epi32(digits[1], bytes, _mm512_set1_epi32(weights[1]));
    digits[2] = _mm512_dpbusd_epi32(digits[2], bytes, _mm512_set1_epi32(weights[2]));
}

/// Puts the digits together and cuts the places behind the point off.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn whole([low, middle, high]: Digits) -> __m512i {
    let upper = _mm512_add_epi32(middle, _mm512_slli_epi32::<DIGIT>(high));
    _mm512_srai_epi32::<PLACES>(_mm512_add_epi32(low, _mm512_slli_epi32::<DIGIT>(upper)))
}

/// As bytes, in the order in which `unpacklo` and `unpackhi` have taken them apart.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn bytes([a, b, c, d]: [__m512i; 4]) -> __m512i {
    _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d))
}

/// See [`Passes::down`](super::Passes::down).
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn down(column: Column<'_>, into: &mut [u8]) {
    check_down(column, 4, into.len());
    match column.starts.len() {
        4 => down_of::<1>(column, into),
        8 => down_of::<2>(column, into),
        _ => down_of::<0>(column, into),
    }
}

/// `QUADS` times four rows; as many as there are where that is 0. What `check_down` checks must hold.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn down_of<const QUADS: usize>(column: Column<'_>, into: &mut [u8]) {
    let (whole, rest) = into.as_chunks_mut::<BYTES>();
    let behind = whole.len() * BYTES;
    for (block, into) in whole.iter_mut().enumerate() {
        let bytes = sum::<QUADS>(column, block * BYTES);
        // SAFETY: the place is a whole vector.
        unsafe { _mm512_storeu_si512(into.as_mut_ptr().cast(), bytes) }
    }
    if !rest.is_empty() {
        let seen = (1 << rest.len()) - 1;
        // SAFETY: only the bytes of `rest` are written.
        unsafe { _mm512_mask_storeu_epi8(rest.as_mut_ptr().cast(), seen, sum::<QUADS>(column, behind)) }
    }
}

/// The weighted sum of all rows in the vector at `at`, as bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn sum<const QUADS: usize>(Column { rows, starts, weights }: Column<'_>, at: usize) -> __m512i {
    let quads = if QUADS == 0 { starts.len() / 4 } else { QUADS };
    let (starts, weights) = (&starts.as_chunks::<4>().0[..quads], &weights.as_chunks::<4>().0[..quads]);
    let mut digits = [no_digits(); 4];
    let mut quad = 0;
    while quad < quads {
        let starts = starts[quad];
        // SAFETY: `check_down` has found whole vectors in every row.
        let (a, b, c, d) = unsafe {
            let from = rows.as_ptr().add(at);
            (
                _mm512_loadu_si512(from.add(starts[0]).cast()),
                _mm512_loadu_si512(from.add(starts[1]).cast()),
                _mm512_loadu_si512(from.add(starts[2]).cast()),
                _mm512_loadu_si512(from.add(starts[3]).cast()),
            )
        };
        let (near_ab, far_ab) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
        let (near_cd, far_cd) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
        add(&mut digits[0], _mm512_unpacklo_epi16(near_ab, near_cd), &weights[quad]);
        add(&mut digits[1], _mm512_unpackhi_epi16(near_ab, near_cd), &weights[quad]);
        add(&mut digits[2], _mm512_unpacklo_epi16(far_ab, far_cd), &weights[quad]);
        add(&mut digits[3], _mm512_unpackhi_epi16(far_ab, far_cd), &weights[quad]);
        quad = quad.wrapping_add(1);
    }
    let [a, b, c, d] = digits;
    bytes([whole(a), whole(b), whole(c), whole(d)])
}
