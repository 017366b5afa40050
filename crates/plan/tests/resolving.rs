//! Epochs become steps, batches become shares, and the learning rate is timm's.

use std::collections::BTreeMap;
use std::path::Path;

use plan::{Curve, DataFacts, Every, Memory, Plan, Shape};
use serde::Deserialize;

fn resolve(sets: &[&str], train_samples: u64, world_size: usize) -> Plan {
    let mut all = vec!["data.path=x".to_owned(), "model.name=vit_tiny_patch16_224".to_owned()];
    all.extend(sets.iter().map(|&set| set.to_owned()));
    let config = plan::parse("", Path::new("x.toml"), &all).unwrap();
    Plan::resolve(config, DataFacts { train_samples, val_samples: 10, num_classes: 10 }, world_size).unwrap()
}

#[track_caller]
fn assert_curve(curve: Curve, figures: &[(u64, f64)]) {
    for &(step, expected) in figures {
        let got = curve.at(step);
        assert!(
            (got - expected).abs() <= 1e-14 * expected.abs() + 1e-18,
            "step {step}: {got} where timm has {expected}"
        );
    }
}

#[test]
fn recomputed_blocks_keep_little_and_batch_norm_forbids_them() {
    for model in ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "tnt_s_patch16_224"] {
        let name = format!("model.name={model}");
        let kept = |recompute: &str| {
            let plan = resolve(&[&name, &format!("train.recompute={recompute}")], 2000, 1);
            Memory::of(&plan).kept
        };
        let (all, inputs) = (kept("false"), kept("true"));
        assert!(inputs < all / 2 && inputs > all / 20, "{model}: {inputs} of {all} bytes");
    }
    let sets = ["data.path=x", "model.name=resnet18", "train.recompute=true"].map(str::to_owned);
    let config = plan::parse("", Path::new("x.toml"), &sets).unwrap();
    let error =
        Plan::resolve(config, DataFacts { train_samples: 2000, val_samples: 10, num_classes: 10 }, 1).unwrap_err();
    assert!(error.to_string().contains("train.recompute") && error.to_string().contains("BatchNorm"), "{error}");
}

/// Figures of timm 1.0.31's `CosineLRScheduler(t_initial=1000, warmup_t=50, …, t_in_epochs=False, warmup_prefix=False)`.
#[test]
fn the_learning_rate_is_that_of_timm() {
    let curve =
        Curve { start: 1e-6, peak: 2.5e-4, warmup_steps: 50, total_steps: 1000, shape: Shape::Cosine { end: 1e-5 } };
    let figures = [
        (0, 1e-06),
        (1, 5.9799999999999995e-06),
        (25, 0.0001255),
        (49, 0.00024502),
        (50, 0.0002485226008714166),
        (51, 0.0002484630416793783),
        (333, 0.0001901087950432852),
        (500, 0.00013000000000000002),
        (999, 1.0000592175777016e-05),
        (1000, 1e-05),
        (1500, 1e-05),
    ];
    assert_curve(curve, &figures);
    let without_warmup =
        Curve { start: 1e-6, peak: 1e-3, warmup_steps: 0, total_steps: 900, shape: Shape::Cosine { end: 0.0 } };
    let figures = [(0, 0.001), (1, 0.0009999969538288952), (450, 0.0005), (899, 3.046171104803541e-09), (900, 0.0)];
    for (step, expected) in figures {
        assert!((without_warmup.at(step) - expected).abs() < 1e-18, "step {step}");
    }
}

#[test]
fn epochs_become_steps_once() {
    let sets = ["train.batch_size=64", "schedule.epochs=40", "schedule.warmup_epochs=4", "eval.every_epochs=0.5"];
    let plan = resolve(&sets, 1437, 2);
    assert_eq!(plan.total_steps, 899); // 898.125 steps hold 40 epochs: the last batch reaches into the next
    assert_eq!((plan.curve_steps, plan.warmup_steps), (899, 90));
    assert_eq!(plan.log, Every { steps: 10.0, total: 899 });
    assert_eq!(plan.eval, Every { steps: 1437.0 / 128.0, total: 899 });
    assert_eq!(plan.checkpoint, Every { steps: 1437.0 / 64.0, total: 899 });
    assert!((plan.epoch_of(899) - 899.0 * 64.0 / 1437.0).abs() < 1e-12);
    assert!((plan.steps_per_epoch() - 1437.0 / 64.0).abs() < 1e-12);
}

#[test]
fn whole_epochs_need_no_extra_step() {
    let steps = |epochs: &str| {
        resolve(&["train.batch_size=100", "schedule.warmup_epochs=0", &format!("schedule.epochs={epochs}")], 1000, 1)
            .total_steps
    };
    assert_eq!([steps("3"), steps("0.3"), steps("0.7"), steps("2.3"), steps("0.0001")], [30, 3, 7, 23, 1]);
}

/// 195.3 steps an epoch: counted in 195s, the third epoch would end one step before the run, and be evaluated twice.
#[test]
fn the_end_of_the_last_epoch_is_the_end_of_the_run() {
    let plan = resolve(&["train.batch_size=256", "schedule.epochs=3", "schedule.warmup_epochs=0.3"], 50_000, 2);
    let due: Vec<u64> = (0..=plan.total_steps).filter(|&step| plan.eval.due(step)).collect();
    assert_eq!(due, [196, 391, 586]);
}

