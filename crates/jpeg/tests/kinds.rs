//! Headers, colour spaces, unusual kinds of JPEG, and damage.

mod pictures;

use jpeg::{
    ColourSpace, Damage, DecodeOptions, Decoder, EncodeOptions, Encoder, EntropyDecoder, JpegError, Limits,
    PixelFormat, Reason, Rect, Scale, Subsampling,
};
use pictures::{decoder, full, jpeg};
use random::Key;

fn strict() -> Decoder {
    Decoder::new(DecodeOptions { damage: Damage::Refuse, ..DecodeOptions::default() }).unwrap()
}

fn decode(decoder: &mut Decoder, file: &[u8]) -> Result<u32, JpegError> {
    decoder.decode_full(file, PixelFormat::Rgb, &mut Vec::new()).map(|info| info.warnings)
}

fn reason(result: Result<u32, JpegError>) -> Option<Reason> {
    result.err().and_then(|error| error.reason())
}

#[test]
fn headers_say_what_was_written() {
    let mut decoder = decoder(EntropyDecoder::Ours);
    let mut header = |options: &EncodeOptions| {
        let file = jpeg(50, 40, options, &mut Key::root(1).rng());
        decoder.read_header(&file).unwrap()
    };
    let plain = header(&EncodeOptions { restart_interval: 4, ..Default::default() });
    assert_eq!((plain.width, plain.height, plain.components, plain.precision), (50, 40, 3, 8));
    assert_eq!((plain.subsampling, plain.colour_space), (Subsampling::S420, ColourSpace::YCbCr));
    assert_eq!((plain.restart_interval, plain.mcu, plain.adobe_transform), (4, (16, 16), None));
    assert!(!plain.progressive && !plain.arithmetic);
    assert!(header(&EncodeOptions { progressive: true, ..Default::default() }).progressive);
    assert!(header(&EncodeOptions { arithmetic: true, ..Default::default() }).arithmetic);
    let grey = header(&EncodeOptions { colour_space: ColourSpace::Grey, sampling: (2, 2), ..Default::default() });
    assert_eq!((grey.subsampling, grey.colour_space, grey.mcu), (Subsampling::Grey, ColourSpace::Grey, (8, 8)));
    let ycck = header(&EncodeOptions { colour_space: ColourSpace::Ycck, ..Default::default() });
    assert_eq!(
        (ycck.colour_space, ycck.subsampling, ycck.adobe_transform),
        (ColourSpace::Ycck, Subsampling::S420, Some(2))
    );
    for (sampling, name) in [((1, 1), Subsampling::S444), ((2, 1), Subsampling::S422), ((4, 1), Subsampling::S411)] {
        assert_eq!(header(&EncodeOptions { sampling, ..Default::default() }).subsampling, name);
    }
}

/// PIL takes every CMYK JPEG as inverted, and makes R = (255 - K) - C·(255 - K)/255 of it.
#[test]
fn cmyk_becomes_rgb_as_in_pil() {
    let options =
        EncodeOptions { colour_space: ColourSpace::Cmyk, sampling: (1, 1), quality: 100, ..Default::default() };
    let file = Encoder::new().unwrap().encode(&[200, 100, 0, 180].repeat(64), 8, 8, &options).unwrap().to_vec();
    let found = full(&mut decoder(EntropyDecoder::Ours), &file);
    // Stored inverted: C = 55, M = 155, Y = 255, K = 75 of 255.
    let wanted = [141, 71, 0];
    for (a, b) in found.at(3, 3).into_iter().zip(wanted) {
        assert!(a.abs_diff(b) <= 1, "{:?} {wanted:?}", found.at(3, 3));
    }
}

