//! The binary `rectify-eafo` as a person uses it: what it prints, what it writes, and how it refuses.

use activations::TableFile;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rectify-eafo")).args(words).output().expect("rectify-eafo starts")
}

fn text(words: &[&str]) -> String {
    let output = run(words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(words: &[&str]) -> Value {
    serde_json::from_str(&text(words)).unwrap()
}

fn refusal(words: &[&str]) -> String {
    let output = run(words);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{words:?}: {message}");
    assert!(output.stdout.is_empty(), "{words:?}");
    message
}

#[test]
fn derive_tells_the_correction_as_json() {
    let found = json(&["derive", "--activation", "softplus", "--density", "gaussian", "--json"]);
    let number = |key: &str| found[key].as_f64().unwrap_or_else(|| panic!("{key} in {found}"));
    assert!(number("entropy_after") < number("entropy_before"));
    assert!(number("step") > 0.0 && number("step") < number("step_limit"));
    let (low, high) = (found["interval"][0].as_f64().unwrap(), found["interval"][1].as_f64().unwrap());
    let rows = found["table"].as_array().unwrap();
    assert!(rows.len() > 100);
    for row in rows {
        let (x, y, eta) = (row["x"].as_f64().unwrap(), row["y"].as_f64().unwrap(), row["eta"].as_f64().unwrap());
        assert!((low..=high).contains(&x), "{x} outside [{low}, {high}]");
        // y = ln(e^x − 1), and η by its closed form.
        assert!((y - x.exp_m1().ln()).abs() < 1e-9);
        let p = (-0.5 * y * y).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let expected = -p * (-1.0 / x.exp_m1() - y / -(-x).exp_m1());
        assert!((eta - expected).abs() < 1e-9, "η({x}) = {eta}, closed form {expected}");
    }
    let sign = &found["sign"];
    assert!(sign["along"].as_f64() < sign["none"].as_f64() && sign["none"].as_f64() < sign["against"].as_f64());
}

#[test]
fn derive_writes_a_plot_and_a_file_that_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new/folder");
    for (activation, form) in [("softplus", "exact"), ("relu", "first-order"), ("gelu", "exact")] {
        let told = text(&["derive", "--activation", activation, "--form", form, "--out", out.to_str().unwrap()]);
        let name = format!("{activation}-gaussian{}", if form == "exact" { "" } else { "-first-order" });
        assert!(told.contains(&format!("{name}.toml")), "{told}");
        let file = TableFile::read(&out.join(format!("{name}.toml"))).unwrap();
        assert_eq!(
            (file.name.as_str(), file.base.as_str(), file.density.as_str()),
            (name.as_str(), activation, "gaussian")
        );
        assert!(file.step > 0.0 && file.table.f(20.0) > 19.0);
        let svg = std::fs::read_to_string(out.join(format!("{name}.svg"))).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("Density of the output") && !svg.contains("NaN"), "{name}");
        let png = std::fs::read(out.join(format!("{name}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG") && png.len() > 10_000, "{name}");
    }
}

#[test]
fn a_step_and_an_interval_can_be_asked_for() {
    let found = json(&["derive", "--activation", "gelu", "--interval", "-0.5,4", "--step", "-0.03", "--json"]);
    assert_eq!(found["step"].as_f64(), Some(-0.03));
    assert_eq!(found["preactivation_interval"][0].as_f64(), Some(-0.5));
    assert!(found["entropy_after"].as_f64() > found["entropy_before"].as_f64(), "the other sign raises entropy");
}

#[test]
fn what_is_wrong_is_refused_with_its_point_and_reason() {
    let cases: [(&[&str], &str); 9] = [
        (&["derive", "--activation", "sofplus"], "did you mean softplus"),
        (&["derive", "--activation", "relu", "--density", "gausian"], "did you mean gaussian"),
        (&["derive", "--activation", "relu", "--density", "student-t(2)"], "nu = 2 has no finite second moment"),
        (&["derive", "--activation", "gelu", "--interval=-2,2"], "gelu has no inverse at x = -0.7517"),
        (&["derive", "--activation", "relu", "--interval=-1,2"], "relu has no inverse at x = -1: it is flat"),
        (&["derive", "--activation", "relu", "--step", "100"], "step = 100 leaves no inverse"),
        (&["derive", "--activation", "relu", "--interval", "3"], "write LOW,HIGH"),
        (&["bayes", "--density", "gaussian"], "it is no mixture"),
        (&["layers", "no/such.json"], "no/such.json: cannot be read"),
    ];
    for (words, expected) in cases {
        let message = refusal(words);
        assert!(message.contains(expected), "{words:?}: {message}");
    }
}

#[test]
fn samples_with_nan_are_refused_with_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.txt");
    let density = format!("kde({})", path.display());
    std::fs::write(&path, "0.5\n-1\nNaN\n").unwrap();
    let message = refusal(&["derive", "--activation", "softplus", "--density", &density]);
    assert!(message.contains("samples.txt: line 3: `NaN` is not a finite number"), "{message}");
    std::fs::write(&path, "").unwrap();
    assert!(refusal(&["rank", "--density", &density]).contains("0 sample(s) where at least 2"));
    let numbers: String = (0..400).map(|i| format!("{}\n", (f64::from(i) * 0.7).sin() * 2.0)).collect();
    std::fs::write(&path, numbers).unwrap();
    let found = json(&["derive", "--activation", "softplus", "--density", &density, "--json"]);
    assert!(found["entropy_after"].as_f64() < found["entropy_before"].as_f64());
    let peaked: String = (-200..200).map(|i| format!("{}\n", (f64::from(i) / 100.0).powi(5))).collect();
    std::fs::write(&path, peaked).unwrap();
    let histogram = format!("histogram({})", path.display());
    let message = refusal(&["derive", "--activation", "softplus", "--density", &histogram]);
    assert!(message.contains("the slope of its density jumps") && message.contains("use kde"), "{message}");
}

