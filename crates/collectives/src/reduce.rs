//! The ring all-reduce: what each rank sends, adds and passes on.
//!
//! The n numbers are cut into p chunks, one for each rank: chunk c holds numbers ⌊c·n/p⌋ up to ⌊(c+1)·n/p⌋, and travels in
//! segments of [`SEGMENT_BYTES`]. Rank c sends its part of chunk c to the next rank, which adds its own and passes the sum
//! on; at rank c−1 the sum is whole (reduce-scatter). It is divided there if a mean is wanted, and goes round once more,
//! unchanged (all-gather). So chunk c is always summed in the order c, c+1, …, c−1: the result depends on numbers and p
//! alone, and every rank gets the very same bits.

use std::marker::PhantomData;
use std::ops::{Add, Div, Range};

use crate::Reduction;
use crate::frame::{Frame, SEGMENT_BYTES};
use crate::transfer::{Fate, Malformed, Transfer};

/// A number that can be summed over ranks.
pub(crate) trait Number: Copy + Add<Output = Self> + Div<Output = Self> {
    const BYTES: usize;
    fn read(bytes: &[u8]) -> Self;
    fn write(self, bytes: &mut [u8]);
    fn from_count(count: usize) -> Self;
}

impl Number for f32 {
    const BYTES: usize = 4;
    fn read(bytes: &[u8]) -> f32 {
        f32::from_ne_bytes(bytes.try_into().expect("four bytes"))
    }
    fn write(self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.to_ne_bytes());
    }
    fn from_count(count: usize) -> f32 {
        count as f32
    }
}

impl Number for f64 {
    const BYTES: usize = 8;
    fn read(bytes: &[u8]) -> f64 {
        f64::from_ne_bytes(bytes.try_into().expect("eight bytes"))
    }
    fn write(self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.to_ne_bytes());
    }
    fn from_count(count: usize) -> f64 {
        count as f64
    }
}

/// One all-reduce of one rank. Messages come in a fixed order: steps 0 to 2(p−1)−1, in each the segments of one chunk.
pub(crate) struct AllReduce<'a, T> {
    data: &'a mut [T],
    rank: usize,
    size: usize,
    reduction: Reduction,
    produced: Option<Segments<T>>,
    step: usize,
    arriving: Segments<T>,
}

impl<'a, T: Number> AllReduce<'a, T> {
    pub fn new(data: &'a mut [T], rank: usize, size: usize, reduction: Reduction) -> Self {
        let own = Segments::of(chunk(rank, size, data.len()));
        let first = Segments::of(chunk((rank + size - 1) % size, size, data.len()));
        AllReduce { data, rank, size, reduction, produced: Some(own), step: 0, arriving: first }
    }

    /// The segments that arrive in `step`: in the reduce-scatter chunk r−1−s, in the all-gather chunk r−s.
    fn segments_of(&self, step: usize) -> Segments<T> {
        let back = if step < self.size - 1 { step + 1 } else { step - (self.size - 1) };
        Segments::of(chunk((self.rank + self.size - back) % self.size, self.size, self.data.len()))
    }
}

impl<T: Number> Transfer for AllReduce<'_, T> {
    fn produce(&mut self, frame: &mut Frame) -> bool {
        let Some(range) = self.produced.as_mut().and_then(Segments::next) else {
            self.produced = None;
            return false;
        };
        let numbers = &self.data[range];
        let payload = frame.payload_of(numbers.len() * T::BYTES);
        for (bytes, number) in payload.chunks_exact_mut(T::BYTES).zip(numbers) {
            number.write(bytes);
        }
        true
    }

    fn accept(&mut self, payload: &mut [u8]) -> Result<Fate, Malformed> {
        let range = self.arriving.next().ok_or(Malformed)?;
        let numbers = &mut self.data[range];
        if payload.len() != numbers.len() * T::BYTES {
            return Err(Malformed);
        }
        let pairs = payload.chunks_exact_mut(T::BYTES).zip(numbers);
        let whole_at = self.size - 2; // the step in which the sum becomes whole, here
        if self.step < whole_at {
            pairs.for_each(|(bytes, own)| (T::read(bytes) + *own).write(bytes));
        } else if self.step > whole_at {
            pairs.for_each(|(bytes, own)| *own = T::read(bytes));
        } else {
            let divisor = match self.reduction {
                Reduction::Sum => T::from_count(1),
                Reduction::Mean => T::from_count(self.size),
            };
            pairs.for_each(|(bytes, own)| {
                *own = (T::read(bytes) + *own) / divisor;
                own.write(bytes);
            });
        }
        let last = 2 * (self.size - 1) - 1;
        let fate = if self.step < last { Fate::PassOn } else { Fate::Keep };
        if self.arriving.is_empty() {
            self.step += 1;
            if self.step <= last {
                self.arriving = self.segments_of(self.step);
            }
        }
        Ok(fate)
    }

    fn expects_more(&self) -> bool {
        self.step < 2 * (self.size - 1)
    }
}

/// Where chunk `index` of `size` lies among `len` numbers.
fn chunk(index: usize, size: usize, len: usize) -> Range<usize> {
    let at = |index: usize| (index as u128 * len as u128 / size as u128) as usize;
    at(index)..at(index + 1)
}

/// The segments of a chunk, in order: at least one, so that an empty chunk still tells that its rank has come.
struct Segments<T> {
    rest: Range<usize>,
    done: bool,
    number: PhantomData<T>,
}

impl<T: Number> Segments<T> {
    fn of(chunk: Range<usize>) -> Segments<T> {
        Segments { rest: chunk, done: false, number: PhantomData }
    }

    fn is_empty(&self) -> bool {
        self.done
    }

    fn next(&mut self) -> Option<Range<usize>> {
        if self.done {
            return None;
        }
        let end = self.rest.end.min(self.rest.start + SEGMENT_BYTES / T::BYTES);
        let segment = self.rest.start..end;
        self.rest.start = end;
        self.done = self.rest.is_empty();
        Some(segment)
    }
}
