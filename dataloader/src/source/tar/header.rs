//! One header block of a tar archive (POSIX ustar and pax, GNU), and the records of a pax header.

use crate::TarFault;

/// Headers are blocks of this length, and data is padded to whole blocks.
pub(crate) const BLOCK_BYTES: usize = 512;

/// What a header announces, as far as a reader of images needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file.
    File,
    /// The name of the next entry, as GNU tar stores what is too long for a header.
    LongName,
    /// Properties of the next entry.
    Pax,
    /// A GNU sparse file. More blocks of its header may follow.
    Sparse,
    /// Something with data to skip.
    Other,
    /// A folder, a link, a device: no data follows, whatever the size says.
    Bare,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) name: Vec<u8>,
    pub(super) bytes: u64,
    /// Another block of a sparse file's header follows.
    pub(super) continues: bool,
}

/// The header in a block; `None` for the block of zeros that ends an archive.
pub(super) fn parse(block: &[u8; BLOCK_BYTES]) -> Result<Option<Header>, TarFault> {
    if block.iter().all(|&byte| byte == 0) {
        return Ok(None);
    }
    if !checksum_holds(block) {
        return Err(TarFault::NotAHeader);
    }
    let mut name = until_nul(&block[..100]).to_vec();
    if &block[257..263] == b"ustar\0" {
        let prefix = until_nul(&block[345..500]);
        if !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
    }
    let kind = match block[156] {
        b'0' | b'7' | 0 => Kind::File,
        b'1'..=b'6' => Kind::Bare,
        b'L' => Kind::LongName,
        b'x' | b'X' => Kind::Pax,
        b'S' => Kind::Sparse,
        _ => Kind::Other,
    };
    let bytes = match kind {
        Kind::Bare => 0,
        _ => number(&block[124..136]).ok_or(TarFault::Size)?,
    };
    Ok(Some(Header { kind, name, bytes, continues: kind == Kind::Sparse && block[482] != 0 }))
}

/// The sum of all bytes with the checksum's own field as spaces; some old programs added bytes as signed ones.
fn checksum_holds(block: &[u8; BLOCK_BYTES]) -> bool {
    let spaces = 8 * i64::from(b' ');
    let others = || block[..148].iter().chain(&block[156..]);
    let unsigned = spaces + others().map(|&byte| i64::from(byte)).sum::<i64>();
    let signed = spaces + others().map(|&byte| i64::from(byte as i8)).sum::<i64>();
    let stored = number(&block[148..156]).and_then(|sum| i64::try_from(sum).ok());
    stored.is_some_and(|stored| stored == unsigned || stored == signed)
}

/// Octal digits between spaces and NULs, or GNU's base 256 where the highest bit is set; none that is negative or needs
/// more than 64 bits.
fn number(field: &[u8]) -> Option<u64> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        let high = u64::from(first & 0x7F);
        let add = |number: u64, &byte: &u8| Some(number.checked_mul(256)? | u64::from(byte));
        return if first & 0x40 == 0 { rest.iter().try_fold(high, add) } else { None };
    }
    let digits = field.trim_ascii_start();
    let end = digits.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(digits.len());
    digits[..end].iter().try_fold(0u64, |number, &digit| match digit {
        b'0'..=b'7' => Some(number.checked_mul(8)? + u64::from(digit - b'0')),
        _ => None,
    })
}

pub(super) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// What a pax header says of the next entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) bytes: Option<u64>,
    /// The data are the parts of a sparse file, not the file.
    pub(super) sparse: bool,
}

impl Pax {
    /// Reads records of the form `length key=value\n`, where the length counts itself.
    pub(super) fn parse(mut data: &[u8]) -> Result<Pax, TarFault> {
        let mut pax = Pax::default();
        while data.first().is_some_and(|&byte| byte != 0) {
            let (record, rest) = record(data).ok_or(TarFault::Pax)?;
            let equals = record.iter().position(|&byte| byte == b'=').ok_or(TarFault::Pax)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => pax.path = Some(until_nul(value).to_vec()),
                b"size" => pax.bytes = Some(decimal(value).ok_or(TarFault::Size)?),
                _ if key.starts_with(b"GNU.sparse.") => pax.sparse = true,
                _ => {}
            }
            data = rest;
        }
        Ok(pax)
    }
}

/// The first record without its length and line end, and what follows it.
fn record(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = data.iter().position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&data[..space])?).ok()?;
    let record = data.get(space + 1..length)?.strip_suffix(b"\n")?;
    Some((record, &data[length..]))
}

fn decimal(text: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        for (field, expected) in [
            (&b"00000000144\0"[..], Some(100)),
            (b"     144    ", Some(100)),
            (b"777777777777", Some((1 << 36) - 1)),
            (b"\0\0\0\0\0\0\0\0\0\0\0\0", Some(0)),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\x02", Some(258)),
            (b"\x80\0\0\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", Some(u64::MAX)),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
            (b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", None),
            (b"00000000148\0", None),
            (b"-0000000001\0", None),
        ] {
            assert_eq!(number(field), expected, "{field:?}");
        }
    }

    #[test]
    fn pax_records_count_their_own_length() {
        let pax = Pax::parse(b"16 path=a/b.jpg\n20 size=99999999999\n18 comment=nothing\n");
        assert_eq!(pax.as_ref().map(|pax| pax.path.as_deref()), Err(&TarFault::Pax), "the last length is wrong");
        let pax = Pax::parse(b"16 path=a/b.jpg\n20 size=99999999999\n18 comment=nothin\n").expect("whole records");
        assert_eq!(pax, Pax { path: Some(b"a/b.jpg".to_vec()), bytes: Some(99_999_999_999), sparse: false });
        assert!(Pax::parse(b"22 GNU.sparse.major=1\n").expect("a whole record").sparse);
        for broken in [&b"path=a\n"[..], b"3 a\n", b"0 a=b\n", b"99 a=b\n", b"6 a=b\nx", b"18446744073709551616 a=b\n"]
        {
            assert_eq!(Pax::parse(broken), Err(TarFault::Pax), "{broken:?}");
        }
        assert_eq!(Pax::parse(b"11 size=-1\n"), Err(TarFault::Size));
    }
}
