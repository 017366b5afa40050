//! From one GPU's step and a network to many GPUs: step, throughput, efficiency, and where communication shows; pure.

use serde::Serialize;

use super::network::{Algorithm, Cluster, Network};
use super::step::StepTime;
use super::timeline::{Exchange, Overlap, exchange};

/// Communication shows where the step waits for it for more than this share of its time.
pub const SHOWS: f64 = 0.01;

/// What stays the same as GPUs are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scaling {
    /// The images on each GPU.
    Weak,
    /// The images of a step over all GPUs.
    Strong,
}

/// Who updates the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Every GPU all of them.
    Whole,
    /// Every GPU its share, which it then gives to the others (ZeRO-1).
    Sharded,
}

/// Bytes of a parameter on the wire.
const PARAMETER_BYTES: f64 = 4.0;

/// All that the figures follow from.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// A step on one GPU.
    pub step: StepTime,
    /// What stays the same.
    pub scaling: Scaling,
    /// The images that stay the same.
    pub images: f64,
    /// Micro-batches of a step; gradients are complete in the last one's backward pass.
    pub accumulation: usize,
    /// Gradients in each bucket, in the order in which they are ready.
    pub buckets: Vec<u64>,
    /// Bytes of a gradient on the wire.
    pub bytes_per_number: f64,
    /// The network.
    pub network: Network,
    /// How gradients are summed.
    pub algorithm: Algorithm,
    /// When.
    pub overlap: Overlap,
    /// Who updates the parameters.
    pub update: Update,
    /// Standard deviation of a GPU's step, as a share of it.
    pub jitter: f64,
    /// Images that the loader of a machine makes ready a second; `None` where it is never waited for beyond what was measured.
    pub loader_images_per_s: Option<f64>,
}

/// What comes out for one number of GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// GPUs.
    pub gpus: usize,
    /// Machines.
    pub nodes: usize,
    /// Images of a step over all GPUs.
    pub global_batch: u64,
    /// Images a second over all GPUs.
    pub images_per_second: f64,
    /// Images a second of each GPU, against one GPU that waits for nobody.
    pub efficiency: f64,
    /// The same if all gradients were summed after the backward pass.
    pub efficiency_without_overlap: f64,
    /// The step.
    pub step_seconds: f64,
    /// Its part on a GPU by itself.
    pub compute_seconds: f64,
    /// Its part that is waiting for the slowest GPU.
    pub straggler_seconds: f64,
    /// What summing all gradients takes, hidden or not.
    pub all_reduce_seconds: f64,
    /// Its part for which the step waits.
    pub exposed_seconds: f64,
    /// The share of it that hides behind the backward pass; `null` where nothing is summed.
    pub hidden: Option<f64>,
    /// How the largest buckets are summed; `null` on one GPU.
    pub algorithm: Option<Algorithm>,
    /// Whether the loader decides how long the step takes.
    pub held_by_loader: bool,
}

impl Scenario {
    /// The step of one GPU as `gpus` of them take it, without the others.
    fn alone(&self, gpus: usize) -> StepTime {
        let step = match self.scaling {
            Scaling::Weak => self.step.with_images(self.images),
            Scaling::Strong => self.step.with_images(self.images / gpus as f64),
        };
        match self.update {
            Update::Whole => step,
            Update::Sharded => StepTime { optimizer_s: step.optimizer_s / gpus as f64, ..step },
        }
    }

    /// The figures for the GPUs of `cluster`.
    pub fn point(&self, cluster: Cluster) -> Point {
        let gpus = cluster.gpus();
        let alone = self.alone(gpus);
        let (communication, algorithm) = self.communicate(cluster, &alone);
        let straggler_s = alone.total_s() * self.jitter * slowest(gpus);
        let loaded_s = self.loader_images_per_s.map_or(0.0, |rate| alone.images * cluster.per_node as f64 / rate);
        let computed_s = alone.total_s() + straggler_s;
        let trained_s = computed_s + communication.exposed_s;
        let step_s = trained_s.max(loaded_s);
        let batch = alone.images * gpus as f64;
        let one = self.alone(1);
        let efficiency = |step_s: f64| alone.images / step_s / (one.images / one.total_s());
        Point {
            gpus,
            nodes: cluster.nodes,
            global_batch: batch.round() as u64,
            images_per_second: batch / step_s,
            efficiency: efficiency(step_s),
            efficiency_without_overlap: efficiency((computed_s + communication.total_s).max(loaded_s)),
            step_seconds: step_s,
            compute_seconds: alone.total_s(),
            straggler_seconds: straggler_s,
            all_reduce_seconds: communication.total_s,
            exposed_seconds: communication.exposed_s,
            hidden: (communication.total_s > 0.0).then(|| communication.hidden()),
            algorithm: algorithm.filter(|_| gpus > 1),
            held_by_loader: loaded_s > trained_s,
        }
    }