#[test]
fn shares_are_equal() {
    let plan = resolve(&["train.batch_size=96", "train.accumulation=4"], 1000, 3);
    assert_eq!((plan.global_batch, plan.rank_batch, plan.micro_batch, plan.accumulation), (96, 32, 8, 4));
}

#[test]
fn max_steps_ends_early_on_the_same_curve() {
    let sets = ["train.batch_size=64", "schedule.epochs=40"];
    let whole = resolve(&sets, 1437, 1);
    let cut = resolve(&[&sets[..], &["schedule.max_steps=100"]].concat(), 1437, 1);
    assert_eq!((cut.total_steps, cut.curve_steps), (100, whole.curve_steps));
    assert!((0..100).all(|step| cut.learning_rate(step) == whole.learning_rate(step)));
    assert!(cut.eval.due(100) && !whole.eval.due(100));
    let loose = resolve(&[&sets[..], &["schedule.max_steps=100000"]].concat(), 1437, 1);
    assert_eq!(loose.total_steps, whole.total_steps);
}

#[test]
fn what_is_due_is_due_at_multiples_and_at_the_end() {
    let due = |every: Every| (0..=10).filter(|&step| every.due(step)).collect::<Vec<_>>();
    assert_eq!(due(Every { steps: 4.0, total: 10 }), [4, 8, 10]);
    assert_eq!(due(Every { steps: 5.0, total: 10 }), [5, 10]);
    assert_eq!(due(Every { steps: 10.0 / 3.0 - 1e-12, total: 10 }), [4, 7, 10]);
    assert_eq!(due(Every { steps: 0.0, total: 10 }), [10]);
    let plan = resolve(&["checkpoint.every_steps=7", "eval.every_epochs=0", "train.batch_size=10"], 1000, 1);
    assert_eq!((plan.checkpoint.steps, plan.eval.steps), (7.0, 0.0));
}

#[test]
fn a_data_set_without_images_is_refused() {
    let config = plan::parse("data.path = 'x'\nmodel.name = 'vit_tiny_patch16_224'", Path::new("x.toml"), &[]).unwrap();
    let facts = DataFacts { train_samples: 0, val_samples: 0, num_classes: 10 };
    let error = Plan::resolve(config, facts, 1).unwrap_err().to_string();
    assert!(error.contains("x.toml:1") && error.contains("0 images of 10 classes"), "{error}");
}

/// Figures of timm 1.0.31's schedulers per update, made by `bench/peers/training.py`.
#[derive(Deserialize)]
struct Figures {
    steps: Vec<u64>,
    curves: BTreeMap<String, Vec<f64>>,
}

#[test]
fn every_schedule_is_that_of_timm() {
    let figures: Figures = serde_json::from_str(include_str!("fixtures/schedules.json")).unwrap();
    assert_eq!(figures.curves.len(), 6);
    for (name, curve) in &figures.curves {
        let mut sets: Vec<&str> = name.split(' ').collect();
        sets.extend(["schedule.epochs=2", "schedule.warmup_epochs=0.2", "train.batch_size=10"]);
        sets.extend(["optimizer.learning_rate=0.1", "schedule.warmup_learning_rate=1e-5"]);
        if !name.contains("constant") && !name.contains("=step") {
            sets.push("schedule.final_learning_rate=1e-3");
        }
        let plan = resolve(&sets, 1000, 1);
        assert_eq!((plan.total_steps, plan.warmup_steps), (200, 20));
        for (&step, &expected) in figures.steps.iter().zip(curve) {
            let got = plan.learning_rate(step);
            assert!((got - expected).abs() <= 1e-9 * expected, "{name}, step {step}: {got} where timm has {expected}");
        }
    }
}

#[test]
fn the_batch_scales_the_learning_rate_as_deit_and_swin_do() {
    let ends = |sets: &[&str]| {
        let common = ["train.batch_size=1024", "optimizer.learning_rate=5e-4", "schedule.final_learning_rate=5e-6"];
        let curve = resolve(&[&common[..], &["schedule.warmup_learning_rate=5e-7"], sets].concat(), 10_240, 1).curve();
        let Shape::Cosine { end } = curve.shape else { panic!("{curve:?}") };
        [curve.start, curve.peak, end]
    };
    assert_eq!(ends(&[]), [5e-7, 5e-4, 5e-6]);
    assert_eq!(ends(&["optimizer.scale=linear"]), [5e-7, 1e-3, 5e-6]); // DeiT: the base batch is 512
    assert_eq!(ends(&["optimizer.scale=linear", "optimizer.scale_ends=true"]), [1e-6, 1e-3, 1e-5]); // Swin
    assert_eq!(ends(&["optimizer.scale=sqrt", "optimizer.base_batch=256"]), [5e-7, 1e-3, 5e-6]);
}

#[test]
fn a_teacher_is_a_model_of_the_table_for_the_classes_of_the_data() {
    let sets = ["distillation.kind=hard", "distillation.teacher=deit_tiny_patch16_224", "distillation.weights=t.st"];
    let teacher = |more: &[&str]| resolve(&[&sets[..], more].concat(), 1000, 1).teacher;
    let spec = teacher(&["distillation.activation=relu", "distillation.depth=3"]).expect("a teacher");
    assert_eq!((spec.image_size, spec.num_classes), (224, 10));
    assert_eq!(spec.activations.default.function.name(), "relu");
    assert_eq!(teacher(&["distillation.kind=none"]), None);
}
