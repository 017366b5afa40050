//! `rectify train --dry-run`: what a config comes to, without its data and without starting anything.

use std::fmt::Write;

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use plan::recipes::{self, Recipe};
use plan::{Every, Memory, Plan};

use crate::verdict::grouped;

/// Columns of the drawn learning rate.
const CURVE_WIDTH: u64 = 60;
/// Heights of a column.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The whole plan in words. `data` says what its images are, and how that is known.
pub fn describe(plan: &Plan, data: [String; 2]) -> String {
    let mut text = format!("{} on {}\n", plan.config.name, counted(plan.world_size, ["rank", "ranks"]));
    for (title, lines) in [
        ("model", model(plan)),
        ("data", data.to_vec()),
        ("batch", batch(plan)),
        ("steps", steps(plan)),
        ("learning rate", learning_rate(plan)),
        ("optimiser", optimizer(plan)),
        ("memory a rank", memory(plan)),
    ] {
        for (index, line) in lines.iter().enumerate() {
            let _ = writeln!(text, "  {:<15}{line}", if index == 0 { title } else { "" });
        }
    }
    if let Some(recipe) = plan.config.recipe.as_deref().and_then(recipes::find) {
        text += &compare(plan, &recipe);
    }
    text
}

fn model(plan: &Plan) -> Vec<String> {
    let (config, spec) = (&plan.config.model, &plan.model);
    let activations = match &config.activation {
        Some(activations) => activations.words(),
        None => spec.activations.default.function.name().to_owned(),
    };
    let size = format!(
        "{} parameters, {} GFLOPs an image (multiply-adds, forward)",
        grouped(spec.parameters()),
        significant(spec.flops() as f64 / 2e9)
    );
    let side = spec.image_size;
    let mut lines = vec![format!("{} with {activations}, {side}×{side} pixels", config.name), size];
    if let (Some(teacher), Some(spec)) = (&plan.config.distillation.teacher, &plan.teacher) {
        let kind = plan.config.distillation.kind.name();
        lines.push(format!("teacher {teacher} ({kind}), {} parameters", grouped(spec.parameters())));
    }
    lines
}

fn batch(plan: &Plan) -> Vec<String> {
    let ranks = counted(plan.world_size, ["rank", "ranks"]);
    let micro = counted(plan.accumulation, ["micro-batch", "micro-batches"]);
    let samples = plan.facts.train_samples as f64 / plan.world_size as f64;
    vec![
        format!("{} images = {ranks} × {micro} of {}", grouped(plan.global_batch as u64), plan.micro_batch),
        format!("{} samples on each rank an epoch", grouped(samples.round() as u64)),
    ]
}

fn steps(plan: &Plan) -> Vec<String> {
    let schedule = &plan.config.schedule;
    let total = match plan.total_steps {
        steps if steps < plan.curve_steps => {
            format!("{} of the curve's {}", grouped(steps), grouped(plan.curve_steps))
        }
        steps => grouped(steps),
    };
    let epoch = plan.steps_per_epoch();
    vec![
        format!("{total}: {} epochs of {epoch:.1}, the first {} warm-up", schedule.epochs, grouped(plan.warmup_steps)),
        format!("evaluation {}, checkpoint {}", often(plan.eval), often(plan.checkpoint)),
    ]
}

fn often(every: Every) -> String {
    if every.steps == 0.0 {
        "at the end".to_owned()
    } else {
        format!("every {} steps", grouped(every.steps.round() as u64))
    }
}

fn learning_rate(plan: &Plan) -> Vec<String> {
    let curve = plan.curve();
    let rates = [plan.learning_rate(0), curve.peak, plan.learning_rate(plan.total_steps - 1)];
    let [first, peak, last] = rates.map(|rate| format!("{rate:.3e}"));
    let name = plan.config.schedule.name.name();
    vec![format!("{name}, from {first} up to {peak}, {last} at the last step"), sparkline(plan)]
}

/// The learning rate over the steps of the run; the highest column is its peak.
fn sparkline(plan: &Plan) -> String {
    let (width, peak) = (CURVE_WIDTH.min(plan.total_steps), plan.curve().peak);
    let at = |column: u64| plan.learning_rate(column * (plan.total_steps - 1) / (width - 1).max(1));
    let height = |rate: f64| (rate / peak * (HEIGHTS.len() - 1) as f64).round() as usize;
    (0..width).map(|column| HEIGHTS[height(at(column)).min(HEIGHTS.len() - 1)]).collect()
}

