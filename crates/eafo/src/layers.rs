//! Pre-activation histograms of a trained network's layers: the file that holds them, and what they tell.

use std::path::Path;

use activations::Table;
use serde::{Deserialize, Serialize};

use crate::EafoError;
use crate::density::{Density, Family, Kernel, Scaled, short};
use crate::entropy::{Output, Plain};
use crate::error::nearest;
use crate::function::{Corrected, Function, Map};
use crate::quadrature::Tolerance;
use crate::samples::entropy_of_counts;

/// The version of the format that this crate writes and reads.
pub const FORMAT: u32 = 1;

/// Histograms of a network's pre-activations, as `rectify inspect` writes them.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LayerFile {
    /// [`FORMAT`].
    pub format: u32,
    /// The model's name.
    pub model: String,
    /// What was inspected: a checkpoint's path, say.
    #[serde(default)]
    pub source: String,
    /// How many images were fed.
    #[serde(default)]
    pub images: u64,
    /// The activation modules, in the order in which the network calls them.
    pub layers: Vec<Layer>,
}

/// One activation module.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// The module's name, such as `blocks.0.mlp.act`.
    pub name: String,
    /// What its activation computes.
    pub activation: Applied,
    /// The histogram of pre-activations.
    pub histogram: Histogram,
    /// Their mean, over all values, also those outside the histogram.
    pub mean: f64,
    /// Their variance.
    pub variance: f64,
    /// Their kurtosis `E[(x − μ)⁴]/σ⁴`; 3 for a Gaussian.
    pub kurtosis: f64,
    /// How many units the layer has, where they were counted.
    #[serde(default)]
    pub units: Option<u64>,
    /// How many of them had no slope on any image: |f′| below 1e-6 from their smallest to their largest value.
    #[serde(default)]
    pub dead_units: Option<u64>,
}

/// An activation with what it has learned.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Applied {
    /// Its name: one of the catalogue, or any where `table` is its function.
    pub name: String,
    /// The values of its parameters, in the catalogue's order; empty for its initial ones.
    #[serde(default)]
    pub parameters: Vec<f64>,
    /// ε, of activations that have one; it wins over the one in `parameters`.
    #[serde(default)]
    pub epsilon: Option<f64>,
    /// The function, of tabulated activations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Nodes>,
    /// What ε multiplies, of dynamic activations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correction: Option<Nodes>,
}

/// A table ([`Table`]) by its numbers.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Nodes {
    /// The first node.
    pub x0: f64,
    /// The distance of neighbouring nodes.
    pub step: f64,
    /// Values at the nodes.
    pub values: Vec<f64>,
    /// Slopes at the nodes.
    pub slopes: Vec<f64>,
}

impl From<&Table> for Nodes {
    fn from(table: &Table) -> Nodes {
        let (values, slopes) = (table.values().to_vec(), table.slopes().to_vec());
        Nodes { x0: table.x0(), step: table.step(), values, slopes }
    }
}

impl Nodes {
    fn table(&self, of: &str) -> Result<Table, EafoError> {
        let table = Table::new(self.x0, self.step, self.values.clone(), self.slopes.clone());
        table.map_err(|error| EafoError::Text { text: of.to_owned(), reason: error.to_string() })
    }
}

/// Counts between edges, and beyond them.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    /// Edges of the bins, rising; one more than counts.
    pub edges: Vec<f64>,
    /// Values in each bin.
    pub counts: Vec<u64>,
    /// Values below the first edge.
    #[serde(default)]
    pub below: u64,
    /// Values at or above the last edge.
    #[serde(default)]
    pub above: u64,
}

