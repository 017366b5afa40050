//! Our own Huffman decoder of baseline scans, which takes the place of libjpeg-turbo's.
//!
//! It is faster: one look-up gives the length of a code together with its value, MCUs outside of the crop are only
//! measured, and whole restart segments that no wanted MCU lies in are jumped over (libjpeg-turbo decodes them all, and
//! takes its slow path wherever there are restart markers). It judges nothing: data that is not perfectly in order makes
//! the caller decode again with libjpeg-turbo's, so that damage looks as it looks everywhere.

mod bits;
mod blocks;
mod entry;
mod table;

use std::ffi::{c_int, c_void};

use crate::ffi;
use bits::Bits;
use blocks::{difference, fill_block, measure_block};
use table::Table;

/// Data that libjpeg-turbo is to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Disorder;

/// The entropy decoder of one scan at a time; its tables are kept from image to image.
pub(crate) struct Entropy {
    /// Tables of DC (first four) and AC coefficients, by component.
    tables: Vec<Table>,
    /// For each block of an MCU: its component, its DC table, its AC table.
    blocks: Vec<Block>,
    data: *const u8,
    length: usize,
    bits: Bits,
    /// Zero bits in the buffer, or read from it, that no byte of the segment stands for.
    invented: u32,
    last_dc: [i32; 4],
    mcus_per_row: u32,
    column: u32,
    mcus_left: u64,
    /// MCUs that were passed over and not measured yet.
    owed: u64,
    /// MCUs between restart markers, and those left before the next; without markers, more than any scan has.
    interval: u64,
    segment_left: u64,
    next_restart: u8,
    first_column: u32,
    last_column: u32,
    has_bmi2: bool,
}

/// MCUs to measure in a row that make up for the time of making the strides of a table.
const ENOUGH_FOR_STRIDES: u64 = 8;

#[derive(Clone, Copy)]
struct Block {
    component: u8,
    dc: u8,
    ac: u8,
}

impl Entropy {
    pub fn new() -> Entropy {
        Entropy {
            tables: (0..8).map(|_| Table::empty()).collect(),
            blocks: Vec::with_capacity(10),
            data: std::ptr::null(),
            length: 0,
            bits: Bits::default(),
            invented: 0,
            last_dc: [0; 4],
            mcus_per_row: 0,
            column: 0,
            mcus_left: 0,
            owed: 0,
            interval: 0,
            segment_left: 0,
            next_restart: 0,
            first_column: 0,
            last_column: 0,
            #[cfg(target_arch = "x86_64")]
            has_bmi2: std::arch::is_x86_feature_detected!("bmi1") && std::arch::is_x86_feature_detected!("bmi2"),
            #[cfg(not(target_arch = "x86_64"))]
            has_bmi2: false,
        }
    }

    /// Gets ready for a scan. False where it must be left to libjpeg-turbo.
    ///
    /// # Safety
    /// The pointers in `scan` must be as `rj_start` filled them, and its data must stay where it is while
    /// [`decode_mcu`] is called.
    pub unsafe fn begin(&mut self, scan: &ffi::Scan) -> bool {
        if scan.eligible == 0 || scan.blocks_in_mcu > 10 || scan.components > 4 || scan.length > bits::MAX_LENGTH {
            return false;
        }
        let (dc, ac) = (slots(&scan.dc_values), slots(&scan.ac_values));
        for c in 0..scan.components as usize {
            for (slot, counts, values) in
                [(dc[c], scan.dc_bits[c], scan.dc_values[c]), (4 + ac[c], scan.ac_bits[c], scan.ac_values[c])]
            {
                // SAFETY: both point into a JHUFF_TBL of libjpeg: 17 counts, 256 symbols.
                let (counts, values) = unsafe { (&*counts.cast::<[u8; 17]>(), &*values.cast::<[u8; 256]>()) };
                if !self.tables[slot].define(counts, values) {
                    return false;
                }
            }
        }
        self.blocks.clear();
        for &component in &scan.component_of_block[..scan.blocks_in_mcu as usize] {
            let c = (component & 3) as usize;
            self.blocks.push(Block { component: c as u8, dc: dc[c] as u8, ac: 4 + ac[c] as u8 });
        }
        (self.data, self.length) = (scan.data, scan.length);
        (self.bits, self.invented) = (Bits::default(), 0);
        self.last_dc = [0; 4];
        (self.mcus_per_row, self.column, self.owed) = (scan.mcus_per_row, 0, 0);
        self.mcus_left = u64::from(scan.mcus_per_row) * u64::from(scan.mcu_rows);
        self.interval = if scan.restart_interval > 0 { u64::from(scan.restart_interval) } else { u64::MAX };
        (self.segment_left, self.next_restart) = (self.interval, 0);
        (self.first_column, self.last_column) = (scan.first_column, scan.last_column);
        self.mcus_left > 0
    }

