//! Replaces a file whole or not at all, with an error of this crate.

use std::path::Path;

use crate::MetricsError;

/// Makes `path` hold exactly `bytes`, as [`files::replace`].
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), MetricsError> {
    files::replace(path, bytes).map_err(|source| MetricsError::File {
        action: "replace",
        path: path.to_owned(),
        source,
    })
}
