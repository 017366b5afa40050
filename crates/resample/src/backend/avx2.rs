//! The passes in 256-bit integers: products of bytes with pairs of 16-bit digits of the weights.

use std::arch::x86_64::*;

use super::{Column, ROWS, check_across, check_down};
use crate::table::{self, HALF, PLACES, Table};
use crate::{Kernel, PIXEL_BYTES};

/// Bytes of a vector.
const BYTES: usize = 32;

type Pixel = [u8; PIXEL_BYTES];

/// Sums of the two digits, the lower first.
type Digits = [__m256i; 2];

/// Bits below the higher digit of a weight.
const DIGIT: i32 = 16;

/// Where the bytes of 16-bit pairs come from, of the first two pixels of four and of the others; 0x80 is a zero.
const NEAR: [i32; 4] = [pair_from(0), pair_from(1), pair_from(2), pair_from(3)];
const FAR: [i32; 4] = [pair_from(8), pair_from(9), pair_from(10), pair_from(11)];

const fn pair_from(byte: i32) -> i32 {
    i32::from_le_bytes([byte as u8, 0x80, byte as u8 + PIXEL_BYTES as u8, 0x80])
}

/// See [`Passes::weigh`](super::Passes::weigh). Of each two weights the lower digits (signed, base 2^16) stand together as
/// 16-bit numbers, and then the higher ones.
#[target_feature(enable = "avx2")]
pub(super) fn weigh(kernel: Kernel, run: usize, distances: &mut [f64], weights: &mut [i32]) {
    table::weigh(kernel, run, distances, weights);
    for pair in weights.as_chunks_mut::<2>().0 {
        // Half a base more, and the digit with its sign turned, is one that begins at its least value.
        let [a, b] = pair.map(|weight| (weight + 0x8000) ^ 0x8000);
        *pair = [a & 0xFFFF | b << 16, a >> 16 & 0xFFFF | b & !0xFFFF];
    }
}

/// See [`Passes::across`](super::Passes::across).
#[target_feature(enable = "avx2")]
pub(super) fn across(table: &Table, rows: [&[u8]; ROWS], into: &mut [u8]) {
    match table.run() {
        2 => across_of::<1>(table, rows, into),
        4 => across_of::<2>(table, rows, into),
        6 => across_of::<3>(table, rows, into),
        8 => across_of::<4>(table, rows, into),
        _ => across_of::<0>(table, rows, into),
    }
}

/// `PAIRS` pairs of pixels a result; as many as the table says where that is 0.
#[target_feature(enable = "avx2")]
fn across_of<const PAIRS: usize>(table: &Table, rows: [&[u8]; ROWS], into: &mut [u8]) {
    let pitch = check_across(table, rows, into);
    let pairs = if PAIRS == 0 { table.run() / 2 } else { PAIRS };
    assert_eq!(pairs * 2, table.run(), "weights for other runs");
    let rows = rows.map(|row| row.as_ptr().cast::<Pixel>());
    let (mut weights, mut place) = (table.weights().as_ptr().cast::<[i32; 2]>(), into.as_mut_ptr());
    for firsts in table.firsts().as_chunks::<4>().0 {
        // SAFETY: `check_across` has found the runs inside every row, weights for every run, and room for all results in each
        // quarter of `into`.
        unsafe {
            let [upper_a, lower_a] = result::<PAIRS>(pairs, rows, firsts[0], weights);
            let [upper_b, lower_b] = result::<PAIRS>(pairs, rows, firsts[1], weights.add(pairs));
            let (upper_ab, lower_ab) = (_mm256_packs_epi32(upper_a, upper_b), _mm256_packs_epi32(lower_a, lower_b));
            let [upper_c, lower_c] = result::<PAIRS>(pairs, rows, firsts[2], weights.add(2 * pairs));
            let [upper_d, lower_d] = result::<PAIRS>(pairs, rows, firsts[3], weights.add(3 * pairs));
            let (upper_cd, lower_cd) = (_mm256_packs_epi32(upper_c, upper_d), _mm256_packs_epi32(lower_c, lower_d));
            let (upper, lower) = (_mm256_packus_epi16(upper_ab, upper_cd), _mm256_packus_epi16(lower_ab, lower_cd));
            _mm_storeu_si128(place.cast(), _mm256_castsi256_si128(upper));
            _mm_storeu_si128(place.add(pitch).cast(), _mm256_extracti128_si256::<1>(upper));
            _mm_storeu_si128(place.add(2 * pitch).cast(), _mm256_castsi256_si128(lower));
            _mm_storeu_si128(place.add(3 * pitch).cast(), _mm256_extracti128_si256::<1>(lower));
            weights = weights.add(4 * pairs);
            place = place.add(4 * PIXEL_BYTES);
        }
    }
}

