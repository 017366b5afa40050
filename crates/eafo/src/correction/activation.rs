//! The new activation: by exact inversion of y + t·η, by the first-order closed form, and as a table.

use activations::{BadTable, Table};

use super::Warp;
use crate::function::Map;

/// The exact corrected activation `f(G⁻¹(x))`, the inverse of `y + t·η`.
#[derive(Clone, Copy, Debug)]
pub struct Corrected<'a>(pub Warp<'a>);

impl Map for Corrected<'_> {
    fn name(&self) -> String {
        format!("{} corrected by {}", self.0.correction().function().name(), self.0.step())
    }

    fn value(&self, x: f64) -> f64 {
        self.0.correction().function().value(self.0.inverse(x))
    }

    fn slope(&self, x: f64) -> f64 {
        let inner = self.0.inverse(x);
        self.0.correction().function().slope(inner) / self.0.at(inner)[1]
    }

    fn log_slope(&self, x: f64) -> f64 {
        let inner = self.0.inverse(x);
        self.0.correction().function().log_slope(inner) - self.0.at(inner)[1].ln()
    }

    fn kinks(&self) -> Vec<f64> {
        kinks(&self.0)
    }
}

/// The first-order form `f(x) − t·η·f′(x)`, which is `f + t·(p′ − p·f″/f′)` on a rising branch: for ReLU and a Gaussian it is CRReLU.
#[derive(Clone, Copy, Debug)]
pub struct FirstOrder<'a>(pub Warp<'a>);

impl Map for FirstOrder<'_> {
    fn name(&self) -> String {
        format!("{} corrected by {} to first order", self.0.correction().function().name(), self.0.step())
    }

    fn value(&self, x: f64) -> f64 {
        let function = self.0.correction().function();
        let [d, _] = self.0.correction().direction(x);
        if d == 0.0 { function.value(x) } else { function.value(x) - self.0.step() * d * function.slope(x) }
    }

    fn slope(&self, x: f64) -> f64 {
        let function = self.0.correction().function();
        let [d, slope] = self.0.correction().direction(x);
        if d == 0.0 && slope == 0.0 {
            return function.slope(x);
        }
        let [_, f1, f2, _] = function.jet(x).0;
        f1 - self.0.step() * (slope * f1 + d * f2)
    }

    fn log_slope(&self, x: f64) -> f64 {
        let [d, slope] = self.0.correction().direction(x);
        if d == 0.0 && slope == 0.0 { self.0.correction().function().log_slope(x) } else { self.slope(x).abs().ln() }
    }

    fn kinks(&self) -> Vec<f64> {
        kinks(&self.0)
    }
}

fn kinks(warp: &Warp<'_>) -> Vec<f64> {
    let correction = warp.correction();
    let mut kinks = correction.function().kinks();
    kinks.extend(correction.density().kinks());
    kinks.sort_by(f64::total_cmp);
    kinks.dedup();
    kinks
}

/// The nodes of a table, at most.
const MOST_CELLS: f64 = 1024.0;

/// The table of a function from `low` to `high` at least, in at most 1,024 cells whose width is a power of 2, with a node at 0 if that is
/// inside. A kink is rounded off within the cells beside it: C¹ has no corners.
///
/// # Errors
/// [`BadTable`] where the function is not finite.
pub fn tabulate(map: &dyn Map, low: f64, high: f64) -> Result<Table, BadTable> {
    let step = ((high - low) / (MOST_CELLS - 2.0)).log2().ceil().exp2();
    let first = (low / step).floor();
    let count = ((high / step).ceil() - first) as usize + 1;
    let kinks = map.kinks();
    let slope = |x: f64| {
        let near = 1e-6 * step;
        if kinks.iter().any(|kink| (kink - x).abs() < near) {
            return 0.5 * (map.slope(x - near) + map.slope(x + near));
        }
        map.slope(x)
    };
    let nodes: Vec<f64> = (0..count).map(|i| (first + i as f64) * step).collect();
    Table::new(
        first * step,
        step,
        nodes.iter().map(|x| map.value(*x)).collect(),
        nodes.into_iter().map(slope).collect(),
    )
}

/// The largest distance between a table and its function, over quarters of its cells.
pub fn table_error(table: &Table, map: &dyn Map) -> f64 {
    let points = (table.values().len() - 1) * 4;
    let at = |i: usize| table.x0() + table.step() * i as f64 / 4.0;
    (0..points).map(at).map(|x| (table.f(x) - map.value(x)).abs()).fold(0.0, f64::max)
}
