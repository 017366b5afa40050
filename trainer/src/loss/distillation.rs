//! Distillation: a model learns from a frozen teacher as well, as in DeiT.

use plan::config::DistillationKind;
use tch::{Kind, Reduction, Tensor};

use super::Targets;

/// How a teacher's answers enter the loss (Touvron et al., 2021).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distillation {
    /// What is taken from the teacher.
    pub lesson: Lesson,
    /// Its share of the loss, in `[0, 1]`.
    pub alpha: f64,
}

/// What is taken from a teacher's answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lesson {
    /// Its first class, as a label without smoothing.
    Hard,
    /// Its distribution.
    Soft {
        /// The temperature by which both logits are divided.
        tau: f64,
    },
}

impl Distillation {
    /// What a config asks for; `None` without a teacher.
    pub fn configured(config: &plan::config::Distillation) -> Option<Distillation> {
        let lesson = match config.kind {
            DistillationKind::None => return None,
            DistillationKind::Hard => Lesson::Hard,
            DistillationKind::Soft => Lesson::Soft { tau: config.tau.unwrap_or(1.0) },
        };
        Some(Distillation { lesson, alpha: config.alpha })
    }

    /// The base loss and what `taught` `(N, C)`, the logits of the head that learns from the teacher, lacks of its answer.
    pub fn of(&self, base: Tensor, taught: &Tensor, teacher: &Tensor, targets: &Targets) -> Tensor {
        let each = match self.lesson {
            Lesson::Hard => {
                let classes = teacher.argmax(1, false);
                taught.cross_entropy_loss::<Tensor>(&classes, None, Reduction::None, -100, 0.0)
            }
            Lesson::Soft { tau } => {
                let soft = |logits: &Tensor| (logits / tau).log_softmax(1, None::<Kind>);
                let (student, teacher) = (soft(taught), soft(teacher));
                let divergence = student.kl_div(&teacher, Reduction::None, true); // (N, C)
                // DeiT divides by the number of all logits, not of the images.
                divergence.mean_dim([1i64].as_slice(), false, taught.kind()) * (tau * tau)
            }
        };
        base * (1.0 - self.alpha) + targets.mean(&each) * self.alpha
    }
}
