//! The bar that long commands draw on a terminal; nothing anywhere else.

use dataloader::Dataset;
use indicatif::{ProgressBar, ProgressStyle};

/// A bar over all images of both splits, on standard error.
pub fn over(dataset: &Dataset) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:24.cyan/dim} {human_pos}/{human_len} images  {per_sec}  {eta} left")
        .expect("the template is constant and tried by a test")
        .progress_chars("━╸─");
    ProgressBar::new((dataset.train.len() + dataset.validation.len()) as u64).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataloader::{DatasetSpec, open, sample};

    #[test]
    fn the_bar_covers_both_splits() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let folder = scratch.path().join("digits");
        sample::write(&folder).expect("written");
        assert_eq!(over(&open(&DatasetSpec::folder(folder)).expect("opened")).length(), Some(1797));
    }
}
