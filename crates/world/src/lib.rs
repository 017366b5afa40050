//! Who this process is among the ranks of a job, how many cores it may use, where libtorch's companions lie, and how it may end.

mod exit;
mod launchers;
mod wheels;
mod world;

pub use exit::Exit;
pub use launchers::LauncherKind;
pub use wheels::{nccl_beside, packages_beside};
pub use world::{World, WorldError, cores};

/// Rectify's own variables: they win over every launcher's.
pub mod variables {
    /// Rank of this process, `0 ≤ rank < size`.
    pub const RANK: &str = "RECTIFY_RANK";
    /// Number of ranks of the job.
    pub const WORLD_SIZE: &str = "RECTIFY_WORLD_SIZE";
    /// Rank among the ranks of the same host; without it all ranks are taken to be on one host.
    pub const LOCAL_RANK: &str = "RECTIFY_LOCAL_RANK";
    /// Number of ranks on the same host.
    pub const LOCAL_SIZE: &str = "RECTIFY_LOCAL_SIZE";
}
