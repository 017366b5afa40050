//! What can go wrong while measuring: the one error type of this crate.

use std::{io, net::IpAddr, path::PathBuf};

/// Why something measured could not be delivered.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}; check that the folder exists, is writable and has space left", path.display())]
    File {
        /// What was tried, as a verb: "read", "append to", "replace".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file was read, but does not hold what it should.
    #[error("{} is not what Rectify writes there: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was wrong with it.
        reason: String,
    },
    /// The ports of the ranks of a machine would not fit.
    #[error(
        "--metrics-port {first} has no port for each of {ranks} ranks of a machine, since 65535 is the last: choose at most {}, or 0 \
         for a free one each", 65536_usize.saturating_sub(*ranks)
    )]
    PortBeyondLast {
        /// The port of the first rank.
        first: u16,
        /// How many there are on one machine.
        ranks: usize,
    },
    /// Every port that was tried is taken.
    #[error("ports {first} to {last} of {host} are all taken; choose others with --metrics-port")]
    PortsTaken {
        /// The address that the ports belong to.
        host: IpAddr,
        /// The port asked for.
        first: u16,
        /// The last port tried.
        last: u16,
    },
    /// The address could not be listened on, for another reason than a taken port.
    #[error(
        "cannot serve metrics on {host}:{port}: {source}; choose another address with --metrics-host or --metrics-port"
    )]
    Listen {
        /// The address asked for.
        host: IpAddr,
        /// The port tried.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The curves could not be drawn.
    #[error("cannot draw {}: {reason}", path.display())]
    Draw {
        /// The picture.
        path: PathBuf,
        /// What the drawing library said.
        reason: String,
    },
}
