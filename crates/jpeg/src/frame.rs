//! The markers of a baseline JPEG, as far as cutting it into segments needs them.

use crate::{JpegError, Reason};

/// Where things are in a baseline JPEG of one scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Width and height of an MCU in pixels.
    pub mcu: (u32, u32),
    /// Columns and rows beyond a crop that interpolating its chroma may look at.
    pub margin: (u32, u32),
    /// MCUs between restart markers; 0 where there are none.
    pub restart_interval: u32,
    /// Offset of the two bytes of the height, which those of the width follow.
    pub size_offset: usize,
    /// Offset of the coded data.
    pub scan_offset: usize,
}

impl Frame {
    /// Reads the markers up to the coded data; `data` may end there.
    ///
    /// Only what [`crate::Transcoder`] writes is taken: 8 bits, Huffman, one sequential scan of all components.
    pub fn parse(data: &[u8]) -> Result<Frame, JpegError> {
        if data.get(..2) != Some(&[0xFF, 0xD8]) {
            return Err(JpegError::data(Reason::NotJpeg, "does not start with FF D8"));
        }
        let mut size: Option<Size> = None;
        let (mut restart_interval, mut position) = (0, 2);
        loop {
            let (marker, body) = segment(data, position)?;
            match (marker, body) {
                (0xC0 | 0xC1, _) if size.is_none() => size = Some(Size::parse(body, position + 4)?),
                (0xC0..=0xCF, _) if !matches!(marker, 0xC4 | 0xC8 | 0xCC) => {
                    return Err(JpegError::data(Reason::Unsupported, format!("frame of kind {marker:02X}")));
                }
                (0xDD, &[high, low]) => restart_interval = u32::from(u16::from_be_bytes([high, low])),
                (0xDA, _) => {
                    let size = size.ok_or_else(|| JpegError::data(Reason::Corrupt, "a scan before its frame"))?;
                    check_scan(body, size.components)?;
                    let scan_offset = position + 4 + body.len();
                    return Ok(size.frame(restart_interval, scan_offset));
                }
                _ => {}
            }
            position += 4 + body.len();
        }
    }

    /// MCUs in a row.
    pub fn mcus_per_row(&self) -> u32 {
        self.width.div_ceil(self.mcu.0)
    }

    /// Rows of MCUs.
    pub fn mcu_rows(&self) -> u32 {
        self.height.div_ceil(self.mcu.1)
    }
}

/// The marker at `position` and what it holds.
fn segment(data: &[u8], position: usize) -> Result<(u8, &[u8]), JpegError> {
    let truncated = || JpegError::data(Reason::Truncated, "ends within its header");
    let &[lead, marker, high, low] =
        data.get(position..).and_then(|rest| rest.first_chunk::<4>()).ok_or_else(truncated)?;
    if lead != 0xFF || matches!(marker, 0x00 | 0x01 | 0xD0..=0xD9 | 0xFF) {
        return Err(JpegError::data(Reason::Corrupt, format!("{lead:02X} {marker:02X} where a marker should be")));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length < 2 {
        return Err(JpegError::data(Reason::Corrupt, format!("marker {marker:02X} of {length} bytes")));
    }
    let body = data.get(position + 4..position + 2 + length).ok_or_else(truncated)?;
    Ok((marker, body))
}

fn check_scan(body: &[u8], components: usize) -> Result<(), JpegError> {
    let whole = body.len() == 4 + 2 * components && usize::from(body[0]) == components;
    if whole && body[body.len() - 3..] == [0, 63, 0] {
        return Ok(());
    }
    Err(JpegError::data(Reason::Unsupported, "not one sequential scan of all components"))
}

/// What a frame header says.
struct Size {
    width: u32,
    height: u32,
    components: usize,
    mcu: (u32, u32),
    margin: (u32, u32),
    offset: usize,
}

impl Size {
    fn parse(body: &[u8], offset: usize) -> Result<Size, JpegError> {
        let corrupt = || JpegError::data(Reason::Corrupt, "impossible frame header");
        let &[precision, h0, h1, w0, w1, count] = body.first_chunk::<6>().ok_or_else(corrupt)?;
        let factors = || body[6..].chunks_exact(3).map(|c| (u32::from(c[1] >> 4), u32::from(c[1] & 15)));
        let (height, width) = (u32::from(u16::from_be_bytes([h0, h1])), u32::from(u16::from_be_bytes([w0, w1])));
        let legal = |(h, v)| (1..=4).contains(&h) && (1..=4).contains(&v);
        if body.len() != 6 + 3 * usize::from(count)
            || !(1..=4).contains(&count)
            || width == 0
            || height == 0
            || !factors().all(legal)
        {
            return Err(corrupt());
        }
        if precision != 8 {
            return Err(JpegError::data(Reason::Unsupported, format!("{precision} bits a sample")));
        }
        let widest = factors().map(|f| f.0).max().unwrap_or(1);
        let highest = factors().map(|f| f.1).max().unwrap_or(1);
        // A scan of one component is not interleaved: its MCU is one block.
        let mcu = if count == 1 { (8, 8) } else { (8 * widest, 8 * highest) };
        // Interpolation looks one sample of chroma to either side: two pixels.
        let margin = |narrow: bool| if narrow { 2 } else { 0 };
        let margin = (margin(factors().any(|f| f.0 < widest)), margin(factors().any(|f| f.1 < highest)));
        Ok(Size { width, height, components: usize::from(count), mcu, margin, offset: offset + 1 })
    }

    fn frame(self, restart_interval: u32, scan_offset: usize) -> Frame {
        Frame {
            width: self.width,
            height: self.height,
            mcu: self.mcu,
            margin: self.margin,
            restart_interval,
            size_offset: self.offset,
            scan_offset,
        }
    }
}
