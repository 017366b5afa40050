//! The densities of pre-activations while a run trains, and the corrections of dynamic activations that follow them.

use std::collections::BTreeMap;

use collectives::{CommError, Communicator, Phase};
use eafo::sketch::{Entropies, REACH, Sketch, blend};
use kernels::activation::Correction;
use models::{Model, Parameters, correction_name};
use plan::Plan;
use plan::models::ActivationSpec;
use tch::{Kind, Tensor};

use crate::applied::applied;

/// In how many of the steps between two refreshes pre-activations are looked at.
const LOOKS: u64 = 16;
/// About how many values of each activation a rank counts at such a step.
const VALUES: usize = 4096;
/// A larger share of values beyond the bins is worth a warning.
const MANY: f64 = 0.01;

/// The sketches of a model's activations: of the dynamic ones, or of all where a config says so (`eafo.watch`).
///
/// Every rank counts what it sees. Before anything is made of the counts they are added up over the ranks, whole numbers that give
/// the same sum in any order, so that all ranks make the same of them.
pub struct Sketches {
    every_steps: u64,
    rate: f64,
    layers: Vec<Layer>,
}

struct Layer {
    module: String,
    spec: ActivationSpec,
    /// What all ranks had seen when they last added up.
    shared: Sketch,
    /// What this rank has seen since.
    own: Sketch,
    /// Whether it was said that many values lie beyond the bins.
    warned: bool,
}

impl Sketches {
    /// Those that a plan asks for; `None` where nothing is followed.
    pub fn new(plan: &Plan, model: &Model) -> Option<Sketches> {
        let config = &plan.config.eafo;
        let all = model.activations().iter().map(|module| Layer {
            module: module.clone(),
            spec: plan.model.activations.of(module).clone(),
            shared: Sketch::default(),
            own: Sketch::default(),
            warned: false,
        });
        let layers: Vec<Layer> = all.filter(|layer| config.watch || layer.spec.dynamic).collect();
        (!layers.is_empty()).then_some(Sketches { every_steps: config.every_steps, rate: config.rate, layers })
    }

    /// Makes the next forward pass of `step` show what its activations are applied to, if that is a step to look at.
    pub fn look(&self, parameters: &Parameters, step: u64) {
        let looks = LOOKS.min(self.every_steps);
        let place = step % self.every_steps;
        if (place + 1) * looks / self.every_steps > place * looks / self.every_steps {
            parameters.watch(VALUES, step);
        }
    }

    /// Counts what that forward pass has shown.
    pub fn take_in(&mut self, parameters: &Parameters) {
        for seen in parameters.watched() {
            if let Some(layer) = self.layers.iter_mut().find(|layer| layer.module == seen.module) {
                let values = Vec::try_from(seen.values.flatten(0, -1)).expect("values in f32 on the CPU");
                layer.own.take_in(&values);
            }
        }
    }

    /// Adds up over the ranks what each has seen.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn share(&mut self, communicator: &dyn Communicator, step: u64) -> Result<(), CommError> {
        let own = self.layers.iter_mut().map(|layer| std::mem::take(&mut layer.own));
        let mut counts: Vec<f64> = own.flat_map(|sketch| sketch.counts().to_vec()).map(|count| count as f64).collect();
        communicator.all_reduce_sum_f64(Phase::of_step("pre-activations", step), &mut counts)?;
        let size = counts.len() / self.layers.len();
        for (layer, counts) in self.layers.iter_mut().zip(counts.chunks(size)) {
            layer.shared.add(counts.iter().map(|&count| count as u64));
        }
        Ok(())
    }

    /// Where a refresh is due after `step` finished steps: moves every dynamic correction towards the one that its layer's density
    /// asks for, and forgets half of what was seen.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn refresh(
        &mut self,
        parameters: &Parameters,
        communicator: &dyn Communicator,
        step: u64,
    ) -> Result<(), CommError> {
        if !step.is_multiple_of(self.every_steps) {
            return Ok(());
        }
        self.share(communicator, step)?;
        for layer in &mut self.layers {
            layer.warn();
            if layer.spec.dynamic
                && let Some(new) = layer.shared.correction()
            {
                let mut buffer = correction(parameters, &layer.module);
                let old = Correction::table(&numbers(&buffer)).expect("a model keeps a table");
                let blended = Correction::numbers(&blend(&old, &new, self.rate));
                buffer.copy_(&Tensor::from_slice(&blended));
            }
            layer.shared.fade();
        }
        Ok(())
    }

    /// Entropies around every activation that is followed, of what was added up last; a layer that has seen too little is left
    /// out.
    pub fn entropies(&self, parameters: &Parameters) -> Vec<(String, Entropies)> {
        let of = |layer: &Layer| {
            let applied = applied(&layer.spec, &layer.module, parameters);
            let found = applied.map().and_then(|map| layer.shared.entropies(&layer.module, &*map));
            Some((layer.module.clone(), found.ok()?))
        };
        self.layers.iter().filter_map(of).collect()
    }

    /// What was added up last, by module: with the model's corrections all that a checkpoint needs.
    pub fn shared(&self) -> BTreeMap<String, Sketch> {
        self.layers.iter().map(|layer| (layer.module.clone(), layer.shared.clone())).collect()
    }

    /// Goes on from what a checkpoint holds; a module that it does not know begins anew.
    pub fn restore(&mut self, saved: &BTreeMap<String, Sketch>) {
        for layer in &mut self.layers {
            layer.shared = saved.get(&layer.module).cloned().unwrap_or_default();
            layer.own = Sketch::default();
        }
    }
}

impl Layer {
    /// Says once where more than a hundredth of the values lie beyond the bins.
    fn warn(&mut self) {
        let outside = self.shared.outside_share();
        if outside > MANY && !self.warned {
            tracing::warn!(
                "{}: {:.1} % of the pre-activations lie beyond ±{REACH}, where a sketch does not tell them apart: its correction and \
                 entropies are of the rest",
                self.module,
                100.0 * outside
            );
            self.warned = true;
        }
    }
}

/// The correction of a dynamic activation: the tensor itself.
pub(crate) fn correction(parameters: &Parameters, module: &str) -> Tensor {
    let name = correction_name(module);
    let found = parameters.buffers().iter().find(|(known, _)| *known == name);
    found.expect("a dynamic activation has a correction").1.shallow_clone()
}

pub(crate) fn numbers(buffer: &Tensor) -> Vec<f64> {
    Vec::try_from(buffer.to_kind(Kind::Double).flatten(0, -1)).expect("numbers of a table")
}
