//! Checkpoints: the state of a run on disk, whole or absent.
//!
//! `checkpoints/step-00001234/` holds `parameters.safetensors` (timm's names), `optimizer.safetensors` (the same names
//! after the prefixes of the optimiser's buffers, such as `exp_avg.`), `ema.safetensors` where there is a moving average,
//! `state.json` and `manifest.json` (size and BLAKE3 hash of each). Tensors are
//! stored whole, never as one rank's share, so any number of ranks can go on from them.

mod folder;
mod snapshot;
mod weights;
mod writer;

pub use folder::{CheckpointError, Loaded, load, newest_good, set_aside_after};
pub use snapshot::{RunState, Snapshot};
pub use weights::{Kept, Located, load_weights, locate};
pub use writer::{CheckpointEvent, Checkpoints};

/// File of the parameters, in a checkpoint's folder.
pub const PARAMETERS: &str = "parameters.safetensors";
/// File of what the optimiser remembers.
pub const OPTIMIZER: &str = "optimizer.safetensors";
/// File of the moving average of the parameters; absent where there is none.
pub const EMA: &str = "ema.safetensors";
/// File of everything that is not a tensor.
pub const STATE: &str = "state.json";
/// File of the hashes of the others.
pub const MANIFEST: &str = "manifest.json";
