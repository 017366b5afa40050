//! The table of models agrees with timm 1.0.31: parameters, sizes, costs.

use std::path::Path;

use plan::config::DecayRule;
use plan::models::{self, Architecture, Depth, ModelSpec, VitSpec, drop_path_rates};

/// The model of a config with these overrides.
fn configured(name: &str, sets: &[&str], num_classes: usize) -> ModelSpec {
    let mut all = vec!["data.path=x".to_owned(), format!("model.name={name}")];
    all.extend(sets.iter().map(|&set| set.to_owned()));
    models::configured(&plan::parse("", Path::new("x.toml"), &all).unwrap().model, num_classes).unwrap()
}

fn vit(spec: &ModelSpec) -> &VitSpec {
    match &spec.architecture {
        Architecture::Vit(vit) => vit,
        other => panic!("{other:?} is no vision transformer"),
    }
}

/// `sum(p.numel() for p in timm.create_model(name).parameters())`.
#[test]
fn parameters_are_those_of_timm() {
    let counts = [
        ("vit_tiny_patch16_224", 5_717_416),
        ("vit_small_patch16_224", 22_050_664),
        ("vit_base_patch16_224", 86_567_656),
        ("vit_large_patch16_224", 304_326_632),
        ("vit_tiny_patch16_384", 5_790_376),
        ("vit_small_patch16_384", 22_196_584),
        ("vit_base_patch16_384", 86_859_496),
        ("vit_large_patch16_384", 304_715_752),
        ("deit_tiny_patch16_224", 5_717_416),
        ("deit_small_patch16_224", 22_050_664),
        ("deit_base_patch16_224", 86_567_656),
        ("deit_base_patch16_384", 86_859_496),
        ("deit_tiny_distilled_patch16_224", 5_910_800),
        ("deit_small_distilled_patch16_224", 22_436_432),
        ("deit_base_distilled_patch16_224", 87_338_192),
        ("deit_base_distilled_patch16_384", 87_630_032),
        ("deit3_small_patch16_224", 22_059_496),
        ("deit3_base_patch16_224", 86_585_320),
        ("tnt_s_patch16_224", 23_768_584),
        ("swin_tiny_patch4_window7_224", 28_288_354),
        ("swin_small_patch4_window7_224", 49_606_258),
        ("swin_base_patch4_window7_224", 87_768_224),
        ("resnet18", 11_689_512),
        ("resnet50", 25_557_032),
        ("regnety_160", 83_590_140),
    ];
    assert_eq!(counts.map(|(name, _)| name).to_vec(), models::names());
    for (name, count) in counts {
        assert_eq!(models::find(name).unwrap().parameters(), count, "{name}");
    }
}

/// The same with `img_size`, `patch_size`, `embed_dim`, `depth`, `num_heads`, `mlp_ratio` and `num_classes` given.
#[test]
fn overrides_count_as_in_timm() {
    let cifar = ["model.image_size=32", "model.patch_size=4"];
    assert_eq!(configured("vit_tiny_patch16_224", &cifar, 10).parameters(), 5_362_762);
    assert_eq!(configured("deit_tiny_distilled_patch16_224", &cifar, 100).parameters(), 5_399_816);
    let small = [
        "model.image_size=32",
        "model.patch_size=8",
        "model.embed_dim=128",
        "model.depth=6",
        "model.num_heads=4",
        "model.mlp_ratio=3.3",
    ];
    assert_eq!(configured("vit_tiny_patch16_224", &small, 10).parameters(), 1_079_406);
    // big_vision's ViT-S without a class token; timm's has learned positions of 196 patches beside.
    let plain = ["model.pool='avg'", "model.positions='sincos2d'", "model.class_token=false"];
    assert_eq!(configured("vit_small_patch16_224", &plain, 1000).parameters(), 22_049_896 - 196 * 384);
}

#[test]
fn each_block_learns_the_parameters_of_its_activation() {
    let count = |sets: &[&str]| configured("vit_tiny_patch16_224", sets, 1000).parameters();
    let gelu = count(&[]);
    assert_eq!(count(&["model.activation=gelu"]), gelu);
    assert_eq!(count(&["model.activation=crrelu"]), gelu + 12);
    assert_eq!(
        count(&["model.activation=crrelu", "model.depth=1", "model.activation.learnable=false"]),
        count(&["model.depth=1"])
    );
    assert_eq!(count(&["model.activation=prelu"]), gelu + 12);
    assert_eq!(count(&["model.activation=starrelu"]), gelu + 24);
    assert_eq!(count(&["model.activation=elu"]), gelu); // α is a constant
}

