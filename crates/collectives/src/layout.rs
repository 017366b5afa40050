//! Which numbers of a buffer belong to which rank, and in which order a rank sends them round the ring.

use std::ops::Range;

/// Where chunk `index` of `size` lies among `len` numbers.
fn chunk(index: usize, size: usize, len: usize) -> Range<usize> {
    let at = |index: usize| (index as u128 * len as u128 / size as u128) as usize;
    at(index)..at(index + 1)
}

/// The shard of `rank` among `size` ranks: the part of a buffer of `len` numbers that it holds reduced after
/// [`Communicator::start_reduce_scatter`](crate::Communicator::start_reduce_scatter), and that it gives to all others in
/// [`Communicator::start_all_gather_shards`](crate::Communicator::start_all_gather_shards).
///
/// It is the part whose sum is whole at this rank on its way round the ring: chunk (rank + 1) mod size, where chunk c holds
/// the numbers ⌊c·len/size⌋ up to ⌊(c+1)·len/size⌋. So shards do not overlap, cover the buffer, and differ in length by at most
/// one; that of the last rank is the first in memory. With fewer numbers than ranks some are empty.
///
/// ```
/// use collectives::shard;
/// assert_eq!([shard(0, 3, 10), shard(1, 3, 10), shard(2, 3, 10)], [3..6, 6..10, 0..3]);
/// assert_eq!(shard(0, 1, 10), 0..10);
/// ```
///
/// # Panics
/// If not `rank < size`.
pub fn shard(rank: usize, size: usize, len: usize) -> Range<usize> {
    assert!(rank < size, "rank {rank} of {size} has no shard");
    chunk((rank + 1) % size, size, len)
}

/// What one rank sends in one exchange, in order: in step k its part of chunk rank−k, in messages of at most so many
/// numbers. A chunk is at least one message, so that an empty one still tells that its rank has come.
pub(crate) struct Messages {
    rank: usize,
    size: usize,
    len: usize,
    most: usize,
    steps: Range<usize>,
    sent: usize, // numbers of this step's chunk
}

/// Where the numbers of one message lie in the buffer.
pub(crate) struct Message {
    pub step: usize,
    pub numbers: Range<usize>,
}

impl Messages {
    /// Those of `rank` of `size`, with `len` numbers in the buffer and at `most` so many in a message.
    pub fn of(rank: usize, size: usize, len: usize, most: usize, steps: Range<usize>) -> Messages {
        Messages { rank, size, len, most, steps, sent: 0 }
    }

    /// Whether there are no more.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How many are left in this step.
    pub fn left_in_step(&self) -> usize {
        if self.is_empty() { 0 } else { (self.chunk().len() - self.sent).div_ceil(self.most).max(1) }
    }

    fn chunk(&self) -> Range<usize> {
        let step = self.steps.start % self.size;
        chunk((self.rank + self.size - step) % self.size, self.size, self.len)
    }
}

impl Iterator for Messages {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        if self.is_empty() {
            return None;
        }
        let (step, chunk) = (self.steps.start, self.chunk());
        let start = chunk.start + self.sent;
        let end = chunk.end.min(start + self.most);
        self.sent += self.most;
        if end == chunk.end {
            (self.steps.start, self.sent) = (step + 1, 0);
        }
        Some(Message { step, numbers: start..end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_cover_a_buffer_without_overlap() {
        for size in 1..=7 {
            for len in [0, 1, 2, 5, 6, 7, 1009, usize::MAX] {
                let mut shards: Vec<_> = (0..size).map(|rank| shard(rank, size, len)).collect();
                shards.rotate_right(1); // that of the last rank is the first
                let mut end = 0;
                for shard in shards {
                    assert_eq!(shard.start, end);
                    assert!(shard.len() == len / size || shard.len() == len.div_ceil(size), "{shard:?} of {len}");
                    end = shard.end;
                }
                assert_eq!(end, len);
            }
        }
    }

    #[test]
    fn every_chunk_is_at_least_one_message() {
        let messages = Messages::of(1, 3, 10, 2, 0..4);
        assert_eq!(messages.left_in_step(), 2);
        let all: Vec<_> = messages.map(|message| (message.step, message.numbers)).collect();
        let expected = [(0, 3..5), (0, 5..6), (1, 0..2), (1, 2..3), (2, 6..8), (2, 8..10), (3, 3..5), (3, 5..6)];
        assert_eq!(all, expected);
        let empty: Vec<_> = Messages::of(0, 2, 0, 2, 0..2).map(|message| message.numbers).collect();
        assert_eq!(empty, [0..0, 0..0]);
        assert_eq!(Messages::of(0, 2, 0, 2, 0..2).left_in_step(), 1);
        assert_eq!(Messages::of(0, 1, 10, 2, 0..0).left_in_step(), 0);
    }
}
