//! The fast path of JPEG files: libjpeg-turbo decodes only what a crop needs, reduced where the crop is large enough.

use jpeg::{Damage, DecodeOptions, JpegError, PixelFormat, RegionInfo, Scale};

use crate::pixels::crop::{View, Wanted};
use crate::pixels::decode::Rgbx;
use crate::{BadImage, CropBox, Decode, Reason};

/// libjpeg-turbo's decoder, made when the first JPEG comes.
#[derive(Default)]
pub(crate) struct FastJpeg {
    decoder: Option<jpeg::Decoder>,
}

impl FastJpeg {
    /// Decodes what `wanted` asks of an image of the file's width and height.
    ///
    /// `None` where libjpeg-turbo does not read the file: another decoder may, or says better what is wrong.
    pub(crate) fn decode(
        &mut self,
        bytes: &[u8],
        decode: Decode,
        wanted: &dyn Fn(u32, u32) -> Wanted,
        image: &mut Rgbx,
    ) -> Option<Result<View, BadImage>> {
        match self.attempt(bytes, decode, wanted, image) {
            Ok(view) => Some(Ok(view)),
            Err(JpegError::Data { reason, detail }) => {
                let reason = match reason {
                    jpeg::Reason::TooLarge => Reason::TooLarge,
                    jpeg::Reason::Truncated => Reason::Truncated,
                    jpeg::Reason::Corrupt if decode == Decode::Strict => Reason::Damaged,
                    _ => return None,
                };
                Some(Err(BadImage::new(reason, detail)))
            }
            Err(_) => None,
        }
    }

    fn attempt(
        &mut self,
        bytes: &[u8],
        decode: Decode,
        wanted: &dyn Fn(u32, u32) -> Wanted,
        image: &mut Rgbx,
    ) -> Result<View, JpegError> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => {
                let damage = if decode == Decode::Strict { Damage::Refuse } else { Damage::Repair };
                none.insert(jpeg::Decoder::new(DecodeOptions { damage, ..DecodeOptions::default() })?)
            }
        };
        let file = decoder.open(bytes)?;
        let (width, height) = (file.header().width, file.header().height);
        let wanted = wanted(width, height);
        let (crop, scale) = match decode {
            Decode::Region => (rect(wanted.pixels), scale(&wanted)),
            Decode::Strict => (jpeg::Rect::new(0, 0, width, height), Scale::Full),
        };
        let info = file.decode_region(crop, scale, PixelFormat::Rgbx, &mut image.bytes)?;
        (image.width, image.height) = (info.decoded.width, info.decoded.height);
        Ok(view(&info, &wanted))
    }
}

fn rect(CropBox { top, left, height, width }: CropBox) -> jpeg::Rect {
    jpeg::Rect::new(left, top, width, height)
}

fn scale(wanted: &Wanted) -> Scale {
    wanted.reduce_to.map_or(Scale::Full, |side| Scale::for_target(rect(wanted.pixels), side, side))
}

/// Where the wanted pixels and the window lie in what was decoded.
fn view(info: &RegionInfo, wanted: &Wanted) -> View {
    let [left, top, width, height] = info.crop_box(rect(wanted.pixels));
    let (first_column, first_row) = (left.floor(), top.floor());
    let part = CropBox {
        left: first_column as u32,
        top: first_row as u32,
        width: (left + width).ceil() as u32 - first_column as u32,
        height: (top + height).ceil() as u32 - first_row as u32,
    };
    let divisor = f64::from(info.scale.divisor());
    let mut window = wanted.window_in_pixels();
    window.left = window.left / divisor + (left - first_column);
    window.top = window.top / divisor + (top - first_row);
    (window.width, window.height) = (window.width / divisor, window.height / divisor);
    View { part, window }
}

#[cfg(test)]
mod tests {
    use image::ExtendedColorType;
    use image::codecs::jpeg::JpegEncoder;
    use random::Key;

