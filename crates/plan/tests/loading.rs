//! What a good config becomes: overrides win, defaults are filled in, and what is written out reads back the same.

use std::path::{Path, PathBuf};

use activations::{Table, TableFile};
use plan::config::{Activation, Activations, Config, Crop, DecayRule, REQUIRED, SECTIONS, Source};
use plan::{DataFacts, Plan};

const SMALLEST: &str = "data.path = 'digits'\nmodel.name = 'deit_tiny_distilled_patch16_224'\n";

fn parse(text: &str, sets: &[&str]) -> Config {
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    plan::parse(text, Path::new("runs/my run.toml"), &sets).unwrap()
}

#[test]
fn overrides_win_over_the_file_and_the_last_over_the_first() {
    let sets = [
        "train.batch_size=64",
        "train.batch_size = 128",
        "data.path=some/where else",
        "name=42",
        "augment.scale=[0.5, 1]",
        "checkpoint.best=false",
        "data.source=cifar100",
        "optimizer.learning_rate=1e-3",
    ];
    let config = parse(SMALLEST, &sets);
    assert_eq!(config.train.batch_size, 128);
    assert_eq!(config.data.path, PathBuf::from("some/where else"));
    assert_eq!(config.name, "42"); // a number would be refused in the file; on a command line quotes are a nuisance
    assert_eq!(config.augment.scale, [0.5, 1.0]);
    assert!(!config.checkpoint.best);
    assert_eq!(config.data.source, Source::Cifar100);
    assert_eq!(config.optimizer.learning_rate, 1e-3);
}

#[test]
fn defaults_fill_the_rest() {
    let config = parse(SMALLEST, &[]);
    assert_eq!(config.name, "my-run"); // of the file, and fit for a folder
    assert_eq!(config.augment.crop, Crop::RandomResized);
    assert_eq!(config.augment.ratio, [0.75, 4.0 / 3.0]);
    assert_eq!(config.optimizer.decay, DecayRule::Matrices);
    assert_eq!(config.model.activation, None);
}

/// A tabulated activation: |x| between −1 and 1.
fn table_file(name: &str) -> TableFile {
    let table = Table::new(-1.0, 1.0, vec![1.0, 0.0, 1.0], vec![-1.0, 0.0, 1.0]).unwrap();
    let (density, base) = ("gaussian".to_owned(), "softplus".to_owned());
    TableFile { name: name.to_owned(), density, base, step: 0.5, interval: (-1.0, 1.0), kinks: Vec::new(), table }
}

#[test]
fn a_tabulated_activation_is_read_once_and_its_file_is_needed_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    table_file("mine").write(&path).unwrap();
    let by_layers = format!("model.activation={{ default = 'gelu', 'blocks.3' = {{ file = '{}' }} }}", path.display());
    let teacher = format!("distillation.activation.file={}", path.display());
    let config = parse(SMALLEST, &[&format!("model.activation.file={}", path.display()), &teacher]);
    let mixed = parse(SMALLEST, &[&by_layers]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(parse(&config.to_toml(), &[]), config);
    assert_eq!(parse(&mixed.to_toml(), &[]), mixed);
    let activations = config.model.activation.as_ref().unwrap();
    assert_eq!(activations.words(), "mine");
    assert_eq!(config.distillation.activation.as_ref(), Some(activations));
    assert_eq!(mixed.model.activation.as_ref().unwrap().words(), "gelu, mine in blocks.3");
    let spec = plan::models::configured(&config.model, 10).unwrap();
    let expected = plan::models::Function::Table(std::sync::Arc::new(table_file("mine")));
    assert_eq!((spec.activations.default.function, spec.activations.default.learnable), (expected, false));
    let gelu = plan::models::configured(&parse(SMALLEST, &[]).model, 10).unwrap();
    let tabulated = plan::models::configured(&config.model, 10).unwrap();
    assert_eq!(tabulated.parameters(), gelu.parameters());
    // Back to a name, the table is gone.
    let back = parse(&config.to_toml(), &["model.activation=relu"]);
    assert_eq!(back.model.activation, Some(Activation::named("relu").into()));
}

#[test]
fn an_activation_is_a_name_or_a_table_and_overrides_reach_into_both() {
    let table = Activations::from(Activation { epsilon: Some(-0.1), ..Activation::named("crrelu") });
    let spellings: &[(&str, &[&str])] = &[
        ("model.activation = { name = 'crrelu', epsilon = -0.1 }", &[]),
        ("model.activation = 'crrelu'", &["model.activation.epsilon=-0.1"]),
        ("[model.activation]\nname = 'crrelu'\nepsilon = 5", &["model.activation.epsilon=-0.1"]),
        ("model.activation = 'gelu'", &["model.activation={ name = 'crrelu', epsilon = -0.1 }"]),
        ("", &["model.activation=crrelu", "model.activation.epsilon=-0.1"]),
    ];
    for (text, sets) in spellings {
        assert_eq!(parse(&format!("{SMALLEST}{text}"), sets).model.activation.as_ref(), Some(&table), "{text}");
    }
    let gelu =
        parse(&format!("{SMALLEST}model.activation = {{ name = 'crrelu', epsilon = 1 }}"), &["model.activation=gelu"]);
    assert_eq!(gelu.model.activation, Some(Activation::named("gelu").into()));
}

