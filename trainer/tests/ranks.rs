//! The number of ranks does not change what is learned: same samples, same masks, same losses to float tolerance.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use collectives::local_ranks;
use metrics::{ProgressMode, Record, read_records};
use trainer::resume::Resume;
use trainer::run::{Options, train};
use trainer::stop::StopFlag;
use trainer::training::Ending;
use world::World;

/// Augmentation and drop-path on, two micro-batches a step where the ranks leave that many.
const CONFIG: &str = "
name = 'ranks'
seed = 3
[augment]
scale = [0.3, 1.0]
[model]
image_size = 32
patch_size = 8
embed_dim = 48
depth = 3
num_heads = 3
drop_path = 0.3
drop = 0.1
activation = 'crrelu'
[optimizer]
learning_rate = 2e-3
clip_norm = 1.0
[loss]
smoothing = 0.1
[schedule]
epochs = 10
warmup_epochs = 0.1
max_steps = 10
[train]
batch_size = 48
threads = 1
[eval]
batch_size = 50
[log]
every_steps = 1
";

/// Trains on threads that play `ranks` ranks; every record but its times.
fn history(ranks: usize, model: &str, data: &Path, sets: &[&str]) -> Vec<(u64, Vec<f64>)> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut all = vec![format!("data.path={}", data.display()), format!("model.name={model}")];
    all.extend(sets.iter().map(|&set| set.to_owned()));
    std::thread::scope(|scope| {
        for communicator in local_ranks(ranks, Duration::from_secs(60)) {
            let config = plan::parse(CONFIG, Path::new("ranks.toml"), &all).expect("a good config");
            let options = Options {
                run_dir: Some(folder.path().join("run")),
                resume: Resume::None,
                metrics_port: None,
                metrics_host: IpAddr::V4(Ipv4Addr::LOCALHOST),
                progress: ProgressMode::Off,
            };
            scope.spawn(move || {
                let rank = communicator.rank();
                let world =
                    World { rank, size: ranks, local_rank: rank, local_size: ranks, ..World::alone("here".into()) };
                let ending = train(config, &options, &world, &communicator, &StopFlag::default());
                assert_eq!(ending.expect("training ends well"), Ending::Finished);
            });
        }
    });
    let records = read_records(&folder.path().join("run/metrics.jsonl")).expect("metrics");
    let in_f16 = sets.contains(&"train.precision=f16");
    let figures = |record| match record {
        // Steps whose gradients overflow are left out in f16.
        Record::Step(step) if in_f16 => (step.step, vec![step.loss, step.gradient_norm.unwrap_or_default()]),
        Record::Step(step) => (step.step, vec![step.loss, step.gradient_norm.expect("a norm")]),
        Record::Eval(eval) => (eval.step, vec![eval.evaluation_loss, eval.evaluation_samples as f64]),
    };
    records.into_iter().map(figures).collect()
}

fn digits() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    dataloader::sample::write(&folder.path().join("digits")).expect("the digits");
    folder
}

#[track_caller]
fn same(one: &[(u64, Vec<f64>)], other: &[(u64, Vec<f64>)], what: &str) {
    within(2e-3, one, other, what);
}

/// Losses and norms of gradients are the same but for `tolerance`, relative.
#[track_caller]
fn within(tolerance: f64, one: &[(u64, Vec<f64>)], other: &[(u64, Vec<f64>)], what: &str) {
    assert!(one.len() > 10 && one.len() == other.len(), "{what}: {} and {} records", one.len(), other.len());
    for ((step, a), (same_step, b)) in one.iter().zip(other) {
        assert_eq!(step, same_step, "{what}");
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() <= tolerance * a.abs(), "{what}, step {step}: {a} and {b}");
        }
    }
}

#[test]
fn one_to_four_ranks_learn_the_same() {
    let data = digits();
    let path = data.path().join("digits");
    let one = history(1, "vit_tiny_patch16_224", &path, &[]);
    for ranks in [2, 3, 4] {
        same(&one, &history(ranks, "vit_tiny_patch16_224", &path, &[]), &format!("{ranks} ranks"));
    }
}

#[test]
fn micro_batches_learn_the_same_also_with_a_distillation_token() {
    let data = digits();
    let path = data.path().join("digits");
    let model = "deit_tiny_distilled_patch16_224";
    let whole = history(1, model, &path, &[]);
    same(&whole, &history(2, model, &path, &["train.accumulation=3"]), "2 ranks with 3 micro-batches");
}

/// Mixed images and labels, repeated augmentation, and sizes that change twice within the ten steps.
#[test]
fn one_to_four_ranks_learn_the_same_from_mixed_images_of_changing_sizes() {
    let data = digits();
    let path = data.path().join("digits");
    let sets = |mode| {
        let always =
            ["data.subset=96", "eval.every_epochs=0", "augment.repeats=3", "augment.sizes=[[0, 16], [2, 40], [4, 32]]"];
        let mixing = ["augment.mixup=0.8", "augment.cutmix=1.0", "augment.mix_group=6", "augment.mix_prob=0.8", mode];
        [&always[..], &mixing[..]].concat()
    };
    for mode in ["augment.mix_mode=batch", "augment.mix_mode=elem"] {
        let one = history(1, "vit_tiny_patch16_224", &path, &sets(mode));
        for ranks in [2, 4] {
            let other = history(ranks, "vit_tiny_patch16_224", &path, &sets(mode));
            same(&one, &other, &format!("{ranks} ranks, {mode}"));
        }
        let plain = history(1, "vit_tiny_patch16_224", &path, &[&sets(mode)[..], &["augment.mix_prob=0"]].concat());
        assert!(
            (one[1].1[0] / plain[1].1[0] - 1.0).abs() > 1e-3,
            "mixing does something: {} and {}",
            one[1].1[0],
            plain[1].1[0]
        );
    }
}

