//! Nothing that an image is made of comes from another one: after any other file each decodes as it does alone.

mod pictures;

use jpeg::{
    Damage, DecodeOptions, Decoder, EncodeOptions, EntropyDecoder, JpegError, Markers, PixelFormat, Rect, Restart,
    Scale, TranscodeOptions, Transcoder,
};
use pictures::{jpeg, kinds};
use random::{Key, Rng};

const DHT: u8 = 0xC4;
const DQT: u8 = 0xDB;

/// A JPEG without those of its header's segments that `dropped` names by marker and by their number among the segments of that marker.
fn without(file: &[u8], dropped: impl Fn(u8, usize) -> bool) -> Vec<u8> {
    let (mut kept, mut at, mut seen) = (file[..2].to_vec(), 2, [0usize; 256]);
    loop {
        let marker = file[at + 1];
        let length = 2 + usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
        if !dropped(marker, seen[usize::from(marker)]) {
            kept.extend_from_slice(&file[at..at + length]);
        }
        seen[usize::from(marker)] += 1;
        at += length;
        if marker == 0xDA {
            kept.extend_from_slice(&file[at..]);
            return kept;
        }
    }
}

/// Every kind of file, whole; without some or all of its tables, as frames of MJPEG are; and cut short. In an order that `rng` draws.
fn files(rng: &mut Rng) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let plain = EncodeOptions { optimise: false, ..Default::default() };
    for (number, kind) in kinds().into_iter().chain([plain]).enumerate() {
        let (width, height) = (8 + rng.below(90) as u32, 8 + rng.below(90) as u32);
        let whole = jpeg(width, height, &kind, rng);
        let cut = whole[..whole.len() / 2 + rng.below(whole.len() as u64 / 2) as usize].to_vec();
        let name = |what: &str| format!("kind {number} of {width}×{height}, {what}");
        files.push((name("without Huffman tables"), without(&whole, |marker, _| marker == DHT)));
        files.push((name("with one Huffman table"), without(&whole, |marker, place| marker == DHT && place > 0)));
        files.push((name("without quantization tables"), without(&whole, |marker, _| marker == DQT)));
        files.push((name("with one quantization table"), without(&whole, |marker, place| marker == DQT && place > 0)));
        files.push((name("cut short"), cut));
        files.push((name("whole"), whole));
    }
    for last in (1..files.len()).rev() {
        files.swap(last, rng.below(last as u64 + 1) as usize);
    }
    files
}

type Answer = Result<(Vec<u8>, u32), String>;

/// One way of making something of files, by its name.
type Worker = (String, Box<dyn FnMut(&[u8]) -> Answer>);

fn told<T>(result: Result<T, JpegError>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// Each way of making something of a file.
fn workers() -> Vec<Worker> {
    let mut workers: Vec<Worker> = Vec::new();
    for entropy in [EntropyDecoder::Ours, EntropyDecoder::LibjpegTurbo] {
        for damage in [Damage::Repair, Damage::Refuse] {
            let options = DecodeOptions { damage, entropy, ..Default::default() };
            let mut whole = Decoder::new(options).expect("memory");
            let decode = move |file: &[u8]| {
                let mut out = Vec::new();
                let info = told(whole.decode_full(file, PixelFormat::Rgb, &mut out))?;
                Ok((out, info.warnings))
            };
            workers.push((format!("{options:?}"), Box::new(decode)));
            let mut part = Decoder::new(options).expect("memory");
            let decode = move |file: &[u8]| {
                let mut out = Vec::new();
                let image = told(part.open(file))?;
                let info = told(image.decode_region(Rect::new(1, 2, 5, 4), Scale::Full, PixelFormat::Rgbx, &mut out))?;
                Ok((out, info.warnings))
            };
            workers.push((format!("a part, {options:?}"), Box::new(decode)));
        }
    }
    let options = TranscodeOptions {
        restart: Restart::Segments,
        markers: Markers::Keep,
        limits: jpeg::Limits::default(),
        damage: Damage::Refuse,
    };
    let mut transcoder = Transcoder::new().expect("memory");
    let transcode = move |file: &[u8]| told(transcoder.transcode(file, &options).map(|written| (written.to_vec(), 0)));
    workers.push(("the transcoder".to_owned(), Box::new(transcode)));
    let mut reader = Transcoder::new().expect("memory");
    let coefficients = move |file: &[u8]| {
        let found = told(reader.coefficients(file, &options))?;
        Ok((format!("{found:?}").into_bytes(), 0))
    };
    workers.push(("coefficients".to_owned(), Box::new(coefficients)));
    workers
}

#[test]
fn any_file_after_any_other_is_the_file_alone() {
    let files = files(&mut Key::root(18).rng());
    let alone: Vec<Vec<Answer>> =
        files.iter().map(|(_, file)| workers().iter_mut().map(|(_, work)| work(file)).collect()).collect();
    let decoded = alone.iter().filter(|answers| answers[0].is_ok()).count();
    assert!(decoded > files.len() / 2, "{decoded} of {} decode at all", files.len());
    let mut workers = workers();
    // Forward and backward, so that each pair of neighbors comes in both orders.
    for place in (0..files.len()).chain((0..files.len()).rev()) {
        let (name, file) = &files[place];
        for ((how, work), alone) in workers.iter_mut().zip(&alone[place]) {
            assert!(work(file) == *alone, "{name}: {how}");
        }
    }
}

/// The tables of the standard stand in for Huffman tables that are missing, as in libjpeg and Pillow.
#[test]
fn a_frame_of_mjpeg_is_the_whole_file() {
    let mut rng = Key::root(19).rng();
    let (optimized, plain) = (EncodeOptions::default(), EncodeOptions { optimise: false, ..Default::default() });
    for entropy in [EntropyDecoder::Ours, EntropyDecoder::LibjpegTurbo] {
        let mut decoder = Decoder::new(DecodeOptions { entropy, ..Default::default() }).expect("memory");
        let mut decode = |file: &[u8]| {
            let mut out = Vec::new();
            decoder.decode_full(file, PixelFormat::Rgb, &mut out).map(|_| out).map_err(|error| error.to_string())
        };
        for _ in 0..4 {
            let other = jpeg(60, 50, &optimized, &mut rng);
            let whole = jpeg(40, 30, &plain, &mut rng);
            let expected = decode(&whole).expect("a whole file");
            decode(&other).expect("a whole file");
            assert_eq!(decode(&without(&whole, |marker, _| marker == DHT)), Ok(expected));
            decode(&other).expect("a whole file");
            let error = decode(&without(&whole, |marker, _| marker == DQT)).expect_err("nothing stands in for these");
            assert!(error.contains("uantization table"), "{error}");
        }
    }
}
