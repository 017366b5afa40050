//! The bit stream of a scan: stuffed zero bytes taken out, markers never crossed.

use super::entry::Entry;

/// Unread bits of a scan. The buffer is aligned left: its first unread bit is the highest.
///
/// The hot loops keep one in registers. So it is passed by value, and what fills it away from the hot path returns no
/// more than two registers hold: a struct that goes through memory costs a third of the speed.
#[derive(Clone, Copy, Default)]
pub(super) struct Bits {
    /// Offset of the first byte that is not in the buffer yet.
    pub position: usize,
    pub buffer: u64,
    /// Bits in the buffer, at most 63.
    pub count: u32,
    /// No byte from `position` up to here is 0xFF.
    clean: usize,
}

/// Scans have fewer bytes than this: offsets fit in 32 bits.
pub(super) const MAX_LENGTH: usize = u32::MAX as usize;

impl Bits {
    /// An empty buffer before the byte at `position`.
    pub fn at(position: usize) -> Bits {
        Bits { position, clean: position, ..Bits::default() }
    }

    /// Fills the buffer to at least 56 bits; behind the last byte before a marker with zeros, counted in `invented`.
    #[inline(always)]
    pub fn refilled(self, data: &[u8], invented: &mut u32) -> Bits {
        let clean = data.get(self.position..self.clean);
        if let Some(bytes) = clean.and_then(|bytes| bytes.first_chunk::<8>()) {
            return Bits {
                position: self.position.wrapping_add((63u32.wrapping_sub(self.count) >> 3) as usize),
                buffer: self.buffer | u64::from_be_bytes(*bytes).wrapping_shr(self.count),
                count: self.count | 56,
                clean: self.clean,
            };
        }
        let (buffer, place) = refill_bytewise(data, self.position, self.buffer, self.count, invented);
        let (position, clean) = ((place & 0xFFFF_FFFF) as usize, (place >> 32) as usize);
        Bits { position, buffer, count: self.count | 56, clean }
    }

    /// Drops a code with its value, which the buffer has.
    #[inline(always)]
    pub fn past(self, entry: Entry) -> Bits {
        Bits { buffer: entry.shifted(self.buffer), count: self.count.wrapping_sub(entry.length()), ..self }
    }

    /// Drops bits that the buffer has.
    #[inline(always)]
    pub fn past_bits(self, length: u32) -> Bits {
        Bits { buffer: self.buffer.wrapping_shl(length), count: self.count.wrapping_sub(length), ..self }
    }

    /// Real bits that are left in the buffer; `None` where invented ones were read.
    pub fn left(self, invented: u32) -> Option<u32> {
        self.count.checked_sub(invented)
    }
}

/// The buffer with its count raised to `count | 56`; and the position of the next byte with, above it, where the next
/// 0xFF is.
#[cold]
#[inline(never)]
fn refill_bytewise(
    data: &[u8],
    mut position: usize,
    mut buffer: u64,
    mut count: u32,
    invented: &mut u32,
) -> (u64, u64) {
    while count < 56 {
        let (byte, length) = match (data.get(position), data.get(position + 1)) {
            (Some(0xFF), Some(0)) => (0xFF, 2),
            (Some(0xFF), _) | (None, _) => {
                *invented += 8;
                (0, 0)
            }
            (Some(&byte), _) => (byte, 1),
        };
        buffer |= u64::from(byte) << (56 - count);
        count += 8;
        position += length;
    }
    let rest = data.get(position..).unwrap_or_default();
    let clean = position + memchr::memchr(0xFF, rest).unwrap_or(rest.len());
    (buffer, position as u64 | (clean as u64) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(data: &[u8]) -> (Vec<u8>, Bits) {
        let (mut bits, mut invented, mut read) = (Bits::default(), 0, Vec::new());
        loop {
            bits = bits.refilled(data, &mut invented);
            if bits.left(invented).is_none_or(|left| left < 8) {
                return (read, bits);
            }
            read.push((bits.buffer >> 56) as u8);
            (bits.buffer, bits.count) = (bits.buffer << 8, bits.count - 8);
        }
    }

    #[test]
    fn reads_stuffed_bytes_and_stops_at_markers() {
        for length in 0..40u8 {
            let plain: Vec<u8> = (1..=length).collect();
            let data = [&plain[..], &[0xFF, 0x00, 0x33, 0xFF, 0xD0, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xAA]].concat();
            let (read, bits) = bytes_of(&data);
            assert_eq!(read, [&plain[..], &[0xFF, 0x33]].concat());
            assert_eq!(data[bits.position..][..3], [0xFF, 0xD0, 0x44]);
        }
    }

    #[test]
    fn stops_at_the_end_of_the_data() {
        let plain: Vec<u8> = (1..=20).collect();
        assert_eq!(bytes_of(&plain).0, plain);
        assert_eq!(bytes_of(&[1, 0xFF]).0, [1]);
        assert_eq!(bytes_of(&[]).0, []);
    }
}
