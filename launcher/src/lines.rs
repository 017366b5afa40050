//! Lines of another process's output, read on a thread of their own.

use std::io::{BufRead, BufReader, Read};
use std::thread;

/// Gives every line of `source`, without its end, to `each`, and does `closed` at the end. Where `each` says no, nobody listens any
/// more, and reading ends there.
pub fn read(
    source: impl Read + Send + 'static,
    mut each: impl FnMut(String) -> bool + Send + 'static,
    closed: impl FnOnce() + Send + 'static,
) {
    thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        while source.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_string();
            line.clear();
            if !each(text) {
                return;
            }
        }
        closed();
    });
}
