//! A store that is down, frozen or misconfigured: pages that need it say why in time, all others work.

use std::time::{Duration, Instant};

use larder::domain::actor::Role;
use larder::embedded::Server;

use crate::support::{Client, HttpStub, Page, Reply, Set, TestApp, eventually, eventually_within, s3_error, s3_front};

async fn timed(client: &Client, path: &str) -> (Page, Duration) {
    let started = Instant::now();
    let page = client.get(path).await;
    (page, started.elapsed())
}

async fn returns_503_in_time(client: &Client, path: &str, sentence: &str) {
    let (page, took) = timed(client, path).await;
    let page = page.expect_status(503);
    assert!(took < Duration::from_secs(5), "{path}: {took:?}");
    assert!(page.text_of("h1").contains(sentence), "{path}: {}", page.text_of("h1"));
    assert_eq!((page.header("refresh"), page.header("retry-after")), (Some("5"), Some("5")));
}

async fn works(client: &Client, path: &str) {
    let (page, took) = timed(client, path).await;
    page.expect_status(200);
    assert!(took < Duration::from_secs(5), "{path}: {took:?}");
}

async fn recovers_in_time(client: &Client, path: &str) {
    eventually_within(Duration::from_secs(10), "the page is back", async || client.get(path).await.status == 200).await;
}

async fn with(fault: &str, server: &Server, during: impl AsyncFnOnce()) {
    match fault {
        "frozen" => server.freeze(),
        _ => server.stop(),
    }
    during().await;
    match fault {
        "frozen" => server.thaw(),
        _ => server.start().unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_object_store_only_pages_that_need_it_fail() {
    let app = TestApp::with_own_servers().await;
    let editor = app.sign_in(Role::Admin).await;
    editor.upload(&app.bucket, "a.txt", "content").await.expect_status(303);
    let browser = format!("/buckets/{}", app.bucket);
    let object = format!("{browser}/object?key=a.txt");
    for fault in ["frozen", "stopped"] {
        with(fault, app.servers().s3(), async || {
            for path in [browser.as_str(), &object, "/buckets", &format!("{browser}/download?key=a.txt")] {
                returns_503_in_time(&editor, path, "object store").await;
            }
            for path in ["/uploads", "/audit", "/users", "/health", "/"] {
                works(&editor, path).await;
            }
            assert_eq!(editor.upload(&app.bucket, "b.txt", "x").await.status, 503, "{fault}");
        })
        .await;
        recovers_in_time(&editor, &object).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_the_health_page_opens_and_the_rest_explains_the_outage() {
    let app = TestApp::with_own_servers().await;
    let admin = app.sign_in(Role::Admin).await;
    for fault in ["frozen", "stopped"] {
        with(fault, app.servers().postgres(), async || {
            assert_eq!(admin.get("/").await.status, 503);
            for path in ["/uploads", "/audit"] {
                returns_503_in_time(&admin, path, "database").await;
            }
            works(&admin, "/health").await;
            works(&app.visitor(), "/health").await;
            works(&app.visitor(), "/livez").await;
            works(&app.visitor(), "/readyz").await;
            assert_eq!(app.visitor().post("/session", &[("email", "a@example.com"), ("password", "x")]).await.status, 503);
        })
        .await;
        recovers_in_time(&admin, "/audit").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_everything_works() {
    let app = TestApp::with_own_servers().await;
    let admin = app.sign_in(Role::Admin).await;
    for fault in ["frozen", "stopped"] {
        with(fault, app.servers().redis(), async || {
            for path in ["/", "/buckets", &format!("/buckets/{}", app.bucket), "/uploads", "/audit", "/users", "/health"] {
                works(&admin, path).await;
            }
            admin.upload(&app.bucket, &format!("{fault}.txt"), "x").await.expect_status(303);
            app.sign_in(Role::Viewer).await;
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_all_stores_down_the_health_page_shows_it() {
    let app = TestApp::with_own_servers().await;
    let servers = app.servers();
    for server in [servers.postgres(), servers.redis(), servers.s3()] {
        server.freeze();
    }
    let visitor = app.visitor();
    eventually_within(Duration::from_secs(15), "all stores are shown as down", async || {
        visitor.get("/health").await.expect_status(200).text_of("main").matches("Down").count() >= 3
    })
    .await;
    for name in ["postgres", "redis", "s3"] {
        let page = visitor.get(&format!("/health/{name}")).await.expect_status(503).json();
        assert_eq!((page["healthy"].as_bool(), page["latency_ms"].is_null()), (Some(false), true), "{name}");
    }
    for server in [servers.postgres(), servers.redis(), servers.s3()] {
        server.thaw();
    }
    eventually_within(Duration::from_secs(10), "all stores are up again", async || {
        let mut up = 0;
        for name in ["postgres", "redis", "s3"] {
            up += usize::from(visitor.get(&format!("/health/{name}")).await.status == 200);
        }
        up == 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_quota_is_no_space_with_the_words_of_the_store() {
    let real = Set::shared().await.servers().urls().s3_endpoint.clone();
    let front = s3_front(&real, |request, forward| match (request.method.as_str(), request.path.contains("/full/")) {
        ("PUT" | "POST", true) => s3_error(request, 400, "", "XMinioAdminBucketQuotaExceeded", "Bucket quota exceeded"),
        _ => Reply::Raw(forward()),
    });
    let endpoint = front.base.clone();
    let app = TestApp::start_with(|config| config.s3.endpoint = Some(endpoint)).await;
    app.rules_known().await;
    let editor = app.sign_in(Role::Editor).await;
    for length in [1, 9 << 20] {
        let file = reqwest::multipart::Part::bytes(vec![b'x'; length]).file_name("a.bin");
        let path = format!("/buckets/{}/uploads?prefix=full%2F", app.bucket);
        let request = editor.request(reqwest::Method::POST, &path).header("accept", "application/json");
        let refused = editor.send(request.multipart(reqwest::multipart::Form::new().part("file", file))).await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        let outcome = &refused.json()["files"][0];
        assert_eq!(outcome["code"], "no_space", "{outcome}");
        assert!(outcome["error"].as_str().unwrap_or_default().contains("Bucket quota exceeded"), "{outcome}");
    }
    let folder = editor.post(&format!("/buckets/{}/folders?prefix=full%2F", app.bucket), &[("name", "new")]).await.expect_status(503);
    assert!(folder.text_of("main").contains("Bucket quota exceeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_region_names_the_setting_and_the_region_of_the_store() {
    let header = "x-amz-bucket-region: eu-central-1\r\n";
    let stub = HttpStub::new(move |request| s3_error(request, 301, header, "PermanentRedirect", "wrong region"));
    let endpoint = stub.base.clone();
    let app = TestApp::start_with(|config| config.s3.endpoint = Some(endpoint)).await;
    let editor = app.sign_in(Role::Editor).await;
    let bucket = format!("/buckets/{}", app.bucket);
    for path in [bucket.clone(), format!("{bucket}/object?key=a"), format!("{bucket}/download?key=a"), format!("{bucket}/settings")] {
        let page = editor.get(&path).await.expect_status(503);
        assert!(page.text_of("main").contains("Set AWS_REGION=eu-central-1"), "{path}: {}", page.text_of("main"));
    }
    eventually("the health page names the region", async || editor.get("/health").await.text().contains("AWS_REGION=eu-central-1")).await;
}
