//! A run that ends at a checkpoint and goes on is the run that never ended, with every optimiser, average and teacher.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use collectives::local_ranks;
use metrics::{ProgressMode, Record, Summary, read_records};
use trainer::checkpoint::load;
use trainer::failure::Failure;
use trainer::resume::Resume;
use trainer::run::{Options, train};
use trainer::stop::StopFlag;
use trainer::training::Ending;
use world::World;

const CONFIG: &str = "
name = 'continuing'
seed = 5
[augment]
scale = [0.5, 1.0]
mixup = 0.8
[model]
name = 'vit_tiny_patch16_224'
image_size = 32
patch_size = 8
embed_dim = 32
depth = 2
num_heads = 2
drop_path = 0.2
activation = 'crrelu'
[schedule]
epochs = 4
warmup_epochs = 0.1
[train]
batch_size = 24
threads = 1
[eval]
every_epochs = 0
[checkpoint]
every_steps = 3
[log]
every_steps = 1
";

/// Trains one rank in `folder` and says how it ended.
fn run(data: &Path, folder: &Path, resume: Resume, sets: &[&str]) -> Result<Ending, Failure> {
    let mut all = vec![format!("data.path={}", data.display())];
    all.extend(sets.iter().map(|&set| set.to_owned()));
    let config = plan::parse(CONFIG, Path::new("continuing.toml"), &all).expect("a good config");
    let options = Options {
        run_dir: Some(folder.to_owned()),
        resume,
        metrics_port: None,
        metrics_host: IpAddr::V4(Ipv4Addr::LOCALHOST),
        progress: ProgressMode::Off,
    };
    let communicator = local_ranks(1, Duration::from_secs(60)).remove(0);
    train(config, &options, &World::alone("here".into()), &communicator, &StopFlag::default())
}

/// Trains on `ranks` threads that play ranks.
fn run_on(ranks: usize, data: &Path, folder: &Path, resume: &Resume, sets: &[&str]) {
    let mut all = vec![format!("data.path={}", data.display())];
    all.extend(sets.iter().map(|&set| set.to_owned()));
    std::thread::scope(|scope| {
        for communicator in local_ranks(ranks, Duration::from_secs(60)) {
            let config = plan::parse(CONFIG, Path::new("continuing.toml"), &all).expect("a good config");
            let options = Options {
                run_dir: Some(folder.to_owned()),
                resume: resume.clone(),
                metrics_port: None,
                metrics_host: IpAddr::V4(Ipv4Addr::LOCALHOST),
                progress: ProgressMode::Off,
            };
            scope.spawn(move || {
                let rank = communicator.rank();
                let world =
                    World { rank, size: ranks, local_rank: rank, local_size: ranks, ..World::alone("here".into()) };
                train(config, &options, &world, &communicator, &StopFlag::default()).expect("training ends well");
            });
        }
    });
}

/// Memory of an optimiser that is spread over three ranks is saved whole: one rank goes on from it, and three from one's.
///
/// The large ε is for what has no gradient but rounding (the keys' bias): AdamW would blow it up to steps of full size.
#[test]
fn a_spread_optimizer_s_checkpoint_is_whole() {
    let data = digits();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [spread, whole] = ["spread", "whole"].map(|name| folder.path().join(name));
    let base = ["parallel.bucket_mib=0.01", "optimizer.eps=1e-4"];
    let (sharded, short, long) =
        (["parallel.shard_optimizer=true"], ["schedule.max_steps=3"], ["schedule.max_steps=6"]);
    run_on(3, data.path(), &spread, &Resume::None, &[&base[..], &sharded, &short].concat());
    run_on(3, data.path(), &whole, &Resume::None, &[&base[..], &short].concat());
    same_but_for_rounding(&spread, &whole, 3);
    run_on(3, data.path(), &spread, &Resume::Auto, &[&base[..], &long].concat());
    run_on(3, data.path(), &whole, &Resume::Auto, &[&base[..], &sharded, &long].concat());
    same_but_for_rounding(&spread, &whole, 6);
}

/// Rounding, since the last numbers of a slice are computed by other instructions than those in its middle.
#[track_caller]
fn same_but_for_rounding(one: &Path, other: &Path, step: u64) {
    for name in ["parameters.safetensors", "optimizer.safetensors"] {
        let [one, other] =
            [one, other].map(|folder| models::from_safetensors(&file(folder, step, name)).expect("tensors"));
        assert_eq!(one.len(), other.len());
        for ((key, a), (same_key, b)) in one.iter().zip(&other) {
            assert_eq!(key, same_key);
            let [apart, size] = [(a - b).abs(), a.abs()].map(|tensor| tensor.max().double_value(&[]));
            assert!(size > 0.0 && apart <= 1e-5 * size, "{name} of step {step}, {key}: {apart} of {size} apart");
        }
    }
}

fn digits() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    dataloader::sample::write(folder.path()).expect("the digits");
    folder
}

