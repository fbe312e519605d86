//! The alerts only use metrics that Larder exports, and each explains what to do.

use std::collections::BTreeSet;
use std::path::Path;

use larder::domain::actor::Role;
use serde_yaml_ng::Value;

use crate::containers::{file, names};
use crate::support::{TestApp, eventually};

fn alerts() -> Vec<Value> {
    let rules: Value = serde_yaml_ng::from_str(&file("deploy/prometheus/alerts.yml")).unwrap();
    let groups = rules["groups"].as_sequence().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_sequence().unwrap().clone()).collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} of {value:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_only_use_exported_metrics() {
    let app = TestApp::start().await;
    app.sign_in(Role::Viewer).await.get("/").await.expect_status(200);
    let told = async || app.visitor().get("/metrics").await.expect_status(200).text();
    eventually("all is told", async || told().await.contains("larder_probe_success{service=\"s3\"}")).await;
    let told = told().await;
    let routes: BTreeSet<&str> = larder::console::ROUTES.iter().chain(larder::api::ROUTES).map(|route| route.pattern).collect();
    for alert in alerts() {
        let expr = text(&alert, "expr");
        let names = names(expr);
        assert!(!names.is_empty() || expr.contains("up{job=\"larder\"}"), "{expr}");
        for name in names {
            assert!(told.contains(&format!("\n{name}{{")) || told.contains(&format!("\n{name} ")), "{name} of {}", text(&alert, "alert"));
        }
        for (label, value) in labels(expr) {
            let known = match label {
                "route" => value.split('|').all(|route| routes.contains(route.trim_end_matches(".*"))),
                "job" => file("deploy/prometheus/prometheus.yml").contains(&format!("job_name: {value}\n")),
                _ => ["service", "status", "method", "outcome", "state", "result"].contains(&label),
            };
            assert!(known, "{label} {value} of {}", text(&alert, "alert"));
        }
    }
}

/// The label and value of each selector.
fn labels(expr: &str) -> Vec<(&str, &str)> {
    let mut pieces = expr.split('"');
    let mut found = Vec::new();
    while let (Some(before), Some(value)) = (pieces.next(), pieces.next()) {
        let label = before.trim_end_matches(['=', '~', '!']);
        found.push((label.rsplit(['{', ',']).next().unwrap(), value));
    }
    found
}

#[test]
fn every_alert_has_a_severity_and_a_link_to_its_instructions() {
    let (page, tests) = (file("docs/operations.md"), file("deploy/prometheus/alerts.test.yml"));
    let all = alerts();
    assert!(all.len() > 10);
    for alert in &all {
        let name = text(alert, "alert");
        assert!(["critical", "warning"].contains(&text(&alert["labels"], "severity")), "{name}");
        assert!(name.starts_with("Larder") && !text(&alert["annotations"], "summary").is_empty());
        assert_eq!(text(&alert["annotations"], "runbook"), format!("docs/operations.md#{}", name.to_lowercase()));
        assert_eq!(page.matches(&format!("\n### {name}\n\n")).count(), 1, "{name}");
        let firing = tests.split("alertname: ").filter(|rest| rest.starts_with(&format!("{name}\n")));
        assert!(
            firing.map(|rest| rest.trim_start_matches(name).trim_start()).any(|rest| rest.starts_with("exp_alerts:")),
            "{name} is tried"
        );
    }
    let told = page.split_once("\n## Alerts\n").unwrap().1.lines().filter(|line| line.starts_with("### ")).count();
    assert_eq!(told, all.len(), "no page for an alert that is gone");
    let compose = file("compose.yaml");
    assert!(file("deploy/prometheus/prometheus.yml").contains("rule_files: [alerts.yml]"));
    assert!(compose.contains("./deploy/prometheus/alerts.yml:/etc/prometheus/alerts.yml:ro"));
}

/// The anchor that GitHub creates for a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn links_between_the_pages_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in ["README.md", "docs/operations.md"] {
        let content = file(page);
        let links = content.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
        for link in links.filter(|link| !link.starts_with("http")) {
            let (path, place) = link.split_once('#').map_or((link, None), |(path, place)| (path, Some(place)));
            let target = if path.is_empty() { root.join(page) } else { root.join(page).parent().unwrap().join(path) };
            assert!(target.exists(), "{page}: {link}");
            if let Some(place) = place {
                let headings = std::fs::read_to_string(&target).unwrap();
                let mut headings =
                    headings.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#').trim()));
                assert!(headings.any(|heading| heading == place), "{page}: {link}");
            }
        }
    }
}
