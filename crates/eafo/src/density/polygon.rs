//! Histograms as densities: the frequency polygon, straight between the middles of neighbouring bins (Scott, 1985).

use super::Density;
use crate::EafoError;

/// A density that is straight between nodes and 0 at both ends.
///
/// Its derivative is exact between nodes and jumps at them. The bins' own constant density would have no derivative at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Polygon {
    of: String,
    nodes: Vec<f64>,
    heights: Vec<f64>,
    /// The distribution function at each node.
    sums: Vec<f64>,
}

impl Polygon {
    /// The frequency polygon of `counts` between `edges`; half a bin is added on either side, where it falls to 0.
    ///
    /// # Errors
    /// [`EafoError::Samples`] for edges that do not rise, are not one more than counts, or counts that are negative, no numbers or all 0.
    pub fn new(of: &str, edges: &[f64], counts: &[f64]) -> Result<Polygon, EafoError> {
        check_histogram(of, edges, counts)?;
        let widths: Vec<f64> = edges.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let bins = widths.len();
        let mut nodes = vec![edges[0] - 0.5 * widths[0]];
        let mut heights = vec![0.0];
        for i in 0..bins {
            nodes.push(0.5 * (edges[i] + edges[i + 1]));
            heights.push(counts[i] / widths[i]);
        }
        nodes.push(edges[bins] + 0.5 * widths[bins - 1]);
        heights.push(0.0);
        let mut sums = vec![0.0];
        for i in 1..nodes.len() {
            sums.push(sums[i - 1] + 0.5 * (heights[i - 1] + heights[i]) * (nodes[i] - nodes[i - 1]));
        }
        let area = sums[sums.len() - 1];
        heights.iter_mut().for_each(|height| *height /= area);
        sums.iter_mut().for_each(|sum| *sum /= area);
        Ok(Polygon { of: of.to_owned(), nodes, heights, sums })
    }

    /// The polygon of samples, with bins of the width of Freedman and Diaconis.
    ///
    /// # Errors
    /// [`EafoError::Samples`] as [`super::Kernel::from_samples`].
    pub fn from_samples(of: &str, samples: &[f64]) -> Result<Polygon, EafoError> {
        let (edges, counts) = crate::samples::histogram(of, samples)?;
        Polygon::new(of, &edges, &counts)
    }

    /// The node at or before `x`, which lies inside.
    fn segment(&self, x: f64) -> usize {
        self.nodes.partition_point(|node| *node <= x).clamp(1, self.nodes.len() - 1) - 1
    }

    fn slope(&self, i: usize) -> f64 {
        (self.heights[i + 1] - self.heights[i]) / (self.nodes[i + 1] - self.nodes[i])
    }

    /// The sum over segments of `∫ g p` for a quadratic `g`: Simpson's rule is exact for the cubic product.
    fn integral(&self, g: impl Fn(f64) -> f64) -> f64 {
        let part = |i: usize| {
            let (a, b) = (self.nodes[i], self.nodes[i + 1]);
            let middle = g(0.5 * (a + b)) * 0.5 * (self.heights[i] + self.heights[i + 1]);
            (b - a) / 6.0 * (g(a) * self.heights[i] + 4.0 * middle + g(b) * self.heights[i + 1])
        };
        (0..self.nodes.len() - 1).map(part).sum()
    }
}

/// The sum of the counts of a histogram that can be a density.
pub(super) fn check_histogram(of: &str, edges: &[f64], counts: &[f64]) -> Result<f64, EafoError> {
    let refuse = |reason: String| Err(EafoError::Samples { of: of.to_owned(), reason });
    if counts.is_empty() || edges.len() != counts.len() + 1 {
        return refuse(format!(
            "{} edges and {} counts; a histogram has one edge more than counts",
            edges.len(),
            counts.len()
        ));
    }
    if let Some(i) = edges.iter().position(|edge| !edge.is_finite()) {
        return refuse(format!("edge {i} is {}; edges are finite", edges[i]));
    }
    if let Some(i) = edges.windows(2).position(|pair| pair[0] >= pair[1]) {
        return refuse(format!("edge {} = {} is not above edge {i} = {}", i + 1, edges[i + 1], edges[i]));
    }
    if let Some(i) = counts.iter().position(|count| !(count.is_finite() && *count >= 0.0)) {
        return refuse(format!("count {i} is {}; counts are 0 or more", counts[i]));
    }
    let total: f64 = counts.iter().sum();
    if total == 0.0 {
        return refuse("every bin is empty".to_owned());
    }
    Ok(total)
}

impl Density for Polygon {
    fn name(&self) -> String {
        format!("histogram({})", self.of)
    }

    fn log_pdf(&self, x: f64) -> f64 {
        self.pdf(x).ln()
    }

    fn pdf(&self, x: f64) -> f64 {
        self.slopes(x)[0]
    }

    fn slopes(&self, x: f64) -> [f64; 3] {
        let (low, high) = self.support();
        if !(low..=high).contains(&x) {
            return [0.0; 3];
        }
        let i = self.segment(x);
        let slope = self.slope(i);
        [(self.heights[i] + slope * (x - self.nodes[i])).max(0.0), slope, 0.0]
    }

    fn cdf(&self, x: f64) -> f64 {
        let (low, high) = self.support();
        if x <= low || x >= high {
            return if x <= low { 0.0 } else { 1.0 };
        }
        let i = self.segment(x);
        let by = x - self.nodes[i];
        self.sums[i] + by * (self.heights[i] + 0.5 * self.slope(i) * by)
    }

    fn quantile(&self, probability: f64) -> f64 {
        if probability <= 0.0 || probability >= 1.0 {
            return if probability <= 0.0 { self.support().0 } else { self.support().1 };
        }
        let i = self.sums.partition_point(|sum| *sum <= probability).clamp(1, self.nodes.len() - 1) - 1;
        let (height, slope, rest) = (self.heights[i], self.slope(i), probability - self.sums[i]);
        // The root of height·t + slope/2·t² = rest that loses no digits for either sign of the slope.
        let root = (height * height + 2.0 * slope * rest).max(0.0).sqrt();
        let by = if height + root > 0.0 { 2.0 * rest / (height + root) } else { 0.0 };
        (self.nodes[i] + by).min(self.nodes[i + 1])
    }

    fn support(&self) -> (f64, f64) {
        (self.nodes[0], self.nodes[self.nodes.len() - 1])
    }

    fn mean(&self) -> f64 {
        self.integral(|x| x)
    }

    fn variance(&self) -> f64 {
        let mean = self.mean();
        self.integral(|x| (x - mean).powi(2))
    }

    fn breaks(&self) -> Vec<f64> {
        self.nodes.clone()
    }

    fn kinks(&self) -> Vec<f64> {
        self.nodes[1..self.nodes.len() - 1].to_vec()
    }
}
