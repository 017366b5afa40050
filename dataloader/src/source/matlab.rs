//! The one table of ImageNet's development kit that is needed, out of its MATLAB file (level 5, as MathWorks documents
//! the format in "MAT-File Format").

use std::io::Read;

use flate2::read::ZlibDecoder;

/// The kit's file has a few hundred kilobytes, packed and unpacked.
pub(crate) const MAX_FILE_BYTES: u64 = 64 << 20;

const HEADER_BYTES: usize = 128;

// Types of data elements.
const INT8: u32 = 1;
const UINT8: u32 = 2;
const INT16: u32 = 3;
const UINT16: u32 = 4;
const INT32: u32 = 5;
const UINT32: u32 = 6;
const SINGLE: u32 = 7;
const DOUBLE: u32 = 9;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
const UTF8: u32 = 16;
const UTF16: u32 = 17;

/// The class of a structure array.
const STRUCT: u8 = 2;

/// The number and the WordNet identifier of each entry of the structure array `synsets`; `None` where the file is of
/// another kind or damaged.
pub(crate) fn synsets(file: &[u8]) -> Option<Vec<(u32, String)>> {
    let (header, mut rest) = file.split_at_checked(HEADER_BYTES)?;
    // Written on a little-endian machine, as the kit's file is.
    if !header.ends_with(b"\x00\x01IM") {
        return None;
    }
    while !rest.is_empty() {
        let (kind, data) = element(&mut rest)?;
        let unpacked = match kind {
            COMPRESSED => unpack(data)?,
            _ => [kind.to_le_bytes().as_slice(), &(data.len() as u32).to_le_bytes(), data].concat(),
        };
        let (kind, matrix) = element(&mut unpacked.as_slice())?;
        if kind == MATRIX
            && let Some(found) = table(matrix)
        {
            return Some(found);
        }
    }
    None
}

fn unpack(data: &[u8]) -> Option<Vec<u8>> {
    let mut unpacked = Vec::new();
    ZlibDecoder::new(data).take(MAX_FILE_BYTES).read_to_end(&mut unpacked).ok()?;
    Some(unpacked)
}

/// The next data element, its type and its data. Small ones have both in one word; the others are padded to 8 bytes.
fn element<'a>(rest: &mut &'a [u8]) -> Option<(u32, &'a [u8])> {
    let (tag, after) = word(rest)?;
    if tag >> 16 != 0 {
        let length = (tag >> 16) as usize;
        let data = after.get(..4)?.get(..length)?;
        *rest = &after[4..];
        return Some((tag & 0xFFFF, data));
    }
    let (length, after) = word(after)?;
    let length = length as usize;
    let data = after.get(..length)?;
    // A packed element is not padded, and the padding of the last one may be missing.
    let padded = if tag == COMPRESSED { length } else { length.next_multiple_of(8).min(after.len()) };
    *rest = &after[padded..];
    Some((tag, data))
}

fn word(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*word), rest))
}

/// The head of a matrix: its class, its name, and how many elements it has.
fn head<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8], usize)> {
    let class = *element(rest)?.1.first()?;
    let dimensions = element(rest)?.1.as_chunks::<4>().0.iter().map(|&bytes| u32::from_le_bytes(bytes) as usize);
    let count = dimensions.fold(1usize, usize::saturating_mul);
    let name = element(rest)?.1;
    Some((class, name, count))
}

/// The two columns of the structure array, where the matrix is the one called `synsets`.
fn table(mut rest: &[u8]) -> Option<Vec<(u32, String)>> {
    let (class, name, count) = head(&mut rest)?;
    if class != STRUCT || name != b"synsets" {
        return None;
    }
    let (width, _) = word(element(&mut rest)?.1)?;
    let names = element(&mut rest)?.1;
    let fields: Vec<&[u8]> = names
        .chunks(width.max(1) as usize)
        .map(|name| name.split(|&byte| byte == 0).next().unwrap_or_default())
        .collect();
    let column = |wanted: &[u8]| fields.iter().position(|&name| name == wanted);
    let (number, wnid) = (column(b"ILSVRC2012_ID")?, column(b"WNID")?);
    let mut rows = Vec::new();
    for _ in 0..count {
        let mut values = vec![&[][..]; fields.len()];
        for value in &mut values {
            (_, *value) = element(&mut rest)?;
        }
        let number = *numbers(values[number])?.first()?;
        let wnid: String = numbers(values[wnid])?.into_iter().filter_map(|code| char::from_u32(code as u32)).collect();
        rows.push((number as u32, wnid));
    }
    Some(rows)
}

/// The values of a matrix of numbers or letters.
fn numbers(mut matrix: &[u8]) -> Option<Vec<f64>> {
    head(&mut matrix)?;
    let (kind, data) = element(&mut matrix)?;
    let eight = || data.as_chunks::<8>().0.iter();
    let four = || data.as_chunks::<4>().0.iter();
    let two = || data.as_chunks::<2>().0.iter();
    Some(match kind {
        UINT8 | UTF8 => data.iter().map(|&value| f64::from(value)).collect(),
        INT8 => data.iter().map(|&value| f64::from(value as i8)).collect(),
        UINT16 | UTF16 => two().map(|&value| f64::from(u16::from_le_bytes(value))).collect(),
        INT16 => two().map(|&value| f64::from(i16::from_le_bytes(value))).collect(),
        UINT32 => four().map(|&value| f64::from(u32::from_le_bytes(value))).collect(),
        INT32 => four().map(|&value| f64::from(i32::from_le_bytes(value))).collect(),
        SINGLE => four().map(|&value| f64::from(f32::from_le_bytes(value))).collect(),
        DOUBLE => eight().map(|&value| f64::from_le_bytes(value)).collect(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: &[u8] = include_bytes!("../../tests/fixtures/meta.mat");

    #[test]
    fn the_table_is_read_as_scipy_wrote_it() {
        let expected = [(1, "n02119789"), (2, "n02100735"), (3, "n01440764"), (1001, "n00001740")];
        let found = synsets(META).expect("a table");
        assert!(found.iter().map(|(number, wnid)| (*number, wnid.as_str())).eq(expected), "{found:?}");
    }

    #[test]
    fn damaged_files_are_no_table() {
        for end in 0..META.len() - 1 {
            synsets(&META[..end]);
        }
        for place in 0..META.len() {
            let mut damaged = META.to_vec();
            damaged[place] ^= 0x41;
            synsets(&damaged);
        }
        assert_eq!(synsets(b"not a MATLAB file"), None);
        assert_eq!(synsets(&META[..META.len() / 2]), None);
    }
}
