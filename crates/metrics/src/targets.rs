//! The file from which Prometheus learns where the ranks of a run are: its file-based service discovery.

use std::{net::SocketAddr, path::Path};

use serde::{Deserialize, Serialize};

use crate::{Identity, MetricsError, atomic};

/// Where one rank's metrics are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `host:port`, as Prometheus should dial it.
    pub address: String,
    /// Name of the run.
    pub run: String,
    /// Global rank.
    pub rank: usize,
    /// Name of the rank's machine.
    pub host: String,
}

impl Target {
    /// The target of an endpoint. One that listens on all addresses is dialled by the name of its machine.
    pub fn new(identity: &Identity, address: SocketAddr) -> Target {
        let dialled = if address.ip().is_unspecified() {
            format!("{}:{}", identity.host, address.port())
        } else {
            address.to_string()
        };
        Target { address: dialled, run: identity.run.clone(), rank: identity.rank, host: identity.host.clone() }
    }
}

#[derive(Serialize)]
struct Group<'a> {
    targets: [&'a str; 1],
    labels: Labels<'a>,
}

#[derive(Serialize)]
struct Labels<'a> {
    run: &'a str,
    rank: String,
    host: &'a str,
}

/// The content of a file for `file_sd_configs`: one group a rank, so that `up` too carries the labels run, rank, host.
pub fn render_targets(targets: &[Target]) -> String {
    let groups: Vec<Group> = targets
        .iter()
        .map(|target| Group {
            targets: [&target.address],
            labels: Labels { run: &target.run, rank: target.rank.to_string(), host: &target.host },
        })
        .collect();
    serde_json::to_string_pretty(&groups).expect("groups have string keys only") + "\n"
}

/// Writes that file whole (Prometheus watches the folder and must never read half of it). End the name in `.json`.
///
/// # Errors
/// [`MetricsError::File`] if it cannot be written.
pub fn write_targets(path: &Path, targets: &[Target]) -> Result<(), MetricsError> {
    atomic::replace(path, render_targets(targets).as_bytes())
}
