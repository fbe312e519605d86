//! The files for containers: images are pinned, their health checks use programs that the images contain, and the
//! settings are correct.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_yaml_ng::Value;

use crate::support::{TestApp, eventually};

pub fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn compose() -> Value {
    let mut compose: Value = serde_yaml_ng::from_str(&file("compose.yaml")).unwrap();
    // A merged mapping may itself contain a merge.
    compose.apply_merge().unwrap();
    compose.apply_merge().unwrap();
    compose
}

fn services(compose: &Value) -> Vec<(String, Value)> {
    let services = compose["services"].as_mapping().unwrap().iter();
    services.map(|(name, service)| (name.as_str().unwrap().to_owned(), service.clone())).collect()
}

#[test]
fn every_service_is_pinned_checked_limited_and_on_the_network() {
    let compose = compose();
    let all = services(&compose);
    for wanted in ["postgres", "redis", "minio", "qdrant", "litellm", "larder"] {
        assert!(all.iter().any(|(name, service)| name == wanted && service.get("profiles").is_none()), "{wanted}");
    }
    let volumes: BTreeSet<&str> = compose["volumes"].as_mapping().unwrap().keys().map(|name| name.as_str().unwrap()).collect();
    let mut used = BTreeSet::new();
    for (name, service) in &all {
        let (repository, tag) = service["image"].as_str().unwrap().rsplit_once(':').unwrap();
        assert!(!repository.is_empty() && tag.contains(|c: char| c.is_ascii_digit()) && tag != "latest", "{name}: {tag}");
        // What runs once has nothing to check.
        let is_task = service["restart"].as_str() == Some("on-failure:5");
        assert!(is_task || !service["healthcheck"]["test"].is_null(), "{name} has a health check");
        assert!(is_task || service["restart"].as_str() == Some("unless-stopped"), "{name}");
        assert!(service["mem_limit"].is_string(), "{name}");
        let networks = &service["networks"];
        let first = networks[0].as_str().or_else(|| networks.as_mapping()?.keys().next()?.as_str());
        assert_eq!(first, Some(if name == "seaweedfs" { "store" } else { "larder" }), "{name}");
        for volume in service["volumes"].as_sequence().into_iter().flatten() {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            match source.strip_prefix("./") {
                Some(path) => assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "{name}: {source}"),
                None => assert!(volumes.contains(source) && used.insert(source.to_owned()), "{name}: {source}"),
            }
        }
        for port in service["ports"].as_sequence().into_iter().flatten() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:${"), "{name}: {port:?} is this machine's alone, and can be changed");
        }
        for (other, how) in service["depends_on"].as_mapping().into_iter().flatten() {
            let expected = if other == "minio-links" { "service_completed_successfully" } else { "service_healthy" };
            assert_eq!(how["condition"].as_str(), Some(expected), "{name} waits for {other:?}");
            assert!(all.iter().any(|(name, _)| name == other.as_str().unwrap()), "{name}: {other:?}");
        }
    }
    assert_eq!(used.len(), volumes.len(), "each volume is used once");
    let image = |wanted: &str| all.iter().find(|(name, _)| name == wanted).unwrap().1["image"].as_str().unwrap().to_owned();
    assert!(image("postgres").starts_with("postgres:16.") && image("redis").starts_with("redis:7."));
    assert_eq!(image("minio"), "minio/minio:RELEASE.2024-11-07T00-52-20Z");
    assert_eq!(image("larder"), format!("larder:{}", env!("CARGO_PKG_VERSION")));
}

/// The names of the variables in `${…}`.
fn variables(text: &str) -> BTreeSet<String> {
    let starts = text.match_indices("${").map(|(at, _)| &text[at + 2..]);
    starts.map(|rest| rest.split([':', '}', '-']).next().unwrap().to_owned()).collect()
}

#[test]
fn every_variable_of_the_stack_is_documented_and_has_a_default() {
    let (text, example) = (file("compose.yaml"), file(".env.example"));
    for name in variables(&text) {
        let documented = example.lines().any(|line| line.trim_start_matches('#').starts_with(&format!("{name}=")));
        assert!(documented, "{name} is not in .env.example");
        assert!(text.contains(&format!("${{{name}:-")), "{name} has no default");
    }
}

