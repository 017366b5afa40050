//! Regions against whole images, and our entropy decoder against libjpeg-turbo's.

mod pictures;

use jpeg::{EntropyDecoder, Rect, Scale};
use pictures::{SIZES, crop, decoder, full, jpeg, kinds, region};
use random::Key;

#[test]
fn regions_agree_with_the_whole_image() {
    let (mut ours, mut theirs) = (decoder(EntropyDecoder::Ours), decoder(EntropyDecoder::LibjpegTurbo));
    for (k, kind) in kinds().iter().enumerate() {
        for (s, &(width, height)) in SIZES.iter().enumerate() {
            let mut rng = Key::root(3).child(k as u64).child(s as u64).rng();
            let file = jpeg(width, height, kind, &mut rng);
            let reference = full(&mut theirs, &file);
            assert_eq!(reference.pixels, full(&mut ours, &file).pixels, "{kind:?} {width}×{height}");
            for _ in 0..12 {
                let crop = crop(width, height, &mut rng);
                let wanted = region(&mut theirs, &file, crop, Scale::Full);
                let found = region(&mut ours, &file, crop, Scale::Full);
                assert_eq!(found.pixels, wanted.pixels, "{kind:?} {width}×{height} {crop:?}");
                assert_eq!(found.info, wanted.info);
                let (worst, _) = found.difference(&reference, crop, (0, 0));
                assert!(worst <= 1, "{worst} levels: {kind:?} {width}×{height} {crop:?} {:?}", found.info);
            }
        }
    }
}

#[test]
fn scaled_regions_agree_with_the_whole_image_scaled() {
    let (mut ours, mut theirs) = (decoder(EntropyDecoder::Ours), decoder(EntropyDecoder::LibjpegTurbo));
    let (mut sum, mut count) = (0.0, 0);
    for (k, kind) in kinds().iter().enumerate() {
        for (s, &(width, height)) in SIZES.iter().enumerate() {
            let mut rng = Key::root(4).child(k as u64).child(s as u64).rng();
            let file = jpeg(width, height, kind, &mut rng);
            for scale in [Scale::Half, Scale::Quarter, Scale::Eighth] {
                let reference = region(&mut theirs, &file, Rect::new(0, 0, width, height), scale);
                assert_eq!(
                    reference.info.scaled_size,
                    (width.div_ceil(scale.divisor()), height.div_ceil(scale.divisor()))
                );
                for _ in 0..4 {
                    let crop = crop(width, height, &mut rng);
                    let found = region(&mut ours, &file, crop, scale);
                    let d = scale.divisor();
                    let (x, y) = (crop.x / d, crop.y / d);
                    let within = Rect::new(x, y, crop.right().div_ceil(d) - x, crop.bottom().div_ceil(d) - y);
                    let (worst, mean) = found.difference(&reference, within, (0, 0));
                    assert!(mean <= 0.1, "{mean} ({worst}): {kind:?} {width}×{height} {crop:?} {scale:?}");
                    (sum, count) = (sum + mean, count + 1);
                }
            }
        }
    }
    assert!(sum / f64::from(count) < 0.01, "{}", sum / f64::from(count));
}

/// Reducing in the DCT domain is near to averaging boxes of the whole image, though not the same filter.
#[test]
fn scaling_is_near_to_averaging() {
    let mut decoder = decoder(EntropyDecoder::Ours);
    let file = jpeg(160, 120, &jpeg::EncodeOptions { sampling: (1, 1), ..Default::default() }, &mut Key::root(5).rng());
    let whole = full(&mut decoder, &file);
    let half = region(&mut decoder, &file, Rect::new(0, 0, 160, 120), Scale::Half);
    let mut sum = 0.0;
    for y in 0..60 {
        for x in 0..80 {
            for c in 0..3 {
                let level = |dx, dy| f64::from(whole.at(2 * x + dx, 2 * y + dy)[c]);
                let mean = (level(0, 0) + level(1, 0) + level(0, 1) + level(1, 1)) / 4.0;
                sum += (mean - f64::from(half.at(x, y)[c])).abs();
            }
        }
    }
    let mean = sum / (60.0 * 80.0 * 3.0);
    assert!(mean < 3.0, "{mean}");
}