    use super::*;
    use crate::{Crop, Encoding, Filter, Preparer, Transform};

    /// A smooth picture of 700 × 520 pixels with some texture.
    fn photograph() -> Vec<u8> {
        let (width, height) = (700u32, 520u32);
        let level = |x: u32, y: u32, c: u32| {
            let wave = (f64::from(x) / 31.0 + f64::from(c)).sin() + (f64::from(y) / 17.0).cos();
            (128.0 + 55.0 * wave + f64::from((x * 7 + y * 13) % 11)) as u8
        };
        let pixels: Vec<u8> = (0..width * height)
            .flat_map(|place| [0, 1, 2].map(|channel| level(place % width, place / width, channel)))
            .collect();
        let mut file = Vec::new();
        JpegEncoder::new_with_quality(&mut file, 90)
            .encode(&pixels, width, height, ExtendedColorType::Rgb8)
            .expect("in memory");
        file
    }

    fn transform(crop: Crop, size: u32) -> Transform {
        Transform { crop, flip: 0.5, filter: Filter::Bicubic, ..Transform::center(size, 1.0) }
    }

    fn prepared(file: &[u8], transform: &Transform, decode: Decode, key: Key) -> Result<Vec<u8>, Reason> {
        let mut preparer = Preparer::new(decode);
        preparer.pixels(file, Encoding::File, transform, key).map(|pixels| pixels.to_vec()).map_err(|bad| bad.reason)
    }

    /// Strict decoding reads the whole file unscaled, so it is the reference: one level from chroma at the edge of what is
    /// read. Where crops are reduced in the DCT domain, this fine texture, which no filter keeps alike, differs by half a
    /// level on average.
    #[test]
    fn a_region_gives_the_pixels_of_the_whole_image() {
        let file = photograph();
        let random = Crop::RandomResized { scale: [0.08, 1.0], ratio: [0.75, 4.0 / 3.0] };
        for (crop, size, worst_allowed, mean_allowed) in [
            (random.clone(), 300, 2, 0.1),
            (Crop::Center { pct: 0.875 }, 96, 2, 0.1),
            (Crop::Center { pct: 0.875 }, 224, 2, 0.1),
            (random, 96, 8, 1.0),
        ] {
            let transform = transform(crop, size);
            for draw in 0..20 {
                let key = Key::root(5).child(draw);
                let region = prepared(&file, &transform, Decode::Region, key).expect("a good file");
                let whole = prepared(&file, &transform, Decode::Strict, key).expect("a good file");
                let apart = |(a, b): (&u8, &u8)| a.abs_diff(*b);
                let worst = region.iter().zip(&whole).map(apart).max();
                let sum: u64 = region.iter().zip(&whole).map(apart).map(u64::from).sum();
                let mean = sum as f64 / region.len() as f64;
                assert!(
                    worst <= Some(worst_allowed) && mean <= mean_allowed,
                    "{transform:?}, draw {draw}: {worst:?} {mean}"
                );
            }
        }
    }

    /// Zeros in place of the last lines' data, the end marker kept: no cut that the structure of the file would show.
    #[test]
    fn damage_below_the_crop_is_seen_by_strict_decoding_alone() {
        let mut file = photograph();
        let end = file.len();
        file.truncate(end * 9 / 10);
        file.extend([0xFF, 0xD9]);
        // The centre of 520 rows, well above the last tenth.
        let transform = transform(Crop::Center { pct: 0.5 }, 100);
        assert!(prepared(&file, &transform, Decode::Region, Key::root(1)).is_ok());
        let strict = prepared(&file, &transform, Decode::Strict, Key::root(1));
        assert!(matches!(strict, Err(Reason::Truncated | Reason::Damaged)), "{strict:?}");
        let cut = &file[..end / 2];
        assert_eq!(prepared(cut, &transform, Decode::Region, Key::root(1)), Err(Reason::Truncated));
    }
}
