//! Weights on their way out and in: exported, asked about images, and begun from by another run.

use std::path::{Path, PathBuf};

use e2e::{Job, Workshop, binary, copy_of_digits, digits};
use serde_json::Value;

/// A workshop with a run of ten steps in `run`.
fn trained() -> Workshop {
    let workshop = Workshop::new();
    workshop.rectify(1, "run").set("schedule.max_steps=10").run().code(0);
    workshop
}

/// A subcommand of `rectify` in the workshop.
fn rectify(workshop: &Workshop, words: &[&str]) -> Job {
    let mut job = Job::new(&binary("rectify"), &workshop.path(""));
    words.iter().for_each(|word| {
        job.argument(word);
    });
    job
}

fn exported(workshop: &Workshop) -> String {
    let file = workshop.path("out.safetensors");
    rectify(workshop, &["export", "run"]).argument(&file).run().code(0);
    file.display().to_string()
}

/// The first validation image of the class 3.
fn image() -> PathBuf {
    let class = digits().join("val/3");
    let mut files: Vec<PathBuf> = std::fs::read_dir(class).expect("a class").flatten().map(|e| e.path()).collect();
    files.sort();
    files.remove(0)
}

fn answer(workshop: &Workshop, words: &[&str], image: &Path) -> Value {
    let ended = rectify(workshop, &[&["predict", "--json"], words].concat()).argument(image).run().code(0);
    serde_json::from_str(ended.out.trim()).expect("one object an image")
}

#[test]
fn an_exported_network_answers_as_its_checkpoint() {
    let workshop = trained();
    let file = exported(&workshop);
    let image = image();
    let of_checkpoint = answer(&workshop, &["--checkpoint", "run"], &image);
    let of_file = answer(&workshop, &["--weights", &file], &image);
    assert_eq!(of_checkpoint, of_file);
    assert_eq!(of_file["file"], image.display().to_string());
    assert_eq!(of_file["logits"].as_array().map(Vec::len), Some(10));
    assert_eq!(of_file["top5"].as_array().map(Vec::len), Some(5));
    // Nothing is written into a checkpoint.
    let inside = workshop.path("run/checkpoints/step-00000010/parameters.safetensors");
    for name in ["vit.pth", "vit", "safetensors"] {
        let other = workshop.path(name);
        let ended = rectify(&workshop, &["export", "run"]).argument(&other).run().code(2);
        ended.says(&["export writes safetensors", &other.with_extension("safetensors").display().to_string()]);
        assert!(!other.exists());
    }
    let ended = rectify(&workshop, &["export", "run"]).argument(&inside).run().code(2);
    ended.says(&["name a file elsewhere"]);
    // Weights of another model: refused with names and shapes.
    let other = ["predict", "--weights", &file, "--model", "deit_tiny_patch16_224"];
    rectify(&workshop, &other)
        .argument(&image)
        .run()
        .code(2)
        .says(&["pos_embed: [1, 197, 192] here, [1, 17, 32] in the file"]);
    let data = digits().display().to_string();
    let scored = ["eval", &file, "--model", "resnet18", "--data", &data];
    rectify(&workshop, &scored).run().code(2).says(&["the weights are those of another model"]);
    let missing = rectify(&workshop, &["predict", "--weights", &file, "no.jpg"]).argument(&image).run().code(3);
    missing.says(&["no.jpg"]);
}

#[test]
fn a_run_begins_with_the_weights_of_another() {
    let workshop = trained();
    let init = format!("model.init_from={}", exported(&workshop));
    let fewer = workshop.path("fewer");
    copy_of_digits(&fewer, 8);
    for class in 3..10 {
        for split in ["train", "val"] {
            std::fs::remove_dir_all(fewer.join(split).join(class.to_string())).expect("a class");
        }
    }
    let begin = |run: &str, more: &str| {
        let mut job = workshop.rectify(2, run);
        job.set(&init).set("schedule.max_steps=1").set(more);
        job.run()
    };
    begin("same", "seed=2").code(0).says(&["tensors loaded"]);
    begin("classes", &format!("data.path={}", fewer.display()))
        .code(0)
        .says(&["2 replaced by fresh ones (head.weight: [3, 32]"]);
    begin("activation", "model.activation=gelu").code(0).says(&["unexpected", "act.epsilon"]);
    begin("wider", "model.embed_dim=64").code(2).says(&["cls_token: [1, 1, 64] here, [1, 1, 32] in the file"]);
    // The folder of a run gives the weights of its checkpoint, verified.
    let folder = workshop.path("run");
    begin("folder", &format!("model.init_from={}", folder.display())).code(0).says(&["tensors loaded"]);
    spoil(&folder.join("checkpoints/step-00000010/parameters.safetensors"));
    begin("spoilt", &format!("model.init_from={}", folder.display())).code(2).says(&["parameters.safetensors"]);
    let nothing = workshop.rectify(1, "nothing").set("model.init_from=nothing.safetensors").run();
    nothing.code(2).says(&["nothing.safetensors"]);
}

/// Changes the last byte of a file.
fn spoil(file: &Path) {
    let mut bytes = std::fs::read(file).expect("a file");
    *bytes.last_mut().expect("not empty") ^= 1;
    std::fs::write(file, bytes).expect("a file that can be written");
}

#[test]
fn a_derived_activation_trains_and_its_file_may_go() {
    let workshop = Workshop::new();
    rectify(&workshop, &["eafo", "derive", "--activation", "softplus", "--out", "derived"]).run().code(0);
    let file = workshop.path("derived/softplus-gaussian.toml");
    let mut job = workshop.rectify(2, "run");
    job.set(&format!("model.activation={{ file = '{}' }}", file.display())).set("schedule.max_steps=10").run().code(0);
    std::fs::remove_file(&file).expect("a file");
    let answer = answer(&workshop, &["--checkpoint", "run"], &image());
    assert_eq!(answer["logits"].as_array().map(Vec::len), Some(10));
    let again = format!("model.activation={{ file = '{}' }}", file.display());
    workshop.rectify(2, "again").set(&again).run().code(2).says(&["softplus-gaussian.toml: cannot read"]);
}

#[test]
fn a_checkpoint_is_scored_on_any_set() {
    let workshop = trained();
    let top1 = workshop.summary("run")["top1"].as_f64().expect("a number");
    let data = digits().display().to_string();
    let ended = rectify(&workshop, &["eval", "run", "--data", &data, "--nproc", "2"]).run().code(0);
    assert!(ended.text().contains(&format!("{top1:.2}")), "{top1} is not in {}", ended.text());
    rectify(&workshop, &["eval", "run", "--data", &data, "--labels", "imagenet-b"]).run().code(2).says(&["imagenet-a"]);
}

#[test]
fn the_models_are_listed() {
    let workshop = Workshop::new();
    let ended = rectify(&workshop, &["models", "--json"]).run().code(0);
    let rows: Vec<Value> =
        ended.out.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    let deit = rows.iter().find(|row| row["name"] == "deit_small_patch16_224").expect("DeiT-S");
    assert_eq!((&deit["parameters"], &deit["published_top1"]), (&22_050_664.into(), &79.9.into()));
}
