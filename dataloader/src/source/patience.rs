//! Until when a thread waits for storage: a loader that ends says so to its threads, wherever in a read they are.

use std::cell::RefCell;

use crossbeam::channel::{Receiver, never};

thread_local! {
    static STOP: RefCell<Receiver<()>> = const { RefCell::new(never()) };
}

/// From now on, waits of this thread end when the other end of `stop` is dropped.
pub(crate) fn ends_with(stop: &Receiver<()>) {
    STOP.set(stop.clone());
}

/// What ends the waits of this thread; never, where nobody set it.
#[cfg_attr(not(feature = "remote"), allow(dead_code))]
pub(crate) fn of_this_thread() -> Receiver<()> {
    STOP.with_borrow(Receiver::clone)
}