#[test]
fn the_console_reads_all_variables_that_are_set() {
    let compose = compose();
    let environment = compose["services"]["larder"]["environment"].as_mapping().unwrap();
    let lookup = |name: &str| {
        let value = environment.get(name)?.as_str()?;
        // The default of `${NAME:-default}`.
        let mut text = value.to_owned();
        while let Some((before, rest)) = text.clone().split_once("${") {
            let (variable, after) = rest.split_once('}').unwrap();
            text = format!("{before}{}{after}", variable.split_once(":-").unwrap().1);
        }
        Some(text).filter(|text| !text.is_empty())
    };
    let config = larder::config::Config::from_lookup(&lookup, larder::config::Stores::FromEnvironment).unwrap();
    assert!(config.redis.browse_url.is_some() && config.qdrant_url.is_some() && config.litellm_url.is_some());
    let known = file("README.md") + &file(".env.example");
    for name in environment.keys() {
        assert!(known.contains(name.as_str().unwrap()), "{name:?} is known to nobody");
    }
}

#[test]
fn files_for_other_programs_are_readable() {
    for path in
        ["deploy/litellm/config.yaml", "deploy/prometheus/prometheus.yml", "deploy/grafana/datasource.yaml", "deploy/grafana/provider.yaml"]
    {
        serde_yaml_ng::from_str::<Value>(&file(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let models: Value = serde_yaml_ng::from_str(&file("deploy/litellm/config.yaml")).unwrap();
    let named = |name: &Value| models["model_list"].as_sequence().unwrap().iter().any(|model| &model["model_name"] == name);
    for fallback in models["litellm_settings"]["fallbacks"].as_sequence().unwrap() {
        for (from, to) in fallback.as_mapping().unwrap() {
            assert!(named(from) && to.as_sequence().unwrap().iter().all(named), "{from:?}");
        }
    }
    for line in file("Dockerfile").lines().filter(|line| line.starts_with("FROM ")) {
        assert!(line.contains(':') && !line.contains(":latest"), "{line}");
    }
}

/// The names of the metrics in a query: words that are followed by neither a bracket nor a label operator.
pub fn names(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("larder_") || word.starts_with("process_")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_only_uses_exported_metrics() {
    let app = TestApp::start().await;
    let visitor = app.visitor();
    app.sign_in(larder::domain::actor::Role::Viewer).await.get("/").await.expect_status(200);
    let told = async || visitor.get("/metrics").await.expect_status(200).text();
    eventually("all is told", async || told().await.contains("larder_probe_success{service=\"s3\"}")).await;
    let told = told().await;
    let dashboard: serde_json::Value = serde_json::from_str(&file("deploy/grafana/dashboards/larder.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 10);
    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            let names = names(target["expr"].as_str().unwrap());
            assert!(!names.is_empty(), "{target}");
            for name in names {
                assert!(told.contains(&format!("\n{name}{{")) || told.contains(&format!("\n{name} ")), "{name} of {}", panel["title"]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_check_of_the_container_checks_readiness() {
    let app = TestApp::start().await;
    let ask = |bind: String| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(["doctor", "--ready"]).env("BIND", bind).current_dir(std::env::temp_dir()).output().unwrap()
    };
    let port = app.base.rsplit(':').next().unwrap();
    assert!(ask(format!("0.0.0.0:{port}")).status.success());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(!ask(nobody.to_string()).status.success());
    assert!(!ask("nonsense".into()).status.success());
}

#[test]
fn redis_starts_with_both_users_and_any_password() {
    for password in ["p4ss", r#"a/b&c" d'e#f%g\h$i"#] {
        redis_starts_with(password);
    }
}

/// Started like in the container, with the Redis server of this machine.
fn redis_starts_with(password: &str) {
    let compose = compose();
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("compose-redis-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let script = compose["services"]["redis"]["command"][2].as_str().unwrap().replace("$$", "$");
    let acl = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/redis/browse.acl");
    // The server reads the file itself and would reject an invalid line.
    let script = script
        .replace("/etc/larder/browse.acl", &acl.display().to_string())
        .replace("/tmp/redis.conf", &directory.join("redis.conf").display().to_string())
        .replace("--dir /data", &format!("--dir {} --port 0 --unixsocket {}/s", directory.display(), directory.display()));
    let mut server = std::process::Command::new("sh")
        .args(["-c", &script])
        .env("REDIS_PASSWORD", password)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let ask = |user: &str, words: &[&str]| {
        let mut cli = std::process::Command::new("redis-cli");
        cli.arg("-s").arg(directory.join("s")).args(["--user", user, "--pass", password, "--no-auth-warning"]).args(words);
        String::from_utf8_lossy(&cli.output().unwrap().stdout).trim().to_owned()
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while ask("default", &["ping"]) != "PONG" && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    let answers = [
        ask("default", &["ping"]),
        ask("larder-browse", &["dbsize"]),
        ask("larder-browse", &["flushall"]),
        ask("default", &["config", "get", "maxmemory-policy"]),
    ];
    server.kill().unwrap();
    server.wait().unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(answers[0], "PONG");
    assert_eq!(answers[1], "0");
    assert!(answers[2].contains("NOPERM") && answers[3].contains("allkeys-lru"), "{answers:?}");
}
