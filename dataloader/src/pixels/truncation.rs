//! Whether a file ends before its image does, told from the structure of its format without decoding.
//!
//! Decoders are lenient: they fill what is missing with gray and say nothing.

use image::ImageFormat;

/// True where the file was cut. Never for a whole file of one of the known formats; false for other formats.
pub(crate) fn is_cut(bytes: &[u8], format: ImageFormat) -> bool {
    match format {
        ImageFormat::Jpeg => jpeg_is_cut(bytes),
        ImageFormat::Png => png_is_cut(bytes),
        ImageFormat::WebP => webp_is_cut(bytes),
        _ => false,
    }
}

/// No end-of-image marker after the last scan (ITU-T T.81, annex B).
fn jpeg_is_cut(bytes: &[u8]) -> bool {
    const END: u8 = 0xD9;
    if bytes.ends_with(&[0xFF, END]) {
        return false;
    }
    let mut place = 2; // after the start-of-image marker
    loop {
        // Between segments the next byte starts a marker; inside a scan, entropy-coded bytes come before it.
        let rest = bytes.get(place..).unwrap_or_default();
        let Some(distance) = rest.iter().position(|&byte| byte == 0xFF) else { return true };
        place += distance + 1;
        match bytes.get(place) {
            None => return true,
            Some(&END) => return false,
            // A fill byte: the marker's code comes later.
            Some(0xFF) => {}
            // Stuffing, a restart marker, a marker without a segment.
            Some(0x00 | 0x01 | 0xD0..=0xD8) => place += 1,
            Some(_) => {
                let Some(length) = bytes.get(place + 1..place + 3) else { return true };
                place += 1 + usize::from(u16::from_be_bytes([length[0], length[1]]));
            }
        }
    }
}

/// The chunks do not reach an `IEND` (PNG specification, section 5.3: length, type, data, checksum).
fn png_is_cut(bytes: &[u8]) -> bool {
    let mut place = 8; // after the signature
    while let Some((length, rest)) = bytes.get(place..).and_then(|rest| rest.split_first_chunk::<4>()) {
        let length = u32::from_be_bytes(*length) as usize;
        if rest.len() < 4 + length + 4 {
            return true;
        }
        if rest.starts_with(b"IEND") {
            return false;
        }
        place += 4 + 4 + length + 4;
    }
    true
}

/// The container says that it is longer than the file (RIFF: four letters, length of the rest).
fn webp_is_cut(bytes: &[u8]) -> bool {
    let Some(length) = bytes.get(4..).and_then(|rest| rest.first_chunk::<4>()) else { return true };
    bytes.len() < 8 + u32::from_le_bytes(*length) as usize
}
