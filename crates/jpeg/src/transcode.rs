//! Lossless transcoding: the same DCT coefficients, coded anew.

use std::ptr::NonNull;

use crate::{Damage, Header, JpegError, Limits, Reason, ffi};

/// How to transcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TranscodeOptions {
    /// Where restart markers go.
    pub restart: Restart,
    /// What becomes of comments and application data (EXIF, colour profiles, thumbnails).
    pub markers: Markers,
    /// What a file may cost.
    pub limits: Limits,
    /// What to do about damage. [`Damage::Repair`] makes the repair permanent.
    pub damage: Damage,
}

/// Where restart markers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Restart {
    /// Nowhere: the smallest file.
    #[default]
    None,
    /// After every so many MCUs (at most 65,535).
    Every(u32),
    /// After the number of MCUs that [`segment_interval`] finds best for this width.
    Segments,
}

/// What becomes of comments and application data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Markers {
    /// Dropped, but for what decoders need to know the colour space (JFIF's or Adobe's marker).
    #[default]
    Drop,
    /// Kept.
    Keep,
}

/// The quantised DCT coefficients of one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plane {
    /// Blocks in a row.
    pub blocks_wide: u32,
    /// Rows of blocks.
    pub blocks_high: u32,
    /// 64 coefficients a block, in natural order; blocks in raster order.
    pub values: Vec<i16>,
}

/// A reusable transcoder.
pub struct Transcoder {
    raw: NonNull<ffi::Transcoder>,
}

/// The best restart interval for rows of `mcus_per_row` MCUs, each `mcu_width` pixels wide: a divisor of the row, so
/// that no segment straddles two rows.
///
/// Among the divisors it takes the one that makes segments nearest, in ratio, to 80 pixels: shorter ones cost more bytes
/// in the file and the index, longer ones more bytes a crop. A row of a prime number of MCUs is one segment.
pub fn segment_interval(mcus_per_row: u32, mcu_width: u32) -> u32 {
    let row = mcus_per_row.clamp(1, 65_535);
    let distance = |divisor: u32| (f64::from(divisor * mcu_width) / 80.0).ln().abs();
    let divisors = (2..=row).filter(|d| row.is_multiple_of(*d));
    divisors.min_by(|a, b| distance(*a).total_cmp(&distance(*b))).unwrap_or(row)
}

// SAFETY: the objects behind `raw` belong to this transcoder alone and have no ties to a thread.
unsafe impl Send for Transcoder {}

impl Transcoder {
    /// A transcoder; fails only without memory.
    pub fn new() -> Result<Transcoder, JpegError> {
        // SAFETY: no arguments; null means failure.
        let raw = NonNull::new(unsafe { ffi::rj_transcoder_new() });
        raw.map(|raw| Transcoder { raw })
            .ok_or_else(|| JpegError::data(Reason::OutOfMemory, "cannot create a transcoder"))
    }

    /// Writes the image anew: baseline, one scan, optimised Huffman tables, the same coefficients. The file lies in the
    /// transcoder until its next use.
    ///
    /// What cannot be written so ([`Reason::Unsupported`]: 12 bits, coefficients out of baseline's range, too many
    /// blocks in an MCU) is best kept as it is.
    pub fn transcode(&mut self, data: &[u8], options: &TranscodeOptions) -> Result<&[u8], JpegError> {
        let header = self.open(data, options)?;
        if header.precision != 8 {
            self.close();
            return Err(JpegError::data(Reason::Unsupported, format!("{} bits a sample", header.precision)));
        }
        let interval = match options.restart {
            Restart::None => 0,
            Restart::Every(mcus) => mcus.min(65_535),
            Restart::Segments => segment_interval(header.width.div_ceil(header.mcu.0), header.mcu.0),
        };
        let (mut file, mut length) = (std::ptr::null(), 0);
        // SAFETY: the transcoder is alive and `open` succeeded; `data` is still borrowed.
        let status = unsafe { ffi::rj_transcode_write(self.raw.as_ptr(), interval, &mut file, &mut length) };
        let result = self.check(status);
        self.close();
        result?;
        // SAFETY: the transcoder's buffer holds `length` bytes and stays until its next use, which needs `&mut self`.
        Ok(unsafe { std::slice::from_raw_parts(file, length) })
    }

