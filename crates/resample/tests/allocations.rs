//! Sizes that were seen allocate nothing: a counting allocator sees what a warm resampler asks for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use resample::{Backend, Image, Kernel, Part, Resampler};

/// The system's allocator, which counts what this thread asks for.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
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

#[test]
fn a_warm_resampler_allocates_nothing() {
    let pixels = vec![1; 300 * 200 * 4];
    let image = Image { pixels: &pixels, width: 300, height: 200 };
    let mut into = Vec::new();
    for mut resampler in Backend::ALL.into_iter().filter_map(Resampler::with) {
        let mut resize = |width, height, kernel| {
            let part = Part { left: 1, top: 1, width, height };
            resampler.resize(image, part, part.window(), kernel, [64, 48], &mut into).expect("a good window");
        };
        let before = ALLOCATIONS.get();
        resize(299, 199, Kernel::Cubic);
        let cold = ALLOCATIONS.get();
        assert!(cold > before, "nothing is counted");
        for (width, height) in (1..299).zip((1..199).cycle()) {
            resize(width, height, Kernel::Triangle);
            resize(width, height, Kernel::Cubic);
        }
        assert_eq!(ALLOCATIONS.get(), cold);
    }
}
