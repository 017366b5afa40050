//! `Form`: how a number looks in a message, whole or rounded to bf16.

use std::ops::{Add, Div};

use crate::operation::Element;

/// In what form numbers travel, and as what they are summed.
pub(crate) trait Form {
    /// The number in memory.
    type Number: Copy + Add<Output = Self::Number> + Div<Output = Self::Number>;
    /// Bytes of one in a message.
    const BYTES: usize;
    const ELEMENT: Element;

    /// The number that `BYTES` bytes stand for.
    fn read(bytes: &[u8]) -> Self::Number;
    /// Writes a number into `BYTES` bytes. Of what was read, it writes the same bytes again.
    fn write(number: Self::Number, bytes: &mut [u8]);
    /// The number as whoever receives it reads it.
    fn carried(number: Self::Number) -> Self::Number;
    fn from_count(count: usize) -> Self::Number;
}

impl Form for f32 {
    type Number = f32;
    const BYTES: usize = 4;
    const ELEMENT: Element = Element::F32;

    #[inline(always)]
    fn read(bytes: &[u8]) -> f32 {
        f32::from_ne_bytes(bytes.try_into().expect("four bytes"))
    }
    #[inline(always)]
    fn write(number: f32, bytes: &mut [u8]) {
        bytes.copy_from_slice(&number.to_ne_bytes());
    }
    #[inline(always)]
    fn carried(number: f32) -> f32 {
        number
    }
    fn from_count(count: usize) -> f32 {
        count as f32
    }
}

impl Form for f64 {
    type Number = f64;
    const BYTES: usize = 8;
    const ELEMENT: Element = Element::F64;

    #[inline(always)]
    fn read(bytes: &[u8]) -> f64 {
        f64::from_ne_bytes(bytes.try_into().expect("eight bytes"))
    }
    #[inline(always)]
    fn write(number: f64, bytes: &mut [u8]) {
        bytes.copy_from_slice(&number.to_ne_bytes());
    }
    #[inline(always)]
    fn carried(number: f64) -> f64 {
        number
    }
    fn from_count(count: usize) -> f64 {
        count as f64
    }
}

/// f32 in memory, bf16 (its upper half) in messages.
pub(crate) enum Bf16 {}

impl Form for Bf16 {
    type Number = f32;
    const BYTES: usize = 2;
    const ELEMENT: Element = Element::Bf16;

    #[inline(always)]
    fn read(bytes: &[u8]) -> f32 {
        let upper = u16::from_ne_bytes(bytes.try_into().expect("two bytes"));
        f32::from_bits(u32::from(upper) << 16)
    }
    #[inline(always)]
    fn write(number: f32, bytes: &mut [u8]) {
        bytes.copy_from_slice(&upper_half(number).to_ne_bytes());
    }
    #[inline(always)]
    fn carried(number: f32) -> f32 {
        f32::from_bits(u32::from(upper_half(number)) << 16)
    }
    fn from_count(count: usize) -> f32 {
        count as f32
    }
}

/// The nearest bf16, of two the even one; what is beyond the largest becomes infinite, as IEEE 754 has it. NaN stays NaN,
/// with its sign. Written without branches, so that loops of it are vectorised.
#[inline(always)]
fn upper_half(number: f32) -> u16 {
    let bits = number.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    let quiet = bits | 0x0040_0000; // else the upper half of a NaN may read as infinite
    ((if number.is_nan() { quiet } else { rounded }) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(upper: u16) -> f32 {
        f32::from_bits(u32::from(upper) << 16)
    }

    #[test]
    fn every_bf16_travels_unchanged() {
        for upper in 0..=u16::MAX {
            let mut bytes = [0; 2];
            Bf16::write(value(upper), &mut bytes);
            let read = Bf16::read(&bytes);
            if value(upper).is_nan() {
                assert!(read.is_nan() && read.is_sign_negative() == value(upper).is_sign_negative());
            } else {
                assert_eq!(read.to_bits(), value(upper).to_bits());
            }
            Bf16::write(read, &mut bytes);
            assert_eq!(Bf16::read(&bytes).to_bits(), read.to_bits(), "of what was read, the same is written");
        }
    }

    #[test]
    fn what_lies_between_goes_to_the_nearest_and_of_two_to_the_even_one() {
        for lower in 0..0x7f7f_u16 {
            let (below, above) = (f64::from(value(lower)), f64::from(value(lower + 1)));
            let even = if lower % 2 == 0 { below } else { above };
            for offset in [1_u32, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let between = f32::from_bits((u32::from(lower) << 16) + offset);
                let exact = f64::from(between);
                let expected = match (exact - below).total_cmp(&(above - exact)) {
                    std::cmp::Ordering::Less => below,
                    std::cmp::Ordering::Equal => even,
                    std::cmp::Ordering::Greater => above,
                };
                assert_eq!(f64::from(Bf16::carried(between)), expected, "{between:e}");
                assert_eq!(f64::from(Bf16::carried(-between)), -expected, "{:e}", -between);
            }
        }
    }

    #[test]
    fn the_ends_of_the_range_are_those_of_ieee_754() {
        assert_eq!(Bf16::carried(f32::MAX), f32::INFINITY);
        assert_eq!(Bf16::carried(-f32::MAX), f32::NEG_INFINITY);
        assert_eq!(Bf16::carried(value(0x7f7f)), value(0x7f7f));
        assert_eq!(Bf16::carried(f32::INFINITY), f32::INFINITY);
        assert!(Bf16::carried(f32::from_bits(0x7f80_0001)).is_nan(), "a NaN that tells itself in its lower half only");
        assert_eq!(Bf16::carried(-0.0).to_bits(), (-0.0_f32).to_bits());
        assert_eq!(Bf16::carried(f32::from_bits(1)), 0.0);
    }
}
