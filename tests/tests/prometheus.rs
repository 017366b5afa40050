//! Debian's Prometheus watches a run on two ranks, and every expression of the dashboard has an answer that moves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use e2e::{Job, Workshop, copy_of_digits, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;

/// The longest that an expression may take to answer and move.
const LONG: Duration = Duration::from_secs(100);

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Every expression of the dashboard, with the title of its panel.
fn expressions(panels: &Value, found: &mut BTreeMap<String, String>) {
    for panel in panels.as_array().into_iter().flatten() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("an expression").to_owned();
            found.insert(expression, panel["title"].as_str().unwrap_or_default().to_owned());
        }
        expressions(&panel["panels"], found);
    }
}

/// The answers of Prometheus since `begun`, one a second: every series' values.
fn ask(port: u16, expression: &str, begun: f64) -> Vec<Vec<String>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64();
    let url = format!("http://127.0.0.1:{port}/api/v1/query_range");
    let request = ureq::get(&url).query("query", expression).query("step", "1");
    let answer = request.query("start", begun.to_string()).query("end", now.to_string()).call();
    let text = answer.and_then(|mut answer| answer.body_mut().read_to_string());
    let text = text.unwrap_or_else(|error| panic!("{expression}: {error}"));
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(answer["status"], "success", "{expression}: {text}");
    let series = answer["data"]["result"].as_array().expect("series");
    let values = |series: &Value| {
        let points = series["values"].as_array().expect("values").iter();
        points.map(|point| point[1].as_str().expect("a number in words").to_owned()).collect()
    };
    series.iter().map(values).collect()
}

/// Whether the answer is there and is not its first value for ever. Bad images show only above zero, and may stay there; a
/// queue whose reader is the slower side is full whenever somebody looks.
fn alive(expression: &str, answer: &[Vec<String>]) -> bool {
    let numbers = |series: &[String]| series.iter().filter(|value| *value != "NaN").cloned().collect::<BTreeSet<_>>();
    let may_stay = ["bad_images", "queue_depth"].iter().any(|name| expression.contains(name));
    answer.iter().any(|series| numbers(series).len() > usize::from(!may_stay))
}

#[test]
fn every_panel_of_the_dashboard_is_alive() {
    let data = tempfile::tempdir().expect("a temporary folder");
    copy_of_digits(data.path(), 20);
    for class in 0..10 {
        fs::write(data.path().join(format!("train/{class}/bad.JPEG")), "no image").expect("a file");
    }
    let workshop = Workshop::with_data(data.path());
    let dashboard = fs::read_to_string(deploy("grafana/dashboards/rectify.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let mut open = BTreeMap::new();
    expressions(&dashboard["panels"], &mut open);
    assert!(open.len() > 15, "{open:?}");

    let config = fs::read_to_string(deploy("prometheus/prometheus.yml")).expect("the scrape config");
    let config = config.replace("scrape_interval: 5s", "scrape_interval: 1s").replace("rules.yml", "none.yml");
    fs::write(workshop.path("prometheus.yml"), config.replace("refresh_interval: 10s", "refresh_interval: 1s"))
        .expect("a config");
    let port = free_port();
    let mut prometheus = Job::new(Path::new("prometheus"), &workshop.path(""));
    prometheus.arguments(["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"]);
    let prometheus = prometheus.argument(format!("--web.listen-address=127.0.0.1:{port}")).start();

    let begun = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64();
    let mut run = workshop.rectify(2, "run");
    run.set("schedule.epochs=5000").set("train.batch_size=48").set("log.every_steps=2").set("eval.every_epochs=8");
    run.set("eafo.watch=true").set("eafo.every_steps=4");
    run.set("optimizer.learning_rate=3e-3").set("schedule.warmup_epochs=20").set("ema.decay=0.9");
    run.arguments(["--metrics-port", &free_port().to_string()]).argument("--prometheus-targets");
    let run = run.argument(workshop.path("targets")).start();
    wait_until("Prometheus", || ureq::get(&format!("http://127.0.0.1:{port}/-/ready")).call().is_ok());

    let waited = Instant::now();
    while !open.is_empty() && waited.elapsed() < LONG {
        std::thread::sleep(Duration::from_secs(1));
        open.retain(|expression, _| {
            let asked = expression.replace("$run", "small").replace("$__rate_interval", "4s");
            !alive(expression, &ask(port, &asked, begun))
        });
    }
    run.signal(Signal::SIGINT);
    prometheus.signal(Signal::SIGTERM);
    let (run, _) = (run.wait(), prometheus.wait());
    assert!(open.is_empty(), "no answer, or one that never moves: {open:#?}\n{}", run.text());
}
