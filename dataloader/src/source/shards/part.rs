//! Reading the part of a packed JPEG that a crop needs: the header and some segments, put together to a small JPEG.

use std::io;
use std::ops::Range;

use jpeg::{Frame, Rect, SegmentIndex, assemble};

use super::damaged;
use super::index::Entry;
use crate::source::storage::Blob;
use crate::{CropBox, Encoding, Wants};

/// Bytes that are not needed are read nevertheless where they are fewer than this between others that are: a second
/// read costs more.
const WORTH_READING: usize = 32 << 10;
/// Memory that is kept from one image to the next.
const KEPT_BYTES: usize = 16 << 20;

/// More than any header that packing writes: bounds what a damaged index makes us allocate.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// Reads parts with memory that is kept between images.
#[derive(Debug, Default)]
pub(crate) struct PartReader {
    index: SegmentIndex,
    header: Vec<u8>,
    /// The runs read, one behind the other; perhaps more that is left from another image.
    coded: Vec<u8>,
    /// What lies in `coded`, as ranges of the file, in rising order.
    runs: Vec<Run>,
}

#[derive(Clone, Debug)]
struct Run {
    file: Range<usize>,
    /// Where it begins in `coded`.
    at: usize,
}

impl PartReader {
    /// Reads what is wanted of an image that has a segment index into `into`, as a JPEG of its own.
    pub(crate) fn read(
        &mut self,
        shard: &dyn Blob,
        entry: &Entry<'_>,
        wants: Wants<'_>,
        into: &mut Vec<u8>,
    ) -> io::Result<Encoding> {
        let record = &entry.record;
        self.index.read(entry.segments).map_err(damaged)?;
        if self.index.file_length() != record.length as usize {
            return Err(damaged("the segment index is of a file of another length"));
        }
        let end = record.offset.checked_add(u64::from(record.length));
        if end.is_none_or(|end| end > shard.len()) || self.index.header_length() > MAX_HEADER_BYTES {
            return Err(damaged("it points behind the end of its shard"));
        }
        self.header.resize(self.index.header_length(), 0);
        shard.read_at(record.offset, &mut self.header)?;
        let frame = Frame::parse(&self.header).map_err(damaged)?;
        let (width, height) = (u32::from(record.width), u32::from(record.height));
        if (frame.width, frame.height) != (width, height) {
            return Err(damaged("the shard holds another image than the index says"));
        }
        let CropBox { top, left, height: rows, width: columns } = wants.of_stored(width, height, &self.header);
        let plan = self.index.plan(&frame, Rect::new(left, top, columns, rows)).map_err(damaged)?;
        let needed = self.index.ranges(&plan);
        join(needed, &mut self.runs);
        let bytes = self.runs.last().map_or(0, |run| run.at + run.file.len());
        if self.coded.len() < bytes {
            self.coded.resize(bytes, 0);
        }
        for Run { file, at } in &self.runs {
            shard.read_at(record.offset + file.start as u64, &mut self.coded[*at..at + file.len()])?;
        }
        let (runs, coded) = (&self.runs, &self.coded);
        let fetch = |range: Range<usize>| {
            let Run { file, at } = &runs[runs.partition_point(|run| run.file.end < range.end)..].first()?;
            coded.get(at + range.start.checked_sub(file.start)?..)?.get(..range.len())
        };
        assemble(&self.header, &frame, &self.index, &plan, fetch, into).map_err(damaged)?;
        if self.coded.capacity() > KEPT_BYTES {
            self.coded = Vec::new();
        }
        Ok(Encoding::Part { width, height, left: plan.pixels.x, top: plan.pixels.y })
    }
}

/// Joins ranges in rising order to as few reads as are worth it.
fn join(ranges: impl Iterator<Item = Range<usize>>, runs: &mut Vec<Run>) {
    runs.clear();
    for range in ranges {
        match runs.last_mut() {
            Some(run) if range.start - run.file.end <= WORTH_READING => run.file.end = range.end,
            last => {
                let at = last.map_or(0, |run| run.at + run.file.len());
                runs.push(Run { file: range, at });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_ranges_become_one_read_and_far_ones_stay_apart() {
        let far = 20 + WORTH_READING + 1;
        let mut runs = Vec::new();
        join([10..15, 18..20, far..far + 5].into_iter(), &mut runs);
        let found: Vec<(Range<usize>, usize)> = runs.iter().map(|run| (run.file.clone(), run.at)).collect();
        assert_eq!(found, [(10..20, 0), (far..far + 5, 10)]);
    }
}
