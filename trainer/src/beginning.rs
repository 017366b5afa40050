//! Weights that a run begins with: rank 0 reads the file, and every rank takes the same.

use std::path::Path;

use collectives::{Communicator, Phase};
use models::{Model, Report, Weights};
use world::Exit;

use crate::checkpoint::{Kept, load_weights, locate};
use crate::failure::{Failure, agreed};

/// Puts the weights at `path` (a file, or the folder of a checkpoint or a run on rank 0's machine) into the model on every
/// rank, as far as they fit.
///
/// # Errors
/// [`Exit::Config`] when the file cannot be read, or its tensors have other shapes than the model.
pub fn begin_from(path: &Path, model: &Model, communicator: &dyn Communicator) -> Result<Report, Failure> {
    let refused = |why: String| format!("model.init_from = {path:?}: {why}");
    let read = if communicator.rank() == 0 { read(path).map_err(refused) } else { Ok(Vec::new()) };
    let mut bytes = agreed(read, Exit::Config, communicator, Phase::new("whether there are first weights"))?;
    communicator.broadcast(Phase::new("first weights"), &mut bytes, 0)?;
    let failed = |why: String| Failure::because(Exit::Config, refused(why));
    let weights = Weights::parse(&bytes).map_err(|error| failed(error.to_string()))?;
    model.load_pretrained(&weights.tensors).map_err(|error| failed(error.to_string()))
}

/// The bytes of a file of weights; of a run's folder those of its best checkpoint, else its newest.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    if !path.is_dir() {
        return std::fs::read(path).map_err(|error| format!("cannot be read: {error}"));
    }
    let loaded = locate(path).and_then(|located| load_weights(&located.path, Kept::Trained));
    loaded.map(|(_, bytes)| bytes).map_err(|error| error.to_string())
}

/// What a run says of the weights that it began with.
pub fn told(path: &Path, report: &Report) -> String {
    format!("beginning with {}: {report}", path.display())
}
