//! The ring of numbers: what each rank sends, adds and passes on in an all-reduce, a reduce-scatter and an all-gather.
//!
//! The n numbers are cut into p chunks, one for each rank: chunk c holds numbers ⌊c·n/p⌋ up to ⌊(c+1)·n/p⌋, and travels in
//! segments of [`SEGMENT_BYTES`]. Rank c sends its part of chunk c to the next rank, which adds its own and passes the sum
//! on; at rank c−1 the sum is whole, and divided if a mean is wanted. That is the reduce-scatter, p−1 steps. Then it goes
//! round once more, unchanged: the all-gather, p−1 steps. An all-reduce is both. So chunk c is always summed in the order
//! c, c+1, …, c−1: the result depends on numbers, p and the form in which they travel alone, and every rank gets the very
//! same bits.
//!
//! Sums are kept in the buffer until they can be sent, so a ring needs no memory but that of the messages under way. Where
//! numbers are rounded for the wire, sums are added up in memory's precision and rounded on each hop, and so is the whole one at
//! the rank that keeps it.

use std::ops::Range;

use crate::communicator::{Exchange, Reduction};
use crate::form::Form;
use crate::frame::{Frame, SEGMENT_BYTES};
use crate::layout::{Message, Messages};
use crate::transfer::{Fate, Malformed, Transfer};
use crate::wide::widest;

/// One exchange of one rank.
pub(crate) struct Ring<'a, F: Form> {
    data: &'a mut [F::Number],
    size: usize,
    reduction: Reduction,
    steps: Range<usize>,
    leaving: Messages,
    /// How many of those that leave are there to be sent: this rank's own, then what has arrived and goes on.
    ready: usize,
    arriving: Messages,
}

impl<'a, F: Form> Ring<'a, F> {
    pub fn new(data: &'a mut [F::Number], rank: usize, size: usize, exchange: Exchange) -> Self {
        let half = size - 1; // steps of either
        let (steps, reduction) = match exchange {
            Exchange::AllReduce(reduction) => (0..2 * half, reduction),
            Exchange::ReduceScatter(reduction) => (0..half, reduction),
            Exchange::AllGatherShards => (half..2 * half, Reduction::Sum),
        };
        // What arrives is what the previous rank sends.
        let [leaving, arriving] = [rank, (rank + size - 1) % size]
            .map(|rank| Messages::of(rank, size, data.len(), SEGMENT_BYTES / F::BYTES, steps.clone()));
        Ring { data, size, reduction, ready: leaving.left_in_step(), steps, leaving, arriving }
    }

    /// The step that ends with the sum whole, at the rank that receives.
    fn whole_at(&self) -> usize {
        self.size - 2
    }
}

impl<F: Form> Transfer for Ring<'_, F> {
    fn is_ready(&self) -> bool {
        self.ready > 0
    }

    fn produce(&mut self, frame: &mut Frame) {
        let Some(Message { step, numbers }) = self.leaving.next() else { return };
        self.ready -= 1;
        let whole_at = self.whole_at();
        let numbers = &mut self.data[numbers];
        let payload = frame.payload_of(numbers.len() * F::BYTES);
        if step == self.steps.start && step > whole_at {
            // This rank keeps what the others get.
            widest(|| numbers.iter_mut().for_each(|number| *number = F::carried(*number)));
        }
        let pairs = payload.chunks_exact_mut(F::BYTES).zip(numbers);
        widest(|| pairs.for_each(|(bytes, number)| F::write(*number, bytes)));
    }

    fn accept(&mut self, payload: &[u8]) -> Result<Fate, Malformed> {
        let Message { step, numbers } = self.arriving.next().ok_or(Malformed)?;
        let whole_at = self.whole_at();
        let numbers = &mut self.data[numbers];
        if payload.len() != numbers.len() * F::BYTES {
            return Err(Malformed);
        }
        let pairs = payload.chunks_exact(F::BYTES).zip(numbers);
        let count = F::from_count(self.size);
        if step < whole_at {
            widest(|| pairs.for_each(|(bytes, own)| *own = F::read(bytes) + *own));
        } else if step > whole_at {
            widest(|| pairs.for_each(|(bytes, own)| *own = F::read(bytes)));
        } else if self.reduction == Reduction::Sum {
            widest(|| pairs.for_each(|(bytes, own)| *own = F::carried(F::read(bytes) + *own)));
        } else {
            widest(|| pairs.for_each(|(bytes, own)| *own = F::carried((F::read(bytes) + *own) / count)));
        }
        self.ready += usize::from(step + 1 < self.steps.end);
        Ok(Fate::Keep)
    }

    fn expects_more(&self) -> bool {
        !self.arriving.is_empty()
    }
}