#[test]
fn twelve_bits_are_decoded() {
    let options = EncodeOptions { precision: 12, sampling: (1, 1), quality: 100, ..Default::default() };
    let pixels: Vec<u8> = (0..40 * 30).flat_map(|i| [(i % 40 * 6) as u8, (i / 40 * 8) as u8, 90]).collect();
    let file = Encoder::new().unwrap().encode(&pixels, 40, 30, &options).unwrap().to_vec();
    let mut decoder = decoder(EntropyDecoder::Ours);
    assert_eq!(decoder.read_header(&file).unwrap().precision, 12);
    let found = full(&mut decoder, &file);
    assert!(found.pixels.iter().zip(&pixels).all(|(a, b)| a.abs_diff(*b) <= 4));
    let part = pictures::region(&mut decoder, &file, Rect::new(9, 11, 20, 10), Scale::Full);
    assert_eq!(part.difference(&found, Rect::new(9, 11, 20, 10), (0, 0)).0, 0);
    let mut rgbx = Vec::new();
    decoder.decode_full(&file, PixelFormat::Rgbx, &mut rgbx).unwrap();
    assert_eq!(rgbx[4 * 45..4 * 45 + 3], found.at(5, 1));
}

#[test]
fn what_is_no_jpeg_is_called_so() {
    for data in [&b""[..], b"\xFF", b"GIF89a", b"\x89PNG\r\n\x1a\n", &[0; 100]] {
        assert_eq!(reason(decode(&mut strict(), data)), Some(Reason::NotJpeg));
        assert_eq!(reason(decode(&mut decoder(EntropyDecoder::Ours), data)), Some(Reason::NotJpeg));
    }
}

#[test]
fn truncated_files_are_repaired_or_refused() {
    for kind in pictures::kinds() {
        let file = jpeg(120, 90, &kind, &mut Key::root(2).rng());
        assert_eq!(decode(&mut strict(), &file), Ok(0), "{kind:?}");
        for percent in [1, 30, 60, 90, 99] {
            let cut = &file[..file.len() * percent / 100];
            let refused = decode(&mut strict(), cut);
            assert_eq!(reason(refused.clone()), Some(Reason::Truncated), "{percent} % {kind:?}: {refused:?}");
            // Cut in the coded data: repaired and counted, the same pixels from both entropy decoders.
            if percent >= 60 {
                let repaired = decode(&mut decoder(EntropyDecoder::Ours), cut).unwrap();
                assert!(repaired > 0, "{percent} % {kind:?}");
                let [ours, theirs] =
                    [EntropyDecoder::Ours, EntropyDecoder::LibjpegTurbo].map(|e| full(&mut decoder(e), cut));
                assert_eq!(ours.pixels, theirs.pixels);
                assert_eq!(ours.info, theirs.info);
            }
        }
    }
}

#[test]
fn a_cut_below_the_region_is_seen_only_by_strictness() {
    let file = jpeg(200, 200, &Default::default(), &mut Key::root(3).rng());
    let cut = &file[..file.len() * 6 / 10];
    let top = Rect::new(20, 10, 100, 40);
    let read = |decoder: &mut Decoder| decoder.decode_region(cut, top, Scale::Full, PixelFormat::Rgb, &mut Vec::new());
    assert_eq!(read(&mut decoder(EntropyDecoder::Ours)).unwrap().warnings, 0);
    assert_eq!(read(&mut strict()).unwrap_err().reason(), Some(Reason::Truncated));
}

/// Damage anywhere: never a crash, never other pixels than libjpeg-turbo's, and an end.
#[test]
fn damaged_files_look_as_everywhere() {
    let (mut ours, mut theirs) = (decoder(EntropyDecoder::Ours), decoder(EntropyDecoder::LibjpegTurbo));
    for (k, kind) in pictures::kinds().iter().enumerate() {
        let mut rng = Key::root(4).child(k as u64).rng();
        let file = jpeg(70, 50, kind, &mut rng);
        for _ in 0..60 {
            let mut damaged = file.clone();
            for _ in 0..1 + rng.below(4) {
                let place = 2 + rng.below(file.len() as u64 - 2) as usize;
                damaged[place] = rng.next_u32() as u8;
            }
            let [a, b] = [&mut ours, &mut theirs].map(|decoder| {
                let mut pixels = Vec::new();
                decoder.decode_full(&damaged, PixelFormat::Rgb, &mut pixels).map(|info| (info, pixels))
            });
            assert!(a == b, "{kind:?}: {:?} {:?}", a.map(|a| a.0), b.map(|b| b.0));
            let _ = decode(&mut strict(), &damaged);
        }
    }
    // The decoders are none the worse for it.
    let file = jpeg(70, 50, &Default::default(), &mut Key::root(5).rng());
    assert_eq!(full(&mut ours, &file).pixels, full(&mut theirs, &file).pixels);
}