    /// The next MCU of the scan: into `blocks`, or passed over. `Some` offset of the marker behind it, for the last.
    fn next(&mut self, data: &[u8], blocks: Option<&mut [&mut [i16; 64]]>) -> Result<Option<usize>, Disorder> {
        self.mcus_left = self.mcus_left.checked_sub(1).ok_or(Disorder)?;
        let column = self.column;
        self.column = if column + 1 == self.mcus_per_row { 0 } else { column + 1 };
        match blocks {
            Some(blocks) if self.first_column <= column && column <= self.last_column => {
                self.settle(data)?;
                if self.segment_left == 0 {
                    self.cross_restart(data)?;
                }
                self.segment_left -= 1;
                self.decode(data, blocks)?;
            }
            _ => self.owed += 1,
        }
        if self.mcus_left > 0 {
            return Ok(None);
        }
        self.settle(data)?;
        self.end(data).map(Some)
    }

    /// Passes over the MCUs that are owed: segments that end among them are jumped over, the rest is measured.
    fn settle(&mut self, data: &[u8]) -> Result<(), Disorder> {
        while self.owed > 0 && self.owed >= self.segment_left {
            if self.owed == self.segment_left && self.mcus_left == 0 {
                // The last segment of the scan: `end` looks at what follows it.
                (self.bits, self.invented) = (Bits::at(find_marker(data, self.bits.position).ok_or(Disorder)?), 0);
                (self.owed, self.segment_left) = (0, 0);
            } else if self.segment_left == 0 {
                self.cross_restart(data)?;
            } else {
                self.owed -= self.segment_left;
                let marker = find_marker(data, self.bits.position).ok_or(Disorder)?;
                self.enter_segment(data, marker)?;
            }
        }
        if self.owed >= ENOUGH_FOR_STRIDES {
            self.blocks.iter().for_each(|block| self.tables[usize::from(block.ac)].prepare_strides());
        }
        self.segment_left -= self.owed;
        for _ in 0..std::mem::take(&mut self.owed) {
            self.measure(data)?;
        }
        Ok(())
    }

    /// From the end of one segment over the restart marker into the next.
    fn cross_restart(&mut self, data: &[u8]) -> Result<(), Disorder> {
        if self.left_before_marker(data)? >= 8 {
            return Err(Disorder);
        }
        self.enter_segment(data, self.bits.position)
    }

    /// Begins the segment whose restart marker is at `marker`.
    fn enter_segment(&mut self, data: &[u8], marker: usize) -> Result<(), Disorder> {
        if data.get(marker..marker + 2) != Some(&[0xFF, 0xD0 | self.next_restart]) {
            return Err(Disorder);
        }
        (self.bits, self.invented) = (Bits::at(marker + 2), 0);
        self.next_restart = (self.next_restart + 1) & 7;
        self.segment_left = self.interval;
        self.last_dc = [0; 4];
        Ok(())
    }

    /// The offset of the marker behind the scan.
    fn end(&mut self, data: &[u8]) -> Result<usize, Disorder> {
        let left = self.left_before_marker(data)?;
        if left >= 8 || data.get(self.bits.position) != Some(&0xFF) {
            return Err(Disorder);
        }
        Ok(self.bits.position)
    }

    /// Bits between here and the next marker, as far as the buffer reaches.
    fn left_before_marker(&mut self, data: &[u8]) -> Result<u32, Disorder> {
        self.bits = self.bits.refilled(data, &mut self.invented);
        self.bits.left(self.invented).ok_or(Disorder)
    }

    fn decode(&mut self, data: &[u8], blocks: &mut [&mut [i16; 64]]) -> Result<(), Disorder> {
        #[cfg(target_arch = "x86_64")]
        if self.has_bmi2 {
            // SAFETY: the processor has what the function needs.
            return unsafe { self.decode_bmi2(data, blocks) };
        }
        self.decode_anywhere(data, blocks)
    }

