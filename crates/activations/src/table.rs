//! A tabulated activation: values and slopes at even nodes, joined by cubics that share both (C¹ Hermite).

/// An activation given by numbers.
///
/// Between two nodes it is the cubic that has their values and slopes, so that `f` and `df` are continuous. Outside it goes on straight,
/// with the slope at that end.
///
/// ```
/// use activations::Table;
/// let square = Table::new(-1.0, 0.5, vec![1.0, 0.25, 0.0, 0.25, 1.0], vec![-2.0, -1.0, 0.0, 1.0, 2.0]).unwrap();
/// assert_eq!(square.f(0.75), 0.5625);
/// assert_eq!(square.f(3.0), 1.0 + 2.0 * 2.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    x0: f64,
    step: f64,
    values: Vec<f64>,
    slopes: Vec<f64>,
}

/// Numbers that are no table.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{key}` {reason}")]
pub struct BadTable {
    /// Which of `x0`, `step`, `values`, `slopes` is wrong.
    pub key: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl Table {
    /// The most nodes of a table.
    pub const MOST_NODES: usize = 65_536;

    /// The table whose node `i` is at `x0 + i·step`.
    ///
    /// # Errors
    /// [`BadTable`] for fewer than 2 nodes or more than [`Table::MOST_NODES`], another number of slopes than of values, a step that is not
    /// positive, and any number that is not finite.
    pub fn new(x0: f64, step: f64, values: Vec<f64>, slopes: Vec<f64>) -> Result<Table, BadTable> {
        let bad = |key, reason: String| Err(BadTable { key, reason });
        if !x0.is_finite() {
            return bad("x0", format!("is {x0}; it must be finite"));
        }
        if !(step.is_finite() && step > 0.0) {
            return bad("step", format!("is {step}; it must be positive and finite"));
        }
        if !(2..=Table::MOST_NODES).contains(&values.len()) {
            return bad("values", format!("has {} numbers; a table has from 2 to {}", values.len(), Table::MOST_NODES));
        }
        if slopes.len() != values.len() {
            return bad("slopes", format!("has {} numbers, and `values` has {}", slopes.len(), values.len()));
        }
        for (key, numbers) in [("values", &values), ("slopes", &slopes)] {
            if let Some(i) = numbers.iter().position(|number| !number.is_finite()) {
                return bad(
                    key,
                    format!("holds {} at place {i} (x = {}); numbers must be finite", numbers[i], x0 + step * i as f64),
                );
            }
        }
        Ok(Table { x0, step, values, slopes })
    }

    /// The first node.
    pub const fn x0(&self) -> f64 {
        self.x0
    }

    /// The distance of neighbouring nodes.
    pub const fn step(&self) -> f64 {
        self.step
    }

    /// The last node.
    pub fn end(&self) -> f64 {
        self.x0 + self.step * (self.values.len() - 1) as f64
    }

    /// The function at each node.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Its slope at each node.
    pub fn slopes(&self) -> &[f64] {
        &self.slopes
    }

    /// The value at `x`; NaN stays NaN.
    pub fn f(&self, x: f64) -> f64 {
        match self.place(x) {
            Place::Outside { node, by } => {
                let slope = self.slopes[node];
                // A flat end stays flat at infinity too.
                if slope == 0.0 && by.is_infinite() { self.values[node] } else { self.values[node] + slope * by }
            }
            Place::Inside { node, t } => {
                let (a, b, ma, mb) = self.cell(node);
                let s = 1.0 - t;
                s * s * ((1.0 + 2.0 * t) * a + t * ma) + t * t * ((3.0 - 2.0 * t) * b - s * mb)
            }
        }
    }

    /// The first derivative at `x`.
    pub fn df(&self, x: f64) -> f64 {
        match self.place(x) {
            Place::Outside { by, .. } if by.is_nan() => by,
            Place::Outside { node, .. } => self.slopes[node],
            Place::Inside { node, t } => {
                let (a, b, ma, mb) = self.cell(node);
                let s = 1.0 - t;
                (6.0 * t * s * (b - a) + s * (1.0 - 3.0 * t) * ma + t * (3.0 * t - 2.0) * mb) / self.step
            }
        }
    }

    /// Values at both ends of a cell, and slopes there times the step.
    fn cell(&self, node: usize) -> (f64, f64, f64, f64) {
        let (h, i) = (self.step, node);
        (self.values[i], self.values[i + 1], h * self.slopes[i], h * self.slopes[i + 1])
    }

    fn place(&self, x: f64) -> Place {
        let last = self.values.len() - 1;
        let along = (x - self.x0) / self.step;
        if x.is_nan() || along <= 0.0 {
            return Place::Outside { node: 0, by: x - self.x0 };
        }
        if along >= last as f64 {
            return Place::Outside { node: last, by: x - self.end() };
        }
        let node = (along as usize).min(last - 1);
        Place::Inside { node, t: along - node as f64 }
    }
}

/// Where a point is among the nodes.
enum Place {
    /// Beyond an end, this far to the right of it.
    Outside { node: usize, by: f64 },
    /// In the cell right of `node`, this share of the way.
    Inside { node: usize, t: f64 },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Activation;

