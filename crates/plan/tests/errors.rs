//! What a bad config gets: place, key, what was expected, what was found, and what was perhaps meant.

use std::path::Path;

use plan::{ConfigError, DataFacts, Plan};

/// A config that is fine; its lines are counted from 1.
const GOOD: &str = "\
name = \"x\"
[data]
path = \"digits\"
[model]
name = \"vit_tiny_patch16_224\"
activation = \"crrelu\"
[train]
batch_size = 64
";

fn error_of(text: &str, sets: &[&str]) -> ConfigError {
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    plan::parse(text, Path::new("x.toml"), &sets).expect_err(text)
}

/// `GOOD` with one piece of text replaced.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

#[track_caller]
fn assert_says(error: &ConfigError, parts: &[&str]) {
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn mistakes_in_the_file_name_line_key_and_remedy() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("path = ", "pth = ", &["x.toml:3", "unknown key `data.pth`", "did you mean `data.path`"]),
        ("[train]", "[trian]", &["x.toml:7", "unknown key `trian`", "did you mean `train`"]),
        ("[train]\n", "[loss]\n", &["x.toml:8", "unknown key `loss.batch_size`", "`train.batch_size`"]),
        ("name = \"x\"", "batch_size = 3", &["x.toml:1", "`train.batch_size`"]),
        ("= 64", "= \"64\"", &["x.toml:8", "`train.batch_size`", "a whole number from 1", "the string \"64\""]),
        ("= 64", "= 0", &["x.toml:8", "`train.batch_size`", "from 1 to", "found 0"]),
        ("= 64", "= -3", &["x.toml:8", "found -3"]),
        ("= 64", "= 64.5", &["x.toml:8", "found 64.5"]),
        ("= 64", "= 64\n[augment]\nscale = [1.0, 0.5]", &["x.toml:10", "`augment.scale`", "2 numbers", "[1.0, 0.5]"]),
        ("= 64", "= 64\n[augment]\nflip = nan", &["x.toml:10", "`augment.flip`", "from 0 to 1", "NaN"]),
        ("= 64", "= 64\n[loss]\nsmoothing = true", &["x.toml:10", "`loss.smoothing`", "a number", "found true"]),
        (
            "= 64",
            "= 64\n[optimizer]\ndecay = \"matrix\"",
            &["x.toml:10", "one of \"all\", \"matrices\"", "`matrices`?"],
        ),
        ("\"x\"", "\"a/b\"", &["x.toml:1", "`name`", "letters, digits"]),
        ("vit_tiny_", "vit_tny_", &["x.toml:5", "`model.name`", "did you mean `vit_tiny_patch16_224`"]),
        ("\"crrelu\"", "\"crelu\"", &["x.toml:6", "`model.activation.name`", "did you mean `crrelu`"]),
        ("\"crrelu\"", "{ name = \"crrelu\", slope = 1 }", &["x.toml:6", "`model.activation.slope`", "only epsilon"]),
        ("\"crrelu\"", "{ name = \"gelu\", learnable = true }", &["x.toml:6", "gelu has nothing to learn"]),
        ("\"crrelu\"", "{ nme = \"gelu\" }", &["x.toml:6", "`model.activation.nme`", "`model.activation.name`?"]),
        ("\"crrelu\"", "{ file = 'no.toml' }", &["x.toml:6", "`model.activation.file`", "no.toml: cannot read"]),
        (
            "\"crrelu\"",
            "{ file = 'no.toml', decay = true }",
            &["x.toml:6", "`model.activation.decay`", "beside `file`"],
        ),
        ("\"crrelu\"", "\"tabulated\"", &["x.toml:6", "`model.activation.table`", "given by `file`"]),
        (
            "\"crrelu\"",
            "{ name = 'gelu', table = 'x' }",
            &["x.toml:6", "`model.activation.table`", "gelu has a formula"],
        ),
        ("\"crrelu\"", "{ name = 'tabulated', table = 'x = 1' }", &["`model.activation.table`", "unknown field `x`"]),
        ("\"crrelu\"", "7", &["x.toml:6", "`model.activation`", "or a table", "found 7"]),
        ("\"crrelu\"", "{ epsilon = 1000 }", &["x.toml:6", "`model.activation.epsilon`", "from -100 to 100"]),
        (
            "\"crrelu\"",
            "{ default = \"gelu\", \"blocks.12-13\" = \"crrelu\" }",
            &["x.toml:6", "`model.activation.blocks.12-13`", "layers of the model", "blocks.0-11"],
        ),
        ("\"crrelu\"", "{ default = \"gelu\", \"block.1-2\" = \"crrelu\" }", &["x.toml:6", "did you mean `blocks.1`"]),
        (
            "\"crrelu\"",
            "{ default = \"gelu\", \"blocks.1-2\" = \"crrelu\", \"blocks.2\" = \"relu\" }",
            &["x.toml:6", "no other entry", "blocks.2.mlp.act"],
        ),
        (
            "\"crrelu\"",
            "{ default = \"gelu\", \"blocks.1\" = { name = \"crelu\" } }",
            &["x.toml:6", "`model.activation.blocks.1.name`", "did you mean `crrelu`"],
        ),
        ("\"crrelu\"", "{ default = \"gelu\", \"blocks.1\" = 3 }", &["x.toml:6", "or a table", "found 3"]),
        ("[train]\n", "[train]\nbatch_size = 3\n", &["x.toml:9", "not TOML", "duplicate key"]),
        ("= 64", "= ", &["x.toml:8", "not TOML"]),
        ("[train]\nbatch_size", "train", &["x.toml:", "`model.train`"]),
        ("name = \"x\"", "train = 5", &["x.toml:", "not TOML"]),
        ("name = \"x\"", "log = 5", &["x.toml:1", "`log` must be a section", "found 5"]),
        ("name = \"x\"", "seed = -1", &["x.toml:1", "`seed`", "found -1"]),
    ];
    for (from, to, parts) in cases {
        assert_says(&error_of(&with(from, to), &[]), parts);
    }
}

