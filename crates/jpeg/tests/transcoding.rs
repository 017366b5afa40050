//! Lossless transcoding, segments, and small JPEGs made of them.

mod pictures;

use jpeg::{
    ColourSpace, EncodeOptions, EntropyDecoder, Frame, JpegError, Markers, Reason, Rect, Restart, Scale, SegmentIndex,
    TranscodeOptions, Transcoder, assemble_crop, segment_interval,
};
use pictures::{SIZES, crop, decoder, full, jpeg, kinds, region};
use random::Key;

const SEGMENTS: TranscodeOptions = TranscodeOptions {
    restart: Restart::Segments,
    markers: Markers::Drop,
    limits: jpeg::Limits { max_pixels: 1 << 30, max_scans: 100 },
    damage: jpeg::Damage::Refuse,
};

#[test]
fn coefficients_and_pixels_survive() {
    let mut transcoder = Transcoder::new().unwrap();
    let mut decoder = decoder(EntropyDecoder::Ours);
    for (k, kind) in kinds().iter().enumerate() {
        for (s, &(width, height)) in SIZES.iter().enumerate() {
            let file = jpeg(width, height, kind, &mut Key::root(1).child(k as u64).child(s as u64).rng());
            let before = transcoder.coefficients(&file, &SEGMENTS).unwrap();
            for restart in [Restart::None, Restart::Every(1), Restart::Every(7), Restart::Segments] {
                let options = TranscodeOptions { restart, ..SEGMENTS };
                let written = transcoder.transcode(&file, &options).unwrap().to_vec();
                assert_eq!(transcoder.coefficients(&written, &SEGMENTS).unwrap(), before, "{kind:?}");
                let header = decoder.read_header(&written).unwrap();
                let was = decoder.read_header(&file).unwrap();
                assert!(!header.progressive && !header.arithmetic);
                assert_eq!((header.colour_space, header.subsampling), (was.colour_space, was.subsampling));
                assert_eq!(
                    full(&mut decoder, &written).pixels,
                    full(&mut decoder, &file).pixels,
                    "{kind:?} {width}×{height}"
                );
            }
        }
    }
}

#[test]
fn optimised_tables_make_files_smaller() {
    let options = EncodeOptions { optimise: false, ..Default::default() };
    let file = jpeg(300, 200, &options, &mut Key::root(2).rng());
    let mut transcoder = Transcoder::new().unwrap();
    let written = transcoder.transcode(&file, &TranscodeOptions { restart: Restart::None, ..SEGMENTS }).unwrap();
    assert!(written.len() < file.len(), "{} {}", written.len(), file.len());
}

#[test]
fn markers_are_dropped_or_kept() {
    let mut file = jpeg(40, 30, &Default::default(), &mut Key::root(3).rng());
    let exif = [&[0xFF, 0xE1, 0, 10][..], b"Exif\0\0hi"].concat();
    let comment = [&[0xFF, 0xFE, 0, 7][..], b"hello"].concat();
    file.splice(20..20, [exif.clone(), comment.clone()].concat());
    let mut transcoder = Transcoder::new().unwrap();
    let contains = |file: &[u8], part: &[u8]| file.windows(part.len()).any(|window| window == part);
    let kept = transcoder.transcode(&file, &TranscodeOptions { markers: Markers::Keep, ..SEGMENTS }).unwrap();
    assert!(contains(kept, &exif) && contains(kept, &comment));
    assert_eq!(kept.windows(5).filter(|window| window == b"JFIF\0").count(), 1);
    let dropped = transcoder.transcode(&file, &SEGMENTS).unwrap();
    assert!(!contains(dropped, b"Exif") && !contains(dropped, b"hello"));
}

/// Without Adobe's marker a CMYK file must not get one: some decoders invert only where it is.
#[test]
fn cmyk_keeps_what_its_marker_said() {
    let options = EncodeOptions { colour_space: ColourSpace::Cmyk, sampling: (1, 1), ..Default::default() };
    let with = jpeg(20, 20, &options, &mut Key::root(4).rng());
    let place = with.windows(5).position(|window| window == b"Adobe").unwrap() - 4;
    let mut without = with.clone();
    without.drain(place..place + 16);
    let mut transcoder = Transcoder::new().unwrap();
    let has_marker = |file: &[u8]| file.windows(5).any(|window| window == b"Adobe");
    assert!(has_marker(transcoder.transcode(&with, &SEGMENTS).unwrap()));
    assert!(!has_marker(transcoder.transcode(&without, &SEGMENTS).unwrap()));
}

#[test]
fn what_baseline_cannot_hold_is_refused() {
    let mut transcoder = Transcoder::new().unwrap();
    let mut rng = Key::root(5).rng();
    let deep = jpeg(20, 20, &EncodeOptions { precision: 12, sampling: (1, 1), ..Default::default() }, &mut rng);
    assert_eq!(transcoder.transcode(&deep, &SEGMENTS).unwrap_err().reason(), Some(Reason::Unsupported));
    let file = jpeg(80, 60, &Default::default(), &mut rng);
    let cut = transcoder.transcode(&file[..file.len() / 2], &SEGMENTS).unwrap_err();
    assert_eq!(cut.reason(), Some(Reason::Truncated));
    assert_eq!(transcoder.transcode(b"no", &SEGMENTS).unwrap_err().reason(), Some(Reason::NotJpeg));
    assert!(transcoder.transcode(&file, &SEGMENTS).is_ok());
}

