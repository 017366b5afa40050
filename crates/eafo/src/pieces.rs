//! Where a function rises, falls and is flat, and its inverse on each of those stretches.

use crate::function::Map;
use crate::root;

/// Which way a function goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It increases.
    Rising,
    /// It decreases.
    Falling,
    /// It is constant: all that lands here becomes one value, an atom.
    Flat,
}

/// A stretch of the line on which a function is smooth and goes one way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// Lower end; may be −∞.
    pub low: f64,
    /// Upper end; may be ∞.
    pub high: f64,
    /// Which way it goes.
    pub direction: Direction,
    /// The value, or the limit, at `low`.
    pub at_low: f64,
    /// The value, or the limit, at `high`.
    pub at_high: f64,
}

/// Half the width that is searched for changes of sign where the line is not bounded, at least.
const REACH: f64 = 48.0;
const CELLS: usize = 6000;

/// Slopes below this have lost digits, and perhaps their sign.
const UNDERFLOW: f64 = 1e-290;

/// The pieces of `map` on `(low, high)`, from left to right. `scale` is the width of the density on it: changes of direction are
/// searched within 48, or 12 times `scale` if that is more, of 0.
pub fn pieces(map: &dyn Map, (low, high): (f64, f64), scale: f64) -> Vec<Piece> {
    let kinks: Vec<f64> = map.kinks().into_iter().filter(|kink| *kink > low && *kink < high).collect();
    let borders = borders(&kinks, (low, high), scale);
    let mut ends: Vec<(f64, Option<Direction>)> = Vec::new();
    for pair in borders.windows(2) {
        let middle = middle(pair[0], pair[1]);
        // A slope may be 0 at one point of a cell; of a flat one it is at another, too.
        let direction = match direction(map, middle) {
            Some(Direction::Flat) => direction(map, beside(middle, pair[1])),
            other => other,
        };
        let border = match ends.last() {
            None => low,
            Some((_, previous)) if direction.is_none() || *previous == direction || previous.is_none() => pair[0],
            Some(_) if kinks.contains(&pair[0]) => pair[0],
            // The direction changes between the middles of the two cells, not at their common border.
            Some((_, previous)) => change(map, *previous, borders_before(&borders, pair[0]), middle),
        };
        ends.push((border, direction));
    }
    join(map, &ends, &kinks, (low, high))
}

/// Borders of the cells that are searched: an even grid and the kinks, without the ends of the line.
fn borders(kinks: &[f64], (low, high): (f64, f64), scale: f64) -> Vec<f64> {
    let reach = REACH.max(12.0 * scale);
    let (from, to) = (low.max(-reach).min(high), high.min(reach).max(low));
    let grid = (0..=CELLS).map(|i| from + (to - from) * i as f64 / CELLS as f64);
    let mut all: Vec<f64> = grid.chain(kinks.iter().copied()).chain([low, high]).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    all
}

fn middle(low: f64, high: f64) -> f64 {
    match (low.is_finite(), high.is_finite()) {
        (true, true) => 0.5 * (low + high),
        (false, true) => high - 1.0,
        (true, false) => low + 1.0,
        (false, false) => 0.0,
    }
}

/// A point between the middle of a cell and its upper end.
fn beside(middle: f64, high: f64) -> f64 {
    if high.is_finite() { middle + 0.3 * (high - middle) } else { middle + 0.3 }
}

/// The middle of the cell that ends at `border`.
fn borders_before(borders: &[f64], border: f64) -> f64 {
    let at = borders.partition_point(|x| *x < border);
    if at == 0 { border } else { middle(borders[at - 1], border) }
}

/// The direction at a point; `None` where the slope has underflowed and its sign with it.
fn direction(map: &dyn Map, x: f64) -> Option<Direction> {
    let slope = map.slope(x);
    if slope > UNDERFLOW {
        Some(Direction::Rising)
    } else if slope < -UNDERFLOW {
        Some(Direction::Falling)
    } else if map.log_slope(x) == f64::NEG_INFINITY {
        Some(Direction::Flat)
    } else {
        None
    }
}

/// Where the direction stops being `before`, between two points.
fn change(map: &dyn Map, before: Option<Direction>, low: f64, high: f64) -> f64 {
    let (mut low, mut high) = (low, high);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if direction(map, middle) == before {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Joins neighbouring cells of one direction, unless a kink parts them.
fn join(map: &dyn Map, ends: &[(f64, Option<Direction>)], kinks: &[f64], (low, high): (f64, f64)) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    // A sign that underflowed is that of the nearest cell that has one: the next at the left end, the previous elsewhere.
    let mut current = ends.iter().find_map(|(_, direction)| *direction).unwrap_or(Direction::Flat);
    let mut start = low;
    for (border, direction) in ends.iter().skip(1) {
        let next = direction.unwrap_or(current);
        if next != current || kinks.contains(border) {
            pieces.push(piece(map, start, *border, current));
            start = *border;
        }
        current = next;
    }
    pieces.push(piece(map, start, high, current));
    pieces
}

fn piece(map: &dyn Map, low: f64, high: f64, direction: Direction) -> Piece {
    Piece { low, high, direction, at_low: map.value(low), at_high: map.value(high) }
}

impl Piece {
    /// Whether the value is taken inside.
    pub fn reaches(&self, value: f64) -> bool {
        match self.direction {
            Direction::Rising => self.at_low < value && value < self.at_high,
            Direction::Falling => self.at_high < value && value < self.at_low,
            Direction::Flat => false,
        }
    }

    /// The point inside where `map` has this value; `None` where it has not.
    pub fn inverse(&self, map: &dyn Map, value: f64) -> Option<f64> {
        if !self.reaches(value) {
            return None;
        }
        let sign = if self.direction == Direction::Rising { 1.0 } else { -1.0 };
        let excess = |x: f64| sign * (map.value(x) - value);
        let anchor = if self.low.is_finite() {
            self.low
        } else if self.high.is_finite() {
            self.high
        } else {
            0.0
        };
        let low = if self.low.is_finite() { self.low } else { root::expand(anchor, -1.0, |x| excess(x) <= 0.0) };
        let high = if self.high.is_finite() { self.high } else { root::expand(anchor, 1.0, |x| excess(x) >= 0.0) };
        Some(root::increasing(|x| (excess(x), sign * map.slope(x)), low, high))
    }

    /// Whether `x` lies inside, ends included.
    pub fn contains(&self, x: f64) -> bool {
        (self.low..=self.high).contains(&x)
    }
}
