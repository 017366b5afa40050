//! Holds `deploy/` to the catalogue: every name that an expression uses is declared, every declared metric is used.

use std::{collections::BTreeSet, fs, path::PathBuf};

use metrics::{Phase, catalogue};
use serde_json::Value;

/// Metrics that the dashboard does not draw, each with its reason.
const NOT_DRAWN: [(&str, &str); 4] = [
    ("rectify_build_info", "text, not a curve"),
    ("rectify_world_size", "constant; the alert for missing ranks and the list of runs use it"),
    ("rectify_loss_scale", "of runs in f16 alone, where it changes by powers of two"),
    ("rectify_checkpoints_total", "0 failures is the rule; an alert tells of the exception"),
];

/// The only variables that expressions may use: a test of the whole system puts values in their place.
const VARIABLES: [&str; 2] = ["$run", "$__rate_interval"];

fn deploy(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn dashboard() -> Value {
    serde_json::from_str(&deploy("grafana/dashboards/rectify.json")).unwrap()
}

fn panels(dashboard: &Value) -> Vec<&Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row").collect()
}

fn expressions(dashboard: &Value) -> Vec<String> {
    let targets = panels(dashboard).into_iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// Every word of a text that looks like one of our metrics.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("rectify_")).map(str::to_owned).collect()
}

#[test]
fn every_name_in_the_dashboard_is_declared() {
    let expressions = expressions(&dashboard());
    assert!(expressions.len() > 20, "{}", expressions.len());
    for expression in &expressions {
        let used = names(expression);
        assert!(!used.is_empty(), "{expression} asks for nothing of ours");
        for name in used {
            assert!(catalogue::find(&name).is_some(), "{name} in {expression} is not in the catalogue");
        }
    }
}

#[test]
fn every_declared_metric_is_drawn_or_said_not_to_be() {
    let used = names(&expressions(&dashboard()).join("\n"));
    let drawn: BTreeSet<_> = used.iter().filter_map(|name| catalogue::find(name)).map(|metric| metric.name).collect();
    for metric in catalogue::ALL {
        let not_drawn = NOT_DRAWN.iter().any(|(name, _)| *name == metric.name);
        assert!(drawn.contains(metric.name) != not_drawn, "{}: drawn and listed, or neither", metric.name);
    }
}

#[test]
fn every_name_in_the_rules_is_declared() {
    let used = names(&deploy("prometheus/rules.yml"));
    assert!(used.len() > 5, "{used:?}");
    for name in used {
        assert!(catalogue::find(&name).is_some(), "{name} is not in the catalogue");
    }
}

#[test]
fn expressions_use_only_variables_that_are_documented() {
    let readme = deploy("README.md");
    for variable in VARIABLES {
        assert!(readme.contains(variable), "deploy/README.md does not explain {variable}");
    }
    for expression in expressions(&dashboard()) {
        let rest = VARIABLES.iter().fold(expression.clone(), |text, variable| text.replace(variable, ""));
        assert!(!rest.contains('$'), "{expression}");
        assert!(expression.contains(r#"run="$run""#), "{expression} mixes runs");
    }
}

#[test]
fn labels_that_expressions_group_by_exist() {
    let of_targets = ["run", "rank", "host", "le"];
    for expression in expressions(&dashboard()) {
        let labels: BTreeSet<&str> = names(&expression)
            .iter()
            .flat_map(|name| catalogue::find(name).unwrap().labels.iter().copied())
            .chain(of_targets)
            .collect();
        for group in expression.split("by (").skip(1) {
            let group = group.split(')').next().unwrap();
            assert!(labels.contains(group), "{group} in {expression}");
        }
    }
    let phase =
        expressions(&dashboard()).into_iter().find_map(|e| Some(e.split("phase=\"").nth(1)?.to_owned())).unwrap();
    assert!(Phase::ALL.iter().any(|known| phase.starts_with(&format!("{}\"", known.label()))), "{phase}");
}

#[test]
fn panels_are_placed_side_by_side_and_have_a_unit() {
    let dashboard = dashboard();
    let mut taken = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        let number = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(number("x") + number("w") <= 24, "{title} is too wide");
        for cell in (number("x")..number("x") + number("w"))
            .flat_map(|x| (number("y")..number("y") + number("h")).map(move |y| (x, y)))
        {
            assert!(taken.insert(cell), "{title} lies over another panel");
        }
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
    }
    let ids: BTreeSet<_> = dashboard["panels"].as_array().unwrap().iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), dashboard["panels"].as_array().unwrap().len());
}
