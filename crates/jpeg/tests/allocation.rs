//! After warm-up nothing of ours allocates for an image. (libjpeg-turbo's own pools come from C's allocator.)

mod pictures;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use jpeg::{
    EncodeOptions, EntropyDecoder, PixelFormat, Rect, Restart, Scale, SegmentIndex, TranscodeOptions, Transcoder,
    assemble_crop,
};
use random::Key;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as promised by the caller.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn nothing_is_allocated_for_an_image_once_warm() {
    let options = EncodeOptions { restart_interval: 2, ..Default::default() };
    let files = [(200, 160), (120, 230)].map(|(w, h)| pictures::jpeg(w, h, &options, &mut Key::root(1).rng()));
    let mut transcoder = Transcoder::new().unwrap();
    let transcode = TranscodeOptions { restart: Restart::Segments, ..Default::default() };
    let packed = files.each_ref().map(|file| transcoder.transcode(file, &transcode).unwrap().to_vec());
    let indices = packed.each_ref().map(|file| SegmentIndex::of(file).unwrap().to_bytes());
    let mut decoder = pictures::decoder(EntropyDecoder::Ours);
    let (mut out, mut small, mut index) = (Vec::new(), Vec::new(), SegmentIndex::default());
    let mut work = || {
        for i in 0..files.len() {
            decoder.decode_full(&files[i], PixelFormat::Rgbx, &mut out).unwrap();
            let crop = Rect::new(30, 40, 60, 70);
            decoder.decode_region(&files[i], crop, Scale::Half, PixelFormat::Rgb, &mut out).unwrap();
            index.read(&indices[i]).unwrap();
            let (inner, _) = assemble_crop(&packed[i], &index, crop, &mut small).unwrap();
            decoder.decode_region(&small, inner, Scale::Full, PixelFormat::Rgbx, &mut out).unwrap();
        }
    };
    work();
    let before = ALLOCATIONS.get();
    work();
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert!(before > 0, "the allocator counts");
}
