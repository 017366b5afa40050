//! Turning photographs upright: the EXIF orientation of a file, found without trusting it, and the eight turns.
//!
//! The semantics are PIL's `ImageOps.exif_transpose`. Nothing here follows a chain of offsets: of TIFF's directories only
//! the first counts, so hostile data can neither loop nor lead outside the file.

use crate::CropBox;
use crate::pixels::decode::PIXEL_BYTES;
use crate::pixels::transform::mirror;

/// What becomes of the orientation that a camera wrote into a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Exif {
    /// Nothing: the pixels are taken as they are stored, as torchvision's loaders take them.
    #[default]
    Ignore,
    /// The image is turned upright before it is cropped.
    Apply,
}

/// How an image is stored: upright it is after a transposition (or none), then a mirroring of left and right (or none), then
/// one of top and bottom (or none).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Orientation {
    transposed: bool,
    mirrored: bool,
    flipped: bool,
}

impl Exif {
    /// How the image is stored that is in a file, or in a file of which these are the first bytes.
    pub fn orientation(self, file: &[u8]) -> Orientation {
        match self {
            Exif::Ignore => Orientation::UPRIGHT,
            Exif::Apply => stored_tag(file).map_or(Orientation::UPRIGHT, Orientation::of_tag),
        }
    }
}

impl Orientation {
    /// Stored as it is seen.
    pub const UPRIGHT: Orientation = Orientation { transposed: false, mirrored: false, flipped: false };

    /// The orientation that TIFF 6.0 numbers 1 to 8; any other number is upright.
    pub fn of_tag(number: u32) -> Orientation {
        let (transposed, mirrored, flipped) = match number {
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, true, false),
            7 => (true, true, true),
            8 => (true, false, true),
            _ => (false, false, false),
        };
        Orientation { transposed, mirrored, flipped }
    }

    /// The width and height of the upright image of one that is stored with these.
    pub fn upright_sides(self, width: u32, height: u32) -> (u32, u32) {
        if self.transposed { (height, width) } else { (width, height) }
    }

    /// Where a box of the upright image of `width` × `height` pixels is stored.
    pub fn stored_box(self, upright: CropBox, width: u32, height: u32) -> CropBox {
        let CropBox { top, left, height: rows, width: columns } = upright;
        let upright = [left, top, columns, rows].map(f64::from);
        // Whole numbers below 2^32 stay whole in 64-bit floats.
        let [left, top, columns, rows] =
            self.stored(upright, (f64::from(width), f64::from(height))).map(|side| side as u32);
        CropBox { top, left, height: rows, width: columns }
    }

    /// The same for `[left, top, width, height]` between pixels.
    pub(crate) fn stored(self, [left, top, across, down]: [f64; 4], (width, height): (f64, f64)) -> [f64; 4] {
        // Rounding may lead a hair beyond the edge.
        let left = if self.mirrored { (width - left - across).max(0.0) } else { left };
        let top = if self.flipped { (height - top - down).max(0.0) } else { top };
        if self.transposed { [top, left, down, across] } else { [left, top, across, down] }
    }

    /// Turns an image of 4 bytes a pixel from how it is stored to how it is seen: with these columns and rows.
    pub(crate) fn turn_upright(self, image: &mut Vec<u8>, [columns, rows]: [u32; 2]) {
        let (across, down) = (columns as usize, rows as usize);
        if self.transposed && across == down {
            let pixels = image.as_chunks_mut::<PIXEL_BYTES>().0;
            for row in 0..down {
                for column in row + 1..across {
                    pixels.swap(row * across + column, column * across + row);
                }
            }
        } else if self.transposed {
            let stored = image.as_chunks::<PIXEL_BYTES>().0; // (columns, rows, 4)
            *image = (0..across * down).flat_map(|at| stored[at % across * down + at / across]).collect();
        }
        let pixels = image.as_chunks_mut::<PIXEL_BYTES>().0;
        if self.flipped {
            for row in 0..down / 2 {
                let (above, below) = pixels.split_at_mut((down - 1 - row) * across);
                above[row * across..(row + 1) * across].swap_with_slice(&mut below[..across]);
            }
        }
        if self.mirrored {
            mirror(image, columns);
        }
    }
}

/// The number of the orientation in a file's EXIF data, where there is one.
pub(crate) fn stored_tag(file: &[u8]) -> Option<u32> {
    tiff(file).and_then(orientation_tag)
}

/// The APP1 segment of a JPEG whose EXIF data hold this orientation and nothing else.
pub(crate) fn exif_segment(tag: u8) -> [u8; 36] {
    let mut segment = *b"\xFF\xE1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0";
    segment[29] = tag;
    segment
}

/// The TIFF structure with a file's EXIF data: of a JPEG (APP1), a PNG (eXIf) or a WebP (EXIF).
fn tiff(file: &[u8]) -> Option<&[u8]> {
    let exif = match file {
        [0xFF, 0xD8, rest @ ..] => jpeg_exif(rest),
        [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, rest @ ..] => png_exif(rest),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', rest @ ..] => webp_exif(rest),
        _ => None,
    }?;
    Some(exif.strip_prefix(b"Exif\0\0").unwrap_or(exif))
}