/// What a layer's histogram tells.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reading {
    /// The module.
    pub name: String,
    /// Its activation, with parameters.
    pub activation: String,
    /// Its learned ε.
    pub epsilon: Option<f64>,
    /// Mean of the pre-activations.
    pub mean: f64,
    /// Their standard deviation.
    pub deviation: f64,
    /// Their kurtosis.
    pub kurtosis: f64,
    /// Total variation from the Gaussian of the same mean and variance: half the sum over bins of the differences, from 0 to 1.
    pub total_variation: f64,
    /// Kolmogorov and Smirnov's distance from it, at the edges.
    pub kolmogorov: f64,
    /// Entropy of the pre-activations in nats, by the histogram.
    pub entropy_before: f64,
    /// The share of values that become an atom, and the entropy of the rest, both together as a mixed entropy.
    pub entropy_after: f64,
    /// The same with the output scaled to standard deviation 1.
    pub normalised_after: Option<f64>,
    /// The share of values on a flat stretch of the activation.
    pub flat_share: f64,
    /// The share of dead units, where they were counted.
    pub dead_share: Option<f64>,
    /// The share of values outside the histogram, which entropies leave out.
    pub outside_share: f64,
}

impl LayerFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`EafoError::File`] with the file, the layer and the key that is wrong.
    pub fn read(path: &Path) -> Result<LayerFile, EafoError> {
        let refuse = |reason: String| EafoError::File { path: path.to_owned(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
        let file: LayerFile = serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))?;
        if file.format != FORMAT {
            return Err(refuse(format!("`format` is {}; this version reads {FORMAT}", file.format)));
        }
        if file.layers.is_empty() {
            return Err(refuse("`layers` is empty".to_owned()));
        }
        for layer in &file.layers {
            layer.check().map_err(|reason| refuse(format!("layer `{}`: {reason}", layer.name)))?;
        }
        Ok(file)
    }

    /// The density of pre-activations in one layer, or in all of them together, each counting alike.
    ///
    /// # Errors
    /// [`EafoError::File`] where there is no such layer; and as [`Kernel::pooled`]. `path` is where the file was read.
    pub fn density(&self, path: &str, layer: Option<&str>) -> Result<Kernel, EafoError> {
        let asked = |one: &&Layer| layer.is_none_or(|name| name == one.name);
        let pool: Vec<(&[f64], Vec<f64>)> =
            self.layers.iter().filter(asked).map(|one| (&*one.histogram.edges, one.counts().collect())).collect();
        if pool.is_empty() {
            let names = self.layers.iter().map(|one| one.name.as_str());
            let nearest = nearest(layer.unwrap_or_default(), names.clone());
            let known = if nearest.is_empty() { names.map(str::to_owned).collect() } else { nearest };
            let reason = format!("no layer is named `{}`; there is {}", layer.unwrap_or_default(), known.join(", "));
            return Err(EafoError::File { path: path.into(), reason });
        }
        let of = layer.map_or_else(|| path.to_owned(), |layer| format!("{path}, {layer}"));
        Kernel::pooled(&of, &pool)
    }

    /// Its text.
    ///
    /// # Errors
    /// [`EafoError::Samples`] for a layer that [`LayerFile::read`] would refuse.
    pub fn text(&self) -> Result<String, EafoError> {
        for layer in &self.layers {
            layer.check().map_err(|reason| EafoError::Samples { of: layer.name.clone(), reason })?;
        }
        serde_json::to_string(self)
            .map_err(|error| EafoError::Samples { of: self.model.clone(), reason: error.to_string() })
    }
}

impl Layer {
    /// What is wrong with it, if anything is.
    fn check(&self) -> Result<(), String> {
        for (key, value) in [("mean", self.mean), ("variance", self.variance), ("kurtosis", self.kurtosis)] {
            if !value.is_finite() {
                return Err(format!("`{key}` is {value}; it must be finite"));
            }
        }
        if self.variance <= 0.0 {
            return Err(format!("`variance` is {}; it must be positive", self.variance));
        }
        if let (Some(units), Some(dead)) = (self.units, self.dead_units)
            && dead > units
        {
            return Err(format!("`dead_units` is {dead}, and `units` {units}"));
        }
        let counts: Vec<f64> = self.counts().collect();
        Kernel::from_histogram("`histogram`", &self.histogram.edges, &counts).map_err(|error| error.to_string())?;
        self.activation.map().map_err(|error| error.to_string())?;
        Ok(())
    }

    fn counts(&self) -> impl Iterator<Item = f64> {
        self.histogram.counts.iter().map(|count| *count as f64)
    }

