//! What an all-reduce costs: α–β formulas of ring, hierarchy and tree, pure.
//!
//! A message of n bytes over a link takes α + n/β: α seconds whatever its size, β bytes a second. Adding costs nothing here.

use clap::ValueEnum;
use serde::Serialize;

/// A link: what a message costs whatever its size, and how fast its bytes follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// α: seconds a hop.
    pub alpha_s: f64,
    /// β: bytes a second in each direction, such as NCCL's tests call bus bandwidth.
    pub bytes_per_s: f64,
}

/// Machines of equally many GPUs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    /// Between the GPUs of a machine; β is one GPU's.
    pub inside: Link,
    /// Between machines; β is a whole machine's, all its cards together.
    pub between: Link,
    /// GPUs of a machine.
    pub gpus_per_node: usize,
}

/// GPUs on machines, equally many on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// GPUs of a machine that take part.
    pub per_node: usize,
    /// Machines.
    pub nodes: usize,
}

/// How gradients are summed over GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// One ring through all GPUs.
    Ring,
    /// Reduce-scatter inside each machine, a ring between machines, all-gather inside.
    Hierarchical,
    /// The same with a double binary tree between machines; the tree is of GPUs where there is one machine.
    Tree,
    /// The cheapest of these for each bucket.
    Auto,
}

/// What one all-reduce costs, and how it is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Seconds.
    pub seconds: f64,
    /// Never [`Algorithm::Auto`].
    pub algorithm: Algorithm,
}

impl Algorithm {
    /// Its name in a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Algorithm::Ring => "ring",
            Algorithm::Hierarchical => "hierarchical ring",
            Algorithm::Tree => "tree",
            Algorithm::Auto => "cheapest",
        }
    }
}

impl Cluster {
    /// All GPUs.
    pub fn gpus(self) -> usize {
        self.per_node * self.nodes
    }
}

impl Network {
    /// Spreads GPUs over as few machines as take them; `None` where the last machine would have fewer than the others.
    pub fn spread(&self, gpus: usize) -> Option<Cluster> {
        let per_node = gpus.min(self.gpus_per_node);
        gpus.is_multiple_of(per_node).then(|| Cluster { per_node, nodes: gpus / per_node })
    }

    /// Sums `bytes` over all GPUs of `cluster`.
    pub fn all_reduce(&self, cluster: Cluster, bytes: f64, algorithm: Algorithm) -> Cost {
        let cost = |algorithm, seconds| Cost { seconds, algorithm };
        match algorithm {
            Algorithm::Ring => cost(algorithm, self.flat_ring(cluster, bytes)),
            Algorithm::Hierarchical => cost(algorithm, self.hierarchy(cluster, bytes, ring)),
            Algorithm::Tree => cost(algorithm, self.hierarchy(cluster, bytes, tree)),
            Algorithm::Auto => [Algorithm::Ring, Algorithm::Hierarchical, Algorithm::Tree]
                .map(|algorithm| self.all_reduce(cluster, bytes, algorithm))
                .into_iter()
                .min_by(|a, b| a.seconds.total_cmp(&b.seconds))
                .expect("three algorithms"),
        }
    }

    /// Sums `bytes` so that each GPU has its share of the sum, or gives all GPUs what each has its share of: either is half of a ring, flat
    /// or in two levels. A tree has no such half.
    pub fn scatter_or_gather(&self, cluster: Cluster, bytes: f64, algorithm: Algorithm) -> Cost {
        let half = |algorithm| {
            let whole = self.all_reduce(cluster, bytes, algorithm);
            Cost { seconds: whole.seconds / 2.0, ..whole }
        };
        match algorithm {
            Algorithm::Ring | Algorithm::Hierarchical => half(algorithm),
            Algorithm::Tree | Algorithm::Auto => {
                let (flat, two_levels) = (half(Algorithm::Ring), half(Algorithm::Hierarchical));
                if flat.seconds <= two_levels.seconds { flat } else { two_levels }
            }
        }
    }

