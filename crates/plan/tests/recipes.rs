//! Recipes are configs: every key and value is one, and a config that has them all differs in nothing.

use std::path::Path;

use plan::recipes::{self, Difference, Recipe};
use plan::{Config, DataFacts, Plan};

/// A config of `model` with all that `recipe` says, and `more`.
fn follow(recipe: &Recipe, model: &str, more: &[&str]) -> Config {
    let mut text = format!("data.path = 'imagenet'\nrecipe = '{}'\nmodel.name = '{model}'\n", recipe.name);
    if recipe.values(model).iter().any(|(key, _)| key.starts_with("distillation.")) {
        text += "distillation.weights = 'teacher.safetensors'\n";
    }
    recipe.values(model).iter().for_each(|(key, value)| text += &format!("{key} = {value}\n"));
    let sets: Vec<String> = more.iter().map(|&set| set.to_owned()).collect();
    plan::parse(&text, Path::new("recipe.toml"), &sets).unwrap_or_else(|error| panic!("{}: {error}", recipe.name))
}

#[test]
fn a_config_with_all_that_a_recipe_says_differs_in_nothing() {
    let facts = DataFacts { train_samples: 1_281_167, val_samples: 50_000, num_classes: 1000 };
    for name in recipes::names() {
        let recipe = recipes::find(name).expect("a name of the list");
        assert!(!recipe.source.is_empty());
        assert!(!recipe.models().is_empty(), "{name} names the models that it is for");
        for model in recipe.models() {
            let config = follow(&recipe, model, &[]);
            assert_eq!(recipe.differences(&config), [], "{name} of {model}");
            Plan::resolve(config, facts, 8).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[test]
fn what_differs_is_told_with_both_values() {
    let recipe = recipes::find("deit").expect("a recipe");
    assert_eq!(recipe.published_top1("deit_small_patch16_224"), Some(79.9));
    assert_eq!(recipe.published_top1("vit_small_patch16_224"), None);
    let changes = ["train.batch_size=512", "optimizer.learning_rate=1e-3", "model.activation=crrelu"];
    let differences = recipe.differences(&follow(&recipe, "deit_small_patch16_224", &changes));
    let told = |key: &str, published: &str, here: &str| Difference {
        key: key.to_owned(),
        published: published.to_owned(),
        here: here.to_owned(),
    };
    let expected = [
        told("model.activation", "\"gelu\"", "crrelu"),
        told("optimizer.learning_rate", "0.0005", "0.001"),
        told("train.batch_size", "1024", "512"),
    ];
    assert_eq!(differences, expected);
    assert!(recipes::find("diet").is_none());
}

#[test]
fn the_start_of_epsilon_is_that_of_the_model() {
    let recipe = recipes::find("crrelu").expect("a recipe");
    let start = |model: &str| {
        let values = recipe.values(model);
        values.iter().find(|(key, _)| *key == "model.activation.epsilon").and_then(|(_, value)| value.as_float())
    };
    assert_eq!(start("vit_tiny_patch16_224"), Some(-0.1));
    assert_eq!(start("deit_base_patch16_224"), Some(0.01));
    assert_eq!(start("deit_small_patch16_224"), None);
}
