//! The hot loops: the coefficients of one block, into memory or passed over.

use super::Disorder;
use super::bits::Bits;
use super::entry::END_OF_BLOCK;
use super::table::Table;

/// Natural index of the coefficient at each place of the zigzag; what lies behind the block goes to its last place,
/// which an end of block then fills with the zero that is there.
static NATURAL: [u8; 256] = natural_order();

/// Adds the next DC difference to `last`.
#[inline(always)]
pub(super) fn difference(
    bits: Bits,
    data: &[u8],
    invented: &mut u32,
    table: &Table,
    last: &mut i32,
) -> Result<Bits, Disorder> {
    let bits = bits.refilled(data, invented);
    let mut entry = table.look(bits.buffer);
    if entry.is_long() {
        entry = table.long(bits.buffer).ok_or(Disorder)?;
    }
    let value = if entry.is_near() { entry.near_value() } else { entry.far_value(bits.buffer) };
    *last = last.wrapping_add(i32::from(value));
    Ok(bits.past(entry))
}

/// The AC coefficients of a block, into `out`.
#[inline(always)]
pub(super) fn fill_block(
    mut bits: Bits,
    data: &[u8],
    invented: &mut u32,
    table: &Table,
    out: &mut [i16; 64],
) -> Result<Bits, Disorder> {
    let mut k = 0;
    loop {
        bits = bits.refilled(data, invented);
        // 56 bits hold two codes with their values (25 bits each), unless one is longer than the look-up.
        for _ in 0..2 {
            let mut entry = table.look(bits.buffer);
            let value = if entry.is_near() {
                entry.near_value()
            } else {
                if entry.is_long() {
                    bits = bits.refilled(data, invented);
                    entry = table.long(bits.buffer).ok_or(Disorder)?;
                }
                entry.far_value(bits.buffer)
            };
            k += entry.advance();
            out[usize::from(NATURAL[(k & 255) as usize] & 63)] = value;
            bits = bits.past(entry);
            if k >= 63 {
                return if k == 63 || k >= END_OF_BLOCK { Ok(bits) } else { Err(Disorder) };
            }
        }
    }
}

/// Passes over the AC coefficients of a block, by strides as long as they do not reach its end.
#[inline(always)]
pub(super) fn measure_block(mut bits: Bits, data: &[u8], invented: &mut u32, table: &Table) -> Result<Bits, Disorder> {
    let mut k = 0;
    loop {
        bits = bits.refilled(data, invented);
        // 56 bits hold two strides (25 bits each).
        for _ in 0..2 {
            let stride = table.stride(bits.buffer);
            let next = k + stride.advance();
            if stride.length() > 0 && next < 63 {
                (bits, k) = (bits.past_bits(stride.length()), next);
                if stride.ends_block() {
                    return Ok(bits);
                }
                continue;
            }
            bits = bits.refilled(data, invented);
            let mut entry = table.look(bits.buffer);
            if entry.is_long() {
                entry = table.long(bits.buffer).ok_or(Disorder)?;
            }
            (bits, k) = (bits.past(entry), k + entry.advance());
            if k >= 63 {
                return if k == 63 || k >= END_OF_BLOCK { Ok(bits) } else { Err(Disorder) };
            }
        }
    }
}

const fn natural_order() -> [u8; 256] {
    let mut order = [63u8; 256];
    let (mut row, mut column, mut k) = (0i32, 0i32, 0);
    while k < 64 {
        order[k] = (row * 8 + column) as u8;
        // Even diagonals run up, odd ones down.
        if (row + column) % 2 == 0 {
            if column == 7 {
                row += 1;
            } else if row == 0 {
                column += 1;
            } else {
                row -= 1;
                column += 1;
            }
        } else if row == 7 {
            column += 1;
        } else if column == 0 {
            row += 1;
        } else {
            row += 1;
            column -= 1;
        }
        k += 1;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zigzag_is_the_standard_s() {
        assert_eq!(NATURAL[..16], [0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5]);
        assert_eq!(NATURAL[56..66], [53, 60, 61, 54, 47, 55, 62, 63, 63, 63]);
        let mut seen = NATURAL[..64].to_vec();
        seen.sort_unstable();
        assert_eq!(seen, (0..64).collect::<Vec<u8>>());
    }
}