#[test]
fn mistakes_in_overrides_name_the_override() {
    let cases: &[(&str, &[&str])] = &[
        ("data.pth=a", &["--set data.pth=a", "unknown key `data.pth`", "`data.path`"]),
        ("train.batch_size=many", &["--set train.batch_size=many", "whole number", "the string \"many\""]),
        ("augment.scale=[0.5]", &["--set augment.scale=[0.5]", "2 numbers"]),
        ("model.name=vit_huge", &["--set model.name=vit_huge", "`model.name`"]),
        ("train={ batch_size = 0 }", &["--set train={ batch_size = 0 }", "`train.batch_size`", "found 0"]),
        ("model=vit", &["--set model=vit", "`model` must be a section"]),
        ("model.activation=swish", &["--set model.activation=swish", "`model.activation.name`"]),
        ("seed", &["--set seed", "no `=`"]),
        ("=3", &["--set =3", "no key"]),
        ("train..batch_size=3", &["no key"]),
        ("train.batch_size.x=3", &["`train.batch_size` is 64 and has no keys"]),
    ];
    for (set, parts) in cases {
        assert_says(&error_of(GOOD, &[set]), parts);
    }
}

#[test]
fn what_has_no_default_is_asked_for() {
    assert_says(&error_of(&with("path = \"digits\"\n", ""), &[]), &["x.toml", "`data.path` is missing", "a path"]);
    assert_says(&error_of("", &["data.path=a"]), &["`model.name` is missing", "vit_tiny_patch16_224"]);
}

#[test]
fn the_first_mistake_of_the_file_is_told_first() {
    let text = with("batch_size = 64", "batch_size = 0").replace("path = \"digits\"", "path = 3");
    assert_says(&error_of(&text, &["log.every_steps=0"]), &["x.toml:3", "`data.path`", "found 3"]);
}