    /// Of the 2(p−1) hops, 2(m−1) lead from one of m machines to the next, as NCCL counts them; all links work at the same time, so
    /// the slowest decides how fast bytes follow.
    fn flat_ring(&self, cluster: Cluster, bytes: f64) -> f64 {
        let (gpus, nodes) = (cluster.gpus(), cluster.nodes);
        if nodes == 1 {
            return ring(gpus, self.inside, bytes);
        }
        let (hops, crossing) = (2 * (gpus - 1), 2 * (nodes - 1));
        let inside = if cluster.per_node == 1 { f64::INFINITY } else { self.inside.bytes_per_s };
        let bytes_per_s = self.between.bytes_per_s.min(inside);
        (hops - crossing) as f64 * self.inside.alpha_s
            + crossing as f64 * self.between.alpha_s
            + share_sent(gpus) * bytes / bytes_per_s
    }

    /// Inside a machine each of g GPUs sums a g-th of the bytes; these g parts go between machines at the same time and share the
    /// machine's cards. Reduce-scatter and all-gather together are a ring.
    fn hierarchy(&self, cluster: Cluster, bytes: f64, over_links: impl Fn(usize, Link, f64) -> f64) -> f64 {
        if cluster.nodes == 1 {
            return over_links(cluster.per_node, self.inside, bytes);
        }
        ring(cluster.per_node, self.inside, bytes) + over_links(cluster.nodes, self.between, bytes)
    }
}

/// Bytes that each of p ranks of a ring sends, and receives, in units of the message: 2(p−1)/p.
fn share_sent(ranks: usize) -> f64 {
    2.0 * (ranks - 1) as f64 / ranks as f64
}

/// A ring of p ranks: 2(p−1)·α + 2(p−1)/p · n/β (Thakur, Rabenseifner and Gropp, 2005; Patarasuk and Yuan, 2009).
pub fn ring(ranks: usize, link: Link, bytes: f64) -> f64 {
    2.0 * (ranks - 1) as f64 * link.alpha_s + share_sent(ranks) * bytes / link.bytes_per_s
}

