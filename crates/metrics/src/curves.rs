//! `curves.svg`: the run at a glance, drawn from `metrics.jsonl`.

mod panel;
mod series;

use std::path::Path;

use plotters::prelude::*;

use self::{
    panel::{INK, Panel},
    series::Series,
};
use crate::{EvalRecord, MetricsError, Record, StepRecord, atomic, read_records};

/// Width and height of the picture.
const SIZE: (u32, u32) = (1200, 800);

// Colours of Okabe and Ito, which colour-blind readers tell apart too.
const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(213, 94, 0);
const GREEN: RGBColor = RGBColor(0, 158, 115);

/// Draws the records of a run's `metrics.jsonl` into an SVG picture: loss, accuracy, learning rate and throughput over
/// epochs. The heading names the folder that the records lie in.
///
/// # Errors
/// [`MetricsError::File`] if a file cannot be read or written, [`MetricsError::Draw`] if no step was logged.
pub fn draw_curves(records: &Path, svg: &Path) -> Result<(), MetricsError> {
    let all = read_records(records)?;
    let name = records.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let picture = render(&name, &all).map_err(|reason| MetricsError::Draw { path: svg.to_owned(), reason })?;
    atomic::replace(svg, picture.as_bytes())
}

fn render(name: &str, records: &[Record]) -> Result<String, String> {
    let steps: Vec<&StepRecord> =
        records.iter().filter_map(|r| if let Record::Step(step) = r { Some(step) } else { None }).collect();
    let evals: Vec<&EvalRecord> =
        records.iter().filter_map(|r| if let Record::Eval(eval) = r { Some(eval) } else { None }).collect();
    let last = steps.last().ok_or("no step was logged")?;
    let mut picture = String::new();
    {
        let area = SVGBackend::with_string(&mut picture, SIZE).into_drawing_area();
        draw(&area, &heading(name, last, &evals), &panels(&steps, &evals)).map_err(|error| error.to_string())?;
    }
    Ok(picture)
}

fn heading(name: &str, last: &StepRecord, evals: &[&EvalRecord]) -> String {
    let mut parts = vec![format!("step {}", last.step), format!("epoch {:.1}", last.epoch)];
    if !name.is_empty() {
        parts.insert(0, name.to_owned());
    }
    parts.push(format!("loss {:.4}", last.loss));
    if let Some(eval) = evals.last() {
        parts.push(format!("top-1 {:.2} %", eval.top1_percent));
        parts.push(format!("best {:.2} %", eval.best_top1_percent));
    }
    parts.join("  ·  ")
}

fn panels(steps: &[&StepRecord], evals: &[&EvalRecord]) -> [Panel; 4] {
    let of_steps = |value: fn(&StepRecord) -> f64| Series::new(steps.iter().map(|step| (step.epoch, value(step))));
    let of_evals = |value: fn(&EvalRecord) -> f64| Series::new(evals.iter().map(|eval| (eval.epoch, value(eval))));
    let loss = of_steps(|step| step.loss);
    let speed = of_steps(|step| step.images_per_second);
    let mut accuracy = Panel::new("Validation accuracy, %")
        .marks("top-1", BLUE, of_evals(|eval| eval.top1_percent))
        .marks("top-5", GREEN, of_evals(|eval| eval.top5_percent));
    if evals.iter().any(|eval| eval.ema_top1_percent.is_some()) {
        let average = of_evals(|eval| eval.ema_top1_percent.unwrap_or(f64::NAN));
        accuracy = accuracy.marks("top-1 of the average", ORANGE, average);
    }
    [
        Panel::new("Loss")
            .faint("training, each logged step", BLUE, loss.clone())
            .line("training, smoothed", BLUE, loss.smoothed())
            .marks("validation", ORANGE, of_evals(|eval| eval.evaluation_loss)),
        accuracy,
        Panel::new("Learning rate").with_zero().line("", BLUE, of_steps(|step| step.learning_rate)),
        Panel::new("Images per second, all ranks").with_zero().faint("each logged step", BLUE, speed.clone()).line(
            "smoothed",
            BLUE,
            speed.smoothed(),
        ),
    ]
}

fn draw<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    heading: &str,
    panels: &[Panel; 4],
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    area.fill(&WHITE)?;
    let area = area.margin(10, 10, 10, 20);
    let (top, body) = area.split_vertically(36);
    top.draw(&Text::new(heading.to_owned(), (14, 6), ("sans-serif", 20).into_font().color(&INK)))?;
    for (part, panel) in body.split_evenly((2, 2)).iter().zip(panels) {
        panel.draw(part)?;
    }
    area.present()
}
