//! A small JPEG out of some segments of a large one.

use std::ops::Range;

use crate::{Frame, JpegError, Rect, SegmentIndex, SegmentPlan};

/// Writes into `out` (whose content goes, whose memory stays) a JPEG that holds the segments of `plan` and nothing else:
/// the header with a smaller size, the segments with their restart markers numbered anew. Any decoder decodes it, and
/// its pixels in the crop are those of the whole image (to one level, where a decoder interpolates chroma).
///
/// `header` is the beginning of the file, at least [`SegmentIndex::header_length`] bytes; `fetch` gives the bytes of
/// the file in a range (see [`SegmentIndex::ranges`]), or `None` where the file is shorter.
pub fn assemble<'a>(
    header: &[u8],
    frame: &Frame,
    index: &SegmentIndex,
    plan: &SegmentPlan,
    mut fetch: impl FnMut(Range<usize>) -> Option<&'a [u8]>,
    out: &mut Vec<u8>,
) -> Result<(), JpegError> {
    out.clear();
    let misfit = || JpegError::Index { fault: "does not belong to this JPEG" };
    out.extend_from_slice(header.get(..index.header_length()).ok_or_else(misfit)?);
    let size = out.get_mut(frame.size_offset..frame.size_offset + 4).ok_or_else(misfit)?;
    size[..2].copy_from_slice(&(plan.pixels.height as u16).to_be_bytes());
    size[2..].copy_from_slice(&(plan.pixels.width as u16).to_be_bytes());
    let mut number = 0u8;
    for (row, range) in plan.rows.clone().zip(index.ranges(plan)) {
        let length = range.len();
        let bytes = fetch(range).filter(|bytes| bytes.len() == length).ok_or_else(misfit)?;
        let start = out.len();
        out.extend_from_slice(bytes);
        for end in index.ends(plan, row) {
            let marker = &mut out[start + end - 2..start + end];
            if marker[0] != 0xFF || !matches!(marker[1], 0xD0..=0xD7 | 0xD9) {
                return Err(misfit());
            }
            marker[1] = 0xD0 | number;
            number = (number + 1) & 7;
        }
    }
    // The last marker ends the image.
    *out.last_mut().ok_or_else(misfit)? = 0xD9;
    Ok(())
}

/// [`assemble`] from a whole file in memory; returns the crop in pixels of the small image.
pub fn assemble_crop(
    file: &[u8],
    index: &SegmentIndex,
    crop: Rect,
    out: &mut Vec<u8>,
) -> Result<(Rect, SegmentPlan), JpegError> {
    let frame = Frame::parse(file)?;
    let plan = index.plan(&frame, crop)?;
    assemble(file, &frame, index, &plan, |range| file.get(range), out)?;
    Ok((plan.crop(crop), plan))
}
