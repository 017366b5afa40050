//! Entry points for fuzzers: each takes any bytes and panics only on a bug.

use crate::{
    Damage, DecodeOptions, Decoder, EntropyDecoder, Frame, Limits, PixelFormat, Rect, Scale, SegmentIndex,
    assemble_crop,
};

/// Parses bytes as a segment index; what it accepts it must write again byte for byte but for bits of no meaning.
pub fn segment_index(data: &[u8]) {
    let Ok(index) = SegmentIndex::from_bytes(data) else { return };
    let again = index.to_bytes();
    assert_eq!(SegmentIndex::from_bytes(&again).as_ref(), Ok(&index), "an index reads back otherwise");
    assert!(again.len() <= data.len(), "an index grows");
}

/// Takes the first four bytes as a crop, then two as the length of an index, then the index, then a JPEG; assembles and
/// decodes.
pub fn assemble(data: &[u8]) {
    let Some((&[x, y, width, height, high, low], rest)) = data.split_first_chunk::<6>() else { return };
    let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
    let (index, file) = rest.split_at(length);
    let crop = Rect::new(x.into(), y.into(), width.into(), height.into());
    // What the file itself says, and what the index says.
    for index in [SegmentIndex::of(file), SegmentIndex::from_bytes(index)].into_iter().flatten() {
        let mut small = Vec::new();
        let Ok((crop, plan)) = assemble_crop(file, &index, crop, &mut small) else { continue };
        let frame = Frame::parse(&small).expect("an assembled JPEG has a header");
        assert_eq!((frame.width, frame.height), (plan.pixels.width, plan.pixels.height));
        decode_at(&small, crop);
    }
}

/// Decodes bytes in every way, and compares our entropy decoder with libjpeg-turbo's.
pub fn decode(data: &[u8]) {
    let Some((&[x, y, width, height], file)) = data.split_first_chunk::<4>() else { return };
    decode_at(file, Rect::new(x.into(), y.into(), width.into(), height.into()));
}

fn decode_at(file: &[u8], crop: Rect) {
    let limits = Limits { max_pixels: 1 << 20, max_scans: 20 };
    for damage in [Damage::Repair, Damage::Refuse] {
        for scale in [Scale::Full, Scale::Half, Scale::Eighth] {
            let decoded = [EntropyDecoder::Ours, EntropyDecoder::LibjpegTurbo].map(|entropy| {
                let mut decoder = Decoder::new(DecodeOptions { limits, damage, entropy }).expect("memory");
                let mut out = Vec::new();
                let info = decoder.decode_region(file, crop, scale, PixelFormat::Rgb, &mut out);
                info.map(|info| (info, out))
            });
            let [ours, theirs] = decoded;
            match (&ours, &theirs) {
                // Skipped data is not judged by ours, so it may accept what the other refuses or repairs.
                (Ok((ours, pixels)), Ok((theirs, reference))) if theirs.warnings == ours.warnings => {
                    assert_eq!((ours, pixels), (theirs, reference), "the entropy decoders disagree");
                }
                (Err(ours), Ok(_)) => panic!("only our entropy decoder refuses: {ours}"),
                _ => {}
            }
        }
    }
}
