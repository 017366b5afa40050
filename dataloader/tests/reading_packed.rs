//! After warm-up reading from a packed data set allocates nothing.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use dataloader::pack::{PackSpec, pack};
use dataloader::{CropBox, DatasetSpec, Encoding, SourceKind, Wants, open};
use support::photographs::mixed_folder;

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
fn nothing_is_allocated_for_a_packed_image_once_warm() {
    let folder = mixed_folder(6);
    let out = folder.path().join("packed");
    let plain = open(&DatasetSpec::folder(folder.path())).expect("a data set");
    pack(&plain, &PackSpec::new(&out), &|_| {}).expect("packed");
    let spec = DatasetSpec { kind: SourceKind::Shards, ..DatasetSpec::folder(&out) };
    let packed = open(&spec).expect("a packed data set").train;
    let middle = |width: u32, height: u32| CropBox {
        top: height / 4,
        left: width / 4,
        height: height.div_ceil(2),
        width: width.div_ceil(2),
    };
    let mut bytes = Vec::new();
    let mut read_all = || {
        for index in 0..packed.len() {
            let encoding = packed.read(index, Wants::new(&middle), &mut bytes).expect("read");
            assert!(matches!(encoding, Encoding::Part { .. }) && packed.label(index) < 2);
        }
    };
    read_all();
    let before = ALLOCATIONS.get();
    read_all();
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert!(before > 0, "the allocator counts");
}
