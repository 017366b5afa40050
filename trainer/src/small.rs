//! A small plan and model for the unit tests of this crate.

use models::Model;
use plan::{DataFacts, Plan};
use random::Key;
use tch::Device;

/// A ViT of width 16 and depth 1 on 10 classes, 16 images a step.
pub fn plan() -> Plan {
    plan_with(&[])
}

/// The same with other keys of the config.
pub fn plan_with(sets: &[&str]) -> Plan {
    let text = "[data]\npath = 'digits'\n[train]\nbatch_size = 16\n[model]\nname = 'vit_tiny_patch16_224'\n\
                image_size = 16\npatch_size = 8\nembed_dim = 16\ndepth = 1\nnum_heads = 2\n";
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    let config = plan::parse(text, "small.toml".as_ref(), &sets).expect("a good config");
    let facts = DataFacts { train_samples: 160, val_samples: 20, num_classes: 10 };
    Plan::resolve(config, facts, 1).expect("a plan")
}

/// Its model, with initial values.
pub fn model() -> Model {
    let plan = plan();
    Model::new(&plan.model, &plan.config.optimizer, Key::root(1), Device::Cpu).expect("a model")
}
