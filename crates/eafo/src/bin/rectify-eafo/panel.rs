//! One panel of a plot: axes, curves, bars, marks, legend.

use std::ops::Range;

use plotters::{coord::Shift, prelude::*};

/// Colour of text and axes.
pub const INK: RGBColor = RGBColor(60, 60, 60);
const GRID: RGBColor = RGBColor(228, 228, 228);

// Colours of Okabe and Ito, which colour-blind readers tell apart too.
pub const BLUE: RGBColor = RGBColor(0, 114, 178);
pub const ORANGE: RGBColor = RGBColor(213, 94, 0);
pub const GREEN: RGBColor = RGBColor(0, 158, 115);
pub const SKY: RGBColor = RGBColor(86, 180, 233);
pub const GREY: RGBColor = RGBColor(150, 150, 150);

/// How a curve is drawn.
#[derive(Clone, Copy, PartialEq)]
enum Look {
    Line,
    Dashes,
    Marks,
    Bars,
}

struct Curve {
    label: String,
    colour: RGBColor,
    look: Look,
    points: Vec<(f64, f64)>,
}

/// A panel with its curves.
pub struct Panel {
    title: String,
    x_label: &'static str,
    with_zero: bool,
    y_most: Option<Range<f64>>,
    curves: Vec<Curve>,
}

impl Panel {
    pub fn new(title: impl Into<String>, x_label: &'static str) -> Panel {
        Panel { title: title.into(), x_label, with_zero: false, y_most: None, curves: Vec::new() }
    }

    /// The y axis begins at 0.
    pub fn with_zero(self) -> Panel {
        Panel { with_zero: true, ..self }
    }

    /// The y axis stays within these, whatever the curves do.
    pub fn within(self, low: f64, high: f64) -> Panel {
        Panel { y_most: Some(low..high), ..self }
    }

    /// Adds a line; points that are not finite part it. An empty label stays out of the legend.
    pub fn line(self, label: impl Into<String>, colour: RGBColor, points: Vec<(f64, f64)>) -> Panel {
        self.with(label, colour, Look::Line, points)
    }

    /// Adds a dashed line.
    pub fn dashes(self, label: impl Into<String>, colour: RGBColor, points: Vec<(f64, f64)>) -> Panel {
        self.with(label, colour, Look::Dashes, points)
    }

    /// Adds a thin line with a dot at each point.
    pub fn marks(self, label: impl Into<String>, colour: RGBColor, points: Vec<(f64, f64)>) -> Panel {
        self.with(label, colour, Look::Marks, points)
    }

    /// Adds bars: each point's height from its x to the next one's.
    pub fn bars(self, label: impl Into<String>, colour: RGBColor, points: Vec<(f64, f64)>) -> Panel {
        self.with(label, colour, Look::Bars, points)
    }

    fn with(mut self, label: impl Into<String>, colour: RGBColor, look: Look, points: Vec<(f64, f64)>) -> Panel {
        self.curves.push(Curve { label: label.into(), colour, look, points });
        self
    }