#[test]
fn what_is_written_out_reads_back_the_same() {
    let sets = [
        "seed=9223372036854775807",
        "model.activation={ name = 'starrelu', scale = 0.8944, learnable = false, decay = false }",
        "model.mlp_ratio=3.3",
        "augment.mean=[0, 0.1, 0.30000000000000004]",
        "augment.cutmix_minmax=[0.2, 0.8]",
        "augment.sizes=[[0, 160], [10, 192]]",
        "parallel.timeout_s=1",
        "optimizer.name=muon",
        "optimizer.betas=[0.8, 0.9]",
        "optimizer.nesterov=true",
        "optimizer.scale=sqrt",
        "optimizer.base_batch=256",
        "schedule.name=wsd",
        "schedule.decay_shape=linear",
        "loss.name=bce",
        "loss.target_threshold=0",
        "distillation={ kind = 'soft', teacher = 'vit_tiny_patch16_224', weights = 'x', activation = 'relu' }",
        "name=other",
        "data.path=quote\"and\\slash",
    ];
    let layers = ["model.activation={ default = 'gelu', 'blocks.8-11' = 'crrelu', 'blocks.0' = { name = 'relu' } }"];
    for sets in [&sets[..], &layers, &[]] {
        let sets: Vec<&str> = sets.to_vec();
        let config = parse(SMALLEST, &sets);
        let written = config.to_toml();
        assert_eq!(plan::parse(&written, Path::new("config.toml"), &[]).unwrap(), config, "{written}");
    }
}

#[test]
fn every_key_is_written_out_and_explained() {
    let written: toml::Table = parse(SMALLEST, &[]).to_toml().parse().unwrap();
    let of_models = ["image_size", "patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio", "activation"];
    let of_choices = ["base_batch", "betas", "eps", "momentum", "nesterov", "max_grad_norm", "final_learning_rate"];
    let of_others = ["decay_epochs", "decay_rate", "decay_shape", "target_threshold", "sum_classes", "teacher"];
    let of_families = ["window_size", "pool", "positions", "class_token", "init_from"];
    let of_data = ["expect_train", "expect_val", "expect_classes", "weights", "tau", "cutmix_minmax"];
    let optional = [&of_models[..], &of_families, &of_choices, &of_others, &of_data].concat();
    for (section, keys) in SECTIONS {
        let table = written[*section].as_table().unwrap();
        for key in *keys {
            assert!(table.contains_key(key.name) || optional.contains(&key.name), "{section}.{}", key.name);
            assert!(key.help.trim().len() > 10, "{section}.{}", key.name);
        }
        assert_eq!(table.keys().filter(|name| !keys.iter().any(|key| key.name == name.as_str())).count(), 0);
    }
}

#[test]
fn the_reference_of_the_docs_is_that_of_the_schema() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/config.md");
    let written = std::fs::read_to_string(&file).unwrap();
    let remedy = "write it anew: cargo run --release -p plan --example config-reference > docs/config.md";
    assert!(written == plan::config::reference(), "docs/config.md is not that of the schema; {remedy}");
}

#[test]
fn every_default_is_in_its_range() {
    let defaults: toml::Table = Config::default().to_toml().parse().unwrap();
    for (section, keys) in SECTIONS {
        for key in keys.iter().filter(|key| !REQUIRED.contains(&(section, key.name))) {
            if let Some(value) = defaults[*section].get(key.name) {
                assert!(key.kind.accepts(value), "{section}.{} = {value}", key.name);
            }
        }
    }
}

/// Every config that ships is read, resolved on 1, 2 and 4 ranks, and opens with what a reader wants to know first. Sweeps, which
/// name a config, are read by the launcher's tests.
#[test]
fn every_config_that_ships_loads_and_resolves() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let files = toml_files(&root);
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let header: String = text.lines().take_while(|line| line.starts_with('#')).collect();
        for word in ["Source:", "Command:", "Cost:", "Expected:"] {
            assert!(header.contains(word), "{} does not open with `{word}`", file.display());
        }
        if text.parse::<toml::Table>().unwrap().contains_key("config") {
            continue;
        }
        let config = plan::load(&file, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(Some(config.name.as_str()), file.file_stem().and_then(|stem| stem.to_str()), "{}", file.display());
        for world_size in [1, 2, 4] {
            let digits = DataFacts { train_samples: 1437, val_samples: 360, num_classes: 10 };
            let facts = DataFacts::expected(&config).unwrap_or(digits);
            let plan = Plan::resolve(config.clone(), facts, world_size).unwrap_or_else(|error| panic!("{error}"));
            assert!(plan.total_steps > plan.warmup_steps, "{}", file.display());
        }
    }
}

fn toml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(toml_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "toml") {
            files.push(path);
        }
    }
    files
}
