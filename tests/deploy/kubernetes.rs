//! The files for Kubernetes: Larder reads all variables that they set, and pods have only the permissions they need.

use std::collections::{BTreeMap, BTreeSet};

use larder::config::{Config, Environment, Stores};
use serde::Deserialize;
use serde_yaml_ng::Value;

use crate::containers::file;

const PATH: &str = "deploy/kubernetes/larder.yaml";

fn documents() -> Vec<Value> {
    serde_yaml_ng::Deserializer::from_str(&file(PATH)).map(|document| Value::deserialize(document).unwrap()).collect()
}

fn of_kind(kind: &str) -> Value {
    let mut found: Vec<Value> = documents().into_iter().filter(|document| document["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "one {kind}");
    found.remove(0)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_sequence().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value:?}"))
}

/// The environment of a container of `kind`.
fn environment(kind: &str) -> BTreeMap<String, String> {
    let entries = of_kind("ConfigMap")["data"].as_mapping().unwrap().clone();
    let mut found: BTreeMap<String, String> = entries.iter().map(|(name, value)| (text(name).to_owned(), text(value).to_owned())).collect();
    let container = &of_kind(kind)["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["envFrom"][0]["configMapRef"]["name"], of_kind("ConfigMap")["metadata"]["name"]);
    found.extend(items(&container["env"]).map(|one| (text(&one["name"]).to_owned(), text(&one["value"]).to_owned())));
    found
}

#[test]
fn every_object_exists_once_in_the_namespace() {
    let kinds: Vec<String> = documents().iter().map(|document| text(&document["kind"]).to_owned()).collect();
    assert_eq!(kinds, ["ConfigMap", "Job", "Deployment", "Service", "Ingress", "PodDisruptionBudget", "NetworkPolicy"]);
    for document in documents() {
        assert!(document["metadata"]["namespace"].is_null() && document["metadata"]["labels"]["app.kubernetes.io/name"] == "larder");
    }
}

#[test]
fn larder_reads_all_variables_of_the_pods_and_secrets_are_not_in_the_files() {
    let examples = [
        ("DATABASE_URL", "postgres://larder_app:word@db.example.com/larder?sslmode=verify-full"),
        ("REDIS_URL", "rediss://:word@cache.example.com:6379/0"),
        ("REDIS_BROWSE_URL", "rediss://larder-browse:word@cache.example.com:6379/0"),
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "word"),
        ("METRICS_TOKEN", "word"),
    ];
    let secrets = tempfile::tempdir().unwrap();
    for (name, value) in examples {
        std::fs::write(secrets.path().join(name), value).unwrap();
    }
    let (known, written) = (file("README.md") + &file(".env.example"), file(PATH));
    for kind in ["Job", "Deployment"] {
        let environment = environment(kind);
        let lookup = |name: &str| {
            let value = environment.get(name)?;
            let Some(secret) = name.strip_suffix("_FILE") else { return Some(value.clone()) };
            assert!(examples.iter().any(|(known, _)| *known == secret), "{secret}");
            Some(secrets.path().join(secret).display().to_string())
        };
        let config = Config::from_lookup(&lookup, Stores::FromEnvironment).unwrap();
        assert!(config.environment == Environment::Production && config.is_https() && !config.migrate_on_start, "{kind}");
        assert!(config.warnings().is_empty(), "{:?}", config.warnings());
        let pod = &of_kind(kind)["spec"]["template"]["spec"];
        let mounts: BTreeMap<&str, &str> =
            items(&pod["containers"][0]["volumeMounts"]).map(|mount| (text(&mount["mountPath"]), text(&mount["name"]))).collect();
        for (name, value) in &environment {
            let Some(secret) = name.strip_suffix("_FILE") else {
                assert!(known.contains(name.as_str()), "{name} is known to nobody");
                assert!(!["KEY", "TOKEN", "PASSWORD", "_URL"].iter().any(|end| name.ends_with(end)) || name == "PUBLIC_URL", "{name}");
                continue;
            };
            assert!(known.contains(secret), "{secret} is known to nobody");
            let (directory, key) = value.rsplit_once('/').unwrap();
            assert_eq!(key, secret);
            let volume = items(&pod["volumes"]).find(|volume| volume["name"] == mounts[directory]).unwrap();
            let made = format!("kubectl create secret generic {}", text(&volume["secret"]["secretName"]));
            let told = written.split_once(&format!("{made} ")).unwrap_or_else(|| panic!("{made}")).1;
            assert!(told.split("kubectl").next().unwrap().contains(&format!("--from-literal={key}=")), "{kind}: {made}: {key}");
        }
    }
    // Only the migration gets the password of the owner.
    assert!(environment("Job")["DATABASE_URL_FILE"].contains("larder-owner"));
    assert!(!environment("Deployment").values().any(|value| value.contains("owner")));
}

#[test]
fn pods_are_pinned_limited_and_unprivileged() {
    for kind in ["Job", "Deployment"] {
        let pod = of_kind(kind)["spec"]["template"]["spec"].clone();
        assert_eq!((&pod["automountServiceAccountToken"], &pod["enableServiceLinks"]), (&Value::Bool(false), &Value::Bool(false)));
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let container = &pod["containers"][0];
        assert_eq!(text(&container["image"]).rsplit(['/', ':']).take(2).collect::<Vec<_>>(), [env!("CARGO_PKG_VERSION"), "larder"]);
        let security = &container["securityContext"];
        assert_eq!((&security["allowPrivilegeEscalation"], &security["readOnlyRootFilesystem"]), (&Value::Bool(false), &Value::Bool(true)));
        assert_eq!(security["capabilities"]["drop"][0], "ALL");
        assert!(container["resources"]["limits"]["memory"].is_string() && container["resources"]["requests"]["cpu"].is_string());
        let volumes: BTreeSet<&str> = items(&pod["volumes"]).map(|volume| text(&volume["name"])).collect();
        assert_eq!(volumes, items(&container["volumeMounts"]).map(|mount| text(&mount["name"])).collect());
    }
    let job = of_kind("Job");
    assert!(text(&job["metadata"]["name"]).ends_with(&env!("CARGO_PKG_VERSION").replace('.', "-")));
    assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["args"][0], "migrate");
    let first = documents().into_iter().filter(|document| document["metadata"]["labels"]["step"] == "first");
    let first: Vec<String> = first.map(|document| text(&document["kind"]).to_owned()).collect();
    assert_eq!(first, ["ConfigMap", "Job", "NetworkPolicy"], "what the migration needs is applied with it");
}