/// The first APP1 segment that says "Exif", of those before the first scan (ITU-T T.81, annex B).
fn jpeg_exif(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let at = rest.iter().position(|&byte| byte == 0xFF)?;
        let (&marker, after) = rest[at + 1..].split_first()?;
        rest = match marker {
            // The coded data, or the end.
            0xDA | 0xD9 => return None,
            // A fill byte: what follows it may be the marker.
            0xFF => &rest[at + 1..],
            0x00 | 0x01 | 0xD0..=0xD8 => after,
            _ => {
                let length = usize::from(u16::from_be_bytes(*after.first_chunk()?)).max(2);
                let segment = after.get(2..length)?;
                if marker == 0xE1 && segment.starts_with(b"Exif\0\0") {
                    return Some(segment);
                }
                &after[length..]
            }
        };
    }
}

/// The chunk eXIf, before or after the pixels (PNG specification, third edition).
fn png_exif(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (name, after) = after.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        match name {
            b"eXIf" => return after.get(..length),
            b"IEND" => return None,
            // The chunk and its checksum.
            _ => rest = after.get(length.checked_add(4)?..)?,
        }
    }
}

/// The chunk EXIF (RIFF: four letters, length, data, padded to an even length).
fn webp_exif(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (name, after) = rest.split_first_chunk::<4>()?;
        let (length, after) = after.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        if name == b"EXIF" {
            return after.get(..length);
        }
        rest = after.get(length.checked_add(length % 2)?..)?;
    }
}

/// The tag Orientation of the first directory (TIFF 6.0: byte order, 42, offset of the directory; a count, then entries of
/// tag, type, count and value in 12 bytes).
fn orientation_tag(tiff: &[u8]) -> Option<u32> {
    const ORIENTATION: u32 = 0x0112;
    const ENTRY_BYTES: usize = 12;
    let little = match tiff.get(..2)? {
        b"II" => true,
        b"MM" => false,
        _ => return None,
    };
    let short = |bytes: &[u8]| {
        let two = *bytes.first_chunk()?;
        Some(u32::from(if little { u16::from_le_bytes(two) } else { u16::from_be_bytes(two) }))
    };
    let long = |bytes: &[u8]| {
        let four = *bytes.first_chunk()?;
        Some(if little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) })
    };
    if short(&tiff[2..])? != 42 {
        return None;
    }
    let directory = tiff.get(long(&tiff[4..])? as usize..)?;
    let entries = short(directory)? as usize;
    let entry =
        directory[2..].chunks_exact(ENTRY_BYTES).take(entries).find(|entry| short(entry) == Some(ORIENTATION))?;
    if long(&entry[4..])? != 1 {
        return None;
    }
    match short(&entry[2..])? {
        1 => Some(u32::from(entry[8])),
        3 => short(&entry[8..]),
        4 => long(&entry[8..]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_exif_segment_says_what_it_was_made_of() {
        for tag in 1..=8 {
            let file = [&[0xFF, 0xD8][..], &exif_segment(tag), &[0xFF, 0xD9]].concat();
            assert_eq!(stored_tag(&file), Some(tag.into()));
        }
    }

    /// Where the pixel of an upright image is stored is where a box of one pixel is.
    #[test]
    fn boxes_and_pixels_turn_alike() {
        for (number, columns, rows) in (0..=9).flat_map(|number| [(number, 5, 5), (number, 4, 7)]) {
            let orientation = Orientation::of_tag(number);
            let mut upright: Vec<u8> = (0..(columns * rows) as u8).flat_map(|place| [place, 0, 0, 0]).collect();
            orientation.turn_upright(&mut upright, [columns, rows]);
            let (stored_columns, _) = orientation.upright_sides(columns, rows);
            for place in 0..columns * rows {
                let (left, top) = (place % columns, place / columns);
                let at = orientation.stored_box(CropBox { top, left, height: 1, width: 1 }, columns, rows);
                let stored = at.top * stored_columns + at.left;
                assert_eq!(u32::from(upright[place as usize * 4]), stored, "{number}: {left} {top}");
            }
        }
    }

    #[test]
    fn the_offset_may_point_anywhere() {
        for offset in [0u32, 1, 7, 8, 9, 25, 26, u32::MAX, u32::MAX - 1] {
            let mut tiff = b"II*\0".to_vec();
            tiff.extend_from_slice(&offset.to_le_bytes());
            tiff.extend_from_slice(&[1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0]);
            let found = orientation_tag(&tiff);
            assert_eq!(found, (offset == 8).then_some(6), "{offset}");
        }
    }

    proptest! {
        /// Whatever the bytes, nothing panics, and cut files are searched too.
        #[test]
        fn any_bytes_are_searched(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0usize..5) {
            let start: &[u8] = [
                b"\xFF\xD8\xFF\xE1\0\x40Exif\0\0II*\0".as_slice(),
                b"\x89PNG\r\n\x1a\n\0\0\0\x10eXIfMM\0*",
                b"RIFF\0\0\0\0WEBPEXIF\x20\0\0\0Exif\0\0II*\0",
                b"\xFF\xD8",
                b"",
            ][kind];
            bytes.splice(..0, start.iter().copied());
            let orientation = Exif::Apply.orientation(&bytes);
            let sides = orientation.upright_sides(3, 4);
            prop_assert!(sides == (3, 4) || sides == (4, 3));
        }
    }
}
