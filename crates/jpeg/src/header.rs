//! What a JPEG says of itself before its first scan.

use crate::ffi;

/// The header of a JPEG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Width in pixels, at least 1.
    pub width: u32,
    /// Height in pixels, at least 1.
    pub height: u32,
    /// Colour components, 1 to 4.
    pub components: u32,
    /// How the components were subsampled.
    pub subsampling: Subsampling,
    /// In which colour space the components are.
    pub colour_space: ColourSpace,
    /// Whether the file is progressive.
    pub progressive: bool,
    /// Whether it is coded arithmetically (rare) in place of Huffman's way.
    pub arithmetic: bool,
    /// Bits a sample: 8, rarely 12.
    pub precision: u32,
    /// MCUs between two restart markers; 0 where there are none.
    pub restart_interval: u32,
    /// The colour transform that Adobe's marker names, where it is present.
    pub adobe_transform: Option<u8>,
    /// Width and height of an MCU in pixels.
    pub mcu: (u32, u32),
}

/// How far the second component was subsampled against the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subsampling {
    /// One component.
    Grey,
    /// All components at full resolution.
    S444,
    /// Half the columns.
    S422,
    /// Half the columns and half the rows.
    S420,
    /// Half the rows.
    S440,
    /// A quarter of the columns.
    S411,
    /// Anything else.
    Other,
}

/// The colour space of a file's components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColourSpace {
    /// Luminance alone.
    Grey,
    /// Red, green, blue.
    Rgb,
    /// Luminance and two chroma.
    YCbCr,
    /// Cyan, magenta, yellow, black; taken as inverted, as Adobe writes them and PIL assumes.
    Cmyk,
    /// CMYK with its first three as luminance and chroma.
    Ycck,
    /// Not known: two components, for instance. Cannot be decoded to RGB.
    Unknown,
}

impl Header {
    pub(crate) fn from_raw(raw: &ffi::Header) -> Header {
        let count = raw.components.min(4) as usize;
        let widest = raw.h_samp[..count].iter().copied().max().unwrap_or(1).max(1);
        let highest = raw.v_samp[..count].iter().copied().max().unwrap_or(1).max(1);
        Header {
            width: raw.width,
            height: raw.height,
            components: raw.components,
            subsampling: subsampling(&raw.h_samp[..count], &raw.v_samp[..count]),
            colour_space: colour_space(raw.color_space),
            progressive: raw.progressive != 0,
            arithmetic: raw.arithmetic != 0,
            precision: raw.precision,
            restart_interval: raw.restart_interval,
            adobe_transform: (raw.adobe != 0).then_some(raw.adobe_transform as u8),
            // A scan of one component is not interleaved: its MCU is one block, whatever its factors.
            mcu: if count == 1 { (8, 8) } else { (8 * widest, 8 * highest) },
        }
    }
}

fn subsampling(horizontal: &[u32], vertical: &[u32]) -> Subsampling {
    if horizontal.len() == 1 {
        return Subsampling::Grey;
    }
    let full = |c: usize| horizontal[c] == horizontal[0] && vertical[c] == vertical[0];
    if (1..horizontal.len()).all(full) {
        return Subsampling::S444;
    }
    let alike = horizontal.len() >= 3 && horizontal[1] == horizontal[2] && vertical[1] == vertical[2];
    if !alike || (horizontal.len() == 4 && !full(3)) {
        return Subsampling::Other;
    }
    // Factors as ratios, so that 4:2:0 written as 4×2 over 2×1 is still 4:2:0.
    let ratio = |first: u32, second: u32| if second > 0 && first.is_multiple_of(second) { first / second } else { 0 };
    match (ratio(horizontal[0], horizontal[1]), ratio(vertical[0], vertical[1])) {
        (2, 1) => Subsampling::S422,
        (2, 2) => Subsampling::S420,
        (1, 2) => Subsampling::S440,
        (4, 1) => Subsampling::S411,
        _ => Subsampling::Other,
    }
}

fn colour_space(raw: u32) -> ColourSpace {
    match raw {
        ffi::SPACE_GREY => ColourSpace::Grey,
        ffi::SPACE_RGB => ColourSpace::Rgb,
        ffi::SPACE_YCBCR => ColourSpace::YCbCr,
        ffi::SPACE_CMYK => ColourSpace::Cmyk,
        ffi::SPACE_YCCK => ColourSpace::Ycck,
        _ => ColourSpace::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_name_the_subsampling() {
        assert_eq!(subsampling(&[1], &[1]), Subsampling::Grey);
        assert_eq!(subsampling(&[2, 2, 2], &[1, 1, 1]), Subsampling::S444);
        assert_eq!(subsampling(&[2, 1, 1], &[2, 1, 1]), Subsampling::S420);
        assert_eq!(subsampling(&[4, 2, 2], &[2, 1, 1]), Subsampling::S420);
        assert_eq!(subsampling(&[2, 1, 1, 2], &[1, 1, 1, 1]), Subsampling::S422);
        assert_eq!(subsampling(&[2, 1, 1, 1], &[1, 1, 1, 1]), Subsampling::Other);
        assert_eq!(subsampling(&[3, 2, 2], &[1, 1, 1]), Subsampling::Other);
    }
}
