//! What the look-ups of a Huffman table hold.

/// Bits of the look-up: longer codes are rare.
pub(super) const LOOK: u32 = 10;

/// Coefficients that an end of block moves on: behind any index that a block could reach without one.
pub(super) const END_OF_BLOCK: u32 = 128;

/// What the bits at the top of the buffer mean. Three kinds, told apart by the byte at the bottom:
/// - *near*: code and value lie in the look-up; the value is in the upper half;
/// - *far*: the code does, its value does not quite; the upper half holds the code's length and the value's;
/// - *long*: not even the code does; all bits but one are zero.
///
/// From the bottom: 6 bits for the length of code and value together (0 for long), bit 7 set for far and long, 8 bits
/// for how far the index of the coefficient moves, past the value itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(u32);

impl Entry {
    pub const LONG: Entry = Entry(0x80);

    pub fn far(symbol: u8, code_length: u32) -> Entry {
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        let advance = match (size, run) {
            (0, 15) => 16,
            (0, _) => END_OF_BLOCK,
            _ => run + 1,
        };
        Entry((code_length + size) | 0x80 | advance << 8 | code_length << 16 | size << 24)
    }

    /// The near entry of a far one whose value is known.
    pub fn near(self, value: i16) -> Entry {
        Entry((self.0 & 0xFF7F) | u32::from(value as u16) << 16)
    }

    #[inline(always)]
    pub fn is_near(self) -> bool {
        self.0 & 0x80 == 0
    }

    #[inline(always)]
    pub fn is_long(self) -> bool {
        self.length() == 0
    }

    /// Bits of the code and its value together, at most 31.
    #[inline(always)]
    pub fn length(self) -> u32 {
        self.0 & 63
    }

    /// The buffer without the code and its value: the one step that the next code waits for.
    #[inline(always)]
    pub fn shifted(self, buffer: u64) -> u64 {
        buffer.wrapping_shl(self.0)
    }

    /// How far the index of the coefficient moves, past the value itself.
    #[inline(always)]
    pub fn advance(self) -> u32 {
        self.0 >> 8 & 0xFF
    }

    /// The value of a near entry.
    #[inline(always)]
    pub fn near_value(self) -> i16 {
        (self.0 >> 16) as i16
    }

    /// The value that stands behind the code of a far entry at the top of `buffer` (ITU-T T.81, F.2.2.1: EXTEND).
    #[inline(always)]
    pub fn far_value(self, buffer: u64) -> i16 {
        let (code_length, size) = (self.0 >> 16 & 31, self.0 >> 24 & 15);
        let behind = buffer << code_length;
        let raw = (behind >> 1) >> (63 - size);
        let lowered_by = if behind >> 63 == 0 { (1u64 << size) - 1 } else { 0 };
        raw.wrapping_sub(lowered_by) as i16
    }
}

/// As many whole coefficients as lie in the bits at the top of the buffer, to be passed over together: 5 bits for how
/// long they are (0: the first code is long), one for whether the block ends behind them, and how far they move.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Stride(u16);

/// Bits of the look-up of strides.
pub(super) const STRIDE_LOOK: u32 = 11;

impl Stride {
    #[inline(always)]
    pub fn length(self) -> u32 {
        u32::from(self.0 & 31)
    }

    #[inline(always)]
    pub fn ends_block(self) -> bool {
        self.0 & 32 != 0
    }

    /// How far the index of the coefficient moves; the end of the block not counted.
    #[inline(always)]
    pub fn advance(self) -> u32 {
        u32::from(self.0 >> 6)
    }

    pub const NONE: Stride = Stride(0);

    /// The stride of the bits `index`.
    pub fn of(look: &[Entry; 1 << LOOK], index: u32) -> Stride {
        let (mut length, mut advance) = (0, 0);
        while length < STRIDE_LOOK {
            let entry = look[(index << length >> (STRIDE_LOOK - LOOK)) as usize & ((1 << LOOK) - 1)];
            // Behind the first, only what lies in the known bits whole: the rest may be anything.
            let whole = entry.is_near() && length + entry.length() <= STRIDE_LOOK;
            if entry.is_long() || !(whole || length == 0) {
                break;
            }
            length += entry.length();
            if entry.advance() == END_OF_BLOCK {
                return Stride(length as u16 | 32 | (advance as u16) << 6);
            }
            advance += entry.advance();
        }
        Stride(length as u16 | (advance as u16) << 6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_extended_as_the_standard_says() {
        let entry = Entry::far(0x03, 4);
        let value = |bits: u64| entry.far_value(14 << 60 | bits << 57);
        assert_eq!((0..8).map(value).collect::<Vec<_>>(), [-7, -6, -5, -4, 4, 5, 6, 7]);
        assert_eq!(Entry::far(0, 2).far_value(2 << 62 | 1 << 61), 0);
        assert_eq!(Entry::far(15, 16).far_value(0), -32767);
    }
}
