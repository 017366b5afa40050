//! Files in a tar, as POSIX's ustar format has them (IEEE Std 1003.1, `pax`).

use std::io::{self, Write};

/// Everything in a tar lies in blocks of so many bytes.
pub(crate) const BLOCK_BYTES: usize = 512;

/// Writes a file of this name; the same bytes always, since owner and time are left at zero.
pub(crate) fn write_file(out: &mut impl Write, name: &str, content: &[u8]) -> io::Result<()> {
    out.write_all(&header(name, content.len()))?;
    out.write_all(content)?;
    let padding = content.len().next_multiple_of(BLOCK_BYTES) - content.len();
    out.write_all(&[0; BLOCK_BYTES][..padding])
}

/// Writes what ends a tar: two blocks of zeros.
pub(crate) fn write_end(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK_BYTES])
}

/// Bytes that a file of this length takes.
pub(crate) fn file_bytes(length: usize) -> u64 {
    (BLOCK_BYTES + length.next_multiple_of(BLOCK_BYTES)) as u64
}

/// # Panics
/// When the name has more than 100 bytes, or the file 8 GiB or more.
fn header(name: &str, length: usize) -> [u8; BLOCK_BYTES] {
    const CHECKSUM_AT: usize = 148;
    assert!(name.len() <= 100 && length < 1 << 33, "a name and a length that ustar can write");
    let mut block = [0; BLOCK_BYTES];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644"); // mode
    put(108, "0000000"); // owner
    put(116, "0000000"); // group
    put(124, &format!("{length:011o}"));
    put(136, "00000000000"); // time of change
    put(CHECKSUM_AT, "        "); // counts as blanks in its own sum
    put(156, "0"); // a regular file
    put(257, "ustar\0");
    put(263, "00");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