fn file(folder: &Path, step: u64, name: &str) -> Vec<u8> {
    let path = folder.join(format!("checkpoints/step-{step:08}/{name}"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Six steps at once, and three and three: the same bits in every file of tensors.
#[track_caller]
fn goes_on_bit_by_bit(data: &Path, sets: &[&str], files: &[&str]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let with = |steps| [sets, &[steps]].concat();
    run(data, &whole, Resume::None, &with("schedule.max_steps=6")).expect("training ends well");
    run(data, &parts, Resume::None, &with("schedule.max_steps=3")).expect("training ends well");
    run(data, &parts, Resume::Auto, &with("schedule.max_steps=6")).expect("training ends well");
    let summary = Summary::read(&parts.join("summary.json")).expect("a summary");
    assert_eq!((summary.resumed_from, summary.steps), (Some(3), 6), "{sets:?}");
    for name in ["parameters.safetensors", "optimizer.safetensors"].iter().chain(files) {
        assert!(file(&whole, 6, name) == file(&parts, 6, name), "{sets:?}: {name} differs");
        assert!(file(&whole, 3, name) != file(&whole, 6, name), "{sets:?}: {name} does not change");
    }
}

#[test]
fn every_optimizer_goes_on_bit_by_bit() {
    let data = digits();
    for name in ["sgd", "adamw", "lamb", "lion", "muon"] {
        let sets = [&format!("optimizer.name={name}"), "ema.decay=0.9", "optimizer.learning_rate=1e-3"];
        goes_on_bit_by_bit(data.path(), &sets, &["ema.safetensors"]);
    }
}

/// The scale of the loss is part of the state: where it starts so high that steps overflow, both runs leave out the same.
#[test]
fn a_scaled_loss_goes_on_bit_by_bit() {
    let data = digits();
    goes_on_bit_by_bit(data.path(), &["train.precision=f16", "optimizer.learning_rate=1e-3"], &[]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    run(data.path(), folder.path(), Resume::None, &["train.precision=f16", "schedule.max_steps=3"])
        .expect("training ends well");
    let state = String::from_utf8(file(folder.path(), 3, "state.json")).expect("text");
    assert!(state.contains("\"loss_scale\"") && state.contains("\"good_steps\""), "{state}");
}

/// A run that goes back takes another way: what lies ahead is set aside, neither taken for its own nor among those that are kept.
#[test]
fn what_lies_ahead_of_a_run_that_goes_back_is_set_aside() {
    let data = digits();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let six = "schedule.max_steps=6";
    run(data.path(), folder.path(), Resume::None, &[six]).expect("training ends well");
    let first = file(folder.path(), 6, "parameters.safetensors");
    let checkpoints = folder.path().join("checkpoints");
    let back = Resume::From(checkpoints.join("step-00000003"));
    run(data.path(), folder.path(), back, &[six, "optimizer.learning_rate=3e-3"]).expect("training ends well");
    assert!(file(folder.path(), 6, "parameters.safetensors") != first, "the old way's end stands for the new one's");
    let aside =
        |number: u32, step: u64| checkpoints.join(format!("set-aside-{number}/step-{step:08}/parameters.safetensors"));
    assert!(fs::read(aside(1, 6)).expect("the old way's end") == first);
    // Nothing fits another model: it begins anew, and all that was there is kept.
    run(data.path(), folder.path(), Resume::Auto, &["schedule.max_steps=3", "model.embed_dim=16"]).expect("a run");
    assert!(aside(2, 3).exists() && aside(2, 6).exists() && folder.path().join("metrics-1.jsonl").exists());
    let own = fs::read_dir(&checkpoints).expect("a folder").flatten().map(|entry| entry.file_name());
    let own: Vec<_> = own.filter(|name| name.to_string_lossy().starts_with("step-")).collect();
    assert_eq!(own, ["step-00000003"]);
}

#[test]
fn a_complete_run_that_is_resumed_keeps_its_figures() {
    let data = digits();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("summary.json");
    let again = |resume| {
        run(data.path(), folder.path(), resume, &["schedule.max_steps=3"]).expect("training ends well");
        Summary::read(&path).expect("a summary")
    };
    let first = again(Resume::None);
    let second = again(Resume::Auto);
    let figures = |of: &Summary| (of.top1, of.top5, of.best_top1, of.loss, of.images_per_second, of.step_seconds);
    assert!(first.top1.is_some() && first.loss.is_some());
    assert_eq!(figures(&first), figures(&second));
    // As if it had been killed between its last checkpoint and its summary.
    fs::remove_file(&path).expect("a file");
    let third = again(Resume::Auto);
    assert_eq!((third.top1, third.best_top1, third.loss), (first.top1, first.best_top1, first.loss));
}

/// The checkpoint of step 3 lies between two refreshes: what was seen since the last one is in it.
#[test]
fn dynamic_corrections_go_on_bit_by_bit_on_one_rank_and_on_three() {
    let data = digits();
    let base = [
        "model.activation={ name = 'crrelu', dynamic = true }",
        "eafo.every_steps=2",
        "eafo.watch=true",
        "optimizer.learning_rate=1e-3",
    ];
    goes_on_bit_by_bit(data.path(), &base, &[]);

    let folder = tempfile::tempdir().expect("a temporary folder");
    let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
    let with = |steps| [&base[..], &[steps]].concat();
    run_on(3, data.path(), &whole, &Resume::None, &with("schedule.max_steps=6"));
    run_on(3, data.path(), &parts, &Resume::None, &with("schedule.max_steps=3"));
    run_on(3, data.path(), &parts, &Resume::Auto, &with("schedule.max_steps=6"));
    let of =
        |folder: &Path, step: u64| load(&folder.join(format!("checkpoints/step-{step:08}"))).expect("a checkpoint");
    let [whole_end, parts_end] = [&whole, &parts].map(|folder| of(folder, 6));
    assert!(whole_end.parameters == parts_end.parameters, "three ranks do not go on as they were");
    assert_eq!(whole_end.state.sketches, parts_end.state.sketches);
    let correction = |step| {
        let tensors = models::from_safetensors(&of(&whole, step).parameters).expect("tensors");
        tensors.into_iter().find(|(name, _)| name == "blocks.1.mlp.act.correction").expect("a correction").1
    };
    assert_ne!(correction(3), correction(6), "the correction follows nothing");

    let records = read_records(&whole.join("metrics.jsonl")).expect("metrics");
    let last = records.iter().rev().find_map(|record| if let Record::Eval(eval) = record { Some(eval) } else { None });
    let last = last.expect("an evaluation at the end");
    for entropies in [&last.preactivation_entropy, &last.output_entropy] {
        let layers: Vec<&str> = entropies.iter().map(|(layer, _)| layer.as_str()).collect();
        assert_eq!(layers, ["blocks.0.mlp.act", "blocks.1.mlp.act"]);
        assert!(entropies.iter().all(|(_, entropy)| entropy.is_finite() && entropy.abs() < 5.0), "{entropies:?}");
    }
}

#[test]
fn the_average_is_evaluated_beside_the_weights_and_may_begin_late() {
    let data = digits();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sets = |steps| ["optimizer.learning_rate=5e-3", "data.subset=240", "eval.every_epochs=1", steps];
    run(data.path(), folder.path(), Resume::None, &sets("schedule.max_steps=10")).expect("training ends well");
    assert!(!folder.path().join("checkpoints/step-00000010/ema.safetensors").exists());
    let sets = [&sets("schedule.max_steps=20")[..], &["ema.decay=0.5"]].concat();
    run(data.path(), folder.path(), Resume::Auto, &sets).expect("training ends well");

    let records = read_records(&folder.path().join("metrics.jsonl")).expect("metrics");
    let evals: Vec<_> =
        records.into_iter().filter_map(|r| if let Record::Eval(eval) = r { Some(eval) } else { None }).collect();
    let [before, after] = &evals[..] else { panic!("{evals:?}") };
    assert_eq!((before.step, before.ema_top1_percent), (10, None));
    let (own, average) = (after.evaluation_loss, after.ema_evaluation_loss.expect("a loss of the average"));
    assert!((own - average).abs() > 1e-4 && (own / average - 1.0).abs() < 0.2, "{own} and {average}");
    let best = [before.top1_percent, after.top1_percent, after.ema_top1_percent.expect("a top-1 of the average")];
    let best = best.into_iter().fold(0.0, f64::max);
    let summary = Summary::read(&folder.path().join("summary.json")).expect("a summary");
    assert_eq!((summary.best_top1, summary.ema_top1), (Some(best), after.ema_top1_percent));
}

/// A teacher of the zoo, with the weights of an earlier run; a distilled student and a plain one.
#[test]
fn students_learn_from_a_teacher() {
    let data = digits();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let teacher = folder.path().join("teacher");
    run(data.path(), &teacher, Resume::None, &["schedule.max_steps=3"]).expect("training ends well");
    let weights = teacher.join("checkpoints/step-00000003/parameters.safetensors");
    let of = |kind: &str, teacher: &str, embed_dim: u32| {
        format!(
            "distillation={{ kind = '{kind}', teacher = '{teacher}', weights = '{}', image_size = 32, patch_size = 8, \
             embed_dim = {embed_dim}, depth = 2, num_heads = 2, activation = 'crrelu' }}",
            weights.display()
        )
    };
    let teacher = "vit_tiny_patch16_224";
    for (kind, student) in [("hard", "deit_tiny_distilled_patch16_224"), ("soft", "deit_tiny_patch16_224")] {
        let taught = of(kind, teacher, 32);
        let sets = [&*taught, &format!("model.name={student}"), "optimizer.learning_rate=1e-3"];
        goes_on_bit_by_bit(data.path(), &sets, &[]);
    }
    let wrong = of("hard", teacher, 48);
    let failure = run(data.path(), &folder.path().join("wrong"), Resume::None, &[&wrong]).expect_err("another model");
    let message = format!("{:#}", failure.error);
    assert_eq!(failure.exit, world::Exit::Config);
    for part in ["distillation.weights", "parameters.safetensors", "cls_token", "[1, 1, 48]", "[1, 1, 32]"] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}
