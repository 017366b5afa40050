//! `Operation`: what a rank says about itself at the head of every message, so that ranks that disagree notice.

use std::fmt;

use crate::Phase;
use crate::communicator::{Exchange, Reduction};

/// Bytes of an operation on the wire.
pub(crate) const OPERATION_BYTES: usize = 64;
const NAME_BYTES: usize = 36;

/// Type of the numbers of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    F32,
    F64,
    /// f32 that travels as bf16.
    Bf16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Exchange(Exchange, Element),
    Broadcast,
    AllGather,
    Barrier,
    /// The end of a communicator: a barrier of which a rank in another operation is not part.
    Close,
}

/// One operation of one rank. Equal on all ranks, or they are not doing the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operation {
    /// Counted by every rank for itself.
    pub sequence: u64,
    pub kind: Kind,
    /// Numbers of an exchange, root of a broadcast; 0 otherwise, for lengths may differ.
    pub extent: u64,
    step: Option<u64>,
    name: [u8; NAME_BYTES], // the phase's, cut and padded with zeros
}

impl Operation {
    pub fn new(sequence: u64, kind: Kind, extent: u64, phase: Phase) -> Operation {
        let mut name = [0; NAME_BYTES];
        let mut end = phase.name.len().min(NAME_BYTES);
        while !phase.name.is_char_boundary(end) {
            end -= 1;
        }
        name[..end].copy_from_slice(&phase.name.as_bytes()[..end]);
        Operation { sequence, kind, extent, step: phase.step, name }
    }

    /// The phase in words.
    pub fn phase(&self) -> String {
        let end = self.name.iter().position(|&byte| byte == 0).unwrap_or(NAME_BYTES);
        let name = String::from_utf8_lossy(&self.name[..end]);
        match self.step {
            Some(step) => format!("{name} of step {step}"),
            None => name.into_owned(),
        }
    }

    pub fn encode(&self, to: &mut [u8]) {
        to[..8].copy_from_slice(&self.sequence.to_le_bytes());
        to[8..16].copy_from_slice(&self.extent.to_le_bytes());
        to[16..24].copy_from_slice(&self.step.unwrap_or(0).to_le_bytes());
        to[24] = u8::from(self.step.is_some());
        to[25] = self.kind.code();
        to[26..28].fill(0);
        to[28..OPERATION_BYTES].copy_from_slice(&self.name);
    }

    /// `None` for bytes that no rank of this version wrote.
    pub fn decode(from: &[u8]) -> Option<Operation> {
        let word = |at: usize| Some(u64::from_le_bytes(from.get(at..at + 8)?.try_into().ok()?));
        Some(Operation {
            sequence: word(0)?,
            extent: word(8)?,
            step: (*from.get(24)? == 1).then_some(word(16)?),
            kind: Kind::from_code(*from.get(25)?)?,
            name: from.get(28..OPERATION_BYTES)?.try_into().ok()?,
        })
    }
}

const EXCHANGES: [Exchange; 5] = [
    Exchange::AllReduce(Reduction::Sum),
    Exchange::AllReduce(Reduction::Mean),
    Exchange::ReduceScatter(Reduction::Sum),
    Exchange::ReduceScatter(Reduction::Mean),
    Exchange::AllGatherShards,
];

/// Every kind, at the place that is its code.
fn kinds() -> impl Iterator<Item = Kind> {
    let of_bytes = [Kind::Broadcast, Kind::AllGather, Kind::Barrier, Kind::Close];
    let of_numbers = [Element::F32, Element::F64, Element::Bf16]
        .into_iter()
        .flat_map(|element| EXCHANGES.map(|exchange| Kind::Exchange(exchange, element)));
    of_bytes.into_iter().chain(of_numbers)
}

impl Kind {
    fn code(self) -> u8 {
        kinds().position(|kind| kind == self).expect("every kind is listed") as u8
    }

    fn from_code(code: u8) -> Option<Kind> {
        kinds().nth(code.into())
    }
}

/// "operation 7 (mean of 100 f32, gradients of step 12)".
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {} (", self.sequence)?;
        match self.kind {
            Kind::Exchange(exchange, element) => {
                let what = match exchange {
                    Exchange::AllReduce(Reduction::Sum) => "sum",
                    Exchange::AllReduce(Reduction::Mean) => "mean",
                    Exchange::ReduceScatter(Reduction::Sum) => "scattered sum",
                    Exchange::ReduceScatter(Reduction::Mean) => "scattered mean",
                    Exchange::AllGatherShards => "gathered shards",
                };
                let numbers = match element {
                    Element::F32 => "f32",
                    Element::F64 => "f64",
                    Element::Bf16 => "f32 as bf16",
                };
                write!(f, "{what} of {} {numbers}", self.extent)?;
            }
            Kind::Broadcast => write!(f, "broadcast from rank {}", self.extent)?,
            Kind::AllGather => f.write_str("all-gather")?,
            Kind::Barrier => f.write_str("barrier")?,
            Kind::Close => f.write_str("end")?,
        }
        write!(f, ", {})", self.phase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for (number, kind) in kinds().enumerate() {
            let phases = [
                Phase::new("check"),
                Phase::of_step("gradients", 0),
                Phase::new("ä name far too long for its thirty-six bytes ä"),
            ];
            for phase in phases {
                let operation = Operation::new(number as u64, kind, 1 << 40, phase);
                let mut bytes = [0xff; OPERATION_BYTES];
                operation.encode(&mut bytes);
                assert!(Operation::decode(&bytes) == Some(operation), "{operation}");
                assert!(phase.to_string().starts_with(operation.phase().as_str()));
            }
        }
        assert!(Operation::decode(&[0; 63]).is_none());
        assert!(Operation::decode(&[0xff; 64]).is_none());
    }

    #[test]
    fn it_reads_well() {
        let phase = Phase::of_step("gradients", 12);
        let read = |exchange, element| Operation::new(7, Kind::Exchange(exchange, element), 100, phase).to_string();
        let mean = read(Exchange::AllReduce(Reduction::Mean), Element::F32);
        assert_eq!(mean, "operation 7 (mean of 100 f32, gradients of step 12)");
        let sum = read(Exchange::ReduceScatter(Reduction::Sum), Element::Bf16);
        assert_eq!(sum, "operation 7 (scattered sum of 100 f32 as bf16, gradients of step 12)");
    }
}
