//! Weights from elsewhere: taken into a model whose classes, resolution or activation may be others than theirs.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use tch::{Kind, Tensor, no_grad};

use crate::activation::correction_name;
use crate::error::ModelError;
use crate::model::Model;
use crate::positions;

/// Ends the names of BatchNorm's counters, which nobody reads and files of weights lack.
pub(crate) const COUNTER: &str = ".num_batches_tracked";

/// What became of the tensors of a file, by name, each list in the model's order or that of the alphabet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many parameters took their values from the file.
    pub loaded: usize,
    /// Position embeddings that were resampled for another grid; they are among those loaded.
    pub resampled: Vec<Misfit>,
    /// Parts of the classifier that keep their initial values, since the file's have other classes.
    pub replaced: Vec<Misfit>,
    /// Parameters and corrections of activations that the file lacks: they keep their initial values.
    pub activations: Vec<String>,
    /// Other parameters that the file lacks: they keep their initial values.
    pub missing: Vec<String>,
    /// Tensors of the file that no parameter is named after.
    pub unexpected: Vec<String>,
}

/// A tensor whose shape is not its parameter's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The name of both.
    pub name: String,
    /// The parameter's shape.
    pub expected: Vec<i64>,
    /// The tensor's.
    pub found: Vec<i64>,
}

impl Model {
    /// Takes the values of `named` (timm's names) where they fit: all shapes must, but
    /// - the classifier keeps its initial values where the number of classes differs,
    /// - position embeddings are resampled where the grid does (as timm's `resample_abs_pos_embed`),
    /// - what an activation learns keeps its initial values where the file lacks it, as after a change of activation.
    ///
    /// # Errors
    /// [`ModelError::Misfits`] with every tensor of another shape, [`ModelError::Stranger`] when no name is known here; nothing
    /// is changed then.
    pub fn load_pretrained(&self, named: &[(String, Tensor)]) -> Result<Report, ModelError> {
        let mut given: BTreeMap<&str, &Tensor> = named.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let corrections = self.activations().iter().map(|module| correction_name(module));
        let of_activations: HashSet<String> =
            self.activation_parameters().map(|parameter| parameter.name.clone()).chain(corrections).collect();
        let (mut report, mut misfits, mut values) = (Report::default(), Vec::new(), Vec::new());
        for (name, view) in self.parameters().named() {
            let expected = view.size();
            let Some(tensor) = given.remove(name.as_str()) else {
                if name.ends_with(COUNTER) {
                    continue;
                }
                let list = if of_activations.contains(&name) { &mut report.activations } else { &mut report.missing };
                list.push(name);
                continue;
            };
            if tensor.size() == expected {
                values.push((view, tensor.shallow_clone()));
                continue;
            }
            let misfit = Misfit { name, expected, found: tensor.size() };
            if misfit.is_another_classifier() {
                report.replaced.push(misfit);
            } else if let Some(resampled) = misfit.resample(tensor) {
                values.push((view, resampled));
                report.resampled.push(misfit);
            } else {
                misfits.push(misfit);
            }
        }
        report.unexpected = given.into_keys().map(str::to_owned).collect();
        if !misfits.is_empty() {
            return Err(ModelError::Misfits { misfits });
        }
        if values.is_empty() {
            return Err(ModelError::Stranger { expected: report.missing, found: report.unexpected });
        }
        report.loaded = values.len();
        for (mut view, tensor) in values {
            no_grad(|| view.f_copy_(&tensor))?;
        }
        Ok(report)
    }
}

impl Report {
    /// Whether the file held everything, what activations learn too, and nothing else.
    pub fn is_exact(&self) -> bool {
        self.is_complete() && self.activations.is_empty()
    }

    /// Whether the file held everything, and nothing else: a change of activation is allowed for.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.replaced.is_empty()
    }
}

/// Shortly: numbers and the first few names.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tensors loaded", self.loaded)?;
        let names = |list: &[Misfit]| list.iter().map(Misfit::to_string).collect::<Vec<_>>();
        for (what, list) in [
            ("resampled", names(&self.resampled)),
            ("replaced by fresh ones", names(&self.replaced)),
            ("activation parameters at their start", self.activations.clone()),
            ("missing", self.missing.clone()),
            ("unexpected", self.unexpected.clone()),
        ] {
            if !list.is_empty() {
                write!(f, "; {} {what} ({})", list.len(), some(&list))?;
            }
        }
        Ok(())
    }
}

impl Misfit {
    /// Whether it is a part of a classifier that differs in nothing but the classes.
    fn is_another_classifier(&self) -> bool {
        let module = self.name.strip_suffix(".weight").or_else(|| self.name.strip_suffix(".bias"));
        matches!(module, Some("head" | "head_dist" | "head.fc" | "fc")) && self.expected.get(1..) == self.found.get(1..)
    }

    /// Position embeddings `(1, T + L, D)` for the model's grid, from those for another one.
    fn resample(&self, tensor: &Tensor) -> Option<Tensor> {
        let is_position = matches!(self.name.as_str(), "pos_embed" | "patch_pos");
        let ([1, tokens, width], [1, own_tokens, own_width]) = (&self.found[..], &self.expected[..]) else {
            return None;
        };
        let ((prefix, side), (own_prefix, own_side)) = (grid(*tokens)?, grid(*own_tokens)?);
        if !is_position || width != own_width || prefix != own_prefix {
            return None;
        }
        Some(positions::resample(&tensor.to_kind(Kind::Float), side, [own_side; 2]))
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?} here, {:?} in the file", self.name, self.expected, self.found)
    }
}

/// How many of `tokens` stand before the patches (none, class, distillation), and the side of the patches' square. There is
/// but one answer: squares above 1 differ by more than two.
fn grid(tokens: i64) -> Option<(i64, i64)> {
    (0..=2).find_map(|prefix| {
        let side = (tokens - prefix).max(0).isqrt();
        (side > 0 && prefix + side * side == tokens).then_some((prefix, side))
    })
}

/// The first few of many names, and how many more there are.
pub(crate) fn some(names: &[String]) -> String {
    const SHOWN: usize = 24;
    match names.len() {
        n if n <= SHOWN + 1 => names.join(", "),
        n => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
    }
}

/// As [`some`], of shapes that do not fit.
pub(crate) fn some_misfits(misfits: &[Misfit]) -> String {
    some(&misfits.iter().map(Misfit::to_string).collect::<Vec<_>>())
}
