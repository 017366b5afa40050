//! Exchanges of whatever size need no more memory than the messages that are under way at once.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use collectives::{Exchange, Reduction, Wire};

mod threads;
use threads::{PATIENT, on_ranks};

/// The system's memory, with a count of all bytes that were ever asked for.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        BYTES.fetch_add(bytes, Ordering::Relaxed);
        // SAFETY: as in `alloc`.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

#[global_allocator]
static MEMORY: Counting = Counting;

const MESSAGE_BYTES: usize = 60 * 1024;
/// Of one rank: those on their way to the next, one that is being read, one that is being written, and a few.
const MESSAGES_UNDER_WAY: usize = 16;
/// Of one exchange: its answer's channel and its place in the queue.
const SMALL_BYTES: usize = 4096;

#[test]
fn exchanges_allocate_only_the_messages_under_way() {
    const ROUNDS: usize = 5;
    let exchanges =
        [Exchange::AllReduce(Reduction::Mean), Exchange::ReduceScatter(Reduction::Mean), Exchange::AllGatherShards];
    for size in [2, 3] {
        let len = size * 40 * MESSAGE_BYTES / 4; // a chunk is 40 messages
        on_ranks(size, PATIENT, |rank| {
            let mut numbers = vec![1.0_f32; len];
            rank.barrier("begin".into()).unwrap();
            BYTES.store(0, Ordering::Relaxed);
            rank.barrier("every count is 0".into()).unwrap();
            for (exchange, wire) in exchanges.into_iter().flat_map(|one| [(one, Wire::Full), (one, Wire::Bf16)]) {
                for _ in 0..ROUNDS {
                    let pending = rank.start_exchange("memory".into(), numbers.into(), exchange, wire);
                    numbers = pending.wait().unwrap().into_f32().unwrap();
                }
            }
            rank.barrier("end".into()).unwrap();
            let bound = size * (MESSAGES_UNDER_WAY * MESSAGE_BYTES + 6 * ROUNDS * SMALL_BYTES);
            let bytes = BYTES.load(Ordering::Relaxed);
            assert!(bytes <= bound, "{size} ranks asked for {bytes} bytes, more than {bound}");
        });
    }
}
