//! Pixels come from the file alone: what memory held before does not show.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod pictures;

use jpeg::{EntropyDecoder, PixelFormat, Scale};
use pictures::{SIZES, crop, decoder, jpeg, kinds};
use random::Key;

/// A fresh decoder's pixels of the crop, with memory from the allocator filled with a byte.
fn decoded(file: &[u8], crop: jpeg::Rect, scale: Scale, fill: i32) -> (jpeg::RegionInfo, Vec<u8>) {
    // SAFETY: it only sets a number of glibc's allocator; this file has one test, so nobody else does.
    unsafe { libc::mallopt(libc::M_PERTURB, fill) };
    let mut decoder = decoder(EntropyDecoder::Ours);
    let mut pixels = Vec::new();
    let info = decoder.decode_region(file, crop, scale, PixelFormat::Rgb, &mut pixels).unwrap();
    (info, pixels)
}

#[test]
fn pixels_do_not_depend_on_what_memory_held() {
    for (k, kind) in kinds().iter().enumerate() {
        for (s, &(width, height)) in SIZES.iter().chain(&[(61, 47), (301, 203)]).enumerate() {
            let mut rng = Key::root(3).child(k as u64).child(s as u64).rng();
            let file = jpeg(width, height, kind, &mut rng);
            for scale in [Scale::Full, Scale::Half, Scale::Quarter, Scale::Eighth].into_iter().cycle().take(12) {
                let crop = crop(width, height, &mut rng);
                let [a, b] = [0x55, 0xC3].map(|fill| decoded(&file, crop, scale, fill));
                assert!(a == b, "{kind:?} {width}×{height} {crop:?} {scale:?}");
            }
        }
    }
    assert!([0x55, 0xC3].into_iter().all(is_filled), "the allocator fills nothing, so this test sees nothing");
}

/// Whether the allocator does what it is told: it fills with the complement.
fn is_filled(fill: i32) -> bool {
    // SAFETY: as above; the memory is large enough, and was written by the allocator or the test is of no use.
    unsafe {
        libc::mallopt(libc::M_PERTURB, fill);
        let memory = libc::malloc(5000).cast::<u8>();
        let filled = !memory.is_null() && std::ptr::read_volatile(memory.add(4000)) == !(fill as u8);
        libc::free(memory.cast());
        filled
    }
}
