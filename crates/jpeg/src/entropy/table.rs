//! One Huffman table, ready for look-up.

/// Bits of the look-up: longer codes are rare.
const LOOK: u32 = 10;

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
    const LONG: Entry = Entry(0x80);

    fn far(symbol: u8, code_length: u32) -> Entry {
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        let advance = match (size, run) {
            (0, 15) => 16,
            (0, _) => END_OF_BLOCK,
            _ => run + 1,
        };
        Entry((code_length + size) | 0x80 | advance << 8 | code_length << 16 | size << 24)
    }

    /// The near entry of a far one whose value is known.
    fn near(self, value: i16) -> Entry {
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

/// A Huffman table of a scan.
pub(super) struct Table {
    look: [Entry; 1 << LOOK],
    /// The greatest code of each length, -1 where there is none; and what turns a code into an index of `values`.
    max_code: [i32; 17],
    offset: [i32; 17],
    values: [u8; 256],
    /// The definition that the above was made from: `counts[l]` codes of length `l`.
    counts: [u8; 17],
}

impl Table {
    pub fn empty() -> Table {
        Table { look: [Entry::LONG; 1 << LOOK], max_code: [-1; 17], offset: [0; 17], values: [0; 256], counts: [0; 17] }
    }

    /// Becomes the table of this definition; does nothing where it is that already. False where the definition is no
    /// prefix code.
    pub fn define(&mut self, counts: &[u8; 17], values: &[u8; 256]) -> bool {
        if self.counts == *counts && self.values == *values {
            return true;
        }
        self.counts = [0; 17];
        self.values = *values;
        self.look.fill(Entry::LONG);
        let (mut code, mut index) = (0u32, 0usize);
        for length in 1..=16u32 {
            let count = usize::from(counts[length as usize]);
            let end = code + count as u32;
            if index + count > 256 || end > 1 << length {
                return false;
            }
            self.max_code[length as usize] = if count > 0 { end as i32 - 1 } else { -1 };
            self.offset[length as usize] = index as i32 - code as i32;
            if length <= LOOK {
                for (code, &symbol) in (code..).zip(&values[index..index + count]) {
                    let start = code << (LOOK - length);
                    let end = start + (1 << (LOOK - length));
                    fill(&mut self.look[start as usize..end as usize], start, Entry::far(symbol, length));
                }
            }
            index += count;
            code = end << 1;
        }
        self.counts = *counts;
        true
    }

    /// The entry of the bits at the top of `buffer`.
    #[inline(always)]
    pub fn look(&self, buffer: u64) -> Entry {
        self.look[(buffer >> (64 - LOOK)) as usize]
    }

    /// The far entry of a code that is longer than the look-up; `None` where there is no such code.
    #[cold]
    #[inline(never)]
    pub fn long(&self, buffer: u64) -> Option<Entry> {
        for length in LOOK + 1..=16 {
            let code = (buffer >> (64 - length)) as i32;
            if code <= self.max_code[length as usize] {
                let index = (code + self.offset[length as usize]) & 255;
                return Some(Entry::far(self.values[index as usize], length));
            }
        }
        None
    }
}

/// Fills the part of the look-up that begins with one code; `start` is the index of its first entry.
fn fill(part: &mut [Entry], start: u32, far: Entry) {
    if far.length() > LOOK {
        part.fill(far);
        return;
    }
    // All entries that have the value's bits in common are alike.
    let alike = 1usize << (LOOK - far.length());
    for (i, entries) in part.chunks_mut(alike).enumerate() {
        let bits = u64::from(start) + (i * alike) as u64;
        entries.fill(far.near(far.far_value(bits << (64 - LOOK))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes 0, 10, 110, 1110, then one of 12 bits.
    fn table() -> Table {
        let mut counts = [0u8; 17];
        (counts[1], counts[2], counts[3], counts[4], counts[12]) = (1, 1, 1, 1, 1);
        let mut values = [0u8; 256];
        values[..5].copy_from_slice(&[0x01, 0x00, 0xF0, 0x2A, 0x13]);
        let mut table = Table::empty();
        assert!(table.define(&counts, &values));
        table
    }

    fn at(table: &Table, bits: u64, count: u32) -> (Entry, i16) {
        let buffer = bits << (64 - count);
        let entry = table.look(buffer);
        let entry = if entry.is_long() { table.long(buffer).expect("a code") } else { entry };
        (entry, if entry.is_near() { entry.near_value() } else { entry.far_value(buffer) })
    }

    #[test]
    fn codes_of_all_lengths_are_found() {
        let table = table();
        let told = |bits, count| {
            let (entry, value) = at(&table, bits, count);
            (entry.length(), entry.advance(), value)
        };
        assert_eq!(told(0b00, 2), (2, 1, -1));
        assert_eq!(told(0b01, 2), (2, 1, 1));
        assert_eq!(told(0b10, 2), (2, END_OF_BLOCK, 0));
        assert_eq!(told(0b110, 3), (3, 16, 0));
        assert_eq!(told(0xE << 10 | 0x2AA, 14), (14, 3, 0x2AA));
        assert_eq!(told(0xE << 10 | 0x155, 14), (14, 3, 0x155 - 1023));
        assert_eq!(told(0xF00 << 3 | 5, 15), (15, 2, 5));
        assert!(table.long(u64::MAX).is_none());
    }

    #[test]
    fn values_are_extended_as_the_standard_says() {
        let entry = Entry::far(0x03, 4);
        let value = |bits: u64| entry.far_value(14 << 60 | bits << 57);
        assert_eq!((0..8).map(value).collect::<Vec<_>>(), [-7, -6, -5, -4, 4, 5, 6, 7]);
        assert_eq!(Entry::far(0, 2).far_value(2 << 62 | 1 << 61), 0);
        assert_eq!(Entry::far(15, 16).far_value(0), -32767);
    }

    #[test]
    fn impossible_definitions_are_refused() {
        let mut counts = [0u8; 17];
        counts[1] = 3;
        assert!(!Table::empty().define(&counts, &[0; 256]));
        counts = [255; 17];
        assert!(!Table::empty().define(&counts, &[0; 256]));
    }
}