#[test]
fn values_that_do_not_fit_each_other_are_found_before_a_run() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["model.patch_size=15"], &["--set model.patch_size=15", "a divisor of the image size 224", "14 or 16"]),
        (&["model.image_size=30"], &["--set model.image_size=30", "`model.image_size`", "multiple of", "16"]),
        (&["model.name=resnet18", "model.depth=3"], &["--set model.depth=3", "no ResNet has it", "found 3"]),
        (
            &["model.name=resnet18", "model.activation={ default = 'relu', 'blocks.1' = 'crrelu' }"],
            &["`model.activation.blocks.1`", "act1, layer1.0-1, layer2.0-1, layer3.0-1, layer4.0-1"],
        ),
        (
            &["model.name=tnt_s_patch16_224", "model.patch_size=14"],
            &["--set model.patch_size=14", "a multiple of 4", "4 × 4 pixels"],
        ),
        (
            &["model.name=swin_tiny_patch4_window7_224", "model.depth=3"],
            &["--set model.depth=3", "absent, since no Swin has it to change"],
        ),
        (&["model.class_token=false"], &["--set model.class_token=false", "unless `model.pool` is \"avg\""]),
        (
            &["model.name=deit_tiny_distilled_patch16_224", "model.pool=avg"],
            &["--set model.pool=avg", "since the model is distilled"],
        ),
        (&["model.positions=sincos2d", "model.embed_dim=6"], &["`model.embed_dim`", "a multiple of 4 from 8 on"]),
        (&["model.window_size=7"], &["--set model.window_size=7", "no ViT has it"]),
        (&["model.num_heads=5"], &["--set model.num_heads=5", "a divisor of the width 192", "4 or 6"]),
        (&["model.embed_dim=100"], &["--set model.embed_dim=100", "multiple of", "num_heads 3"]),
        (
            &["schedule.epochs=3"],
            &["x.toml", "`schedule.warmup_epochs`", "less than the 3 of `schedule.epochs`", "found 5"],
        ),
        (&["augment.mix_group=7"], &["--set augment.mix_group=7", "even", "6 or 8"]),
        (
            &["augment.sizes=[[0, 160], [5, 200]]"],
            &["`augment.sizes`", "patch size 16", "192 or 208", "the side 200 from epoch 5 on"],
        ),
        (&["model.mlp_ratio=0.001"], &["--set model.mlp_ratio=0.001", "at least 1/192"]),
    ];
    for (sets, parts) in cases {
        assert_says(&error_of(GOOD, sets), parts);
    }
}

#[test]
fn keys_that_the_choice_made_has_not_are_refused() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["optimizer.name=adamv"], &["`optimizer.name`", "did you mean `adamw`"]),
        (&["schedule.name=cosin"], &["`schedule.name`", "did you mean `cosine`"]),
        (&["loss.name=cross_entropy"], &["`loss.name`", "did you mean `cross-entropy`"]),
        (&["optimizer.momentum=0.9"], &["--set optimizer.momentum=0.9", "\"adamw\" has no", "\"sgd\" or \"muon\""]),
        (&["optimizer.name=sgd", "optimizer.eps=1e-8"], &["`optimizer.eps`", "\"sgd\" has no", "\"lamb\""]),
        (&["optimizer.name=lion", "optimizer.max_grad_norm=1"], &["`optimizer.max_grad_norm`", "only \"lamb\" has"]),
        (
            &["optimizer.name=sgd", "optimizer.nesterov=true", "optimizer.momentum=0"],
            &["`optimizer.nesterov`", "no momentum"],
        ),
        (&["optimizer.base_batch=256"], &["`optimizer.base_batch`", "optimizer.scale", "\"linear\""]),
        (&["optimizer.scale_ends=true"], &["`optimizer.scale_ends`", "optimizer.scale"]),
        (
            &["optimizer.clip_norm=1", "optimizer.clip_adaptive=0.01"],
            &["`optimizer.clip_adaptive`", "in one way", "optimizer.clip_norm"],
        ),
        (
            &["schedule.name=constant", "schedule.final_learning_rate=0"],
            &["`schedule.final_learning_rate`", "\"constant\" has no", "\"cosine\" or \"linear\" or \"wsd\""],
        ),
        (&["schedule.decay_epochs=3"], &["`schedule.decay_epochs`", "\"step\" or \"wsd\""]),
        (&["schedule.decay_rate=0.1"], &["`schedule.decay_rate`", "only \"step\" has"]),
        (&["schedule.decay_shape=linear"], &["`schedule.decay_shape`", "only \"wsd\" has"]),
        (&["schedule.name=wsd", "schedule.decay_epochs=96"], &["`schedule.decay_epochs`", "at most 95"]),
        (&["loss.target_threshold=0"], &["`loss.target_threshold`", "only \"bce\" has"]),
        (&["loss.sum_classes=false"], &["`loss.sum_classes`", "only \"bce\" has"]),
        (&["distillation.kind=hard"], &["`distillation.teacher`", "name of a model", "found nothing"]),
        (&["distillation.teacher=deit_tny_patch16_224"], &["`distillation.teacher`", "`deit_tiny_patch16_224`"]),
        (
            &["distillation.kind=soft", "distillation.teacher=vit_tiny_patch16_224"],
            &["`distillation.weights`", "safetensors"],
        ),
        (
            &["distillation={ kind = 'hard', teacher = 'vit_tiny_patch16_224', weights = 'x', tau = 2 }"],
            &["`distillation.tau`", "only \"soft\" has"],
        ),
    ];
    for (sets, parts) in cases {
        assert_says(&error_of(GOOD, sets), parts);
    }
}

