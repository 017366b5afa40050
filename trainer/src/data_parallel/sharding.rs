//! An optimiser's memory spread over the ranks: each updates the slices that it holds, and gives them to all others (ZeRO-1).

use std::sync::Arc;

use collectives::{CommError, Communicator, Phase, Wire, shard};
use models::Parameters;
use tch::{Kind, Tensor};

use super::Slice;
use super::bucket::buckets;
use crate::memory::lend;

/// Which rank updates what (Rajbhandari et al., 2020, stage 1).
pub struct Sharding {
    communicator: Arc<dyn Communicator>,
    /// What is exchanged at once; all ranks have the same.
    stretches: Vec<Slice>,
}

impl Sharding {
    /// Every bucket of at most `bucket_elements` elements is shared among all ranks.
    pub fn new(communicator: &Arc<dyn Communicator>, parameters: &Parameters, bucket_elements: usize) -> Sharding {
        let stretches = buckets(parameters, bucket_elements).into_iter().map(|bucket| bucket.slice).collect();
        Sharding { communicator: Arc::clone(communicator), stretches }
    }

    /// The slices that this rank updates, at most one a bucket.
    pub fn slices(&self) -> Vec<Slice> {
        let own = |stretch: &Slice| {
            let part = shard(self.communicator.rank(), self.communicator.size(), stretch.range.len());
            let at = stretch.range.start;
            Slice { group: stretch.group, range: at + part.start..at + part.end }
        };
        self.stretches.iter().map(own).filter(|slice| !slice.range.is_empty()).collect()
    }

    /// Gives all ranks what each has in its slices of `buffers`, one a group: afterwards all have all, bit for bit.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn share(&self, buffers: &[Tensor], phase: Phase) -> Result<(), CommError> {
        let start = |stretch: &Slice| {
            let buffer = lend(&stretch.of(&buffers[stretch.group]));
            self.communicator.start_all_gather_shards(phase, buffer, Wire::Full)
        };
        let started: Vec<_> = self.stretches.iter().map(start).collect();
        started.into_iter().try_for_each(|pending| pending.wait().map(drop))
    }

    /// The L2 norm over all ranks of tensors of which each rank has its part, a scalar.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn norm(&self, own: &[Tensor], step: u64) -> Result<Tensor, CommError> {
        let squares = own.iter().map(|part| part.norm().to_kind(Kind::Double).square());
        let mut sum = [squares.map(|square| square.double_value(&[])).sum::<f64>()];
        self.communicator.all_reduce_sum_f64(Phase::of_step("gradient norm", step), &mut sum)?;
        let norm = Tensor::from(sum[0].sqrt() as f32);
        Ok(own.first().map_or_else(|| norm.shallow_clone(), |part| norm.to_device(part.device())))
    }
}
