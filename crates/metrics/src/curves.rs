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

/// Width of the picture, and heights of its heading and of a row of two panels.
const WIDTH: u32 = 1200;
const HEADING: u32 = 66;
const ROW: u32 = 367;

// Colours of Okabe and Ito, which colour-blind readers tell apart too.
const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(213, 94, 0);
const GREEN: RGBColor = RGBColor(0, 158, 115);

/// Draws the records of a run's `metrics.jsonl` into an SVG picture: loss, accuracy, learning rate and throughput over
/// epochs; where there are some, also the ε that activations have learned and the entropy before and behind them. The heading
/// names the folder that the records lie in.
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
        let panels = panels(&steps, &evals);
        let size = (WIDTH, HEADING + ROW * panels.len().div_ceil(2) as u32);
        let area = SVGBackend::with_string(&mut picture, size).into_drawing_area();
        draw(&area, &heading(name, last, &evals), &panels).map_err(|error| error.to_string())?;
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

fn panels(steps: &[&StepRecord], evals: &[&EvalRecord]) -> Vec<Panel> {
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
    let mut panels = vec![
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
    ];
    let learned = steps.iter().map(|step| (step.epoch, &*step.epsilon));
    panels.extend(of_layers("Learned ε", learned));
    let before = evals.iter().map(|eval| (eval.epoch, &*eval.preactivation_entropy));
    let behind = evals.iter().map(|eval| (eval.epoch, &*eval.output_entropy));
    panels.extend(of_layers("Entropy of pre-activations, nats", before));
    panels.extend(of_layers("Entropy behind activations, nats", behind));
    panels
}

/// A panel with a curve for each layer, from pale to dark; `None` where there are no layers.
fn of_layers<'a>(
    title: &'static str,
    records: impl Iterator<Item = (f64, &'a [(String, f64)])> + Clone,
) -> Option<Panel> {
    let layers: Vec<&str> = records
        .clone()
        .map(|(_, layers)| layers)
        .max_by_key(|layers| layers.len())?
        .iter()
        .map(|(name, _)| &**name)
        .collect();
    let last = layers.len().checked_sub(1)?;
    let value = |layers: &[(String, f64)], name: &str| {
        layers.iter().find(|(layer, _)| layer == name).map_or(f64::NAN, |(_, value)| *value)
    };
    let curve = |(index, name): (usize, &&str)| {
        let label = match index {
            0 => "first layer",
            _ if index == last => "last layer",
            _ => "",
        };
        let series = Series::new(records.clone().map(|(epoch, layers)| (epoch, value(layers, name))));
        (label, shade(index as f64 / last.max(1) as f64), series)
    };
    let curves = layers.iter().enumerate().map(curve);
    Some(curves.fold(Panel::new(title), |panel, (label, colour, series)| panel.line(label, colour, series)))
}

/// From pale orange to dark blue, lightness falling all the way.
fn shade(along: f64) -> RGBColor {
    let mix = |pale: u8, dark: u8| (f64::from(pale) + along * (f64::from(dark) - f64::from(pale))).round() as u8;
    RGBColor(mix(245, 0), mix(190, 50), mix(120, 110))
}

fn draw<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    heading: &str,
    panels: &[Panel],
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    area.fill(&WHITE)?;
    let area = area.margin(10, 10, 10, 20);
    let (top, body) = area.split_vertically(36);
    top.draw(&Text::new(heading.to_owned(), (14, 6), ("sans-serif", 20).into_font().color(&INK)))?;
    for (part, panel) in body.split_evenly((panels.len().div_ceil(2), 2)).iter().zip(panels) {
        panel.draw(part)?;
    }
    area.present()
}
