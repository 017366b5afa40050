//! Points of one curve: thinned to what a picture can show, smoothed, split where numbers are missing.

/// A curve has at most this many points; a panel is about 500 pixels wide.
const MOST_POINTS: usize = 1000;

/// Points by rising x. A y that is not finite is a gap.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    points: Vec<(f64, f64)>,
}

impl Series {
    /// The points, thinned by averaging neighbours if they are too many.
    pub(super) fn new(points: impl Iterator<Item = (f64, f64)>) -> Series {
        let points: Vec<_> = points.filter(|(x, _)| x.is_finite()).collect();
        let stride = points.len().div_ceil(MOST_POINTS).max(1);
        Series { points: points.chunks(stride).map(mean).collect() }
    }

    /// An exponential moving average over about a fiftieth of the curve, without the bias of its beginning (the
    /// correction of Adam's moments).
    pub(super) fn smoothed(&self) -> Series {
        let keep = 1.0 - 1.0 / (self.points.len() as f64 / 50.0).max(2.0);
        let (mut sum, mut weight) = (0.0, 0.0);
        let smooth = |&(x, y): &(f64, f64)| {
            if !y.is_finite() {
                return (x, f64::NAN);
            }
            sum = keep * sum + (1.0 - keep) * y;
            weight = keep * weight + (1.0 - keep);
            (x, sum / weight)
        };
        Series { points: self.points.iter().map(smooth).collect() }
    }

    /// The stretches between gaps.
    pub(super) fn stretches(&self) -> impl Iterator<Item = &[(f64, f64)]> {
        self.points.split(|(_, y)| !y.is_finite()).filter(|stretch| !stretch.is_empty())
    }

    /// The points that can be drawn.
    pub(super) fn finite(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.points.iter().copied().filter(|(_, y)| y.is_finite())
    }
}

fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    (points.iter().map(|(x, _)| x).sum::<f64>() / n, points.iter().map(|(_, y)| y).sum::<f64>() / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_curves_are_thinned_to_means() {
        let series = Series::new((0..10_000).map(|i| (i as f64, (i % 10) as f64)));
        assert_eq!(series.points.len(), 1000);
        assert_eq!(series.points[0], (4.5, 4.5));
        assert_eq!(Series::new((0..7).map(|i| (i as f64, 1.0))).points.len(), 7);
    }

    #[test]
    fn smoothing_keeps_a_constant_and_calms_noise() {
        let constant = Series::new((0..200).map(|i| (i as f64, 3.0)));
        assert!(constant.smoothed().finite().all(|(_, y)| (y - 3.0).abs() < 1e-9));
        let noise = Series::new((0..1000).map(|i| (i as f64, (i % 2) as f64)));
        assert!(noise.smoothed().finite().skip(100).all(|(_, y)| (y - 0.5).abs() < 0.05));
    }

    #[test]
    fn a_missing_number_is_a_gap() {
        let series = Series::new([(0.0, 1.0), (1.0, f64::NAN), (2.0, 2.0), (3.0, f64::INFINITY)].into_iter());
        assert_eq!(series.stretches().collect::<Vec<_>>(), [&[(0.0, 1.0)][..], &[(2.0, 2.0)][..]]);
        assert_eq!(series.smoothed().finite().count(), 2);
        assert_eq!(Series::new(std::iter::empty()).smoothed().stretches().count(), 0);
    }
}
