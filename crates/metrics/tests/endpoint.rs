//! The endpoint as a scraper sees it: what it answers, where it listens, and that it ends.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant, SystemTime},
};

use metrics::{
    AverageReport, Endpoint, EvalReport, Identity, LayerEntropies, LoaderReport, Metrics, MetricsError, Phase,
    Progress, ProgressMode, Recorder, RunShape, StepClock, StepReport, Target, catalogue, render_targets,
};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SHAPE: RunShape = RunShape { total_steps: 100, start_step: 0, epochs: 5.0, global_batch: 64, world_size: 2 };

fn metrics() -> Metrics {
    Metrics::new(&Identity { run: "demo".into(), rank: 1, host: "node \"7\"".into() })
}

fn ask(address: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// Steps, records, evaluates, checkpoints: everything that sets a metric.
fn train(metrics: &Metrics) {
    metrics.set_build("0.1.0", "2.11.0", "abc");
    let mut recorder = Recorder::new(metrics.clone(), None, Progress::new(ProgressMode::Off), SHAPE);
    let mut clock = StepClock::new();
    let mut now = Instant::now();
    for _ in 0..4 {
        for (phase, ms) in [(Phase::DataWait, 10), (Phase::Forward, 100), (Phase::Backward, 140)] {
            clock.enter_at(phase, now);
            now += Duration::from_millis(ms);
        }
        recorder.step(&clock.finish_step_at(now), 32);
    }
    let loader = LoaderReport {
        queue_depth: 3,
        read_bytes: 4096,
        bad_images: vec![("truncated".into(), 2), ("empty".into(), 0)],
    };
    let epsilon = vec![("blocks.0.mlp.act".to_owned(), -0.25)];
    let (step, epoch, loss, learning_rate, gradient_norm) = (4, 0.2, 1.5, 0.001, Some(0.75));
    let loss_scale = Some(1024.0);
    recorder
        .record(StepReport { step, epoch, loss, learning_rate, gradient_norm, loss_scale, epsilon, loader })
        .unwrap();
    let (samples, seconds) = (360, 2.0);
    let ema = Some(AverageReport { loss: 1.25, top1_percent: 96.5, top5_percent: 99.0 });
    let entropies = vec![LayerEntropies { layer: "blocks.0.mlp.act".to_owned(), before: 1.25, after: 0.75 }];
    let report =
        EvalReport { step, epoch, loss, top1_percent: 97.5, top5_percent: 99.5, ema, samples, seconds, entropies };
    recorder.record_eval(report.clone()).unwrap();
    recorder.record_eval(EvalReport { top1_percent: 96.0, ..report }).unwrap();
    metrics.checkpoint_saved(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    metrics.checkpoint_failed();
}

/// The value of the series whose name and labels contain all of `parts`; the labels' order is not promised.
fn value(text: &str, name: &str, labels: &[&str]) -> f64 {
    let series = |line: &&str| line.starts_with(&format!("{name}{{")) && labels.iter().all(|l| line.contains(l));
    let lines: Vec<_> = text.lines().filter(series).collect();
    assert_eq!(lines.len(), 1, "{name} {labels:?} in\n{text}");
    lines[0].rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_scrape_holds_the_numbers_of_the_run() {
    let metrics = metrics();
    train(&metrics);
    let endpoint = Endpoint::start(&metrics, LOOPBACK, 0).unwrap();
    let (head, text) = ask(endpoint.address(), "GET /metrics");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    let constant = [r#"run="demo""#, r#"rank="1""#, r#"host="node \"7\"""#];
    let expected = [
        ("rectify_images_total", 128.0),
        // 64 images a step of 0.25 s, all ranks.
        ("rectify_images_per_second", 256.0),
        ("rectify_step_seconds_count", 4.0),
        ("rectify_step_seconds_sum", 1.0),
        ("rectify_loss", 1.5),
        ("rectify_gradient_norm", 0.75),
        ("rectify_loss_scale", 1024.0),
        ("rectify_step", 4.0),
        ("rectify_steps_planned", 100.0),
        ("rectify_world_size", 2.0),
        ("rectify_top1_percent", 96.0),
        ("rectify_best_top1_percent", 97.5),
        ("rectify_ema_top1_percent", 96.5),
        ("rectify_ema_top5_percent", 99.0),
        ("rectify_ema_evaluation_loss", 1.25),
        ("rectify_evaluation_seconds", 2.0),
        ("rectify_loader_queue_depth", 3.0),
        ("rectify_loader_read_bytes_total", 4096.0),
        ("rectify_checkpoint_timestamp_seconds", 1.7e9),
    ];
    for (name, number) in expected {
        let got = value(&text, name, &constant);
        assert!((got - number).abs() <= 1e-6 * number, "{name} is {got}, not {number}");
    }
    let phase = |phase: &str| value(&text, "rectify_step_phase_seconds_sum", &[&format!("phase=\"{phase}\"")]);
    assert!((phase("forward") - 0.4).abs() < 1e-9 && (phase("backward") - 0.56).abs() < 1e-9);
    assert_eq!(phase("all_reduce"), 0.0);
    assert_eq!(value(&text, "rectify_bad_images_total", &[r#"reason="truncated""#]), 2.0);
    assert_eq!(value(&text, "rectify_bad_images_total", &[r#"reason="empty""#]), 0.0);
    assert_eq!(value(&text, "rectify_epsilon", &[r#"layer="blocks.0.mlp.act""#]), -0.25);
    assert_eq!(value(&text, "rectify_preactivation_entropy_nats", &[r#"layer="blocks.0.mlp.act""#]), 1.25);
    assert_eq!(value(&text, "rectify_output_entropy_nats", &[r#"layer="blocks.0.mlp.act""#]), 0.75);
    assert_eq!(value(&text, "rectify_checkpoints_total", &[r#"outcome="failed""#]), 1.0);
    assert_eq!(value(&text, "rectify_build_info", &[r#"libtorch="2.11.0""#]), 1.0);
}

#[test]
fn every_metric_of_the_catalogue_is_exported_with_its_help_and_type() {
    let metrics = metrics();
    train(&metrics);
    let text = metrics.text();
    for metric in catalogue::ALL {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        assert!(text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)), "{}", metric.name);
        assert!(text.contains(&format!("# TYPE {} {kind}\n", metric.name)), "{}", metric.name);
    }
    let families = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(families, catalogue::ALL.len());
}

#[test]
fn a_gauge_is_absent_until_it_is_known_and_a_counter_is_not() {
    let text = metrics().text();
    assert!(!text.contains("rectify_top1_percent") && !text.contains("rectify_loss"), "{text}");
    assert_eq!(value(&text, "rectify_images_total", &[]), 0.0);
    assert_eq!(value(&text, "rectify_step_phase_seconds_count", &[r#"phase="checkpoint""#]), 0.0);
}

#[test]
fn counters_follow_totals_that_are_counted_elsewhere() {
    let metrics = metrics();
    let report = |total| LoaderReport { bad_images: vec![("empty".into(), total)], ..LoaderReport::default() };
    for (total, expected) in [(0, 0.0), (3, 3.0), (3, 3.0), (5, 5.0), (1, 5.0)] {
        metrics.set_loader(&report(total));
        assert_eq!(value(&metrics.text(), "rectify_bad_images_total", &[r#"reason="empty""#]), expected);
    }
}

#[test]
fn other_pages_say_what_they_are() {
    let endpoint = Endpoint::start(&metrics(), LOOPBACK, 0).unwrap();
    let (head, body) = ask(endpoint.address(), "GET /");
    assert!(
        head.starts_with("HTTP/1.1 200") && body.contains("run demo, rank 1") && body.contains("/metrics"),
        "{body}"
    );
    assert!(ask(endpoint.address(), "GET /metrics?x=1").0.starts_with("HTTP/1.1 200"));
    assert!(ask(endpoint.address(), "GET /etc/passwd").0.starts_with("HTTP/1.1 404"));
    assert!(ask(endpoint.address(), "DELETE /metrics").0.starts_with("HTTP/1.1 405"));
}

#[test]
fn a_taken_port_means_the_next_free_one_and_both_are_told() {
    let occupied = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let port = occupied.local_addr().unwrap().port();
    let endpoint = Endpoint::start(&metrics(), LOOPBACK, port).unwrap();
    assert!(endpoint.address().port() > port);
    assert_eq!(endpoint.moved_from(), Some(port));
    let second = Endpoint::start(&metrics(), LOOPBACK, port).unwrap();
    assert!(second.address().port() > endpoint.address().port());
    assert!(ask(second.address(), "GET /metrics").0.starts_with("HTTP/1.1 200"));
    assert_eq!(Endpoint::start(&metrics(), LOOPBACK, 0).unwrap().moved_from(), None);
}

#[test]
fn an_address_of_another_machine_is_an_error_that_names_it() {
    // 192.0.2.0/24 is reserved for documentation (RFC 5737): no machine has it.
    let error = Endpoint::start(&metrics(), Ipv4Addr::new(192, 0, 2, 1).into(), 9400).err().unwrap();
    assert!(matches!(error, MetricsError::Listen { .. }), "{error:?}");
    assert!(error.to_string().contains("192.0.2.1:9400") && error.to_string().contains("--metrics-host"), "{error}");
}

#[test]
fn a_dropped_endpoint_gives_its_port_back_also_while_a_client_is_idle() {
    let endpoint = Endpoint::start(&metrics(), LOOPBACK, 0).unwrap();
    let address = endpoint.address();
    let idle = TcpStream::connect(address).unwrap();
    ask(address, "GET /metrics");
    drop(endpoint);
    // The listening socket closes in a thread of its own; a server that stayed would hold it for ever.
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = TcpListener::bind(address) {
        assert!(Instant::now() < deadline, "{address} is still taken: {error}");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(idle);
}

#[test]
fn targets_are_what_file_discovery_reads() {
    let identity = Identity { run: "demo".into(), rank: 3, host: "node7".into() };
    let local = Target::new(&identity, "127.0.0.1:9403".parse().unwrap());
    let everywhere = Target::new(&identity, "0.0.0.0:9403".parse().unwrap());
    assert_eq!(everywhere.address, "node7:9403");
    let groups: serde_json::Value = serde_json::from_str(&render_targets(&[local, everywhere])).unwrap();
    assert_eq!(
        groups[0],
        serde_json::json!({"targets": ["127.0.0.1:9403"], "labels": {"run": "demo", "rank": "3", "host": "node7"}})
    );
    assert_eq!(groups.as_array().unwrap().len(), 2);
}
