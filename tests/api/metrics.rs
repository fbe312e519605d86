//! `/metrics`: who may read it, and that Prometheus can parse it.

use std::collections::{BTreeMap, BTreeSet};

use larder::config::Secret;
use larder::domain::actor::Role;

use crate::support::{TestApp, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn only_loopback_clients_or_holders_of_the_token_may_read_metrics() {
    let app = TestApp::start().await;
    let visitor = app.visitor();
    visitor.get("/metrics").await.expect_status(200);
    for header in ["x-forwarded-for", "forwarded", "via"] {
        let through_a_proxy = visitor.request(reqwest::Method::GET, "/metrics").header(header, "10.0.0.9");
        visitor.send(through_a_proxy).await.expect_status(401);
    }
    for (url, status) in [("https://larder.example", 401), ("http://localhost:8080", 200), ("http://[::1]:8080", 200)] {
        let app = TestApp::start_with(|config| config.public_url = Some(url.into())).await;
        app.visitor().get("/metrics").await.expect_status(status);
    }
    let app = TestApp::start_with(|config| config.metrics_token = Some(Secret::new("word-of-metrics"))).await;
    let visitor = app.visitor();
    for (given, status) in [(None, 401), (Some("Bearer wrong"), 401), (Some("word-of-metrics"), 401), (Some("Bearer word-of-metrics"), 200)]
    {
        let mut request = visitor.request(reqwest::Method::GET, "/metrics");
        if let Some(given) = given {
            request = request.header("authorization", given);
        }
        let answer = visitor.send(request).await.expect_status(status);
        assert!(status == 200 || answer.header("www-authenticate") == Some("Bearer"));
    }
}

/// Name and labels of each line with a value.
fn figures(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_format_is_valid_and_contains_no_object_names() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    editor.upload(&app.bucket, "secret-name.txt", "x").await.expect_status(303);
    editor.get(&format!("/buckets/{}/object?key=secret-name.txt", app.bucket)).await.expect_status(200);
    editor.get("/no/such/page").await.expect_status(404);
    let page = metrics_after_checks(&app).await;
    let mut described = BTreeSet::new();
    for line in page.lines().filter(|line| line.starts_with('#')) {
        let mut words = line.split(' ').skip(1);
        let (kind, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next());
        assert!(matches!(kind, "HELP" | "TYPE") && rest.is_some(), "{line}");
        assert!(kind != "TYPE" || described.insert(name.to_owned()), "{name} twice");
        assert!(kind != "TYPE" || (rest == Some("counter")) == name.ends_with("_total"), "{line}");
    }
    let figures = figures(&page);
    for series in figures.keys() {
        let name = series.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(described.contains(family) || described.contains(name), "{series} is not described");
        assert!(name.starts_with("larder_") || name.starts_with("process_"), "{series}");
    }
    let requests = |route: &str| {
        figures
            .iter()
            .filter(|(series, _)| series.starts_with("larder_http_requests_total") && series.contains(&format!("route=\"{route}\"")))
            .map(|(_, count)| count)
            .sum::<f64>()
    };
    assert!(requests("/buckets/{bucket}/object") >= 1.0 && requests("none") >= 1.0, "{page}");
    assert!(figures["larder_probe_success{service=\"redis\"}"] == 1.0 && figures["larder_pool_limit{pool=\"redis\"}"] == 10.0);
    assert!(figures.keys().any(|series| series.starts_with("larder_cache_lookups_total{namespace=\"sessions\"")));
    assert!(figures["process_resident_memory_bytes"] > 1e6 && figures["larder_redis_memory_bytes"] > 1e5);
    assert!(!page.contains("secret-name") && !page.contains(&app.bucket) && !page.contains("/no/such"), "{page}");
}

/// The metrics, once every service has been checked.
async fn metrics_after_checks(app: &TestApp) -> String {
    let visitor = app.visitor();
    eventually("the services are checked", async || {
        visitor.get("/metrics").await.text().contains("larder_probe_success{service=\"redis\"} 1")
    })
    .await;
    visitor.get("/metrics").await.text()
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_counted_by_outcome_and_bytes_in_both_directions() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    let told = async || figures(&app.visitor().get("/metrics").await.expect_status(200).text());
    let outcome = |told: &BTreeMap<String, f64>, word: &str| told[&format!("larder_uploads_total{{outcome=\"{word}\"}}")];
    let before = told().await;
    assert!(
        ["stored", "refused", "failed", "cancelled"].iter().all(|word| outcome(&before, word) == 0.0),
        "all outcomes exist from the start"
    );
    editor.upload(&app.bucket, "small.txt", "12345").await.expect_status(303);
    // Larger than what is kept in memory: recorded before it is stored.
    editor.upload(&app.bucket, "large.bin", "x".repeat(200_000)).await.expect_status(303);
    editor.upload(&app.bucket, "small.txt", "again").await.expect_status(303);
    let resumable = format!("/buckets/{}/uploads/resumable", app.bucket);
    let created = editor.post(&resumable, &[("name", "later.bin"), ("length", "10"), ("fingerprint", "one")]).await;
    let id = created.json()["id"].as_str().unwrap().to_owned();
    editor.post(&format!("/buckets/{}/uploads/{id}/deletion", app.bucket), &[]).await;
    editor.get(&format!("/buckets/{}/download?key=large.bin", app.bucket)).await.expect_status(200);
    let ranged =
        editor.request(reqwest::Method::GET, &format!("/buckets/{}/download?key=small.txt", app.bucket)).header("range", "bytes=1-2");
    editor.send(ranged).await.expect_status(206);
    let after = told().await;
    assert_eq!(["stored", "refused", "failed", "cancelled"].map(|word| outcome(&after, word)), [2.0, 1.0, 0.0, 1.0]);
    assert_eq!(after["larder_upload_bytes_total"], 200_005.0);
    assert_eq!(after["larder_download_bytes_total"], 200_002.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_redis_removes_only_its_own_metrics() {
    let app = TestApp::with_own_servers().await;
    metrics_after_checks(&app).await;
    app.servers().redis().freeze();
    let began = std::time::Instant::now();
    let text = app.visitor().get("/metrics").await.expect_status(200).text();
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(!text.contains("larder_redis_memory_bytes") && text.contains("larder_http_requests_total"));
    app.servers().redis().thaw();
}
