//! The networks that have a name: α and β of each, with where they come from.
//!
//! β inside a machine is the bus bandwidth that NCCL's tests report for all-reduce: 460 to 480 GB/s for 8 H100, 230 to 250 for 8 A100 (the
//! middle of each), 35 to 45 for 8 GPUs on PCIe 5. Between machines it is 90 % of what the cards of a machine can send by their
//! name: an assumption, since packets, switches and neighbours take their share. α is NCCL's own, by which it chooses between
//! algorithms: 3.4 µs a hop over NVLink, 5.7 over PCIe, 14 over a network with RDMA (the ring with the protocol "simple"). A hop
//! over TCP is assumed to take 50 µs. 1 GB is 10⁹ bytes.

use plan::nearest;

use super::error::SimulateError;
use super::network::{Link, Network};

/// A network with a name.
pub struct Named {
    /// What it is called.
    pub name: &'static str,
    /// What stands in a machine and between machines.
    pub words: &'static str,
    inside: Link,
    /// Gigabits a second of all cards of a machine together, by their name.
    between_gbit_per_s: f64,
    between_alpha_s: f64,
}

/// The share of a card's nominal speed that gradients get.
const SHARE_OF_NOMINAL: f64 = 0.9;
/// GPUs of a machine, unless `--gpus-per-node` says otherwise.
pub const GPUS_PER_NODE: usize = 8;

const RDMA_S: f64 = 14e-6;
const TCP_S: f64 = 50e-6;
const H100_NVLINK: Link = Link { alpha_s: 3.4e-6, bytes_per_s: 470e9 };
const A100_NVLINK: Link = Link { alpha_s: 3.4e-6, bytes_per_s: 240e9 };
const PCIE5: Link = Link { alpha_s: 5.7e-6, bytes_per_s: 40e9 };
/// PCIe 3 through the host: about three quarters of the 15.75 GB/s that 16 lanes carry; an assumption.
const PCIE3: Link = Link { alpha_s: 5.7e-6, bytes_per_s: 12e9 };

/// All of them, the fastest first.
pub const NETWORKS: [Named; 7] = [
    Named {
        name: "nvlink+ib-ndr400",
        words: "8 H100 on NVLink; 8 cards of 400 Gb/s InfiniBand a machine",
        inside: H100_NVLINK,
        between_gbit_per_s: 8.0 * 400.0,
        between_alpha_s: RDMA_S,
    },
    Named {
        name: "nvlink+ib-hdr200",
        words: "8 A100 on NVLink; 8 cards of 200 Gb/s InfiniBand a machine",
        inside: A100_NVLINK,
        between_gbit_per_s: 8.0 * 200.0,
        between_alpha_s: RDMA_S,
    },
    Named {
        name: "nvlink+roce-100",
        words: "8 A100 on NVLink; one card of 100 Gb/s RoCE a machine",
        inside: A100_NVLINK,
        between_gbit_per_s: 100.0,
        between_alpha_s: RDMA_S,
    },
    Named {
        name: "pcie+roce-100",
        words: "8 GPUs on PCIe 5; one card of 100 Gb/s RoCE a machine",
        inside: PCIE5,
        between_gbit_per_s: 100.0,
        between_alpha_s: RDMA_S,
    },
    Named {
        name: "pcie+roce-25",
        words: "GPUs on PCIe 3; one card of 25 Gb/s RoCE a machine",
        inside: PCIE3,
        between_gbit_per_s: 25.0,
        between_alpha_s: RDMA_S,
    },
    Named {
        name: "ethernet-10g",
        words: "GPUs on PCIe 3; 10 Gb/s Ethernet with TCP between machines",
        inside: PCIE3,
        between_gbit_per_s: 10.0,
        between_alpha_s: TCP_S,
    },
    Named {
        name: "ethernet-1g",
        words: "GPUs on PCIe 3; 1 Gb/s Ethernet with TCP between machines",
        inside: PCIE3,
        between_gbit_per_s: 1.0,
        between_alpha_s: TCP_S,
    },
];

impl Named {
    /// The network with this many GPUs a machine.
    pub fn network(&self, gpus_per_node: usize) -> Network {
        let bytes_per_s = SHARE_OF_NOMINAL * self.between_gbit_per_s * 1e9 / 8.0;
        Network { inside: self.inside, between: Link { alpha_s: self.between_alpha_s, bytes_per_s }, gpus_per_node }
    }
}

/// All names.
pub fn names() -> Vec<&'static str> {
    NETWORKS.iter().map(|network| network.name).collect()
}

/// The network of this name.
pub fn find(name: &str) -> Result<&'static Named, SimulateError> {
    NETWORKS.iter().find(|network| network.name == name).ok_or_else(|| {
        let near = nearest(name, names());
        let hint = if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) };
        SimulateError::UnknownNetwork { name: name.to_owned(), hint, known: names() }
    })
}

/// A line for each network, for the help.
pub fn listing() -> String {
    let width = NETWORKS.iter().map(|network| network.name.len()).max().unwrap_or(0);
    NETWORKS.iter().map(|network| format!("  {:<width$}  {}\n", network.name, network.words)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_slips_are_told() {
        assert!(NETWORKS.iter().all(|network| find(network.name).is_ok_and(|found| found.words == network.words)));
        let error = find("nvlink+ib-ndr40").err().unwrap().to_string();
        assert!(error.contains("did you mean nvlink+ib-ndr400") && error.contains("ethernet-1g"), "{error}");
        assert!(!find("carrier pigeons").err().unwrap().to_string().contains("did you mean"));
    }

    #[test]
    fn bandwidths_are_bytes() {
        let network = find("ethernet-1g").ok().unwrap().network(1);
        assert_eq!((network.between.bytes_per_s, network.gpus_per_node), (0.1125e9, 1));
    }
}
