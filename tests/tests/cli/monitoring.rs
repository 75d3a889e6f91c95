//! The alert rules and the dashboard in `mpls-xdp/monitoring`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::support::{Lab, Output};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../mpls-xdp/monitoring")
}

fn read(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

fn promtool(arguments: &[&str]) -> Output {
    Output::of(Command::new("promtool").args(arguments).current_dir(folder()))
}

/// Every name of a metric of ours in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c));
    words.filter(|word| word.starts_with("mpls_xdp_")).collect()
}

/// The names that `metrics` gives samples, when a policy is in force.
fn exposed() -> BTreeSet<String> {
    let (lab, _wire) = Lab::filtering("eth1");
    let text = lab.run(["metrics", "--once"]).ends(0).stdout;
    lab.take_down();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// Every PromQL expression below a JSON value.
fn expressions<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str));
            fields.values().for_each(|value| expressions(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

#[test]
fn the_rules_fire_when_they_should() {
    promtool(&["check", "rules", "alerts.yml"]).ends(0);
    let output = promtool(&["test", "rules", "alerts.test.yml"]);
    let said = format!("{}{}", output.stdout, output.stderr);
    output.ends(0);
    assert!(said.contains("SUCCESS"), "{said}");
    // Each is expected to fire, and expected not to.
    let tests = read("alerts.test.yml");
    for line in read("alerts.yml").lines() {
        let Some(alert) = line.trim_start().strip_prefix("- alert: ") else { continue };
        let quiet = format!("alertname: {alert}, exp_alerts: []");
        assert!(tests.contains(&quiet), "no test says when {alert} does not fire");
        let fires = format!("alertname: {alert}\n        exp_alerts:\n          - exp_labels:");
        assert!(tests.contains(&fires), "no test says when {alert} fires");
    }
}

#[test]
fn the_metrics_of_rules_and_dashboard_exist() {
    let exposed = exposed();
    assert!(exposed.len() > 15, "{exposed:?}");
    for file in ["alerts.yml", "alerts.test.yml", "dashboard.json"] {
        let text = read(file);
        let used = names(&text);
        assert!(used.len() > 5, "{file}: {used:?}");
        for name in used {
            assert!(exposed.contains(name), "{file}: there is no {name}");
        }
    }
}

#[test]
fn the_dashboard_is_one_that_grafana_reads() {
    let text = read("dashboard.json");
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(dashboard["uid"], "mpls-xdp");
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    for panel in panels {
        let place = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{panel}");
        assert!(panel["type"] == "row" || !panel["targets"].as_array().unwrap().is_empty());
    }
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    assert!(found.len() > 10, "{found:?}");
    // Prometheus parses them with Grafana's variables replaced.
    let rules: String = found
        .iter()
        .enumerate()
        .map(|(at, expression)| {
            let expression = expression
                .replace("$__rate_interval", "1m")
                .replace("$instance", ".*")
                .replace("$ingress", ".*");
            format!(
                "      - record: dashboard:panel{at}\n        expr: >-\n          {expression}\n"
            )
        })
        .collect();
    let rules = format!("groups:\n  - name: dashboard\n    rules:\n{rules}");
    assert!(!rules.contains('$'), "{rules}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dashboard.yml");
    fs::write(&path, rules).unwrap();
    promtool(&["check", "rules", path.to_str().unwrap()]).ends(0);
}