    /// What the GPUs of `cluster` exchange in a step, and how its largest buckets are summed.
    fn communicate(&self, cluster: Cluster, alone: &StepTime) -> (Exchange, Option<Algorithm>) {
        let sum = |numbers: u64| {
            let bytes = numbers as f64 * self.bytes_per_number;
            match self.update {
                Update::Whole => self.network.all_reduce(cluster, bytes, self.algorithm),
                Update::Sharded => self.network.scatter_or_gather(cluster, bytes, self.algorithm),
            }
        };
        let costs_s: Vec<f64> = self.buckets.iter().map(|numbers| sum(*numbers).seconds).collect();
        let window_s = alone.backward_s / self.accumulation as f64;
        let largest = self.buckets.iter().max().map(|numbers| sum(*numbers).algorithm);
        let summed = exchange(&self.buckets, &costs_s, window_s, self.overlap);
        let gathered_s = self.gather_s(cluster);
        let all = Exchange { total_s: summed.total_s + gathered_s, exposed_s: summed.exposed_s + gathered_s };
        (all, largest)
    }

    /// What giving updated parameters to all takes; nothing hides it.
    fn gather_s(&self, cluster: Cluster) -> f64 {
        if self.update == Update::Whole {
            return 0.0;
        }
        let gather = |numbers: &u64| {
            self.network.scatter_or_gather(cluster, *numbers as f64 * PARAMETER_BYTES, self.algorithm).seconds
        };
        self.buckets.iter().map(gather).sum()
    }
}

/// How many standard deviations the slowest of `count` is above the mean, at most: √(2 ln N) bounds the expected maximum of N
/// independent normal variables.
fn slowest(count: usize) -> f64 {
    (2.0 * (count as f64).ln()).sqrt()
}

/// The number of GPUs from which on communication shows, at this one and all larger ones.
pub fn shows_from(points: &[Point]) -> Option<usize> {
    let shows = |point: &&Point| point.exposed_seconds > SHOWS * point.step_seconds;
    points.iter().rev().take_while(shows).last().map(|point| point.gpus)
}

#[cfg(test)]
mod tests {
    use super::super::network::Link;
    use super::super::timeline::buckets;
    use super::*;

    const NETWORK: Network = Network {
        inside: Link { alpha_s: 3e-6, bytes_per_s: 200e9 },
        between: Link { alpha_s: 14e-6, bytes_per_s: 20e9 },
        gpus_per_node: 8,
    };

    fn scenario() -> Scenario {
        Scenario {
            step: StepTime { images: 64.0, waiting_s: 0.0, forward_s: 0.1, backward_s: 0.2, optimizer_s: 0.01 },
            scaling: Scaling::Weak,
            images: 64.0,
            accumulation: 1,
            buckets: buckets(86_567_656, 6_553_600),
            bytes_per_number: 4.0,
            network: NETWORK,
            algorithm: Algorithm::Auto,
            overlap: Overlap::Backward,
            update: Update::Whole,
            jitter: 0.0,
            loader_images_per_s: None,
        }
    }

    fn at(scenario: &Scenario, gpus: usize) -> Point {
        scenario.point(scenario.network.spread(gpus).unwrap())
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9 * b.abs()
    }

    #[test]
    fn two_gpus_on_a_free_network_are_twice_one() {
        let free = Link { alpha_s: 0.0, bytes_per_s: f64::INFINITY };
        for algorithm in [Algorithm::Ring, Algorithm::Hierarchical, Algorithm::Tree, Algorithm::Auto] {
            let network = Network { inside: free, between: free, gpus_per_node: 1 };
            let free = Scenario { network, algorithm, ..scenario() };
            let (one, two) = (at(&free, 1), at(&free, 2));
            assert!(close(one.images_per_second, 64.0 / 0.31) && close(two.images_per_second, 2.0 * 64.0 / 0.31));
            assert!(close(two.efficiency, 1.0), "{two:?}");
        }
    }

    #[test]
    fn one_gpu_sums_nothing() {
        let one = at(&scenario(), 1);
        assert_eq!((one.all_reduce_seconds, one.exposed_seconds, one.hidden, one.algorithm), (0.0, 0.0, None, None));
        assert_eq!((one.efficiency, one.global_batch), (1.0, 64));
    }

