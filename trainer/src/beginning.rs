//! Weights that a run begins with: rank 0 reads the file, and every rank takes the same.

use std::path::Path;

use collectives::{Communicator, Phase};
use models::{Model, Report, Weights};
use world::Exit;

use crate::checkpoint::PARAMETERS;
use crate::failure::Failure;

/// Puts the weights at `path` (a file, or a checkpoint's folder on rank 0's machine) into the model on every rank, as far as
/// they fit.
///
/// # Errors
/// [`Exit::Config`] when the file cannot be read, or its tensors have other shapes than the model.
pub fn begin_from(path: &Path, model: &Model, communicator: &dyn Communicator) -> Result<Report, Failure> {
    let file = if path.is_dir() { path.join(PARAMETERS) } else { path.to_owned() };
    let read = if communicator.rank() == 0 { std::fs::read(&file) } else { Ok(Vec::new()) };
    let refused =
        |why: String| Failure::because(Exit::Config, format!("model.init_from = {:?}: {why}", file.display()));
    // A failure of rank 0 must reach the others, who wait for its bytes: no file of weights is empty.
    let mut bytes = read.as_ref().map_or_else(|_| Vec::new(), Clone::clone);
    communicator.broadcast(Phase::new("first weights"), &mut bytes, 0)?;
    if let Err(error) = read {
        return Err(refused(format!("cannot be read: {error}")));
    }
    if bytes.is_empty() {
        return Err(refused("rank 0 found nothing in it; its log says why".to_owned()));
    }
    let weights = Weights::parse(&bytes).map_err(|error| refused(error.to_string()))?;
    model.load_pretrained(&weights.tensors).map_err(|error| refused(error.to_string()))
}

/// What a run says of the weights that it began with.
pub fn told(path: &Path, report: &Report) -> String {
    format!("beginning with {}: {report}", path.display())
}
