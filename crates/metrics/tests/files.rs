//! What a run leaves behind: `metrics.jsonl` through kills and restarts, `summary.json`, `targets.json`, `curves.svg`.

use std::{fs, path::Path};

use metrics::{
    AverageReport, EvalRecord, EvalReport, Identity, JsonLines, LayerEntropies, Metrics, MetricsError, Progress,
    ProgressMode, Record, Resumed, RunShape, StepRecord, StepReport, Summary, Versions, draw_curves, read_records,
    write_targets,
};

fn step(step: u64, loss: f64) -> Record {
    let speed = 100.0 + (step % 7) as f64;
    Record::Step(StepRecord {
        step,
        epoch: step as f64 / 10.0,
        loss,
        images_per_second: speed,
        ..StepRecord::default()
    })
}

fn eval(step: u64, top1_percent: f64) -> Record {
    let epoch = step as f64 / 10.0;
    Record::Eval(EvalRecord { step, epoch, top1_percent, evaluation_loss: 0.5, ..EvalRecord::default() })
}

fn write_all(path: &Path, records: &[Record]) {
    let mut lines = JsonLines::create(path).unwrap();
    for record in records {
        lines.write(record).unwrap();
    }
}

fn only_file(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().count() == 1
}

#[test]
fn a_resumed_run_has_no_lost_step_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    write_all(&path, &[step(10, 2.0), step(20, 1.5), eval(20, 80.0), step(30, 1.2), eval(30, 85.0), step(40, 1.0)]);
    // Killed after step 40, in the middle of a line; the newest checkpoint is of step 20.
    let before = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{before}{{\"kind\":\"step\",\"st")).unwrap();

    let (mut lines, resumed) = JsonLines::resume(&path, 20).unwrap();
    assert_eq!(resumed, Resumed { kept: 3, dropped: 3, unreadable: 1 });
    for record in [step(30, 1.25), eval(30, 86.0)] {
        lines.write(&record).unwrap();
    }
    let expected = vec![step(10, 2.0), step(20, 1.5), eval(20, 80.0), step(30, 1.25), eval(30, 86.0)];
    assert_eq!(read_records(&path).unwrap(), expected);
    // What stays, stays byte for byte, and no temporary file does.
    assert!(fs::read_to_string(&path).unwrap().starts_with(&before[..before.find("\"step\":30").unwrap() - 20]));
    assert!(only_file(folder.path()));
}

#[test]
fn a_last_line_without_its_end_is_kept_if_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    write_all(&path, &[step(10, 2.0), step(20, 1.5)]);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.trim_end()).unwrap();
    let (mut lines, resumed) = JsonLines::resume(&path, 20).unwrap();
    assert_eq!(resumed, Resumed { kept: 2, dropped: 0, unreadable: 0 });
    lines.write(&step(30, 1.0)).unwrap();
    assert_eq!(read_records(&path).unwrap(), [step(10, 2.0), step(20, 1.5), step(30, 1.0)]);
}

#[test]
fn lines_of_a_newer_version_are_kept_and_rubbish_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let newer = "{\"kind\":\"entropy\",\"step\":15,\"bits\":0.7}\n";
    fs::write(&path, [newer.as_bytes(), b"\0\0\0\0\n\xff\xfe\n\n{\"kind\":\"step\"}\n"].concat()).unwrap();
    let (_, resumed) = JsonLines::resume(&path, 20).unwrap();
    assert_eq!(resumed, Resumed { kept: 1, dropped: 0, unreadable: 3 });
    assert_eq!(fs::read_to_string(&path).unwrap(), newer);
    assert_eq!(read_records(&path).unwrap(), []);
}

#[test]
fn a_new_run_begins_with_an_empty_file_and_a_missing_one_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let (_, resumed) = JsonLines::resume(&path, 20).unwrap();
    assert_eq!(resumed, Resumed::default());
    write_all(&path, &[step(0, 2.0), step(10, 2.0)]);
    JsonLines::create(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[test]
fn a_folder_that_is_not_there_is_an_error_that_names_the_file() {
    let error = JsonLines::create(Path::new("no/such/folder/metrics.jsonl")).unwrap_err();
    assert!(matches!(error, MetricsError::File { .. }), "{error:?}");
    assert!(error.to_string().contains("no/such/folder/metrics.jsonl"), "{error}");
}

#[test]
fn the_file_has_the_numbers_that_the_endpoint_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let metrics = Metrics::new(&Identity { run: "demo".into(), rank: 0, host: "here".into() });
    let shape = RunShape { total_steps: 10, start_step: 0, epochs: 1.0, global_batch: 8, world_size: 1 };
    let lines = Some(JsonLines::create(&path).unwrap());
    let mut recorder = metrics::Recorder::new(metrics.clone(), lines, Progress::new(ProgressMode::Off), shape);
    let (loss, learning_rate) = (1.0 / 3.0, 1e-3 / 7.0);
    recorder.record(StepReport { step: 5, epoch: 0.5, loss, learning_rate, ..StepReport::default() }).unwrap();
    recorder.restore_best_top1(Some(50.0));
    recorder.record_eval(EvalReport { step: 5, top1_percent: 100.0 / 3.0, ..EvalReport::default() }).unwrap();
    let ema = Some(AverageReport { top1_percent: 60.0, ..AverageReport::default() });
    let entropies = vec![LayerEntropies { layer: "act".into(), before: 1.5, after: f64::NAN }];
    recorder.record_eval(EvalReport { step: 6, top1_percent: 40.0, ema, entropies, ..EvalReport::default() }).unwrap();
    let records = read_records(&path).unwrap();
    let [Record::Step(step), Record::Eval(eval), Record::Eval(averaged)] = &records[..] else { panic!("{records:?}") };
    assert_eq!((averaged.ema_top1_percent, averaged.best_top1_percent), (Some(60.0), 60.0));
    assert_eq!(averaged.preactivation_entropy, [("act".to_owned(), 1.5)]);
    assert!(averaged.output_entropy[0].1.is_nan() && eval.output_entropy.is_empty());
    for key in ["ema_", "_entropy"] {
        assert_eq!(fs::read_to_string(&path).unwrap().lines().filter(|line| line.contains(key)).count(), 1);
    }
    assert_eq!((step.loss, step.learning_rate, step.images), (loss, learning_rate, 40));
    assert_eq!((eval.top1_percent, eval.best_top1_percent), (100.0 / 3.0, 50.0));
    let line = format!("rectify_loss{{rank=\"0\",host=\"here\",run=\"demo\"}} {loss}");
    let same = |text: &str| text.lines().any(|l| l.starts_with("rectify_loss{") && l.ends_with(&format!(" {loss}")));
    assert!(same(&metrics.text()), "{line}\n{}", metrics.text());
}

