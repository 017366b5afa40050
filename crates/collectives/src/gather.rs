//! Blocks of bytes that go once round the ring: all-gather, broadcast and barrier.

use crate::frame::{Frame, SEGMENT_BYTES};
use crate::transfer::{Fate, Malformed, Transfer};

/// A block begins with its length; the rest follows in as many messages as it takes.
const LENGTH_BYTES: usize = 8;

/// Cuts a block into messages.
struct Cutter<'a> {
    bytes: &'a [u8],
    begun: bool,
}

impl Cutter<'_> {
    fn is_done(&self) -> bool {
        self.begun && self.bytes.is_empty()
    }

    fn cut(&mut self, frame: &mut Frame) {
        let head = if self.begun { 0 } else { LENGTH_BYTES };
        let (now, rest) = self.bytes.split_at(self.bytes.len().min(SEGMENT_BYTES - head));
        let payload = frame.payload_of(head + now.len());
        payload[head..].copy_from_slice(now);
        payload[..head].copy_from_slice(&(self.bytes.len() as u64).to_le_bytes()[..head]);
        (self.bytes, self.begun) = (rest, true);
    }
}

/// Puts a block together again.
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    len: Option<usize>,
}

impl Block {
    /// Takes the next message; returns whether the block is whole.
    fn add(&mut self, payload: &[u8]) -> Result<bool, Malformed> {
        let (len, bytes) = match self.len {
            Some(len) => (len, payload),
            None => {
                let (head, bytes) = payload.split_at_checked(LENGTH_BYTES).ok_or(Malformed)?;
                let len = u64::from_le_bytes(head.try_into().expect("eight bytes")) as usize;
                self.bytes.reserve_exact(len);
                (len, bytes)
            }
        };
        self.len = Some(len);
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > len {
            return Err(Malformed);
        }
        Ok(self.bytes.len() == len)
    }
}

/// Every rank's block goes to every other rank.
pub(crate) struct AllGather<'a> {
    own: Cutter<'a>,
    rank: usize,
    size: usize,
    arriving: Block,
    back: usize, // the block that arrives is that of rank r−back
    blocks: Vec<Vec<u8>>,
}

impl<'a> AllGather<'a> {
    pub fn new(bytes: &'a [u8], rank: usize, size: usize) -> AllGather<'a> {
        let mut blocks = vec![Vec::new(); size];
        blocks[rank] = bytes.to_vec();
        AllGather { own: Cutter { bytes, begun: false }, rank, size, arriving: Block::default(), back: 1, blocks }
    }

    /// All blocks, by rank.
    pub fn into_blocks(self) -> Vec<Vec<u8>> {
        self.blocks
    }
}

impl Transfer for AllGather<'_> {
    fn is_ready(&self) -> bool {
        !self.own.is_done()
    }

    fn produce(&mut self, frame: &mut Frame) {
        self.own.cut(frame);
    }

    fn accept(&mut self, payload: &[u8]) -> Result<Fate, Malformed> {
        // The next rank sent the last block itself.
        let fate = if self.back < self.size - 1 { Fate::PassOn } else { Fate::Keep };
        if self.arriving.add(payload)? {
            let from = (self.rank + self.size - self.back) % self.size;
            self.blocks[from] = std::mem::take(&mut self.arriving).bytes;
            self.back += 1;
        }
        Ok(fate)
    }

    fn expects_more(&self) -> bool {
        self.back < self.size
    }
}

/// The root's block goes to every other rank.
pub(crate) struct Broadcast<'a> {
    own: Option<Cutter<'a>>,
    arriving: Block,
    whole: bool,
    fate: Fate,
}

impl<'a> Broadcast<'a> {
    pub fn new(bytes: &'a [u8], rank: usize, size: usize, root: usize) -> Broadcast<'a> {
        let is_root = rank == root;
        Broadcast {
            own: is_root.then_some(Cutter { bytes, begun: false }),
            arriving: Block::default(),
            whole: is_root,
            fate: if (rank + 1) % size == root { Fate::Keep } else { Fate::PassOn },
        }
    }

    /// What the root sent; `None` at the root.
    pub fn into_received(self) -> Option<Vec<u8>> {
        self.own.is_none().then_some(self.arriving.bytes)
    }
}

impl Transfer for Broadcast<'_> {
    fn is_ready(&self) -> bool {
        self.own.as_ref().is_some_and(|own| !own.is_done())
    }

    fn produce(&mut self, frame: &mut Frame) {
        if let Some(own) = &mut self.own {
            own.cut(frame);
        }
    }

    fn accept(&mut self, payload: &[u8]) -> Result<Fate, Malformed> {
        self.whole = self.arriving.add(payload)?;
        Ok(self.fate)
    }

    fn expects_more(&self) -> bool {
        !self.whole
    }
}