#[test]
fn bombs_are_refused() {
    let limits = Limits { max_pixels: 100 * 100, max_scans: 9 };
    let mut decoder = Decoder::new(DecodeOptions { limits, ..DecodeOptions::default() }).unwrap();
    let mut rng = Key::root(6).rng();
    let file = jpeg(101, 100, &Default::default(), &mut rng);
    assert_eq!(reason(decode(&mut decoder, &file)), Some(Reason::TooLarge));
    // A header that claims 65,500 × 65,500 pixels costs nothing.
    let mut bomb = jpeg(16, 16, &EncodeOptions { progressive: true, ..Default::default() }, &mut rng);
    let frame = bomb.windows(2).position(|pair| pair == [0xFF, 0xC2]).unwrap();
    bomb[frame + 5..frame + 9].copy_from_slice(&[0xFF, 0xDC, 0xFF, 0xDC]);
    assert_eq!(reason(decode(&mut pictures::decoder(EntropyDecoder::Ours), &bomb)), Some(Reason::TooLarge));
    // libjpeg's own script has ten scans.
    let progressive = jpeg(90, 90, &EncodeOptions { progressive: true, ..Default::default() }, &mut rng);
    assert_eq!(reason(decode(&mut decoder, &progressive)), Some(Reason::TooLarge));
    assert_eq!(decode(&mut pictures::decoder(EntropyDecoder::Ours), &progressive), Ok(0));
}

#[test]
fn scans_without_end_are_refused() {
    let file = jpeg(64, 64, &EncodeOptions { progressive: true, ..Default::default() }, &mut Key::root(7).rng());
    let scan = file.windows(2).position(|pair| pair == [0xFF, 0xDA]).unwrap();
    let end = scan + 2 + file[scan + 2..].windows(2).position(|pair| pair[0] == 0xFF && pair[1] != 0).unwrap();
    let next = end + file[end..].windows(2).position(|pair| pair == [0xFF, 0xDA]).unwrap();
    // The second scan over and over: tables between the scans are passed by.
    let rest = next + 2 + file[next + 2..].windows(2).position(|pair| pair[0] == 0xFF && pair[1] != 0).unwrap();
    let mut endless = file[..next].to_vec();
    for _ in 0..300 {
        endless.extend_from_slice(&file[next..rest]);
    }
    endless.extend_from_slice(&[0xFF, 0xD9]);
    assert_eq!(reason(decode(&mut decoder(EntropyDecoder::Ours), &endless)), Some(Reason::TooLarge));
}

#[test]
fn regions_outside_are_an_error_of_the_caller() {
    let file = jpeg(30, 20, &Default::default(), &mut Key::root(8).rng());
    let mut decoder = decoder(EntropyDecoder::Ours);
    for crop in [Rect::new(0, 0, 31, 20), Rect::new(30, 0, 1, 1), Rect::new(0, 0, 0, 5), Rect::new(5, u32::MAX, 1, 1)] {
        let error = decoder.decode_region(&file, crop, Scale::Full, PixelFormat::Rgb, &mut Vec::new()).unwrap_err();
        assert_eq!(error, JpegError::Region { region: crop, width: 30, height: 20 });
    }
}

#[test]
fn lossless_jpegs_are_unsupported() {
    let mut file = jpeg(16, 16, &EncodeOptions { sampling: (1, 1), ..Default::default() }, &mut Key::root(9).rng());
    let frame = file.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    for kind in [0xC3, 0xC5, 0xC7, 0xCB] {
        file[frame + 1] = kind;
        let found = reason(decode(&mut decoder(EntropyDecoder::Ours), &file));
        assert!(matches!(found, Some(Reason::Unsupported | Reason::Corrupt)), "{kind:02X} {found:?}");
    }
}