    fn of(f: impl Fn(f64) -> (f64, f64), x0: f64, step: f64, nodes: usize) -> Table {
        let (values, slopes) = (0..nodes).map(|i| f(x0 + step * i as f64)).unzip();
        Table::new(x0, step, values, slopes).unwrap()
    }

    #[test]
    fn a_cubic_is_its_own_table() {
        let cubic = |x: f64| (x * x * x - 2.0 * x + 0.5, 3.0 * x * x - 2.0);
        let table = of(cubic, -2.0, 0.37, 12);
        for i in 0..200 {
            let x = -2.0 + (table.end() + 2.0) * f64::from(i) / 199.0;
            assert!((table.f(x) - cubic(x).0).abs() < 1e-13, "f({x})");
            assert!((table.df(x) - cubic(x).1).abs() < 1e-12, "f′({x})");
        }
    }

    #[test]
    fn the_error_falls_with_the_fourth_power_of_the_step() {
        let silu = |x: f64| (Activation::Silu.f(x, &[]), Activation::Silu.df(x, &[]));
        let worst = |nodes: usize| {
            let table = of(silu, -8.0, 16.0 / (nodes - 1) as f64, nodes);
            (0..5000)
                .map(|i| -8.0 + 16.0 * f64::from(i) / 4999.0)
                .map(|x| (table.f(x) - silu(x).0).abs())
                .fold(0.0, f64::max)
        };
        assert!(worst(513) < 1e-8);
        let ratio = worst(129) / worst(257);
        assert!((12.0..20.0).contains(&ratio), "{ratio}");
    }

    #[test]
    fn outside_it_goes_on_straight() {
        let table = of(|x| (x * x, 2.0 * x), -1.0, 0.5, 5);
        assert_eq!((table.f(2.0), table.df(2.0), table.f(-3.0), table.df(-9.0)), (3.0, 2.0, 5.0, -2.0));
        assert_eq!((table.f(f64::INFINITY), table.f(f64::NEG_INFINITY)), (f64::INFINITY, f64::INFINITY));
        assert!(table.f(f64::NAN).is_nan() && table.df(f64::NAN).is_nan());
        let flat = of(|x| (x.max(0.0).powi(2), 2.0 * x.max(0.0)), -1.0, 0.5, 5);
        assert_eq!((flat.f(f64::NEG_INFINITY), flat.f(-1e300)), (0.0, 0.0));
    }

    #[test]
    fn what_is_no_table_is_refused_by_its_key() {
        let key = |x0, step, values: &[f64], slopes: &[f64]| {
            Table::new(x0, step, values.to_vec(), slopes.to_vec()).unwrap_err().key
        };
        assert_eq!(key(f64::NAN, 1.0, &[0.0, 1.0], &[1.0, 1.0]), "x0");
        assert_eq!(key(0.0, 0.0, &[0.0, 1.0], &[1.0, 1.0]), "step");
        assert_eq!(key(0.0, 1.0, &[0.0], &[1.0]), "values");
        assert_eq!(key(0.0, 1.0, &[0.0, 1.0], &[1.0]), "slopes");
        assert_eq!(key(0.0, 1.0, &[0.0, f64::INFINITY], &[1.0, 1.0]), "values");
    }
}