    /// Draws the panel over the whole of `area`.
    pub fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        area.draw(&Text::new(self.title.as_str(), (14, 8), ("sans-serif", 16).into_font().color(&INK)))?;
        let width = area.dim_in_pixel().0;
        let y = self.y_range();
        let mut chart = ChartBuilder::on(area)
            .margin(14)
            .margin_top(if self.has_legend() { 52 } else { 34 })
            .x_label_area_size(if self.x_label.is_empty() { 24 } else { 40 })
            .y_label_area_size(52)
            .build_cartesian_2d(self.x_range(), y.clone())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style(("sans-serif", 13).into_font().color(&INK))
            .x_desc(self.x_label)
            .x_labels(if width < 420 { 5 } else { 8 })
            .y_labels(5)
            .x_label_formatter(&|x| short(*x))
            .y_label_formatter(&|y| short(*y))
            .draw()?;
        for curve in &self.curves {
            let style = curve.colour.stroke_width(2);
            let inside = |point: &(f64, f64)| point.0.is_finite() && point.1.is_finite();
            if curve.look == Look::Bars {
                let floor = y.start.max(0.0);
                let bar = |pair: &[(f64, f64)]| {
                    Rectangle::new(
                        [(pair[0].0, floor), (pair[1].0, pair[0].1.min(y.end))],
                        curve.colour.mix(0.35).filled(),
                    )
                };
                chart.draw_series(curve.points.windows(2).filter(|pair| pair[0].1 > floor).map(bar))?;
                continue;
            }
            for stretch in
                clipped(&curve.points, &y).split(|point| !inside(point)).filter(|stretch| !stretch.is_empty())
            {
                let points = stretch.iter().copied();
                if curve.look == Look::Dashes {
                    chart.draw_series(DashedLineSeries::new(points, 7, 5, style))?;
                } else {
                    chart.draw_series(LineSeries::new(points, style))?;
                }
                if curve.look == Look::Marks {
                    let dots = stretch.iter().map(|point| Circle::new(*point, 3, curve.colour.filled()));
                    chart.draw_series(dots)?;
                }
            }
        }
        self.draw_legend(area)
    }

    fn has_legend(&self) -> bool {
        self.curves.iter().any(|curve| !curve.label.is_empty())
    }

    /// Swatches and names on a line of their own below the title.
    fn draw_legend<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let mut left = 68;
        for curve in self.curves.iter().filter(|curve| !curve.label.is_empty()) {
            let thick = if curve.look == Look::Bars { 9 } else { 3 };
            let colour = if curve.look == Look::Bars { curve.colour.mix(0.35) } else { curve.colour.mix(1.0) };
            let ends = if curve.look == Look::Dashes {
                vec![(left, left + 8), (left + 13, left + 21)]
            } else {
                vec![(left, left + 21)]
            };
            for (from, to) in ends {
                area.draw(&PathElement::new(vec![(from, 38), (to, 38)], colour.stroke_width(thick)))?;
            }
            area.draw(&Text::new(curve.label.as_str(), (left + 27, 31), ("sans-serif", 13).into_font().color(&INK)))?;
            // About 6.4 pixels a letter at this size; without fonts at hand there is no exact width.
            left += 27 + (curve.label.chars().count() as f64 * 6.4) as i32 + 18;
        }
        Ok(())
    }

    fn x_range(&self) -> Range<f64> {
        let (low, high) = bounds(self.points().map(|point| point.0));
        if high > low { low..high } else { low - 0.5..low + 0.5 }
    }

    fn y_range(&self) -> Range<f64> {
        let most = self.y_most.clone().unwrap_or(f64::NEG_INFINITY..f64::INFINITY);
        let shown = self.points().map(|point| point.1).filter(|y| (most.start..=most.end).contains(y));
        let (low, high) = bounds(shown);
        let low = if self.with_zero { low.min(0.0) } else { low };
        let room = if high > low { 0.05 * (high - low) } else { 0.5 * high.abs().max(1e-3) };
        let floor = if self.with_zero && low == 0.0 { 0.0 } else { low - room };
        floor.max(most.start)..(high + room).min(most.end)
    }

    fn points(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.curves
            .iter()
            .flat_map(|curve| curve.points.iter().copied())
            .filter(|(x, y)| x.is_finite() && y.is_finite())
    }
}

/// The points of a line, cut off where it leaves the range, with gaps for what lies outside.
fn clipped(points: &[(f64, f64)], range: &Range<f64>) -> Vec<(f64, f64)> {
    let within = |y: f64| (range.start..=range.end).contains(&y);
    let mut line = Vec::new();
    for (i, &(x, y)) in points.iter().enumerate() {
        if let Some(&(x0, y0)) = i.checked_sub(1).and_then(|before| points.get(before))
            && within(y0) != within(y)
            && (y0 - y).is_finite()
        {
            let border = if y0.max(y) > range.end { range.end } else { range.start };
            line.push((x0 + (x - x0) * (border - y0) / (y - y0), border));
        }
        line.push((x, if within(y) { y } else { f64::NAN }));
    }
    line
}

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    if low > high { (0.0, 1.0) } else { (low, high) }
}

/// A number of an axis, as short as it can be told from its neighbours.
fn short(value: f64) -> String {
    let size = value.abs();
    if size > 1e-9 && !(1e-3..1e6).contains(&size) {
        return format!("{value:.1e}").replace(".0e", "e");
    }
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    // A minus sign of typography, as the texts have.
    if text == "-0" { "0".to_owned() } else { text.replace('-', "−") }
}