/// A double binary tree of p ranks, pipelined (Sanders, Speck and Träff, 2009; NCCL since 2.4): every rank sends and receives each byte
/// twice, once on the way up and once on the way down.
///
/// In k pieces over d = 2⌈log₂ p⌉ levels: (d + k − 1)·(α + 2n/(k·β)). The best k is √((d − 1)·2n/(α·β)), at least 1, for which this is
/// (√((d − 1)·α) + √(2n/β))²: the bandwidth of a ring as n grows, and latency that grows with log p in the place of p.
pub fn tree(ranks: usize, link: Link, bytes: f64) -> f64 {
    if ranks == 1 {
        return 0.0;
    }
    let levels = f64::from(2 * ranks.next_power_of_two().trailing_zeros());
    let transfer = 2.0 * bytes / link.bytes_per_s;
    let pieces = ((levels - 1.0) * transfer / link.alpha_s).sqrt();
    if pieces.is_infinite() {
        return transfer; // without latency the pieces are as small as one likes
    }
    let pieces = pieces.max(1.0);
    (levels + pieces - 1.0) * (link.alpha_s + transfer / pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Link = Link { alpha_s: 5e-6, bytes_per_s: 1e9 };
    const NETWORK: Network =
        Network { inside: Link { alpha_s: 1e-6, bytes_per_s: 100e9 }, between: LINK, gpus_per_node: 8 };
    const ALL: [Algorithm; 4] = [Algorithm::Ring, Algorithm::Hierarchical, Algorithm::Tree, Algorithm::Auto];

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-12 * b.abs().max(1e-12)
    }

    #[test]
    fn a_ring_costs_what_its_formula_says() {
        assert!(close(ring(2, LINK, 1e6), 2.0 * 5e-6 + 1e-3));
        assert!(close(ring(4, LINK, 1e6), 6.0 * 5e-6 + 1.5e-3));
        assert_eq!(ring(1, LINK, 1e6), 0.0);
    }

    #[test]
    fn a_tree_has_the_bandwidth_of_a_ring_and_the_latency_of_a_logarithm() {
        let free = Link { alpha_s: 0.0, ..LINK };
        assert!(close(tree(1024, free, 1e6), 2e-3));
        assert!((tree(1024, LINK, 1e12) / ring(1024, LINK, 1e12) - 1.0).abs() < 2e-3);
        // One piece: 2·log₂ p hops.
        assert!(close(tree(1024, LINK, 0.0), 20.0 * 5e-6));
        assert!(close(tree(1000, LINK, 0.0), 20.0 * 5e-6));
        // The closed form of the best number of pieces.
        let best = ((19.0f64 * 5e-6).sqrt() + 2e-2f64.sqrt()).powi(2);
        assert!(close(tree(1024, LINK, 1e7), best), "{} {best}", tree(1024, LINK, 1e7));
        assert_eq!(tree(1, LINK, 1e6), 0.0);
        assert!(tree(1024, LINK, 1e5) < ring(1024, LINK, 1e5), "a small message over many ranks");
    }

    #[test]
    fn the_best_number_of_pieces_is_the_best() {
        let in_pieces = |k: f64| (20.0 + k - 1.0) * (LINK.alpha_s + 2e-3 / k);
        let least = (1..2000).map(|k| in_pieces(f64::from(k))).fold(f64::INFINITY, f64::min);
        assert!(tree(1024, LINK, 1e6) <= least && tree(1024, LINK, 1e6) > 0.999 * least);
    }

    #[test]
    fn gpus_fill_machines_and_uneven_ones_are_refused() {
        assert_eq!(NETWORK.spread(4), Some(Cluster { per_node: 4, nodes: 1 }));
        assert_eq!(NETWORK.spread(24), Some(Cluster { per_node: 8, nodes: 3 }));
        assert_eq!(NETWORK.spread(12), None);
    }

    #[test]
    fn inside_a_machine_only_its_own_links_count() {
        let one = NETWORK.spread(8).unwrap();
        assert!(close(NETWORK.all_reduce(one, 1e8, Algorithm::Ring).seconds, ring(8, NETWORK.inside, 1e8)));
        assert!(close(NETWORK.all_reduce(one, 1e8, Algorithm::Hierarchical).seconds, ring(8, NETWORK.inside, 1e8)));
        assert!(close(NETWORK.all_reduce(one, 1e8, Algorithm::Tree).seconds, tree(8, NETWORK.inside, 1e8)));
    }

    #[test]
    fn between_machines_a_flat_ring_is_as_fast_as_its_slowest_link() {
        let two = NETWORK.spread(16).unwrap();
        let flat = NETWORK.all_reduce(two, 1e9, Algorithm::Ring).seconds;
        assert!(close(flat, 28.0 * 1e-6 + 2.0 * 5e-6 + 2.0 * 15.0 / 16.0));
        let inside_first = NETWORK.all_reduce(two, 1e9, Algorithm::Hierarchical).seconds;
        assert!(close(inside_first, ring(8, NETWORK.inside, 1e9) + ring(2, LINK, 1e9)));
        assert!(inside_first < flat, "half of the bytes cross where all crossed nearly twice");
    }

    #[test]
    fn a_share_of_the_sum_costs_half_of_a_ring() {
        let two = NETWORK.spread(16).unwrap();
        for algorithm in [Algorithm::Ring, Algorithm::Hierarchical] {
            let whole = NETWORK.all_reduce(two, 1e8, algorithm).seconds;
            assert!(close(2.0 * NETWORK.scatter_or_gather(two, 1e8, algorithm).seconds, whole));
        }
        let [cheapest, tree] =
            [Algorithm::Auto, Algorithm::Tree].map(|algorithm| NETWORK.scatter_or_gather(two, 1e8, algorithm));
        assert_eq!((cheapest, cheapest.algorithm), (tree, Algorithm::Hierarchical));
        // One of p GPUs sends p−1 times its share: (p−1)·α + (p−1)/p · n/β.
        let inside = NETWORK.scatter_or_gather(NETWORK.spread(8).unwrap(), 1e8, Algorithm::Auto).seconds;
        assert!(close(inside, 7.0 * 1e-6 + 7.0 / 8.0 * 1e-3));
    }

    #[test]
    fn the_cheapest_is_chosen_and_more_gpus_never_cost_less() {
        for bytes in [1e3, 1e6, 26e6, 1e9] {
            let mut before = 0.0;
            for gpus in [1, 2, 4, 8, 16, 32, 64, 256, 1024, 4096] {
                let cluster = NETWORK.spread(gpus).unwrap();
                let costs = ALL.map(|algorithm| NETWORK.all_reduce(cluster, bytes, algorithm));
                let auto = costs[3];
                assert!(costs.iter().all(|cost| auto.seconds <= cost.seconds));
                assert!(auto.algorithm != Algorithm::Auto && auto.seconds >= before, "{bytes} bytes, {gpus} GPUs");
                before = auto.seconds;
            }
        }
    }
}
