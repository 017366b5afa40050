//! The average of the gradients over the ranks, bucket by bucket, while the backward pass still works on others.

use std::sync::{Arc, Mutex, MutexGuard};

use collectives::{CommError, Communicator, Exchange, Pending, Phase, Reduction, Wire};
use kernels::autograd::GradientHooks;
use models::Parameters;
use tch::Tensor;

use super::bucket::{Bucket, buckets};
use crate::failure::Failure;
use crate::memory::lend;

/// How gradients travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchanges {
    /// Elements of a bucket, at most.
    pub bucket_elements: usize,
    /// In which form numbers travel.
    pub wire: Wire,
    /// What each rank gets: all averages, or those of its shards.
    pub exchange: Exchange,
    /// Whether a bucket travels as soon as it is full, and not only when the backward pass has ended.
    pub overlap: bool,
}

impl Exchanges {
    /// What a config asks for.
    pub fn configured(config: &plan::config::Parallel) -> Exchanges {
        let reduction = Reduction::Mean;
        Exchanges {
            bucket_elements: ((config.bucket_mib * f64::from(1 << 20)) as usize / size_of::<f32>()).max(1),
            wire: match config.wire {
                plan::config::Wire::F32 => Wire::Full,
                plan::config::Wire::Bf16 => Wire::Bf16,
            },
            exchange: match config.shard_optimizer {
                true => Exchange::ReduceScatter(reduction),
                false => Exchange::AllReduce(reduction),
            },
            overlap: config.overlap,
        }
    }
}

/// Averages the gradients of one model, step after step.
///
/// Buckets travel in one fixed order on all ranks. What is computed does not depend on when they travel, so parameters are
/// the same bit for bit with and without overlap.
pub struct Averaging {
    shared: Arc<Mutex<Round>>,
    /// Call back when a gradient is whole; none where there is nobody to average with, or nothing to overlap.
    _hooks: Option<GradientHooks>,
}

/// The exchanges of one step.
struct Round {
    communicator: Arc<dyn Communicator>,
    exchanges: Exchanges,
    buckets: Vec<Bucket>,
    grads: Vec<Tensor>,    // one a group
    bucket_of: Vec<usize>, // by parameter
    missing: Vec<usize>,   // by bucket: gradients that are not whole
    step: Option<u64>,     // while hooks count
    started: Vec<Pending>,
}

impl Averaging {
    /// Averages the gradients of `parameters`.
    ///
    /// # Errors
    /// When libtorch refuses a hook.
    pub fn new(
        communicator: &Arc<dyn Communicator>,
        parameters: &Parameters,
        exchanges: Exchanges,
    ) -> Result<Averaging, Failure> {
        let buckets = if communicator.size() > 1 { buckets(parameters, exchanges.bucket_elements) } else { Vec::new() };
        let mut bucket_of = vec![0; parameters.iter().len()];
        for (index, bucket) in buckets.iter().enumerate() {
            bucket.parameters.iter().for_each(|&place| bucket_of[place] = index);
        }
        let hooked = exchanges.overlap && !buckets.is_empty();
        let shared = Arc::new(Mutex::new(Round {
            communicator: Arc::clone(communicator),
            exchanges,
            grads: parameters.groups().iter().map(|group| group.grads.shallow_clone()).collect(),
            bucket_of,
            missing: Vec::with_capacity(buckets.len()),
            started: Vec::with_capacity(buckets.len()),
            buckets,
            step: None,
        }));
        let leaves: Vec<&Tensor> = parameters.iter().map(|one| &one.tensor).collect();
        let of_hooks = Arc::clone(&shared);
        let hooks = hooked.then(|| GradientHooks::new(&leaves, move |place| locked(&of_hooks).is_whole(place)));
        Ok(Averaging { shared, _hooks: hooks.transpose()? })
    }

    /// From now on gradients become whole: to be called before the last backward pass of `step`.
    pub fn begin(&self, step: u64) {
        locked(&self.shared).begin(step);
    }

    /// Starts what has not started, and waits until the gradients are the mean over all ranks (or, where they are
    /// scattered, those of this rank's shards are).
    ///
    /// # Errors
    /// When a rank does not come within the time-out, or ranks disagree on what they do.
    pub fn finish(&self) -> Result<(), CommError> {
        let started = locked(&self.shared).end();
        started.into_iter().try_for_each(|pending| pending.wait().map(drop))
    }
}

fn locked(shared: &Mutex<Round>) -> MutexGuard<'_, Round> {
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Round {
    fn begin(&mut self, step: u64) {
        self.missing.clear();
        self.missing.extend(self.buckets.iter().map(|bucket| bucket.parameters.len()));
        self.step = Some(step);
    }

    /// The gradient of the parameter at `place` is whole.
    fn is_whole(&mut self, place: usize) {
        if self.step.is_none() {
            return;
        }
        let missing = &mut self.missing[self.bucket_of[place]];
        *missing = missing.saturating_sub(1);
        while self.missing.get(self.started.len()) == Some(&0) {
            self.start_next();
        }
    }

    fn start_next(&mut self) {
        let slice = &self.buckets[self.started.len()].slice;
        let bucket = slice.of(&self.grads[slice.group]);
        let phase = Phase::of_step("gradients", self.step.unwrap_or_default());
        let Exchanges { exchange, wire, .. } = self.exchanges;
        self.started.push(self.communicator.start_exchange(phase, lend(&bucket), exchange, wire));
    }

    fn end(&mut self) -> Vec<Pending> {
        while self.started.len() < self.buckets.len() {
            self.start_next();
        }
        self.step = None;
        std::mem::take(&mut self.started)
    }
}