/// `torch.utils.flop_counter.FlopCounterMode` over timm's models, attention counted as plain matrix products.
#[test]
fn costs_are_those_that_pytorch_counts() {
    let cifar: &[&str] = &["model.image_size=32", "model.patch_size=4"];
    let plain: &[&str] = &["model.pool='avg'", "model.positions='sincos2d'", "model.class_token=false"];
    let cases = [
        ("vit_small_patch16_224", plain, 1000, 9_148_053_504),
        ("vit_large_patch16_384", &[], 1000, 382_132_600_832),
        ("vit_tiny_patch16_224", &[][..], 1000, 2_507_366_400),
        ("vit_small_patch16_224", &[], 1000, 9_197_764_608),
        ("vit_base_patch16_224", &[], 1000, 35_127_656_448),
        ("deit_tiny_distilled_patch16_224", &[], 1000, 2_522_007_552),
        ("vit_tiny_patch16_224", cifar, 10, 730_215_168),
    ];
    for (name, sets, num_classes, flops) in cases {
        assert_eq!(configured(name, sets, num_classes).flops(), flops, "{name} {sets:?}");
    }
}

#[test]
fn activations_start_learn_and_decay_as_the_config_says() {
    let crrelu = configured(
        "vit_tiny_patch16_224",
        &["model.activation={ name = 'crrelu', epsilon = -0.1, decay = false }"],
        10,
    );
    let spec = &crrelu.activations.default;
    assert_eq!((spec.values.as_slice(), spec.learnable), (&[-0.1][..], true));
    assert!(!spec.decays(DecayRule::All));
    let plain = configured("vit_tiny_patch16_224", &["model.activation=crrelu"], 10);
    assert_eq!(plain.activations.default.values, [0.01]);
    assert!(plain.activations.default.decays(DecayRule::All) && !plain.activations.default.decays(DecayRule::Matrices));
    assert_eq!(configured("vit_tiny_patch16_224", &[], 10).activations.default.function.name(), "gelu");
}

#[test]
fn sizes_follow_from_the_overrides() {
    let spec = configured(
        "deit_tiny_distilled_patch16_224",
        &["model.image_size=32", "model.patch_size=4", "model.drop_path=0.11"],
        10,
    );
    let vit = vit(&spec);
    assert_eq!((vit.num_patches(32), vit.num_prefix_tokens(), vit.num_tokens(32)), (64, 2, 66));
    assert_eq!((vit.head_dim(), vit.mlp_dim(), spec.num_classes, spec.image_size), (64, 768, 10, 32));
    let rates = drop_path_rates(spec.drop_path, vit.depth);
    assert_eq!((rates.len(), rates[0], rates[11]), (12, 0.0, 0.11));
    assert!((rates[1] - 0.01).abs() < 1e-15);
}

#[test]
fn layers_may_have_an_activation_of_their_own() {
    let table =
        "model.activation={ default = 'gelu', 'blocks.8-11' = 'crrelu', 'blocks.0' = { name = 'elu', alpha = 2 } }";
    let spec = configured("vit_tiny_patch16_224", &[table], 10);
    let names: Vec<&str> = spec
        .architecture
        .family()
        .activations()
        .iter()
        .map(|module| spec.activations.of(module).function.name())
        .collect();
    assert_eq!(names, [vec!["elu"], vec!["gelu"; 7], vec!["crrelu"; 4]].concat());
    assert_eq!(spec.activations.of("blocks.0.mlp.act").values, [2.0]);
    let plain = configured("vit_tiny_patch16_224", &[], 10);
    assert_eq!(spec.parameters(), plain.parameters() + 4);
}

/// The layers of timm's `param_groups_layer_decay`.
#[test]
fn parameters_lie_at_the_depth_that_timm_gives_them() {
    let spec = configured("deit_tiny_distilled_patch16_224", &[], 10);
    let depth = |name: &str| spec.architecture.family().depth_of(name);
    for name in ["cls_token", "dist_token", "pos_embed", "patch_embed.proj.bias"] {
        assert_eq!(depth(name), Depth::Stem, "{name}");
    }
    assert_eq!(depth("blocks.11.mlp.act.epsilon"), Depth::Block { stage: 0, index: 11 });
    assert_eq!(
        (depth("norm.weight"), depth("head.weight"), depth("head_dist.bias")),
        (Depth::LastBlock, Depth::Head, Depth::Head)
    );
}

#[test]
fn an_unknown_model_is_told_its_neighbours() {
    let error = models::find("deit_tiny_patch16").unwrap_err();
    assert_eq!(error.nearest.first().map(String::as_str), Some("deit_tiny_patch16_224"));
    assert!(error.to_string().contains("did you mean deit_tiny_patch16_224"), "{error}");
}

/// The rows of `docs/models.md`; parameters and multiply-adds at the model's own size, with 1000 classes.
#[test]
fn the_page_of_models_has_a_row_for_each() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/models.md")).unwrap();
    let rows = models::TABLE.iter().map(|entry| {
        let spec = models::find(entry.name).unwrap();
        let (parameters, gmacs) = (spec.parameters() as f64 / 1e6, spec.flops() as f64 / 2e9);
        let top1 = entry.published_top1.map_or("–".to_owned(), |top1| format!("{top1:.1}"));
        format!("| `{}` | {parameters:.2} | {gmacs:.2} | {top1} |\n", entry.name)
    });
    let missing: String = rows.filter(|row| !page.contains(row)).collect();
    assert!(missing.is_empty(), "docs/models.md lacks these rows:\n{missing}");
}
