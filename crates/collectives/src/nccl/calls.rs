//! Which calls of NCCL make up an exchange, decided from its kind, the number of ranks and the length alone.

use std::ops::Range;

use crate::{Exchange, shard};

/// One call, on a range of the numbers, in place. Roots are ranks of NCCL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    AllReduce(Range<usize>),
    /// Rank c of NCCL gets part c of `size` equal ones.
    ReduceScatter(Range<usize>),
    AllGather(Range<usize>),
    /// The root gets the sum.
    Reduce(Range<usize>, usize),
    /// All get what the root has.
    Broadcast(Range<usize>, usize),
}

/// The rank of NCCL that rank `rank` is. Chunk (rank + 1) mod size is the rank's shard, and NCCL gives chunk c to its rank c.
pub(super) fn nccl_rank(rank: usize, size: usize) -> usize {
    (rank + 1) % size
}

/// What to call, in one group; all ranks call the same. Where shards differ in length, by one, NCCL's own reduce-scatter and
/// all-gather do not fit, and each shard is reduced to its owner, or broadcast from it, by itself.
pub(super) fn calls(exchange: Exchange, size: usize, len: usize) -> Vec<Call> {
    if len == 0 {
        return Vec::new();
    }
    let equal = len.is_multiple_of(size);
    let by_shard = |call: fn(Range<usize>, usize) -> Call| {
        let shards = (0..size).map(|rank| (shard(rank, size, len), nccl_rank(rank, size)));
        shards.filter(|(shard, _)| !shard.is_empty()).map(|(shard, owner)| call(shard, owner)).collect()
    };
    match exchange {
        Exchange::AllReduce(_) => vec![Call::AllReduce(0..len)],
        Exchange::ReduceScatter(_) if equal => vec![Call::ReduceScatter(0..len)],
        Exchange::ReduceScatter(_) => by_shard(Call::Reduce),
        Exchange::AllGatherShards if equal => vec![Call::AllGather(0..len)],
        Exchange::AllGatherShards => by_shard(Call::Broadcast),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reduction;

    #[test]
    fn equal_parts_by_rank_of_nccl_are_the_shards() {
        for size in 1..6 {
            for rank in 0..size {
                let start = nccl_rank(rank, size) * 4;
                assert_eq!(shard(rank, size, 4 * size), start..start + 4);
            }
        }
        assert_eq!(calls(Exchange::ReduceScatter(Reduction::Sum), 3, 12), [Call::ReduceScatter(0..12)]);
        assert_eq!(calls(Exchange::AllGatherShards, 3, 12), [Call::AllGather(0..12)]);
    }

    #[test]
    fn unequal_shards_go_to_their_owners_one_by_one() {
        let expected = [Call::Reduce(3..6, 1), Call::Reduce(6..10, 2), Call::Reduce(0..3, 0)];
        assert_eq!(calls(Exchange::ReduceScatter(Reduction::Mean), 3, 10), expected);
        assert_eq!(calls(Exchange::AllGatherShards, 3, 2), [Call::Broadcast(0..1, 1), Call::Broadcast(1..2, 2)]);
        assert_eq!(calls(Exchange::AllGatherShards, 3, 0), []);
    }
}