    /// The density of its pre-activations, smoothed by at least a bin.
    ///
    /// # Errors
    /// As [`Kernel::from_histogram`].
    pub fn density(&self) -> Result<Kernel, EafoError> {
        Kernel::from_histogram(&self.name, &self.histogram.edges, &self.counts().collect::<Vec<_>>())
    }

    /// The Gaussian of the same mean and variance.
    ///
    /// # Errors
    /// As [`Scaled::new`].
    pub fn gaussian(&self) -> Result<Scaled, EafoError> {
        Scaled::new(Family::Gaussian, self.mean, self.variance.sqrt())
    }

    /// What the histogram tells.
    ///
    /// # Errors
    /// [`EafoError`] where the activation is unknown or an integral fails.
    pub fn reading(&self) -> Result<Reading, EafoError> {
        let (map, density, gaussian) = (self.activation.map()?, self.density()?, self.gaussian()?);
        // A table's second derivative jumps at every node.
        let close = if self.activation.table.is_some() { 1e-4 } else { 1e-7 };
        let tolerance = Tolerance { absolute: close, relative: close };
        let plain = Plain(&density);
        let output = Output::new(&*map, &plain);
        let entropy = output.entropy(tolerance)?;
        let deviation = output.moments(tolerance).ok().map(|(_, deviation)| deviation);
        let counts: Vec<f64> = self.counts().collect();
        let (total_variation, kolmogorov) = distances(&self.histogram, &gaussian);
        let outside = (self.histogram.below + self.histogram.above) as f64;
        Ok(Reading {
            name: self.name.clone(),
            activation: self.activation.label(&*map),
            epsilon: self.activation.epsilon,
            mean: self.mean,
            deviation: self.variance.sqrt(),
            kurtosis: self.kurtosis,
            total_variation,
            kolmogorov,
            entropy_before: entropy_of_counts(&self.histogram.edges, &counts),
            entropy_after: entropy.mixed(),
            normalised_after: deviation.map(|deviation| entropy.normalised(deviation)),
            flat_share: entropy.atoms.iter().map(|atom| atom.mass).sum(),
            dead_share: self.units.zip(self.dead_units).map(|(units, dead)| dead as f64 / units.max(1) as f64),
            outside_share: outside / (outside + counts.iter().sum::<f64>()),
        })
    }
}

impl Applied {
    /// The function.
    ///
    /// # Errors
    /// As [`Function::parse`].
    pub fn map(&self) -> Result<Box<dyn Map>, EafoError> {
        if let Some(nodes) = &self.table {
            return Ok(Box::new(nodes.table("`table`")?));
        }
        let function = Function::parse(&self.name)?;
        let Some(activation) = function.activation() else { return Ok(Box::new(function)) };
        if let Some(nodes) = &self.correction {
            let base = activation.base().ok_or_else(|| EafoError::Text {
                text: self.name.clone(),
                reason: "no correction belongs to it; take `correction` away".to_owned(),
            })?;
            let (base, epsilon) = (Function::catalogue(base, &[])?, self.epsilon.unwrap_or_default());
            return Ok(Box::new(Corrected { base, epsilon, correction: nodes.table("`correction`")? }));
        }
        let mut values = if self.parameters.is_empty() { function.values().to_vec() } else { self.parameters.clone() };
        let place = activation.parameters().iter().position(|parameter| parameter.name == "epsilon");
        if let (Some(place), Some(epsilon)) = (place, self.epsilon)
            && place < values.len()
        {
            values[place] = epsilon;
        }
        Ok(Box::new(Function::catalogue(activation, &values)?))
    }

    /// What reports call it; `map` is what [`Applied::map`] gives.
    fn label(&self, map: &dyn Map) -> String {
        let epsilon = self.epsilon.map_or_else(String::new, |epsilon| format!("{}, ", short(epsilon)));
        match (&self.table, &self.correction) {
            (None, None) => map.name(),
            (Some(_), _) => self.name.clone(),
            (None, Some(_)) => format!("{}({epsilon}dynamic)", self.name),
        }
    }
}