#[test]
fn rank_lists_all_and_compares_with_a_sweep() {
    let all = json(&["rank", "--density", "laplace", "--json"]);
    assert_eq!(all["activations"].as_array().unwrap().len(), eafo::function::Function::names().count());
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("results.csv");
    let header = "cell,model,activation,settings,epsilon_start,seed,top1,best_top1,top5,loss,steps";
    let lines = [
        "a.gelu.seed-1,vit,gelu,,,1,80,80,99,1,10",
        "a.gelu.seed-2,vit,gelu,,,2,82,82,99,1,10",
        "a.relu.seed-1,vit,relu,,,1,78,80,99,1,10",
        "a.crrelu.seed-1,vit,crrelu,epsilon=-0.1 decay=true,-0.1,1,83,83,99,1,10",
        "a.layers.seed-1,vit,layers,default=gelu blocks.8-11=crrelu,,1,80,80,99,1,10",
    ];
    std::fs::write(&csv, format!("{header}\n{}\n", lines.join("\n"))).unwrap();
    let csv = csv.to_str().unwrap();
    let found = json(&["rank", "--sweep", csv, "--json"]);
    let group = &found["sweep"][0];
    // Entropies on the Gaussian: crrelu(−0.1) lowest, gelu, relu highest; accuracies the other way round.
    assert_eq!(group["with_entropy"].as_f64(), Some(-1.0), "{group}");
    assert_eq!(group["measured"][0]["activation"], "crrelu(-0.1)");
    assert_eq!((group["measured"][1]["top1"].as_f64(), group["measured"][1]["runs"].as_u64()), (Some(81.0), Some(2)));
    assert_eq!(group["left_out"].as_array().unwrap().len(), 1);
    assert!(text(&["rank", "--sweep", csv]).contains("Spearman's rank correlation of top-1 with entropy: −1.0000"));
    std::fs::write(csv, format!("{header}\nx,vit,gelo,,,1,80,80,99,1,10\n")).unwrap();
    let message = refusal(&["rank", "--sweep", csv]);
    assert!(message.contains("line 2") && message.contains("did you mean gelu"), "{message}");
    std::fs::write(csv, "cell,model\na,b\n").unwrap();
    assert!(refusal(&["rank", "--sweep", csv]).contains("there is no column `activation`"));
}

#[test]
fn layers_are_read_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("layers.json");
    std::fs::write(&file, LAYERS).unwrap();
    let out = folder.path().join("out");
    let told = text(&["layers", file.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    for expected in ["blocks.0.mlp.act", "crrelu", "−0.2000", "12.50 %", "vit_tiny"] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert!(is_whole(&out.join("layers.svg")) && is_whole(&out.join("layers.png")));
    let page = std::fs::read_to_string(out.join("layers.svg")).unwrap();
    for title in ["Entropy, nats", "Kurtosis", "dead units", "Learned ε", "blocks.0.mlp.act"] {
        assert!(page.contains(title), "{title}");
    }
    let found = json(&["layers", file.to_str().unwrap(), "--json"]);
    assert_eq!(found["layers"][0]["activation"], "crrelu(-0.2)");
    std::fs::write(&file, LAYERS.replace("\"variance\"", "\"varianc\"")).unwrap();
    assert!(refusal(&["layers", file.to_str().unwrap()]).contains("layers.json: unknown field `varianc`"));
}

fn is_whole(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.len() > 1000)
}

const LAYERS: &str = r#"{"format": 1, "model": "vit_tiny", "source": "a checkpoint", "images": 4, "layers": [
  {"name": "blocks.0.mlp.act", "activation": {"name": "crrelu", "epsilon": -0.2},
   "histogram": {"edges": [-2, -1, 0, 1, 2], "counts": [10, 40, 40, 10], "below": 1, "above": 1},
   "mean": 0.0, "variance": 0.9, "kurtosis": 3.1, "units": 8, "dead_units": 1}]}"#;

#[test]
fn epsilon_follows_both_signs() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let found = json(&["epsilon", "--epsilon=-0.1,0,0.01,0.1", "--json", "--out", out]);
    let rows = found["epsilons"].as_array().unwrap();
    let entropies: Vec<f64> = rows.iter().map(|row| row["output"]["entropy"]["continuous"].as_f64().unwrap()).collect();
    for (entropy, expected) in entropies.iter().zip([0.688, 0.7258, 0.7293, 0.759]) {
        assert!((entropy - expected).abs() < 6e-4, "{entropies:?}");
    }
    assert!(is_whole(&folder.path().join("crrelu-epsilon-half-normal.svg")));
    assert!(refusal(&["epsilon", "--activation", "gelu"]).contains("gelu has no ε"));
}

#[test]
fn bayes_tells_errors_before_and_after() {
    let classes = "mixture(0.4: -3, 1; 0.3: -1, 1; 0.3: 2, 1)";
    let found = json(&["bayes", "--density", classes, "--activation", "relu", "--activation", "tanh", "--json"]);
    let error = |at: usize, key: &str| found[at][key].as_f64().unwrap();
    assert!(error(0, "error_after") > error(0, "error_before") + 0.01, "ReLU merges two classes");
    assert!((error(1, "error_after") - error(1, "error_before")).abs() < 1e-6, "tanh has an inverse");
    assert!(text(&["bayes", "--density", classes]).contains("before any activation"));
}
