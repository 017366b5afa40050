//! Where the restart segments of a transcoded JPEG are, and which of them a crop needs.
//!
//! # Layout of an index
//!
//! Little endian; the offsets are those of the JPEG file.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | 1, the version of the layout |
//! | 1 | bits of each packed length, 0 to 32 |
//! | 2..4 | MCUs in a segment |
//! | 4..6 | segments in a row of MCUs |
//! | 6..8 | rows of MCUs |
//! | 8..12 | offset of the first segment: the length of the file's header |
//! | 12..16 | bytes of the shortest segment |
//! | 16.. | for each segment, row by row, how many bytes it is longer than that, packed from the lowest bit up |
//!
//! A segment's length includes the marker that ends it (the next restart, or the end of the image). Real ImageNet
//! photographs (110 kB, intervals of [`crate::segment_interval`]) have 280 segments of 1.23 bytes each in the index, 345
//! bytes an image: 0.44 GB for 1.28 million images, a third of a per cent of the shards.

use std::ops::Range;

use crate::entropy::find_marker;
use crate::{Frame, JpegError, Rect};

/// The place of every restart segment of a JPEG.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentIndex {
    interval: u32,
    segments_per_row: u32,
    rows: u32,
    /// Offset of each segment, and of the end of the last.
    offsets: Vec<u32>,
}

/// The segments that a crop needs: a block of columns and rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentPlan {
    /// Columns of segments.
    pub columns: Range<u32>,
    /// Rows of MCUs.
    pub rows: Range<u32>,
    /// The pixels that these segments hold.
    pub pixels: Rect,
}

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 16;
/// More segments than any image of a sane size has; bounds what a damaged index makes us allocate.
const MAX_SEGMENTS: usize = 1 << 22;

fn fault<T>(fault: &'static str) -> Result<T, JpegError> {
    Err(JpegError::Index { fault })
}

impl SegmentIndex {
    /// Finds the segments of a whole JPEG whose restart interval divides its rows of MCUs.
    pub fn of(jpeg: &[u8]) -> Result<SegmentIndex, JpegError> {
        let frame = Frame::parse(jpeg)?;
        let (row, rows) = (frame.mcus_per_row(), frame.mcu_rows());
        if frame.restart_interval == 0 || row % frame.restart_interval != 0 {
            return fault("cannot be made: the restart interval does not divide the rows of MCUs");
        }
        let segments_per_row = row / frame.restart_interval;
        let count = segments_per_row as usize * rows as usize;
        if count > MAX_SEGMENTS || jpeg.len() > u32::MAX as usize {
            return fault("cannot be made: too many segments");
        }
        let mut offsets = vec![frame.scan_offset as u32];
        for segment in 0..count {
            let last = offsets[segment] as usize;
            let Some(marker) = find_marker(jpeg, last) else { return fault("cannot be made: a marker is missing") };
            let wanted = if segment + 1 == count { 0xD9 } else { 0xD0 | (segment & 7) as u8 };
            if jpeg[marker + 1] != wanted {
                return fault("cannot be made: a marker is out of order");
            }
            offsets.push(marker as u32 + 2);
        }
        Ok(SegmentIndex { interval: frame.restart_interval, segments_per_row, rows, offsets })
    }

    /// The index as bytes; see the layout above.
    pub fn to_bytes(&self) -> Vec<u8> {
        let lengths = || self.offsets.windows(2).map(|pair| pair[1] - pair[0]);
        let shortest = lengths().min().unwrap_or(0);
        let widest = lengths().max().unwrap_or(0) - shortest;
        let bits = 32 - widest.leading_zeros();
        let mut bytes = vec![VERSION, bits as u8];
        for field in [self.interval, self.segments_per_row, self.rows] {
            bytes.extend_from_slice(&(field as u16).to_le_bytes());
        }
        bytes.extend_from_slice(&self.offsets.first().copied().unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&shortest.to_le_bytes());
        let (mut buffer, mut count) = (0u64, 0);
        for length in lengths() {
            buffer |= u64::from(length - shortest) << count;
            count += bits;
            while count >= 8 {
                bytes.push(buffer as u8);
                buffer >>= 8;
                count -= 8;
            }
        }
        if count > 0 {
            bytes.push(buffer as u8);
        }
        bytes
    }

    /// The index that `bytes` hold.
    pub fn from_bytes(bytes: &[u8]) -> Result<SegmentIndex, JpegError> {
        let mut index = SegmentIndex::default();
        index.read(bytes)?;
        Ok(index)
    }