#[test]
fn probes_use_existing_routes_and_requests_finish_before_a_pod_stops() {
    let deployment = of_kind("Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let port = &container["ports"][0];
    assert!(environment("Deployment")["BIND"].ends_with(&format!(":{}", port["containerPort"].as_u64().unwrap())));
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let asked = &container[probe]["httpGet"];
        assert!(larder::api::ROUTES.iter().any(|route| route.pattern == text(&asked["path"]) && route.method == "GET"), "{probe}");
        assert_eq!(asked["port"], port["name"]);
    }
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    let pause = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
    assert!(pause + 30 < pod["terminationGracePeriodSeconds"].as_u64().unwrap());
    assert!(deployment["spec"]["replicas"].as_u64() == Some(2) && of_kind("PodDisruptionBudget")["spec"]["minAvailable"] == 1);
}

#[test]
fn selectors_match_the_pods() {
    let labels = of_kind("Deployment")["spec"]["template"]["metadata"]["labels"].clone();
    assert_eq!(of_kind("Deployment")["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(of_kind("Service")["spec"]["selector"], labels);
    assert_eq!(of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"], labels);
    let policy = of_kind("NetworkPolicy");
    for kind in ["Job", "Deployment"] {
        let labels = of_kind(kind)["spec"]["template"]["metadata"]["labels"].clone();
        assert!(policy["spec"]["podSelector"]["matchLabels"].as_mapping().unwrap().iter().all(|(name, value)| labels[name] == *value));
    }
    let ingress = of_kind("Ingress");
    let backend = &ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"];
    assert_eq!(backend["name"], of_kind("Service")["metadata"]["name"]);
    assert_eq!(backend["port"]["name"], of_kind("Service")["spec"]["ports"][0]["name"]);
    let host = text(&ingress["spec"]["rules"][0]["host"]);
    assert_eq!(environment("Deployment")["PUBLIC_URL"], format!("https://{host}"));
    assert_eq!(ingress["spec"]["tls"][0]["hosts"][0], host);
    for (name, value) in [("proxy-body-size", "0"), ("proxy-request-buffering", "off"), ("proxy-buffering", "off")] {
        assert_eq!(ingress["metadata"]["annotations"][format!("nginx.ingress.kubernetes.io/{name}").as_str()], value);
    }
}
