//! A table as a function with three derivatives: a spline of degree 5 between the kinks of what was tabulated.

use activations::Table;

use crate::jet::Jet;

/// Fewer nodes than this between two kinks are no piece of their own.
const FEWEST: usize = 6;

/// A spline through the values of a table with its slopes: its second derivative is continuous too, but for kinks. Straight beyond
/// the table, as the table is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Curve {
    name: String,
    x0: f64,
    step: f64,
    /// Indices of the nodes where pieces begin and end: the first, those of kinks, the last.
    borders: Vec<usize>,
    /// The pieces between them, from left to right.
    pieces: Vec<Piece>,
}

/// Values and derivatives at the nodes of one piece, in units of the step.
#[derive(Clone, Debug, PartialEq)]
struct Piece {
    nodes: Vec<[f64; 3]>,
}

impl Curve {
    /// Through the nodes of `table`. A kink that lies on no node stays rounded, as the table has it.
    pub fn new(name: &str, table: &Table, kinks: &[f64]) -> Curve {
        let (x0, step, last) = (table.x0(), table.step(), table.values().len() - 1);
        let place = |kink: &f64| (kink - x0) / step;
        let on_node = |place: &f64| (place - place.round()).abs() < 1e-6;
        let mut borders = vec![0];
        for node in kinks.iter().map(place).filter(on_node).map(|place| place.round()) {
            let before = borders[borders.len() - 1];
            if node > 0.0 && node as usize >= before + FEWEST && node as usize + FEWEST <= last {
                borders.push(node as usize);
            }
        }
        borders.push(last);
        let inner = |border: usize| border > 0 && border < last;
        let piece = |pair: &[usize]| Piece::new(table, (pair[0], pair[1]), [inner(pair[0]), inner(pair[1])]);
        let pieces = borders.windows(2).map(piece).collect();
        Curve { name: name.to_owned(), x0, step, borders, pieces }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the slope may jump: at kinks, and the ends, from which on it goes on straight.
    pub fn kinks(&self) -> Vec<f64> {
        self.borders.iter().map(|node| self.x0 + self.step * *node as f64).collect()
    }

    /// The function and three derivatives; at a kink, those of the left.
    pub fn jet(&self, x: f64) -> Jet {
        let last = self.borders[self.borders.len() - 1];
        let along = (x - self.x0) / self.step;
        if along <= 0.0 || along >= last as f64 {
            let (node, from) = if along <= 0.0 { (0, 0.0) } else { (last, last as f64) };
            let piece = if node == 0 { &self.pieces[0] } else { &self.pieces[self.pieces.len() - 1] };
            let [value, slope, _] = if node == 0 { piece.nodes[0] } else { piece.nodes[piece.nodes.len() - 1] };
            // A flat end stays flat at infinity too.
            let value = if slope == 0.0 { value } else { value + slope * (along - from) };
            return Jet([value, slope / self.step, 0.0, 0.0]);
        }
        if along.is_nan() {
            return Jet::constant(along);
        }
        // The piece that begins before x.
        let piece = self.borders.partition_point(|border| (*border as f64) < along).max(1) - 1;
        let within = along - self.borders[piece] as f64;
        let [f, f1, f2, f3] = self.pieces[piece].at(within);
        let h = self.step;
        Jet([f, f1 / h, f2 / (h * h), f3 / (h * h * h)])
    }
}

impl Piece {
    /// The nodes `from` to `to` of a table; `rounded` says which end is a kink, whose slope the table does not know.
    fn new(table: &Table, (from, to): (usize, usize), rounded: [bool; 2]) -> Piece {
        let v = &table.values()[from..=to];
        let mut s: Vec<f64> = table.slopes()[from..=to].iter().map(|slope| slope * table.step()).collect();
        let n = v.len();
        let is_long = n >= FEWEST;
        // The derivative at 0 of the polynomial of degree 4 through the values at 0, 1 and 2 and the slopes at 1 and 2.
        if rounded[0] && is_long {
            s[0] = 3.0 * (v[2] - v[0]) - 4.0 * s[1] - s[2];
        }
        if rounded[1] && is_long {
            s[n - 1] = 3.0 * (v[n - 1] - v[n - 3]) - 4.0 * s[n - 2] - s[n - 3];
        }
        // The second derivative of the polynomial of degree 5 through values and slopes of three nodes, but for its last term.
        let inner = |i: usize| 2.0 * (v[i + 1] - 2.0 * v[i] + v[i - 1]) - 0.5 * (s[i + 1] - s[i - 1]);
        let mut m: Vec<f64> = (0..n).map(|i| if i > 0 && i + 1 < n { inner(i) } else { 0.0 }).collect();
        if is_long {
            m[0] = 3.0 * (m[1] - m[2]) + m[3];
            m[n - 1] = 3.0 * (m[n - 2] - m[n - 3]) + m[n - 4];
        }
        Piece { nodes: (0..n).map(|i| [v[i], s[i], m[i]]).collect() }
    }

