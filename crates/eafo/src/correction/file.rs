//! The new activation as a file that networks are trained with.

use activations::{BadTable, TableFile};

use super::{Corrected, Derivation, FirstOrder, Warp, table_error, tabulate};
use crate::function::Map;

/// Which new activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The exact inverse of y + t·η.
    Exact,
    /// The first-order form f − t·η·f′.
    FirstOrder,
}

/// How many standard deviations to either side of the mean a table reaches, at least: beyond them there is hardly a value.
const REACH: f64 = 8.0;

impl Derivation<'_> {
    /// The new activation as a table called `name`, and how far it is off at most.
    ///
    /// # Errors
    /// [`BadTable`] where the new activation is not finite.
    pub fn file(&self, form: Form, name: &str) -> Result<(TableFile, f64), BadTable> {
        let (correction, density) = (&self.correction, self.correction.density());
        let exact = Corrected(Warp::new(correction, self.step));
        let first = FirstOrder(Warp::new(correction, self.first_order_step));
        let (map, step): (&dyn Map, f64) = match form {
            Form::Exact => (&exact, self.step),
            Form::FirstOrder => (&first, self.first_order_step),
        };
        let (low, high) = correction.interval();
        let room = REACH * density.deviation();
        let table = tabulate(map, low.min(density.mean() - room), high.max(density.mean() + room))?;
        let error = table_error(&table, map);
        let inside = |kink: &f64| *kink > table.x0() && *kink < table.end();
        let file = TableFile {
            name: name.to_owned(),
            density: density.name(),
            base: correction.function().name(),
            step,
            interval: (low, high),
            kinks: map.kinks().into_iter().filter(inside).collect(),
            table,
        };
        Ok((file, error))
    }
}