#[test]
fn segments_make_small_jpegs_with_the_same_pixels() {
    let mut transcoder = Transcoder::new().unwrap();
    let mut decoder = decoder(EntropyDecoder::Ours);
    let mut small = Vec::new();
    let (mut smaller, mut peers) = (0, 0);
    for (k, kind) in kinds().iter().enumerate() {
        for (s, &(width, height)) in SIZES.iter().chain(&[(400, 60), (368, 80)]).enumerate() {
            let mut rng = Key::root(6).child(k as u64).child(s as u64).rng();
            let file = jpeg(width, height, kind, &mut rng);
            let packed = transcoder.transcode(&file, &SEGMENTS).unwrap().to_vec();
            let whole = full(&mut decoder, &packed);
            let index = SegmentIndex::of(&packed).unwrap();
            assert_eq!(SegmentIndex::from_bytes(&index.to_bytes()).unwrap(), index);
            assert_eq!(index.file_length(), packed.len());
            for _ in 0..10 {
                let crop = crop(width, height, &mut rng);
                let (inner, plan) = assemble_crop(&packed, &index, crop, &mut small).unwrap();
                smaller += usize::from(small.len() < packed.len());
                let found = region(&mut decoder, &small, inner, Scale::Full);
                assert_eq!(found.info.warnings, 0);
                let shift = (plan.pixels.x, plan.pixels.y);
                let (worst, _) = whole.difference(&found, crop, shift);
                assert!(worst <= 1, "{worst} levels: {kind:?} {width}×{height} {crop:?} {plan:?}");
                peers += usize::from(the_peer_agrees(&packed, &small, crop, shift, kind));
            }
        }
    }
    assert!(smaller > 1500 && peers > 1000, "{smaller} {peers}");
}

/// The small file decoded by another decoder, against the large one decoded by it. False where it does not decode this
/// kind.
fn the_peer_agrees(packed: &[u8], small: &[u8], crop: Rect, shift: (u32, u32), kind: &EncodeOptions) -> bool {
    // CMYK is not this decoder's strength, and 4:1:1 neither.
    if matches!(kind.colour_space, ColourSpace::Cmyk | ColourSpace::Ycck) || kind.sampling.0 == 4 {
        return false;
    }
    let load = |file| image::load_from_memory_with_format(file, image::ImageFormat::Jpeg).unwrap().into_rgb8();
    let (large, small) = (load(packed), load(small));
    for y in crop.y..crop.bottom() {
        for x in crop.x..crop.right() {
            let (a, b) = (large.get_pixel(x, y).0, small.get_pixel(x - shift.0, y - shift.1).0);
            let worst = a.iter().zip(b).map(|(a, b)| a.abs_diff(b)).max().unwrap_or(0);
            assert!(worst <= 1, "{worst} levels at {x}, {y}: {kind:?} {crop:?} {a:?} {b:?}");
        }
    }
    true
}

#[test]
fn an_index_of_another_file_is_refused() {
    let mut transcoder = Transcoder::new().unwrap();
    let mut rng = Key::root(7).rng();
    let mut pack = |width, height| {
        let file = jpeg(width, height, &Default::default(), &mut rng);
        transcoder.transcode(&file, &SEGMENTS).unwrap().to_vec()
    };
    let (file, other, larger) = (pack(160, 100), pack(160, 100), pack(320, 100));
    let crop = Rect::new(30, 20, 90, 60);
    let refused = |file: &[u8], index: &SegmentIndex| {
        matches!(assemble_crop(file, index, crop, &mut Vec::new()), Err(JpegError::Index { .. }))
    };
    let index = SegmentIndex::of(&file).unwrap();
    assert!(!refused(&file, &index));
    assert!(refused(&larger, &index));
    assert!(refused(&other, &index), "offsets that hit no marker");
    assert!(refused(&file[..file.len() / 3], &index), "a file cut short");
    let plain = transcoder.transcode(&file, &TranscodeOptions { restart: Restart::Every(3), ..SEGMENTS }).unwrap();
    assert!(SegmentIndex::of(plain).is_err(), "3 does not divide 10 MCUs");
}

#[test]
fn damaged_indices_are_refused() {
    let mut transcoder = Transcoder::new().unwrap();
    let file = jpeg(160, 100, &Default::default(), &mut Key::root(8).rng());
    let packed = transcoder.transcode(&file, &SEGMENTS).unwrap().to_vec();
    let bytes = SegmentIndex::of(&packed).unwrap().to_bytes();
    for length in 0..bytes.len() {
        assert!(SegmentIndex::from_bytes(&bytes[..length]).is_err(), "{length}");
    }
    let with = |at: usize, value: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        SegmentIndex::from_bytes(&bytes)
    };
    assert!(with(0, &[2]).is_err() && with(1, &[33]).is_err() && with(2, &[0, 0]).is_err());
    assert!(with(6, &[0xFF, 0xFF]).is_err() && with(8, &[0xFF; 4]).is_err() && with(12, &[0; 4]).is_err());
}

#[test]
fn frames_are_read_from_the_header_alone() {
    let mut transcoder = Transcoder::new().unwrap();
    let file = jpeg(500, 375, &Default::default(), &mut Key::root(9).rng());
    let packed = transcoder.transcode(&file, &SEGMENTS).unwrap();
    let frame = Frame::parse(packed).unwrap();
    assert_eq!((frame.width, frame.height, frame.mcu), (500, 375, (16, 16)));
    assert_eq!(frame.restart_interval, segment_interval(32, 16));
    assert_eq!(Frame::parse(&packed[..frame.scan_offset]), Ok(frame));
    assert!(Frame::parse(&packed[..frame.scan_offset - 1]).is_err());
    let progressive =
        jpeg(50, 30, &EncodeOptions { progressive: true, ..Default::default() }, &mut Key::root(10).rng());
    assert_eq!(Frame::parse(&progressive).unwrap_err().reason(), Some(Reason::Unsupported));
}