/// Red rises where blue falls: what the mean of one gains on the other is a shift of the pixels' centres.
#[test]
fn scaling_moves_nothing() {
    const SLOPE: f64 = 0.6;
    let mut decoder = decoder(EntropyDecoder::Ours);
    let (width, height) = (320, 240);
    for (across, down) in [(SLOPE, 0.0), (0.0, SLOPE)] {
        let red = |x: u32, y: u32| 30.0 + across * f64::from(x) + down * f64::from(y);
        // Dithered, so that no pattern of rounding looks like a shift.
        let mut rng = Key::root(9).rng();
        let picture = |place: u32| {
            let level = (red(place % width, place / width) + rng.uniform_in(0.0, 1.0)) as u8;
            [level, 128, 255 - level]
        };
        let pixels: Vec<u8> = (0..width * height).flat_map(picture).collect();
        for sampling in [(1, 1), (2, 1), (2, 2), (1, 2)] {
            let options = jpeg::EncodeOptions { sampling, quality: 98, ..Default::default() };
            let file = jpeg::Encoder::new().unwrap().encode(&pixels, width, height, &options).unwrap().to_vec();
            // A crop whose edges no scale divides.
            let crop = Rect::new(37, 29, 203, 173);
            for scale in [Scale::Half, Scale::Quarter, Scale::Eighth] {
                let found = region(&mut decoder, &file, crop, scale);
                let (d, Rect { x, y, .. }) = (scale.divisor(), found.info.decoded);
                let (mut gained, mut count) = (0.0, 0.0);
                for (x, y) in (y + 1..found.info.decoded.bottom() - 1)
                    .flat_map(|y| (x + 1..found.info.decoded.right() - 1).map(move |x| (x, y)))
                {
                    let block = (0..d * d).map(|place| red(x * d + place % d, y * d + place / d));
                    let mean = block.sum::<f64>() / f64::from(d * d);
                    let [red, _, blue] = found.at(x, y).map(f64::from);
                    gained += (red - mean) - (blue - (255.0 - mean));
                    count += 1.0;
                }
                let shift_pixels = gained / count / (2.0 * SLOPE);
                // Centres taken for corners would be (d - 1) / 2 off; rounding of chroma looks like a fifth of a pixel.
                assert!(
                    shift_pixels.abs() < 0.15 * f64::from(d),
                    "{shift_pixels} pixels: {sampling:?} {scale:?} {across} {down}"
                );
            }
        }
    }
}

#[test]
fn rgbx_holds_the_same_pixels_as_rgb() {
    let mut decoder = decoder(EntropyDecoder::Ours);
    for kind in kinds() {
        let file = jpeg(61, 47, &kind, &mut Key::root(6).rng());
        let crop = Rect::new(9, 5, 40, 30);
        let rgb = region(&mut decoder, &file, crop, Scale::Full);
        let mut rgbx = Vec::new();
        let info = decoder.decode_region(&file, crop, Scale::Full, jpeg::PixelFormat::Rgbx, &mut rgbx).unwrap();
        assert_eq!(info.decoded, rgb.info.decoded);
        let without: Vec<u8> = rgbx[..info.bytes()].chunks(4).flat_map(|p| p[..3].to_vec()).collect();
        assert_eq!(without, rgb.pixels, "{kind:?}");
    }
}

#[test]
fn the_buffer_is_reused_and_the_box_is_the_crop() {
    let mut decoder = decoder(EntropyDecoder::Ours);
    let file = jpeg(100, 80, &Default::default(), &mut Key::root(7).rng());
    let mut out = vec![7; 1 << 20];
    let crop = Rect::new(41, 30, 20, 10);
    let info = decoder.decode_region(&file, crop, Scale::Full, jpeg::PixelFormat::Rgbx, &mut out).unwrap();
    assert_eq!(out.len(), 1 << 20);
    assert!(out[info.bytes()..].iter().all(|&byte| byte == 7), "wrote beyond the region");
    let [left, top, width, height] = info.crop_box(crop);
    let at = (info.decoded.x as f64 + left, info.decoded.y as f64 + top);
    assert_eq!((at, width, height), ((41.0, 30.0), 20.0, 10.0));
    let half = decoder.decode_region(&file, crop, Scale::Half, jpeg::PixelFormat::Rgbx, &mut out).unwrap();
    let [left, _, width, _] = half.crop_box(crop);
    assert_eq!((f64::from(half.decoded.x) + left, width), (20.5, 10.0));
}

#[test]
fn the_peer_decodes_the_same_picture() {
    let mut decoder = decoder(EntropyDecoder::Ours);
    for sampling in [(1, 1), (2, 1), (2, 2)] {
        let options = jpeg::EncodeOptions { sampling, ..Default::default() };
        let file = jpeg(97, 75, &options, &mut Key::root(8).rng());
        let found = full(&mut decoder, &file);
        let peer = image::load_from_memory_with_format(&file, image::ImageFormat::Jpeg).unwrap().into_rgb8();
        let sum: u64 = found.pixels.iter().zip(peer.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        assert!((sum as f64) < 1.5 * found.pixels.len() as f64, "{sampling:?}: {sum}");
    }
}
