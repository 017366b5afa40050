//! One Huffman table, ready for look-up.

use super::entry::{Entry, LOOK, STRIDE_LOOK, Stride};

/// A Huffman table of a scan.
pub(super) struct Table {
    look: [Entry; 1 << LOOK],
    strides: [Stride; 1 << STRIDE_LOOK],
    has_strides: bool,
    /// The greatest code of each length, -1 where there is none; and what turns a code into an index of `values`.
    max_code: [i32; 17],
    offset: [i32; 17],
    values: [u8; 256],
    /// The definition that the above was made from: `counts[l]` codes of length `l`.
    counts: [u8; 17],
}

impl Table {
    pub fn empty() -> Table {
        Table {
            look: [Entry::LONG; 1 << LOOK],
            strides: [Stride::NONE; 1 << STRIDE_LOOK],
            has_strides: false,
            max_code: [-1; 17],
            offset: [0; 17],
            values: [0; 256],
            counts: [0; 17],
        }
    }

    /// Becomes the table of this definition; does nothing where it is that already. False where the definition is no
    /// prefix code.
    pub fn define(&mut self, counts: &[u8; 17], values: &[u8; 256]) -> bool {
        if self.counts == *counts && self.values == *values {
            return true;
        }
        if std::mem::take(&mut self.has_strides) {
            self.strides.fill(Stride::NONE);
        }
        (self.counts, self.values) = ([0; 17], *values);
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

    /// Makes the strides, which pay only where much is passed over.
    pub fn prepare_strides(&mut self) {
        if !self.has_strides {
            for (index, stride) in self.strides.iter_mut().enumerate() {
                *stride = Stride::of(&self.look, index as u32);
            }
            self.has_strides = true;
        }
    }

    /// The stride of the bits at the top of `buffer`; of length 0 before they are made.
    #[inline(always)]
    pub fn stride(&self, buffer: u64) -> Stride {
        self.strides[(buffer >> (64 - STRIDE_LOOK)) as usize]
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
    use super::super::entry::END_OF_BLOCK;
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
    fn strides_hold_whole_coefficients_only() {
        let mut table = table();
        table.prepare_strides();
        let told = |bits: u64| {
            let stride = table.stride(bits << 53);
            (stride.length(), stride.advance(), stride.ends_block())
        };
        // Five coefficients of one bit each; the eleventh bit begins another.
        assert_eq!(told(0b000_1000_1000), (10, 5, false));
        // Two of them and the end of the block; what follows belongs to the next.
        assert_eq!(told(0b000_1100_0000), (6, 2, true));
        // A run of sixteen zeros before a coefficient.
        assert_eq!(told(0b110_0010_0000), (7, 17, true));
        // A long value first is taken whole; behind another it is left.
        assert_eq!(told(0b111_0000_0000), (14, 3, false));
        assert_eq!(told(0b001_1100_0000), (2, 1, false));
        assert_eq!(told(0b111_1000_0000), (0, 0, false));
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
