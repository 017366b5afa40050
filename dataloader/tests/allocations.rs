//! After a warm-up the loader takes no more memory: a counting allocator sees what it asks for per image.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use dataloader::{Encoding, LoaderSpec, LoaderStats, ReadError, Source, Transform, Wants, with_batches};
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use support::{augmented, memory, noise, training};

/// The system's allocator, which counts. What libjpeg-turbo asks of C's `malloc` does not come by here.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// Held by the test that counts.
static ALONE: Mutex<()> = Mutex::new(());

// SAFETY: every call goes on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on, and the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Files or plain pixels in memory, which are copied out as a file would be read.
struct InMemory {
    samples: Vec<(Vec<u8>, Encoding)>,
    classes: Vec<String>,
}

impl Source for InMemory {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, _: usize) -> u32 {
        0
    }

    fn name(&self, index: usize) -> Cow<'_, str> {
        Cow::Owned(index.to_string())
    }

    fn read(&self, index: usize, _: Wants<'_>, into: &mut Vec<u8>) -> Result<Encoding, ReadError> {
        let (bytes, encoding) = &self.samples[index];
        into.clear();
        into.extend_from_slice(bytes);
        Ok(*encoding)
    }
}

fn source(samples: impl Iterator<Item = (Vec<u8>, Encoding)>) -> InMemory {
    InMemory { samples: samples.collect(), classes: vec!["all".to_owned()] }
}

fn jpeg(seed: u64, width: u32, height: u32) -> Vec<u8> {
    let mut file = Vec::new();
    let pixels = noise(seed, width, height);
    JpegEncoder::new(&mut file).encode(&pixels, width, height, ExtendedColorType::Rgb8).expect("in memory");
    file
}

/// Allocations an image: the fewest in any of ten rounds of 1,000 images, since the vectors that a contended batch needs
/// are made when it is contended for the first time.
fn allocations_an_image(source: &InMemory, spec: &LoaderSpec) -> f64 {
    const BATCHES: usize = 250;
    let images = (BATCHES * spec.micro_batch) as f64;
    with_batches(source, spec, memory(spec, 4), &LoaderStats::new(), |batches| {
        let mut round = || {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            (0..BATCHES).for_each(|_| drop(batches.next().expect("good images")));
            (ALLOCATIONS.load(Ordering::Relaxed) - before) as f64 / images
        };
        (0..10).map(|_| round()).fold(f64::INFINITY, f64::min)
    })
    .expect("a loader")
}

#[test]
fn a_warm_loader_allocates_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let spec = LoaderSpec { workers: 2, readers: 2, ..training(4) };
    let plain = Encoding::Rgb { width: 6, height: 6 };
    let ready = source((0..8).map(|seed| (noise(seed, 6, 6), plain)));
    let unchanged =
        LoaderSpec { transform: Transform { pixels: augmented().pixels, ..Transform::center(6, 1.0) }, ..spec.clone() };
    let found = allocations_an_image(&ready, &unchanged);
    assert!(found < 0.003, "{found} allocations an image");
}

#[test]
fn a_warm_loader_of_jpegs_allocates_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let spec = LoaderSpec { workers: 2, readers: 2, ..training(4) };
    let files = source((0..8).map(|seed| (jpeg(seed, 60, 48), Encoding::File)));
    let found = allocations_an_image(&files, &spec);
    assert!(found < 0.003, "{found} allocations an image");
}