#[test]
fn what_depends_on_the_classes_or_on_the_teacher_is_refused_with_the_plan() {
    let facts = DataFacts { train_samples: 1000, val_samples: 10, num_classes: 10 };
    let teacher = "distillation={ kind = 'hard', teacher = 'deit_tiny_patch16_224', weights = 'x'";
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["loss.name=bce", "loss.smoothing=0.1", "loss.target_threshold=0"],
            &["`loss.target_threshold`", "at least 0.01", "loss.smoothing"],
        ),
        (
            &["model.name=resnet18", "model.image_size=32", "train.accumulation=64"],
            &["`train.batch_size`", "at least 2 for each rank", "32 pixels", "resnet18", "found 64"],
        ),
        (
            &["model.name=resnet18", "train.accumulation=64", "augment.sizes=[[0, 96], [5, 16]]"],
            &["`train.batch_size`", "16 pixels"],
        ),
        (&[&format!("{teacher}, num_heads = 5 }}")], &["distillation.num_heads", "a divisor of the width 192"]),
        (&[&format!("{teacher}, patch_size = 32 }}"), "augment.sizes=[[0, 208]]"], &["divides the 208 pixels"]),
    ];
    for (sets, parts) in cases {
        let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        let config = plan::parse(GOOD, Path::new("x.toml"), &sets).unwrap();
        assert_says(&Plan::resolve(config, facts, 1).unwrap_err(), parts);
    }
}

#[test]
fn a_batch_that_cannot_be_shared_out_names_the_nearest_that_can() {
    let facts = DataFacts { train_samples: 1000, val_samples: 10, num_classes: 10 };
    let cases: &[(&[&str], usize, &[&str])] = &[
        (&[], 3, &["x.toml:8", "`train.batch_size`", "3 ranks", "63 or 66", "found 64"]),
        (&["train.accumulation=5"], 2, &["x.toml:8", "a multiple of 10", "60 or 70"]),
        (&["augment.mixup=0.8", "augment.mix_group=10"], 1, &["--set augment.mix_group=10", "64 images", "8 or 16"]),
        (&["augment.cutmix=1"], 16, &["x.toml", "`augment.mix_group`", "4 images", "nearest: 4", "found 8"]),
        (&["augment.mixup=1", "train.batch_size=15"], 1, &["micro-batch of 15", "change train.batch_size"]),
        (&["train.batch_size=4"], 8, &["--set train.batch_size=4", "a multiple of 8", "nearest: 8;", "found 4"]),
    ];
    for (sets, world_size, parts) in cases {
        let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        let config = plan::parse(GOOD, Path::new("x.toml"), &sets).unwrap();
        let error = Plan::resolve(config, facts, *world_size).unwrap_err();
        let parts: Vec<&str> = parts.iter().map(|part| part.trim_end_matches(';')).collect();
        assert_says(&error, &parts);
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = plan::load(Path::new("no/such/file.toml"), &[]).unwrap_err();
    assert_says(&error, &["cannot read the config no/such/file.toml"]);
}