    #[test]
    fn the_parts_add_up_and_efficiency_falls() {
        for scaling in [Scaling::Weak, Scaling::Strong] {
            let scenario = Scenario { scaling, images: 4096.0, jitter: 0.02, ..scenario() };
            let mut before = 1.0;
            for gpus in [2, 8, 16, 64, 512, 4096] {
                let point = at(&scenario, gpus);
                let parts = point.compute_seconds + point.straggler_seconds + point.exposed_seconds;
                assert!(close(point.step_seconds, parts));
                assert!(point.exposed_seconds >= 0.0 && point.exposed_seconds <= point.all_reduce_seconds);
                assert!(close(point.images_per_second * point.step_seconds, point.global_batch as f64));
                assert!(point.efficiency < before, "{point:?}");
                assert!(point.efficiency_without_overlap < point.efficiency, "{point:?}");
                let late = at(&Scenario { overlap: Overlap::None, ..scenario.clone() }, gpus);
                assert!(close(point.efficiency_without_overlap, late.efficiency), "{point:?} {late:?}");
                before = point.efficiency;
            }
        }
    }

    #[test]
    fn strong_scaling_keeps_the_batch_and_shows_communication_earlier() {
        let weak = Scenario { images: 64.0, ..scenario() };
        let strong = Scenario { scaling: Scaling::Strong, images: 512.0, ..scenario() };
        assert_eq!((at(&weak, 64).global_batch, at(&strong, 64).global_batch), (4096, 512));
        assert_eq!(at(&weak, 8).step_seconds, at(&strong, 8).step_seconds);
        assert!(at(&strong, 64).efficiency < at(&weak, 64).efficiency);
    }

    #[test]
    fn micro_batches_leave_only_the_last_to_hide_behind() {
        let one = at(&scenario(), 64);
        let four = at(&Scenario { accumulation: 4, ..scenario() }, 64);
        assert!(four.exposed_seconds > one.exposed_seconds && four.all_reduce_seconds == one.all_reduce_seconds);
    }

    #[test]
    fn a_sharded_update_is_shorter_and_its_parameters_hide_behind_nothing() {
        let ring = Scenario { algorithm: Algorithm::Ring, ..scenario() };
        let sharded = Scenario { update: Update::Sharded, ..ring.clone() };
        let (whole, parts) = (at(&ring, 16), at(&sharded, 16));
        assert!(close(parts.compute_seconds, 0.3 + 0.01 / 16.0));
        assert!(close(parts.all_reduce_seconds, whole.all_reduce_seconds), "a ring is a scatter and a gather");
        assert!(parts.exposed_seconds > whole.all_reduce_seconds / 2.0 && whole.hidden > parts.hidden);
        let narrow = at(&Scenario { bytes_per_number: 2.0, ..sharded }, 16);
        assert!(narrow.all_reduce_seconds > 0.7 * parts.all_reduce_seconds, "parameters travel in fp32");
        assert_eq!(at(&Scenario { update: Update::Sharded, ..ring }, 1).efficiency, 1.0);
    }

    #[test]
    fn a_slow_loader_holds_a_whole_machine() {
        let slow = Scenario { loader_images_per_s: Some(1000.0), ..scenario() };
        let (alone, full, two) = (at(&slow, 1), at(&slow, 8), at(&slow, 16));
        assert!(!alone.held_by_loader && full.held_by_loader && two.held_by_loader);
        assert!(close(full.images_per_second, 1000.0) && close(two.images_per_second, 2000.0));
    }

    #[test]
    fn stragglers_are_the_slowest_of_all() {
        let jittery = Scenario { jitter: 0.02, ..scenario() };
        assert_eq!(at(&jittery, 1).straggler_seconds, 0.0);
        let expected = 0.31 * 0.02 * (2.0 * 64f64.ln()).sqrt();
        assert!(close(at(&jittery, 64).straggler_seconds, expected));
    }

    #[test]
    fn communication_shows_from_where_it_never_hides_again() {
        let scenario = scenario();
        let points: Vec<Point> = [1, 2, 8, 16, 64, 512].map(|gpus| at(&scenario, gpus)).into();
        let from = shows_from(&points).unwrap();
        for point in &points {
            assert_eq!(point.gpus >= from, point.exposed_seconds > SHOWS * point.step_seconds, "{point:?}");
        }
        assert_eq!(shows_from(&points[..1]), None);
        let free = |point: &Point| Point { exposed_seconds: 0.0, ..*point };
        let again: Vec<Point> = vec![points[5], free(&points[5])];
        assert_eq!(shows_from(&again), None, "it hides at the largest");
    }
}