    /// The function and three derivatives `along` steps from its first node.
    fn at(&self, along: f64) -> [f64; 4] {
        let node = (along as usize).min(self.nodes.len() - 2);
        let (t, [a, sa, ma], [b, sb, mb]) = (along - node as f64, self.nodes[node], self.nodes[node + 1]);
        // a + sa·t + ma/2·t² + c₃·t³ + c₄·t⁴ + c₅·t⁵, with value, slope and second derivative of the next node at 1.
        let value = b - a - sa - 0.5 * ma;
        let slope = sb - sa - ma;
        let bend = mb - ma;
        let c3 = 10.0 * value - 4.0 * slope + 0.5 * bend;
        let c4 = -15.0 * value + 7.0 * slope - bend;
        let c5 = 6.0 * value - 3.0 * slope + 0.5 * bend;
        [
            a + t * (sa + t * (0.5 * ma + t * (c3 + t * (c4 + t * c5)))),
            sa + t * (ma + t * (3.0 * c3 + t * (4.0 * c4 + t * 5.0 * c5))),
            ma + t * (6.0 * c3 + t * (12.0 * c4 + t * 20.0 * c5)),
            6.0 * c3 + t * (24.0 * c4 + t * 60.0 * c5),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correction::tabulate;
    use crate::function::{Function, Map};

    fn curve(name: &str) -> (Function, Curve) {
        let function = Function::parse(name).unwrap();
        let table = tabulate(&function, -8.0, 8.0).unwrap();
        let curve = Curve::new(name, &table, &function.kinks());
        (function, curve)
    }

    #[test]
    fn smooth_functions_and_their_three_derivatives_come_back() {
        for name in ["softplus", "gelu", "mish", "tanh", "crgelu(-0.2)"] {
            let (function, curve) = curve(name);
            for x in (0..4000).map(|i| -7.9 + 15.8 * f64::from(i) / 4000.0) {
                let (found, expected) = (curve.jet(x).0, function.jet(x).0);
                for (order, tolerance) in [1e-11, 1e-9, 1e-5, 1e-2].into_iter().enumerate() {
                    let off = (found[order] - expected[order]).abs();
                    assert!(off < tolerance, "{name}, derivative {order} at {x}: off by {off}");
                }
            }
        }
    }

    #[test]
    fn kinks_that_a_table_rounds_are_corners_again() {
        for name in ["relu", "elu", "crrelu(-0.3)", "leakyrelu", "hardswish"] {
            let (function, curve) = curve(name);
            for x in [-3.5, -2.999, -1e-9, 1e-9, 0.004, 2.999, 3.001, 6.0] {
                let (found, expected) = (curve.jet(x).0, function.jet(x).0);
                assert!((found[0] - expected[0]).abs() < 1e-9, "{name} at {x}: {found:?}, {expected:?}");
                assert!((found[1] - expected[1]).abs() < 1e-6, "{name} at {x}: {found:?}, {expected:?}");
                assert!((found[2] - expected[2]).abs() < 1e-3, "{name} at {x}: {found:?}, {expected:?}");
            }
        }
        let (_, relu) = curve("relu");
        assert_eq!(relu.jet(-0.01).0, [0.0; 4]);
    }

    #[test]
    fn it_goes_on_straight() {
        let (_, curve) = curve("softplus");
        let [value, slope, ..] = curve.jet(8.0).0;
        let beyond = curve.jet(10.0).0;
        assert!((beyond[0] - (value + 2.0 * slope)).abs() < 1e-12 && beyond[1..] == [slope, 0.0, 0.0], "{beyond:?}");
        assert!(curve.jet(f64::NAN).value().is_nan());
        let (_, relu) = self::curve("relu");
        assert_eq!(relu.jet(f64::NEG_INFINITY).value(), 0.0);
    }
}