/// One result of four rows, rounded, in 32 bits: of the first two and of the others; `pairs` is `PAIRS`, unless that is 0.
///
/// # Safety
/// `2 · pairs` pixels from `first` on can be read from each of `rows`, and as many weights.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn result<const PAIRS: usize>(
    pairs: usize,
    rows: [*const Pixel; ROWS],
    first: u32,
    weights: *const [i32; 2],
) -> [__m256i; 2] {
    let near = _mm256_broadcastsi128_si256(_mm_setr_epi32(NEAR[0], NEAR[1], NEAR[2], NEAR[3]));
    let far = _mm256_broadcastsi128_si256(_mm_setr_epi32(FAR[0], FAR[1], FAR[2], FAR[3]));
    let pairs = if PAIRS == 0 { pairs } else { PAIRS };
    let (mut upper, mut lower) = (no_digits(), no_digits());
    let mut pair = 0;
    while pair < pairs & !1 {
        // SAFETY: the caller's promise.
        unsafe {
            let at = (first as usize).wrapping_add(pair.wrapping_mul(2));
            let [near_weights, far_weights] = &*weights.add(pair).cast::<[[i32; 2]; 2]>();
            let pixels = _mm256_castsi128_si256(_mm_loadu_si128(rows[0].add(at).cast()));
            let pixels = _mm256_inserti128_si256::<1>(pixels, _mm_loadu_si128(rows[1].add(at).cast()));
            add(&mut upper, _mm256_shuffle_epi8(pixels, near), near_weights);
            add(&mut upper, _mm256_shuffle_epi8(pixels, far), far_weights);
            let pixels = _mm256_castsi128_si256(_mm_loadu_si128(rows[2].add(at).cast()));
            let pixels = _mm256_inserti128_si256::<1>(pixels, _mm_loadu_si128(rows[3].add(at).cast()));
            add(&mut lower, _mm256_shuffle_epi8(pixels, near), near_weights);
            add(&mut lower, _mm256_shuffle_epi8(pixels, far), far_weights);
        }
        pair = pair.wrapping_add(2);
    }
    if pair < pairs {
        // SAFETY: the caller's promise.
        unsafe {
            let at = (first as usize).wrapping_add(pair.wrapping_mul(2));
            let pixels = _mm256_castsi128_si256(_mm_loadl_epi64(rows[0].add(at).cast()));
            let pixels = _mm256_inserti128_si256::<1>(pixels, _mm_loadl_epi64(rows[1].add(at).cast()));
            add(&mut upper, _mm256_shuffle_epi8(pixels, near), &*weights.add(pair));
            let pixels = _mm256_castsi128_si256(_mm_loadl_epi64(rows[2].add(at).cast()));
            let pixels = _mm256_inserti128_si256::<1>(pixels, _mm_loadl_epi64(rows[3].add(at).cast()));
            add(&mut lower, _mm256_shuffle_epi8(pixels, near), &*weights.add(pair));
        }
    }
    [whole(upper), whole(lower)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn no_digits() -> Digits {
    [_mm256_set1_epi32(HALF), _mm256_setzero_si256()]
}

/// Adds the products of pairs of bytes, widened to 16 bits, with two weights.
#[inline]
#[target_feature(enable = "avx2")]
fn add(digits: &mut Digits, pairs: __m256i, weights: &[i32; 2]) {
    digits[0] = _mm256_add_epi32(digits[0], _mm256_madd_epi16(pairs, _mm256_set1_epi32(weights[0])));
    digits[1] = _mm256_add_epi32(digits[1], _mm256_madd_epi16(pairs, _mm256_set1_epi32(weights[1])));
}

/// Puts the digits together and cuts the places behind the point off.
#[inline]
#[target_feature(enable = "avx2")]
fn whole([low, high]: Digits) -> __m256i {
    _mm256_srai_epi32::<{ PLACES as i32 }>(_mm256_add_epi32(low, _mm256_slli_epi32::<DIGIT>(high)))
}

/// See [`Passes::down`](super::Passes::down).
#[target_feature(enable = "avx2")]
pub(super) fn down(column: Column<'_>, into: &mut [u8]) {
    check_down(column, 2, into.len());
    match column.starts.len() {
        2 => down_of::<1>(column, into),
        4 => down_of::<2>(column, into),
        6 => down_of::<3>(column, into),
        _ => down_of::<0>(column, into),
    }
}

/// `PAIRS` pairs of rows; as many as there are where that is 0. What `check_down` checks must hold.
#[target_feature(enable = "avx2")]
fn down_of<const PAIRS: usize>(column: Column<'_>, into: &mut [u8]) {
    let (whole, rest) = into.as_chunks_mut::<BYTES>();
    let behind = whole.len() * BYTES;
    for (block, into) in whole.iter_mut().enumerate() {
        let bytes = sum::<PAIRS>(column, block * BYTES);
        // SAFETY: the place is a whole vector.
        unsafe { _mm256_storeu_si256(into.as_mut_ptr().cast(), bytes) }
    }
    if !rest.is_empty() {
        let mut last = [0; BYTES];
        // SAFETY: the place is a whole vector.
        unsafe { _mm256_storeu_si256(last.as_mut_ptr().cast(), sum::<PAIRS>(column, behind)) }
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// The weighted sum of all rows in the vector at `at`, as bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn sum<const PAIRS: usize>(Column { rows, starts, weights }: Column<'_>, at: usize) -> __m256i {
    let pairs = if PAIRS == 0 { starts.len() / 2 } else { PAIRS };
    let (starts, weights) = (&starts.as_chunks::<2>().0[..pairs], &weights.as_chunks::<2>().0[..pairs]);
    let zero = _mm256_setzero_si256();
    let mut digits = [no_digits(); 4];
    let mut pair = 0;
    while pair < pairs {
        // SAFETY: `check_down` has found whole vectors in every row.
        let (a, b) = unsafe {
            let from = rows.as_ptr().add(at);
            (_mm256_loadu_si256(from.add(starts[pair][0]).cast()), _mm256_loadu_si256(from.add(starts[pair][1]).cast()))
        };
        let (near, far) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
        add(&mut digits[0], _mm256_unpacklo_epi8(near, zero), &weights[pair]);
        add(&mut digits[1], _mm256_unpackhi_epi8(near, zero), &weights[pair]);
        add(&mut digits[2], _mm256_unpacklo_epi8(far, zero), &weights[pair]);
        add(&mut digits[3], _mm256_unpackhi_epi8(far, zero), &weights[pair]);
        pair = pair.wrapping_add(1);
    }
    let near = _mm256_packs_epi32(whole(digits[0]), whole(digits[1]));
    let far = _mm256_packs_epi32(whole(digits[2]), whole(digits[3]));
    _mm256_packus_epi16(near, far)
}