    fn measure(&mut self, data: &[u8]) -> Result<(), Disorder> {
        #[cfg(target_arch = "x86_64")]
        if self.has_bmi2 {
            // SAFETY: the processor has what the function needs.
            return unsafe { self.measure_bmi2(data) };
        }
        self.measure_anywhere(data)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "bmi1,bmi2")]
    fn decode_bmi2(&mut self, data: &[u8], blocks: &mut [&mut [i16; 64]]) -> Result<(), Disorder> {
        self.decode_anywhere(data, blocks)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "bmi1,bmi2")]
    fn measure_bmi2(&mut self, data: &[u8]) -> Result<(), Disorder> {
        self.measure_anywhere(data)
    }

    /// One MCU into its blocks, which hold zeros.
    #[inline(always)]
    fn decode_anywhere(&mut self, data: &[u8], blocks: &mut [&mut [i16; 64]]) -> Result<(), Disorder> {
        let (mut bits, mut invented) = (self.bits, self.invented);
        for (block, out) in self.blocks.iter().zip(blocks) {
            let (dc, ac) = (&self.tables[usize::from(block.dc)], &self.tables[usize::from(block.ac)]);
            let last_dc = &mut self.last_dc[usize::from(block.component & 3)];
            bits = difference(bits, data, &mut invented, dc, last_dc)?;
            out[0] = *last_dc as i16;
            bits = fill_block(bits, data, &mut invented, ac, out)?;
        }
        (self.bits, self.invented) = (bits, invented);
        bits.left(invented).map(|_| ()).ok_or(Disorder)
    }

    /// One MCU, of which only the DC predictions are kept.
    #[inline(always)]
    fn measure_anywhere(&mut self, data: &[u8]) -> Result<(), Disorder> {
        let (mut bits, mut invented) = (self.bits, self.invented);
        for block in &self.blocks {
            let (dc, ac) = (&self.tables[usize::from(block.dc)], &self.tables[usize::from(block.ac)]);
            let last_dc = &mut self.last_dc[usize::from(block.component & 3)];
            bits = difference(bits, data, &mut invented, dc, last_dc)?;
            bits = measure_block(bits, data, &mut invented, ac)?;
        }
        (self.bits, self.invented) = (bits, invented);
        bits.left(invented).map(|_| ()).ok_or(Disorder)
    }
}

/// What libjpeg-turbo calls for each MCU of a scan, in place of its own decoder (`rj_decode_mcu` in shim.h).
///
/// # Safety
/// `state` must be an [`Entropy`] that nothing else uses meanwhile, after a [`Entropy::begin`] whose data is still
/// there; `blocks` null or as many pointers to different blocks as an MCU has; `consumed` valid.
pub(crate) unsafe extern "C" fn decode_mcu(
    state: *mut c_void,
    blocks: *const *mut [i16; 64],
    consumed: *mut usize,
) -> c_int {
    // SAFETY: promised by the caller.
    let entropy = unsafe { &mut *state.cast::<Entropy>() };
    // SAFETY: `begin` was given this memory, and it is still there.
    let data = unsafe { std::slice::from_raw_parts(entropy.data, entropy.length) };
    let count = entropy.blocks.len();
    let result = if blocks.is_null() {
        entropy.next(data, None)
    } else {
        // SAFETY: `blocks` holds `count` valid pointers to different blocks; a reference has the layout of a pointer.
        let blocks = unsafe { std::slice::from_raw_parts_mut(blocks.cast_mut().cast::<&mut [i16; 64]>(), count) };
        entropy.next(data, Some(blocks))
    };
    match result {
        Ok(None) => 0,
        Ok(Some(offset)) => {
            // SAFETY: promised by the caller.
            unsafe { *consumed = offset };
            2
        }
        Err(Disorder) => 1,
    }
}

/// For each component the first one with the same table: chroma share theirs.
fn slots(tables: &[*const u8; 4]) -> [usize; 4] {
    std::array::from_fn(|c| tables.iter().position(|&table| table == tables[c]).unwrap_or(c))
}

/// The offset of the first marker at or behind `from`.
pub(crate) fn find_marker(data: &[u8], from: usize) -> Option<usize> {
    let mut position = from;
    loop {
        position += memchr::memchr(0xFF, data.get(position..)?)?;
        if *data.get(position + 1)? != 0 {
            return Some(position);
        }
        position += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_found_behind_stuffed_bytes() {
        let data = [1, 0xFF, 0, 2, 0xFF, 0, 0xFF, 0xD3, 7];
        assert_eq!(find_marker(&data, 0), Some(6));
        assert_eq!(find_marker(&data, 7), None);
        assert_eq!(find_marker(&[0xFF], 0), None);
        assert_eq!(find_marker(&[], 5), None);
    }
}