#[test]
fn a_summary_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("summary.json");
    let versions = Versions { rectify: "0.1.0".into(), libtorch: "2.11.0".into(), mpi: None };
    let summary = Summary { name: "demo".into(), top1: Some(97.2), steps: 450, versions, ..Summary::default() };
    summary.write(&path).unwrap();
    assert_eq!(Summary::read(&path).unwrap(), summary);
    let text: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for key in ["top1", "top5", "best_top1", "images_per_second", "wall_seconds", "steps", "parameters", "world_size"] {
        assert!(text.get(key).is_some(), "{key}");
    }
    fs::write(&path, "{}").unwrap();
    assert!(matches!(Summary::read(&path).unwrap_err(), MetricsError::Format { .. }));
}

#[test]
fn targets_replace_the_older_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.json");
    fs::write(&path, "old").unwrap();
    write_targets(&path, &[]).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "[]\n");
    assert!(only_file(folder.path()));
}

#[test]
fn curves_show_every_panel_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("demo");
    fs::create_dir(&run).unwrap();
    let (records, svg) = (run.join("metrics.jsonl"), run.join("curves.svg"));
    let mut all: Vec<_> = (1..=300).map(|i| step(i, 2.0 / i as f64)).collect();
    all.extend((1..=10).map(|i| eval(i * 30, 9.0 * i as f64)));
    write_all(&records, &all);
    draw_curves(&records, &svg).unwrap();
    let picture = fs::read_to_string(&svg).unwrap();
    for text in
        ["demo", "step 300", "Loss", "Validation accuracy", "Learning rate", "Images per second", "top-1 90.00 %"]
    {
        assert!(picture.contains(text), "{text} is missing");
    }
    let longest =
        picture.split("points=\"").skip(1).map(|rest| rest.split('"').next().unwrap_or("").split(' ').count());
    assert!(longest.max().unwrap() >= 300, "no line has the points of the run");
    assert!(picture.matches("<circle").count() >= 20, "evaluations are not marked");
}

#[test]
fn what_activations_learn_and_their_entropy_have_panels_where_there_are_any() {
    let folder = tempfile::tempdir().unwrap();
    let (records, svg) = (folder.path().join("metrics.jsonl"), folder.path().join("curves.svg"));
    let layers = |first: f64| (0..3).map(|i| (format!("blocks.{i}.mlp.act"), first + f64::from(i))).collect::<Vec<_>>();
    let mut all = vec![step(1, 2.0), step(2, 1.0), eval(2, 50.0)];
    write_all(&records, &all);
    draw_curves(&records, &svg).unwrap();
    let plain = fs::read_to_string(&svg).unwrap();
    assert!(!plain.contains("Learned") && !plain.contains("layer"), "{plain}");
    for record in &mut all {
        match record {
            Record::Step(step) => step.epsilon = layers(-0.1),
            Record::Eval(eval) => (eval.preactivation_entropy, eval.output_entropy) = (layers(0.5), layers(0.1)),
        }
    }
    write_all(&records, &all);
    draw_curves(&records, &svg).unwrap();
    let picture = fs::read_to_string(&svg).unwrap();
    for text in ["Learned ε", "Entropy of pre-activations", "Entropy behind", "first layer", "last layer"] {
        assert!(picture.contains(text), "{text} is missing");
    }
}

#[test]
fn curves_of_a_short_or_broken_run_are_drawn_too() {
    let folder = tempfile::tempdir().unwrap();
    let (records, svg) = (folder.path().join("metrics.jsonl"), folder.path().join("curves.svg"));
    for all in [vec![step(1, 2.0)], vec![step(1, f64::NAN)], vec![step(1, 2.0), step(2, f64::NAN), step(3, 1.0)]] {
        write_all(&records, &all);
        draw_curves(&records, &svg).unwrap();
        let picture = fs::read_to_string(&svg).unwrap();
        assert!(picture.contains("nothing yet") && !picture.contains("NaN,") && !picture.contains("inf"), "{picture}");
    }
    write_all(&records, &[]);
    let error = draw_curves(&records, &svg).unwrap_err();
    assert!(error.to_string().contains("no step was logged"), "{error}");
}