#[test]
fn another_seed_learns_something_else() {
    let data = digits();
    let path = data.path().join("digits");
    let one = history(1, "vit_tiny_patch16_224", &path, &["schedule.max_steps=3"]);
    let other = history(1, "vit_tiny_patch16_224", &path, &["schedule.max_steps=3", "seed=4"]);
    assert_ne!(one[0].1[0], other[0].1[0]);
}

/// Every seventh image of two classes is bad, so ranks and micro-batches lose different numbers of images; the mean is over
/// those that are left, and evaluation counts each good image once.
#[test]
fn skipped_images_leave_the_same_mean_on_any_number_of_ranks() {
    let data = digits();
    let path = data.path().join("digits");
    let mut bad_validation = 0;
    for class in ["train/3", "train/4", "val/3"] {
        let mut files: Vec<_> =
            std::fs::read_dir(path.join(class)).expect("a class").map(|file| file.unwrap()).collect();
        files.sort_by_key(|file| file.file_name());
        for file in files.iter().step_by(7) {
            std::fs::write(file.path(), b"<html>not found</html>").expect("written");
            bad_validation += u64::from(class.starts_with("val"));
        }
    }
    let skip = |ranks, accumulation: usize| {
        let accumulation = format!("train.accumulation={accumulation}");
        history(ranks, "vit_tiny_patch16_224", &path, &["data.bad=skip", &accumulation])
    };
    let one = skip(1, 1);
    same(&one, &skip(3, 2), "3 ranks with 2 micro-batches");
    let evaluated = one.last().expect("an evaluation").1[1] as u64;
    let validation = dataloader::open(&dataloader::DatasetSpec::folder(&path)).expect("digits").validation.len() as u64;
    assert!(bad_validation > 0 && evaluated == validation - bad_validation, "{evaluated} of {validation}");
    let replaced = history(1, "vit_tiny_patch16_224", &path, &["data.bad=replace"]);
    assert_ne!(replaced[0].1[0], one[0].1[0], "the policies differ");
}

/// What a bucket holds is the same whenever it travels, so overlap changes not one bit; two runs are the same as well.
#[test]
fn overlap_and_repetition_change_nothing() {
    let data = digits();
    let path = data.path().join("digits");
    // Many buckets, so that their order matters.
    let run = |ranks, sets: &[&str]| {
        let sets = [&["parallel.bucket_mib=0.02", "schedule.max_steps=6"], sets].concat();
        history(ranks, "vit_tiny_patch16_224", &path, &sets)
    };
    for ranks in [2, 3, 4] {
        let overlapped = run(ranks, &[]);
        assert!(overlapped.len() >= 6);
        assert_eq!(overlapped, run(ranks, &[]), "{ranks} ranks, again");
        assert_eq!(overlapped, run(ranks, &["parallel.overlap=false"]), "{ranks} ranks without overlap");
    }
}

/// Blocks that are computed again give the same bits, also where gradients travel while that goes on.
#[test]
fn recomputed_blocks_change_nothing() {
    let data = digits();
    let path = data.path().join("digits");
    for sets in [&["train.precision=bf16"][..], &["parallel.bucket_mib=0.02"]] {
        let run = |recompute| {
            history(2, "vit_tiny_patch16_224", &path, &[sets, &["schedule.max_steps=11", recompute]].concat())
        };
        let (kept, again) = (run("train.recompute=false"), run("train.recompute=true"));
        assert!(kept.len() >= 11);
        assert_eq!(kept, again, "{sets:?}");
    }
}

/// The first steps are left out on all ranks alike, until the loss is scaled so that nothing overflows; then it learns.
#[test]
fn products_in_f16_learn_behind_a_scaled_loss() {
    let data = digits();
    let path = data.path().join("digits");
    let model = "vit_tiny_patch16_224";
    let sets = ["train.precision=f16", "schedule.max_steps=30"];
    let narrow = history(3, model, &path, &sets);
    assert_eq!(narrow, history(3, model, &path, &[&sets[..], &["parallel.overlap=false"]].concat()));
    let wide = history(3, model, &path, &["schedule.max_steps=30"]);
    let (first, last) = (narrow[0].1[0], narrow[29].1[0]);
    assert!((first / wide[0].1[0] - 1.0).abs() < 1e-3, "{first} and {}", wide[0].1[0]);
    assert!(last < first && (last / wide[29].1[0] - 1.0).abs() < 0.05, "{first}, {last} and {}", wide[29].1[0]);
}

/// Each rank updates a part; gradients travel in bf16; products are computed in bf16: all but for rounding the same.
#[test]
fn spread_optimizers_and_narrow_numbers_learn_the_same() {
    let data = digits();
    let path = data.path().join("digits");
    let model = "vit_tiny_patch16_224";
    let whole = history(3, model, &path, &[]);
    let sharded = &["parallel.shard_optimizer=true", "parallel.bucket_mib=0.03"][..];
    for (sets, tolerance) in [(sharded, 2e-3), (&["parallel.wire=bf16"], 2e-2), (&["train.precision=bf16"], 2e-2)] {
        let other = history(3, model, &path, sets);
        assert_ne!(whole, other, "{sets:?} does something");
        within(tolerance, &whole, &other, &format!("{sets:?}"));
        assert_eq!(other, history(3, model, &path, &[sets, &["parallel.overlap=false"]].concat()), "{sets:?}");
    }
}