    /// Becomes the index that `bytes` hold, in the memory that this one has.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), JpegError> {
        let Some((header, packed)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return fault("is too short") };
        let word = |at: usize| u32::from(u16::from_le_bytes([header[at], header[at + 1]]));
        let long = |at: usize| word(at) | word(at + 2) << 16;
        if header[0] != VERSION {
            return fault("has an unknown version");
        }
        let bits = u32::from(header[1]);
        let (interval, segments_per_row, rows) = (word(2), word(4), word(6));
        let count = segments_per_row as usize * rows as usize;
        if interval == 0 || count == 0 || count > MAX_SEGMENTS || bits > 32 {
            return fault("has impossible numbers");
        }
        if packed.len() != (count * bits as usize).div_ceil(8) {
            return fault("has the wrong length");
        }
        let shortest = long(12);
        if shortest < 2 {
            return fault("has a segment shorter than its marker");
        }
        self.offsets.clear();
        self.offsets.push(long(8));
        let (mut end, mut buffer, mut filled, mut rest) = (long(8), 0u64, 0, packed.iter());
        for _ in 0..count {
            while filled < bits {
                buffer |= u64::from(*rest.next().unwrap_or(&0)) << filled;
                filled += 8;
            }
            let longer = (buffer & ((1u64 << bits) - 1)) as u32;
            (buffer, filled) = (buffer >> bits, filled - bits);
            let Some(next) = shortest.checked_add(longer).and_then(|length| end.checked_add(length)) else {
                return fault("points behind any file");
            };
            self.offsets.push(next);
            end = next;
        }
        (self.interval, self.segments_per_row, self.rows) = (interval, segments_per_row, rows);
        Ok(())
    }

    /// Bytes of the JPEG before its first segment.
    pub fn header_length(&self) -> usize {
        self.offsets.first().copied().unwrap_or(0) as usize
    }

    /// Bytes of the JPEG.
    pub fn file_length(&self) -> usize {
        self.offsets.last().copied().unwrap_or(0) as usize
    }

    /// Segments of the JPEG.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there are no segments: only so before the first [`SegmentIndex::read`].
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The segments that a crop of the image with this frame needs; those included that interpolating its chroma looks
    /// at. Fails where index and frame do not belong together.
    pub fn plan(&self, frame: &Frame, crop: Rect) -> Result<SegmentPlan, JpegError> {
        if frame.restart_interval != self.interval
            || frame.mcus_per_row() != self.interval * self.segments_per_row
            || frame.mcu_rows() != self.rows
            || frame.scan_offset != self.header_length()
        {
            return fault("does not belong to this JPEG");
        }
        crop.check(frame.width, frame.height)?;
        let wanted = crop.grown(frame.margin.0, frame.margin.1, frame.width, frame.height);
        let (width, height) = (frame.mcu.0 * self.interval, frame.mcu.1);
        let columns = wanted.x / width..wanted.right().div_ceil(width);
        let rows = wanted.y / height..wanted.bottom().div_ceil(height);
        let (x, y) = (columns.start * width, rows.start * height);
        let right = (columns.end * width).min(frame.width);
        let bottom = (rows.end * height).min(frame.height);
        Ok(SegmentPlan { columns, rows, pixels: Rect::new(x, y, right - x, bottom - y) })
    }

    /// The bytes of the file that a plan needs beside the header: one range for each row of MCUs.
    pub fn ranges<'a>(&'a self, plan: &'a SegmentPlan) -> impl Iterator<Item = Range<usize>> + 'a {
        plan.rows.clone().map(|row| {
            let segments = self.segments(plan, row);
            self.offsets[segments.start] as usize..self.offsets[segments.end] as usize
        })
    }

    /// Where each segment of a row of a plan ends, counted from the start of the row's range.
    pub(crate) fn ends<'a>(&'a self, plan: &SegmentPlan, row: u32) -> impl Iterator<Item = usize> + 'a {
        let segments = self.segments(plan, row);
        let start = self.offsets[segments.start];
        self.offsets[segments.start + 1..=segments.end].iter().map(move |end| (end - start) as usize)
    }

    fn segments(&self, plan: &SegmentPlan, row: u32) -> Range<usize> {
        let first = row as usize * self.segments_per_row as usize;
        first + plan.columns.start as usize..first + plan.columns.end as usize
    }
}

impl SegmentPlan {
    /// The crop in pixels of the small image that the segments make.
    pub fn crop(&self, crop: Rect) -> Rect {
        Rect { x: crop.x - self.pixels.x, y: crop.y - self.pixels.y, ..crop }
    }
}
