//! One panel of the picture: axes, curves, legend.

use std::ops::Range;

use plotters::{coord::Shift, prelude::*};

use super::series::Series;

/// Colour of text and axes.
pub(super) const INK: RGBColor = RGBColor(60, 60, 60);
const GRID: RGBColor = RGBColor(228, 228, 228);

#[derive(Clone, Copy, PartialEq)]
enum Look {
    Faint,
    Line,
    Marks,
}

struct Curve {
    label: &'static str,
    colour: RGBColor,
    look: Look,
    series: Series,
}

/// A panel: its curves over epochs.
pub(super) struct Panel {
    title: &'static str,
    with_zero: bool,
    curves: Vec<Curve>,
}

impl Panel {
    pub(super) fn new(title: &'static str) -> Panel {
        Panel { title, with_zero: false, curves: Vec::new() }
    }

    /// The y axis begins at 0.
    pub(super) fn with_zero(self) -> Panel {
        Panel { with_zero: true, ..self }
    }

    /// Adds a pale thin line; an empty label stays out of the legend.
    pub(super) fn faint(self, label: &'static str, colour: RGBColor, series: Series) -> Panel {
        self.with(Curve { label, colour, look: Look::Faint, series })
    }

    /// Adds a line.
    pub(super) fn line(self, label: &'static str, colour: RGBColor, series: Series) -> Panel {
        self.with(Curve { label, colour, look: Look::Line, series })
    }

    /// Adds a line with a dot at each point, for the few points of evaluations.
    pub(super) fn marks(self, label: &'static str, colour: RGBColor, series: Series) -> Panel {
        self.with(Curve { label, colour, look: Look::Marks, series })
    }

    fn with(mut self, curve: Curve) -> Panel {
        if curve.series.finite().next().is_some() {
            self.curves.push(curve);
        }
        self
    }

    /// Draws the panel over the whole of `area`.
    pub(super) fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        area.draw(&Text::new(self.title, (14, 8), ("sans-serif", 17).into_font().color(&INK)))?;
        if self.curves.is_empty() {
            let place = (area.dim_in_pixel().0 as i32 / 2 - 40, area.dim_in_pixel().1 as i32 / 2);
            return area.draw(&Text::new("nothing yet", place, ("sans-serif", 15).into_font().color(&INK)));
        }
        let mut chart = ChartBuilder::on(area)
            .margin(14)
            .margin_top(34)
            .x_label_area_size(40)
            .y_label_area_size(58)
            .build_cartesian_2d(self.x_range(), self.y_range())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style(("sans-serif", 14).into_font().color(&INK))
            .x_desc("epoch")
            .x_labels(8)
            .y_labels(6)
            .x_label_formatter(&|x| short(*x))
            .y_label_formatter(&|y| short(*y))
            .draw()?;
        for curve in &self.curves {
            let (colour, width) = match curve.look {
                Look::Faint => (curve.colour.mix(0.45), 1),
                Look::Line | Look::Marks => (curve.colour.mix(1.0), 2),
            };
            let style = colour.stroke_width(width);
            for stretch in curve.series.stretches() {
                chart.draw_series(LineSeries::new(stretch.iter().copied(), style))?;
            }
            if curve.look == Look::Marks || curve.series.finite().nth(1).is_none() {
                chart.draw_series(curve.series.finite().map(|point| Circle::new(point, 3, colour.filled())))?;
            }
        }
        self.draw_legend(area)
    }

    /// Swatches and names on the title's line, flush right. (plotters' own legend covers the curves.)
    fn draw_legend<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let mut right = area.dim_in_pixel().0 as i32 - 14;
        for curve in self.curves.iter().rev().filter(|curve| !curve.label.is_empty()) {
            // About 6.6 pixels a letter at this size; without fonts at hand there is no exact width.
            let left = right - (curve.label.len() as f64 * 6.6) as i32;
            area.draw(&Text::new(curve.label, (left, 10), ("sans-serif", 14).into_font().color(&INK)))?;
            let (colour, width) = match curve.look {
                Look::Faint => (curve.colour.mix(0.45), 1),
                Look::Line | Look::Marks => (curve.colour.mix(1.0), 3),
            };
            area.draw(&PathElement::new(vec![(left - 26, 17), (left - 6, 17)], colour.stroke_width(width)))?;
            right = left - 44;
        }
        Ok(())
    }

    fn x_range(&self) -> Range<f64> {
        let (_, last) = bounds(self.points().map(|(x, _)| x));
        0.0..if last > 0.0 { last } else { 1.0 }
    }

    fn y_range(&self) -> Range<f64> {
        let (low, high) = bounds(self.points().map(|(_, y)| y));
        let low = if self.with_zero { low.min(0.0) } else { low };
        // A curve without any height still gets a panel of some height.
        let room = if high > low { 0.05 * (high - low) } else { 0.5 * high.abs().max(1e-3) };
        let floor = if self.with_zero || (low >= 0.0 && low < room) { low.min(0.0) } else { low - room };
        floor..high + room
    }

    fn points(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.curves.iter().flat_map(|curve| curve.series.finite())
    }
}

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// A number of an axis, as short as it can be told from its neighbours.
fn short(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e6).contains(&size) {
        return format!("{value:.1e}").replace(".0e", "e");
    }
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_axes_are_short() {
        let cases = [(0.0, "0"), (-0.0, "0"), (2.5, "2.5"), (97.0, "97"), (0.00025, "2.5e-4"), (0.001, "0.001")];
        for (value, text) in cases {
            assert_eq!(short(value), text);
        }
        assert_eq!(short(2e6), "2e6");
    }

    #[test]
    fn a_flat_curve_has_a_range() {
        let flat = |y| Panel::new("").line("", INK, Series::new([(0.0, y), (1.0, y)].into_iter())).y_range();
        for y in [0.0, 1.0, -3.0, 1e-9] {
            let range = flat(y);
            assert!(range.start <= y && range.end > y && range.end > range.start, "{y}: {range:?}");
        }
    }
}
