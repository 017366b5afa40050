//! Roots of increasing functions: Newton's method inside a bracket that only shrinks.

/// Where the increasing function `f`, given with its slope, is 0 between `low` and `high`; the nearer end where it is 0 at neither
/// side of it. Exact up to rounding: it goes on until the bracket or the step is a few units in the last place.
pub fn increasing(f: impl Fn(f64) -> (f64, f64), low: f64, high: f64) -> f64 {
    let (mut low, mut high) = (low, high);
    let mut x = 0.5 * (low + high);
    for _ in 0..400 {
        let (value, slope) = f(x);
        if value == 0.0 {
            return x;
        }
        if value > 0.0 {
            high = x;
        } else {
            low = x;
        }
        let newton = x - value / slope;
        let middle = 0.5 * (low + high);
        // A comparison that NaN fails too.
        let next = if newton > low && newton < high { newton } else { middle };
        if (next - x).abs() <= 2.0 * f64::EPSILON * x.abs() || middle <= low || middle >= high {
            return next;
        }
        x = next;
    }
    x
}

/// An end beyond `from` in steps that double from `step` (its sign is the direction), where `passed` holds; or the last finite one.
pub fn expand(from: f64, step: f64, passed: impl Fn(f64) -> bool) -> f64 {
    let (mut step, mut x) = (step, from);
    for _ in 0..1030 {
        let next = x + step;
        if !next.is_finite() {
            return x;
        }
        x = next;
        if passed(x) {
            return x;
        }
        step *= 2.0;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_exact_up_to_rounding() {
        let root = increasing(|x| (x * x * x - 2.0, 3.0 * x * x), 0.0, 2.0);
        assert!((root - 2f64.cbrt()).abs() < 1e-15);
        let flat = increasing(|x| ((x - 0.3).powi(3), 3.0 * (x - 0.3).powi(2)), -1.0, 5.0);
        assert!((flat - 0.3).abs() < 1e-5, "a triple root: {flat}");
        let stepped = increasing(|x| (if x < 0.25 { -1.0 } else { 1.0 }, 0.0), 0.0, 1.0);
        assert!((stepped - 0.25).abs() < 1e-15);
    }

    #[test]
    fn expanding_ends_at_the_first_end_that_passes() {
        assert_eq!(expand(0.0, -1.0, |x| x < -5.0), -7.0);
        assert!(expand(0.0, 1.0, |_| false) > 1e300);
    }
}