    /// The coefficients of all components: what transcoding must not change.
    pub fn coefficients(&mut self, data: &[u8], options: &TranscodeOptions) -> Result<Vec<Plane>, JpegError> {
        let header = self.open(data, options)?;
        let planes = (0..header.components).map(|component| self.plane(component)).collect();
        self.close();
        planes
    }

    fn plane(&mut self, component: u32) -> Result<Plane, JpegError> {
        let (mut blocks_wide, mut blocks_high) = (0, 0);
        let raw = self.raw.as_ptr();
        // SAFETY: the transcoder is alive; a null buffer asks for the size alone.
        let status = unsafe {
            ffi::rj_transcode_coefficients(raw, component, &mut blocks_wide, &mut blocks_high, std::ptr::null_mut())
        };
        self.check(status)?;
        let mut values = vec![0i16; blocks_wide as usize * blocks_high as usize * 64];
        // SAFETY: the buffer holds 64 values for each of the blocks just counted.
        let status = unsafe {
            ffi::rj_transcode_coefficients(raw, component, &mut blocks_wide, &mut blocks_high, values.as_mut_ptr())
        };
        self.check(status)?;
        Ok(Plane { blocks_wide, blocks_high, values })
    }

    /// Reads all coefficients of a file; `data` must stay borrowed until `close`.
    fn open(&mut self, data: &[u8], options: &TranscodeOptions) -> Result<Header, JpegError> {
        if !data.starts_with(&[0xFF, 0xD8]) {
            return Err(JpegError::data(Reason::NotJpeg, "does not start with FF D8"));
        }
        let strict = i32::from(options.damage == Damage::Refuse);
        let keep = i32::from(options.markers == Markers::Keep);
        let Limits { max_pixels, max_scans } = options.limits;
        let mut header = ffi::Header::default();
        // SAFETY: the transcoder is alive; data and length belong together and outlive the use, as the callers close.
        let status = unsafe {
            let (pointer, length) = (data.as_ptr(), data.len());
            ffi::rj_transcode_open(self.raw.as_ptr(), pointer, length, strict, keep, max_pixels, max_scans, &mut header)
        };
        if let Err(error) = self.check(status) {
            self.close();
            return Err(error);
        }
        Ok(Header::from_raw(&header))
    }

    fn close(&mut self) {
        // SAFETY: the transcoder is alive; after this it holds no pointer into the data.
        unsafe { ffi::rj_transcode_close(self.raw.as_ptr()) }
    }

    fn check(&self, status: i32) -> Result<(), JpegError> {
        if status == ffi::OK {
            return Ok(());
        }
        // SAFETY: the message lives in the transcoder and ends in a zero byte.
        let detail = unsafe { ffi::text(ffi::rj_transcoder_message(self.raw.as_ptr())) };
        Err(JpegError::from_status(status, detail))
    }
}

impl Drop for Transcoder {
    fn drop(&mut self) {
        // SAFETY: `raw` came from `rj_transcoder_new` and is freed once.
        unsafe { ffi::rj_transcoder_free(self.raw.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_divide_the_row() {
        for row in 1..200 {
            let interval = segment_interval(row, 16);
            assert!(row % interval == 0, "{row} {interval}");
        }
        // 500, 400, 375 and 333 pixels in MCUs of 16, and a prime.
        assert_eq!([32, 25, 24, 21, 23].map(|row| segment_interval(row, 16)), [4, 5, 6, 7, 23]);
        // 500, 400 and 336 pixels in MCUs of 8.
        assert_eq!([63, 50, 42].map(|row| segment_interval(row, 8)), [9, 10, 14]);
    }
}