fn optimizer(plan: &Plan) -> Vec<String> {
    let config = &plan.config.optimizer;
    let mut words =
        vec![format!("{}, weight decay {} on {}", config.name.name(), config.weight_decay, config.decay.name())];
    let clips = [("norm", config.clip_norm), ("value", config.clip_value), ("adaptive", config.clip_adaptive)];
    words.extend(clips.iter().filter(|(_, limit)| *limit > 0.0).map(|(way, limit)| format!("clip by {way} {limit}")));
    if config.layer_decay < 1.0 {
        words.push(format!("layer decay {}", config.layer_decay));
    }
    if plan.config.ema.decay > 0.0 {
        words.push(format!("EMA {}", plan.config.ema.decay));
    }
    vec![words.join(", ")]
}

fn memory(plan: &Plan) -> Vec<String> {
    let memory = Memory::of(plan);
    let parts = [
        ("values", memory.values),
        ("gradients", memory.gradients),
        ("optimiser", memory.optimizer),
        ("average", memory.average),
        ("teacher", memory.teacher),
        ("kept for backward", memory.kept),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(name, bytes)| format!("{name} {}", gibibytes(*bytes)))
        .collect();
    vec![format!("about {}, and the libraries' own", gibibytes(memory.total())), parts.join(", ")]
}

/// What is not as the recipe has it.
fn compare(plan: &Plan, recipe: &Recipe) -> String {
    let mut text = format!("\nRecipe \"{}\": {}\n", recipe.name, recipe.source);
    if let Some(top1) = recipe.published_top1(&plan.config.model.name) {
        let _ = writeln!(text, "  published top-1 on ImageNet-1K: {top1} %");
    }
    let differences = recipe.differences(&plan.config);
    if differences.is_empty() {
        text += "  every key of the recipe has its published value\n";
    } else {
        let mut table = Table::new();
        table.load_preset(UTF8_FULL_CONDENSED).set_header(["key", "published", "here"]);
        for difference in &differences {
            let here = if difference.here.is_empty() { "not set" } else { &difference.here };
            table.add_row([&difference.key, &difference.published, here]);
        }
        text += &format!("{table}\n");
    }
    if !recipe.beyond.is_empty() {
        text += "  What no key can say:\n";
        recipe.beyond.iter().for_each(|sentence| text += &format!("  - {sentence}\n"));
    }
    text
}

fn counted(number: usize, [one, many]: [&str; 2]) -> String {
    format!("{} {}", grouped(number as u64), if number == 1 { one } else { many })
}

fn gibibytes(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 1024.0 { format!("{mebibytes:.0} MiB") } else { format!("{:.1} GiB", mebibytes / 1024.0) }
}

/// Two or three figures that matter.
fn significant(number: f64) -> String {
    if number < 0.995 { format!("{number:.2}") } else { format!("{number:.1}") }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::check;

    /// The configs that ship, sweeps left out.
    fn shipped() -> Vec<PathBuf> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
        let folders = [root.clone(), root.join("paper")];
        let files =
            folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
        let is_config = |file: &PathBuf| {
            file.extension().is_some_and(|ending| ending == "toml")
                && !std::fs::read_to_string(file).unwrap().contains("\nconfig = ")
        };
        files.filter(is_config).collect()
    }

    #[test]
    fn every_config_of_a_recipe_follows_it_and_plans_without_data() {
        let mut followed = std::collections::BTreeSet::new();
        for path in shipped() {
            let config = plan::load(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
            let Some(recipe) = config.recipe.clone() else { continue };
            for nproc in [1, 4, 8] {
                let (plan, data) = check::without_data(config.clone(), nproc)
                    .unwrap_or_else(|ending| panic!("{}: {}", path.display(), ending.message));
                let text = describe(&plan, data);
                assert!(text.contains("every key of the recipe has its published value"), "{}\n{text}", path.display());
            }
            followed.insert(recipe);
        }
        let all: std::collections::BTreeSet<String> = recipes::names().into_iter().map(str::to_owned).collect();
        assert_eq!(followed, all, "a recipe without a config");
    }

    #[test]
    fn the_learning_rate_is_drawn_from_its_first_step_to_its_last() {
        let text = "data.path = 'x'\nmodel.name = 'vit_tiny_patch16_224'\ntrain.batch_size = 10\noptimizer.learning_rate = 0.1\n\
                    [schedule]\nepochs = 12\nwarmup_epochs = 4\nwarmup_learning_rate = 0\nfinal_learning_rate = 0\nname = 'linear'\n";
        let config = plan::parse(text, "x.toml".as_ref(), &[]).unwrap();
        let facts = plan::DataFacts { train_samples: 10, val_samples: 1, num_classes: 2 };
        let plan = Plan::resolve(config, facts, 1).unwrap();
        assert_eq!(sparkline(&plan), "▁▃▅▆▆▅▅▄▃▃▂▂");
        let one = Plan { total_steps: 1, ..plan };
        assert_eq!(sparkline(&one), "▁");
    }
}