/// Total variation and Kolmogorov–Smirnov distance of a histogram from a density, what lies beyond the edges included.
fn distances(histogram: &Histogram, density: &dyn Density) -> (f64, f64) {
    let total = (histogram.counts.iter().sum::<u64>() + histogram.below + histogram.above) as f64;
    let last = histogram.edges[histogram.edges.len() - 1];
    let mut seen = histogram.below as f64 / total;
    let mut before = density.cdf(histogram.edges[0]);
    let (mut variation, mut largest) = ((seen - before).abs(), (seen - before).abs());
    for (count, edge) in histogram.counts.iter().zip(&histogram.edges[1..]) {
        let (share, cdf) = (*count as f64 / total, density.cdf(*edge));
        variation += (share - (cdf - before)).abs();
        seen += share;
        before = cdf;
        largest = largest.max((seen - cdf).abs());
    }
    variation += (histogram.above as f64 / total - (1.0 - density.cdf(last))).abs();
    (0.5 * variation, largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts of a density, as if a million values had been seen.
    fn layer(density: &dyn Density, activation: &str) -> Layer {
        let edges: Vec<f64> = (0..=128).map(|i| -6.0 + 12.0 * f64::from(i) / 128.0).collect();
        let count = |share: f64| (share * 1e6).round() as u64;
        let counts = edges.windows(2).map(|pair| count(density.cdf(pair[1]) - density.cdf(pair[0]))).collect();
        let (below, above) = (count(density.cdf(-6.0)), count(1.0 - density.cdf(6.0)));
        Layer {
            name: "blocks.0.mlp.act".to_owned(),
            activation: Applied { name: activation.to_owned(), ..Applied::default() },
            histogram: Histogram { edges, counts, below, above },
            mean: density.mean(),
            variance: density.variance(),
            kurtosis: 3.0,
            units: Some(200),
            dead_units: Some(3),
        }
    }

    #[test]
    fn a_gaussian_layer_is_near_its_gaussian_and_a_laplacian_one_is_not() {
        let gaussian = layer(crate::density::parse("gaussian(0.3, 1.2)").unwrap().as_ref(), "relu").reading().unwrap();
        assert!(gaussian.total_variation < 1e-3 && gaussian.kolmogorov < 1e-3, "{gaussian:?}");
        let known = crate::special::normal_entropy(1.2);
        assert!((gaussian.entropy_before - known).abs() < 5e-3, "{gaussian:?}");
        let share = crate::special::normal_cdf(-0.25);
        assert!((gaussian.flat_share - share).abs() < 5e-3, "{gaussian:?}, {share}");
        assert_eq!(gaussian.dead_share, Some(0.015));
        let laplace = layer(crate::density::parse("laplace").unwrap().as_ref(), "gelu").reading().unwrap();
        assert!(laplace.total_variation > 0.1 && laplace.kolmogorov > 0.05, "{laplace:?}");
        assert!((laplace.outside_share - (-6f64).exp()).abs() < 1e-5, "{laplace:?}");
    }

    #[test]
    fn layers_together_have_the_density_of_their_mixture() {
        let of = |name: &str, law: &str| {
            let mut layer = layer(crate::density::parse(law).unwrap().as_ref(), "relu");
            layer.name = name.to_owned();
            layer
        };
        let (left, right) = (of("a", "gaussian(-1, 0.7)"), of("b", "gaussian(1.5, 1)"));
        let (model, source) = ("vit".to_owned(), String::new());
        let file = LayerFile { format: FORMAT, model, source, images: 1, layers: vec![left, right] };
        let known = crate::density::parse("mixture(0.5: -1, 0.7; 0.5: 1.5, 1)").unwrap();
        let both = file.density("layers.json", None).unwrap();
        let one = file.density("layers.json", Some("b")).unwrap();
        let gaussian = crate::density::parse("gaussian(1.5, 1)").unwrap();
        for x in [-3.0, -1.0, 0.0, 0.4, 1.5, 3.0] {
            for order in 0..2 {
                let off = (both.slopes(x)[order] - known.slopes(x)[order]).abs();
                assert!(off < 0.012, "derivative {order} at {x}: off by {off}");
                let off = (one.slopes(x)[order] - gaussian.slopes(x)[order]).abs();
                assert!(off < 0.025, "derivative {order} at {x}: off by {off}");
            }
        }
        let error = file.density("layers.json", Some("c")).unwrap_err().to_string();
        assert!(error.contains("no layer is named `c`; there is a, b"), "{error}");
    }

    #[test]
    fn a_learned_epsilon_is_what_the_activation_has() {
        let gaussian = crate::density::parse("gaussian").unwrap();
        let mut layer = layer(gaussian.as_ref(), "crrelu");
        layer.activation.epsilon = Some(-0.3);
        assert_eq!(layer.reading().unwrap().activation, "crrelu(-0.3)");
    }

    #[test]
    fn tables_stand_for_the_function_or_for_the_correction() {
        let gaussian = crate::density::parse("gaussian").unwrap();
        let of = |name: &str, change: &dyn Fn(&mut Layer)| {
            let mut layer = layer(gaussian.as_ref(), name);
            change(&mut layer);
            layer.reading().unwrap()
        };
        let still = Table::new(-8.0, 16.0, vec![0.0, 0.0], vec![0.0, 0.0]).unwrap();
        let relu = of("relu", &|_| {});
        let corrected = of("crrelu", &|layer| {
            layer.activation.epsilon = Some(-0.3);
            layer.activation.correction = Some(Nodes::from(&still));
        });
        assert_eq!(corrected.activation, "crrelu(-0.3, dynamic)");
        assert!((corrected.entropy_after - relu.entropy_after).abs() < 1e-9, "{corrected:?}, {relu:?}");
        let line = Table::new(-8.0, 16.0, vec![-16.0, 16.0], vec![2.0, 2.0]).unwrap();
        let double = of("mine", &|layer| layer.activation.table = Some(Nodes::from(&line)));
        assert_eq!(double.activation, "mine");
        let known = crate::special::normal_entropy(1.0) + std::f64::consts::LN_2;
        assert!((double.entropy_after - known).abs() < 5e-3, "{double:?}, {known}");
        let mut wrong = layer(gaussian.as_ref(), "gelu");
        wrong.activation.correction = Some(Nodes::from(&still));
        assert!(wrong.check().unwrap_err().contains("`gelu`"), "{:?}", wrong.check());
    }

    #[test]
    fn files_come_back_and_what_is_wrong_names_layer_and_key() {
        let gaussian = crate::density::parse("gaussian").unwrap();
        let file = LayerFile {
            format: FORMAT,
            model: "vit".to_owned(),
            source: String::new(),
            images: 8,
            layers: vec![layer(gaussian.as_ref(), "gelu")],
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("layers.json");
        let write = |file: &LayerFile| std::fs::write(&path, serde_json::to_string(file).unwrap()).unwrap();
        write(&file);
        assert_eq!(LayerFile::read(&path).unwrap(), file);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), file.text().unwrap());
        let mut broken = file.clone();
        broken.layers[0].kurtosis = f64::NAN;
        assert!(broken.text().unwrap_err().to_string().contains("`kurtosis` is NaN"));
        let refused = |change: &dyn Fn(&mut LayerFile)| {
            let mut changed = file.clone();
            change(&mut changed);
            write(&changed);
            let error = LayerFile::read(&path).unwrap_err().to_string();
            assert!(error.contains("layers.json: "), "{error}");
            error
        };
        assert!(refused(&|file| file.format = 9).contains("`format` is 9"));
        assert!(refused(&|file| file.layers.clear()).contains("`layers` is empty"));
        assert!(refused(&|file| file.layers[0].variance = 0.0).contains("layer `blocks.0.mlp.act`: `variance` is 0"));
        assert!(refused(&|file| file.layers[0].activation.name = "gelo".to_owned()).contains("did you mean gelu"));
        assert!(refused(&|file| file.layers[0].histogram.edges[3] = -9.0).contains("edge 3 = -9 is not above edge 2"));
        assert!(refused(&|file| file.layers[0].dead_units = Some(201)).contains("`dead_units` is 201"));
        std::fs::write(&path, "{\"format\": 1}").unwrap();
        assert!(LayerFile::read(&path).unwrap_err().to_string().contains("missing field `model`"));
    }
}
