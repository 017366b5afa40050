//! The fast path of JPEG files: libjpeg-turbo decodes only what a crop needs, and reduced where that is asked for.

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
            Decode::Region => (rect(wanted.pixels), Scale::Full),
            Decode::Reduced => (rect(wanted.pixels), scale(&wanted)),
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
    use jpeg::{ColourSpace, EncodeOptions};
    use random::Key;

    use super::*;
    use crate::pixels::photograph::photograph;
    use crate::{Crop, Encoding, Filter, Preparer, Transform};

    const RANDOM: Crop = Crop::RandomResized { scale: [0.08, 1.0], ratio: [0.75, 4.0 / 3.0] };
    const CENTER: Crop = Crop::Center { pct: 0.875 };

    fn transform(crop: Crop, size: u32, filter: Filter) -> Transform {
        Transform { crop, flip: 0.5, filter, ..Transform::center(size, 1.0) }
    }

    fn prepared(file: &[u8], transform: &Transform, decode: Decode, key: Key) -> Result<Vec<u8>, Reason> {
        let mut preparer = Preparer::new(decode);
        preparer.pixels(file, Encoding::File, transform, key).map(|pixels| pixels.to_vec()).map_err(|bad| bad.reason)
    }

    /// The greatest and the mean difference in levels from decoding all of the file, which strict decoding does.
    fn apart(file: &[u8], transform: &Transform, decode: Decode, key: Key) -> (u8, f64) {
        let [found, whole] =
            [decode, Decode::Strict].map(|decode| prepared(file, transform, decode, key).expect("a good file"));
        let colours = || found.iter().zip(&whole).enumerate().filter(|(place, _)| place % 4 != 3);
        let differences = || colours().map(|(_, (a, b))| a.abs_diff(*b));
        let sum: u64 = differences().map(u64::from).sum();
        (differences().max().unwrap_or(0), sum as f64 / differences().count() as f64)
    }

    /// 4:4:4, 4:2:2, 4:2:0, 4:4:0 and grey, of odd sides.
    fn photographs() -> Vec<Vec<u8>> {
        let colours = [(1, 1), (2, 1), (2, 2), (1, 2)].map(|sampling| EncodeOptions { sampling, ..Default::default() });
        let grey = EncodeOptions { colour_space: ColourSpace::Grey, sampling: (1, 1), ..Default::default() };
        let kinds = colours.into_iter().chain([grey]).zip(0..);
        kinds.map(|(options, k)| photograph(421 + 2 * k, 333 - 6 * k, &options, Key::root(k.into()))).collect()
    }

    /// One level where chroma at the edge of what is read lacks a neighbour, which a cubic may double.
    #[test]
    fn a_region_gives_the_pixels_of_the_whole_image() {
        for (p, file) in photographs().iter().enumerate() {
            for (crop, size) in [(RANDOM, 224), (RANDOM, 96), (RANDOM, 17), (CENTER, 96), (CENTER, 224)] {
                for (filter, worst_allowed) in [(Filter::Bilinear, 1), (Filter::Bicubic, 2)] {
                    let transform = transform(crop.clone(), size, filter);
                    for draw in 0..8 {
                        let (worst, mean) = apart(file, &transform, Decode::Region, Key::root(5).child(draw));
                        assert!(
                            worst <= worst_allowed && mean <= 0.02,
                            "photograph {p}, {transform:?}, draw {draw}: {worst} {mean}"
                        );
                    }
                }
            }
        }
    }

    /// The DCT keeps other detail than an antialiased filter, less so the more is left for the filter. Evaluation is never
    /// reduced.
    #[test]
    fn a_reduced_crop_is_near_to_the_whole_one() {
        let crop = Crop::RandomResized { scale: [0.6, 0.9], ratio: [0.9, 1.1] };
        for (p, file) in photographs().iter().enumerate() {
            for (size, mean_allowed) in [(120, 2.0), (65, 2.0), (30, 2.0), (250, 0.02)] {
                for draw in 0..6 {
                    let key = Key::root(6).child(draw);
                    let (worst, mean) =
                        apart(file, &transform(crop.clone(), size, Filter::Bilinear), Decode::Reduced, key);
                    assert!(mean <= mean_allowed, "photograph {p}, size {size}, draw {draw}: {worst} {mean}");
                }
            }
            let (worst, _) = apart(file, &transform(CENTER, 40, Filter::Bicubic), Decode::Reduced, Key::root(1));
            assert!(worst <= 2, "photograph {p}: {worst}");
        }
    }

    /// Zeros in place of the last lines' data, the end marker kept: no cut that the structure of the file would show.
    #[test]
    fn damage_below_the_crop_is_seen_by_strict_decoding_alone() {
        let mut file = photograph(420, 320, &EncodeOptions::default(), Key::root(1));
        let end = file.len();
        file.truncate(end * 9 / 10);
        file.extend([0xFF, 0xD9]);
        // The centre of 320 rows, well above the last tenth.
        let transform = transform(Crop::Center { pct: 0.5 }, 100, Filter::Bicubic);
        assert!(prepared(&file, &transform, Decode::Region, Key::root(1)).is_ok());
        let strict = prepared(&file, &transform, Decode::Strict, Key::root(1));
        assert!(matches!(strict, Err(Reason::Truncated | Reason::Damaged)), "{strict:?}");
        let cut = &file[..end / 2];
        assert_eq!(prepared(cut, &transform, Decode::Region, Key::root(1)), Err(Reason::Truncated));
    }
}
