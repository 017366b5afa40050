//! The worst deviation of each kind of result, beside what is allowed: a table of all, in place of
//! a panic at the first.

use std::collections::BTreeMap;
use std::fmt::Write;

/// The deviations of one test, as multiples of what is allowed.
#[derive(Default)]
pub struct Worst {
    rows: BTreeMap<String, Row>,
}

#[derive(Default)]
struct Row {
    count: usize,
    misses: usize,
    ratio: f64,
    example: String,
}

impl Worst {
    /// Notes a number that may be `allowed` from what is expected. `of` names the row of the table:
    /// what is compared, without the place; `place` says where, for the worst of a row.
    pub fn note(&mut self, of: &str, found: f64, expected: f64, allowed: f64, place: impl FnOnce() -> String) {
        let apart = if found == expected { 0.0 } else { (found - expected).abs() };
        // A NaN that is not expected is as wrong as can be.
        let both_nan = found.is_nan() && expected.is_nan();
        let ratio = if both_nan {
            0.0
        } else if apart.is_nan() {
            f64::INFINITY
        } else {
            apart / allowed
        };
        if !self.rows.contains_key(of) {
            self.rows.insert(of.to_owned(), Row::default());
        }
        let row = self.rows.get_mut(of).expect("just made");
        row.count += 1;
        row.misses += usize::from(ratio > 1.0);
        if ratio > row.ratio {
            row.ratio = ratio;
            row.example = format!("{}: {found:e} instead of {expected:e}", place());
        }
    }

    /// Prints the table, the worst first.
    ///
    /// # Panics
    /// When a number is further away than allowed.
    #[track_caller]
    pub fn finish(self) {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by(|(_, a), (_, b)| b.ratio.total_cmp(&a.ratio));
        let mut table = String::from("  worst   beyond/of      what, and where it is worst (1 is what is allowed)\n");
        for (of, row) in &rows {
            let Row { count, misses, ratio, example } = row;
            writeln!(table, "{ratio:>7.3} {misses:>8}/{count:<8} {of} ({example})").expect("a string");
        }
        println!("{table}");
        let misses = rows.iter().filter(|(_, row)| row.misses > 0).count();
        assert!(
            !rows.is_empty() && misses == 0,
            "{misses} of {} rows are beyond what is allowed:\n{table}",
            rows.len()
        );
    }
}

/// The table fails when, and only when, something is beyond what is allowed, and names every such
/// row.
#[test]
fn the_table_fails_at_the_end_and_names_every_miss() {
    let finish = |numbers: &[(&str, f64)]| {
        let mut worst = Worst::default();
        numbers.iter().for_each(|(of, found)| worst.note(of, *found, 1.0, 0.5, || "here".into()));
        std::panic::catch_unwind(|| worst.finish()).map_err(|panic| *panic.downcast::<String>().expect("a message"))
    };
    assert!(finish(&[("a", 1.5), ("b", 1.0)]).is_ok());
    let message = finish(&[("a", 1.6), ("b", 1.0), ("c", f64::NAN)]).expect_err("two misses");
    assert!(message.starts_with("2 of 3") && message.contains(" a (here: ") && message.contains("inf"), "{message}");
    assert!(finish(&[]).is_err(), "a test that compared nothing");
}
