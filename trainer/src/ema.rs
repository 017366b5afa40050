//! The moving average of the weights.

use models::Parameters;
use tch::{Tensor, no_grad};

/// An exponential moving average of all values, as timm's `ModelEmaV3`: the first update takes them as they are.
pub struct Ema {
    decay: f64,
    warmup: bool,
    every_steps: u64,
    averages: Vec<Tensor>, // one a parameter group, laid out as its values
}

impl Ema {
    /// The average that a config asks for, of the values as they are now; `None` where it asks for none.
    pub fn new(config: &plan::config::Ema, parameters: &Parameters) -> Option<Ema> {
        let averages = || parameters.groups().iter().map(|group| group.values.copy()).collect();
        (config.decay > 0.0).then(|| Ema {
            decay: config.decay,
            warmup: config.warmup,
            every_steps: config.every_steps,
            averages: averages(),
        })
    }

    /// Takes in the values after `finished_steps` steps, the one that just ended included.
    pub fn update(&mut self, parameters: &Parameters, finished_steps: u64) {
        if !finished_steps.is_multiple_of(self.every_steps) {
            return;
        }
        let decay = self.decay_of((finished_steps / self.every_steps).saturating_sub(1));
        no_grad(|| {
            for (average, group) in self.averages.iter_mut().zip(parameters.groups()) {
                let _ = average.lerp_(&group.values, 1.0 - decay);
            }
        });
    }

    /// How much of the average stays at update `update`, counted from 0.
    fn decay_of(&self, update: u64) -> f64 {
        match update {
            0 => 0.0,
            _ if self.warmup => self.decay.min(1.0 - (1.0 + update as f64).powf(-2.0 / 3.0)),
            _ => self.decay,
        }
    }

    /// Does `work` while the parameters hold the averages; they have their own values again when it is done.
    pub fn lend<T>(&self, parameters: &Parameters, work: impl FnOnce() -> T) -> T {
        let own: Vec<Tensor> = parameters.groups().iter().map(|group| group.values.copy()).collect();
        fill(parameters, &self.averages);
        let done = work();
        fill(parameters, &own);
        done
    }

    /// The averages: the very memory, one buffer a parameter group.
    pub fn averages(&self) -> &[Tensor] {
        &self.averages
    }

    /// Begins anew with the values as they are now.
    pub fn begin_at(&mut self, parameters: &Parameters) {
        for (average, group) in self.averages.iter_mut().zip(parameters.groups()) {
            average.copy_(&group.values);
        }
    }
}

fn fill(parameters: &Parameters, buffers: &[Tensor]) {
    no_grad(|| {
        for (group, buffer) in parameters.groups().iter().zip(buffers) {
            group.values.shallow_clone().copy_(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small::model;

    fn set(parameters: &Parameters, value: f64) {
        for group in parameters.groups() {
            let _ = group.values.shallow_clone().fill_(value);
        }
    }

    #[test]
    fn it_is_updated_every_few_steps_and_lent_without_a_trace() {
        let model = model();
        let parameters = model.parameters();
        let config = plan::config::Ema { decay: 0.75, every_steps: 2, ..Default::default() };
        let mut ema = Ema::new(&config, parameters).expect("a decay above 0");
        let average = |ema: &Ema| ema.averages()[0].double_value(&[0]);
        for (step, value) in [(1, 9.0), (2, 1.0), (3, 9.0), (4, 5.0), (5, 9.0)] {
            set(parameters, value);
            ema.update(parameters, step);
        }
        assert_eq!(average(&ema), 2.0); // 0.75 · 1 + 0.25 · 5
        let before = parameters.hash();
        let seen = ema.lend(parameters, || parameters.groups()[1].values.double_value(&[0]));
        assert_eq!((seen, parameters.hash()), (2.0, before));
        ema.begin_at(parameters);
        assert_eq!(average(&ema), 9.0);
        assert!(Ema::new(&plan::config::Ema::default(), parameters).is_none());
    }
}
