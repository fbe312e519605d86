//! Health for programs: the formats on which the applications behind Larder rely.

use larder::domain::actor::Role;
use reqwest::Method;

use crate::support::{Client, Page, TestApp, eventually, eventually_within};

async fn json(client: &Client, path: &str) -> Page {
    client.send(client.request(Method::GET, path).header("accept", "application/json")).await
}

fn keys(page: &Page) -> Vec<String> {
    page.json().as_object().unwrap().keys().cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_returns_exactly_four_fields() {
    let app = TestApp::start().await;
    let visitor = app.visitor();
    for (name, last) in [("redis", "pool_size"), ("postgres", "pool_size"), ("s3", "pool_size")] {
        let path = format!("/health/{name}");
        eventually("the service has been checked", async || json(&visitor, &path).await.status == 200).await;
        let page = json(&visitor, &path).await;
        assert_eq!(keys(&page), ["healthy", "latency_ms", "connected", last], "{name}");
        let body = page.json();
        assert!(body["healthy"] == true && body["connected"] == true && body["latency_ms"].as_f64().unwrap() > 0.0, "{name}: {body}");
    }
    assert_eq!(json(&visitor, "/health/redis").await.json()["pool_size"], 10);
    for name in ["qdrant", "litellm"] {
        let page = json(&visitor, &format!("/health/{name}")).await.expect_status(200);
        assert_eq!(keys(&page), ["healthy", "latency_ms", "connected", "configured"], "{name}");
        assert!(page.json()["configured"] == false && page.json()["healthy"] == false);
    }
    let unknown = json(&visitor, "/health/nope").await.expect_status(404);
    assert_eq!(unknown.header("content-type"), Some("application/problem+json"));
    assert!(unknown.json()["request_id"].as_str().is_some_and(|id| id.len() == 16));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_document_has_details_for_signed_in_users() {
    let app = TestApp::start().await;
    let visitor = app.visitor();
    eventually("all have been checked", async || json(&visitor, "/health").await.json()["status"] == "pass").await;
    let page = json(&visitor, "/health").await.expect_status(200);
    assert_eq!(page.header("content-type"), Some("application/health+json"));
    assert!(page.header("cache-control").unwrap().starts_with("max-age="));
    assert!(page.json()["checks"].is_null(), "no details for visitors");
    let viewer = app.sign_in(Role::Viewer).await;
    let checks = json(&viewer, "/health").await.json()["checks"].clone();
    for name in ["postgres", "redis", "s3"] {
        let check = &checks[format!("{name}:responseTime")][0];
        assert!(check["status"] == "pass" && check["observedUnit"] == "ms" && check["time"].is_string(), "{name}: {check}");
    }
    assert!(!checks.to_string().contains("qdrant"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_the_status_is_warn_and_without_postgres_it_is_fail() {
    let app = TestApp::with_own_servers().await;
    let (visitor, viewer) = (app.visitor(), app.sign_in(Role::Viewer).await);
    let limit = std::time::Duration::from_secs(5);
    app.servers().redis().stop();
    eventually_within(limit, "Redis is reported down", async || json(&visitor, "/health/redis").await.status == 503).await;
    assert_eq!(json(&visitor, "/health").await.expect_status(200).json()["status"], "warn");
    check_redis_outage(&app, &viewer).await;
    app.servers().postgres().stop();
    eventually_within(limit, "Postgres is reported down", async || json(&visitor, "/health").await.status == 503).await;
    assert_eq!(json(&visitor, "/health").await.json()["status"], "fail");
    assert_eq!(visitor.get("/readyz").await.status, 200, "an outage of a dependency does not affect readiness");
    assert_eq!(visitor.get("/livez").await.status, 200);
    app.servers().postgres().start().unwrap();
    app.servers().redis().start().unwrap();
    eventually("both are available again", async || json(&visitor, "/health").await.json()["status"] == "pass").await;
}

/// Class, message and times, once the service counts as down.
async fn check_redis_outage(app: &TestApp, viewer: &Client) {
    let check = async || json(viewer, "/health").await.json()["checks"]["redis:responseTime"][0].clone();
    eventually("Redis counts as down", async || check().await["status"] == "fail").await;
    let check = check().await;
    let fields = ["state", "faultClass", "output"].map(|name| check[name].as_str().unwrap_or_default().to_owned());
    assert_eq!(fields, ["down", "connect", "The connection was refused: nothing listens at this address."]);
    assert!(check["consecutiveFailures"].as_u64() >= Some(3) && check["affectedEndpoints"][0] == "/cache", "{check}");
    assert!(check["since"].as_str() < check["time"].as_str() && check["observedValue"].is_null(), "{check}");
    let metrics = app.visitor().get("/metrics").await.expect_status(200).text();
    let metric = |series: &str| metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok());
    assert_eq!(metric("larder_service_state{service=\"redis\",state=\"down\"}"), Some(1.0));
    assert_eq!(metric("larder_probe_success{service=\"redis\"}"), Some(0.0));
    assert!(metric("larder_probe_checks_total{result=\"connect\",service=\"redis\"}") >= Some(3.0), "{metrics}");
    assert_eq!(metric("larder_probe_duration_seconds{service=\"redis\"}"), None, "no duration without a response");
}
