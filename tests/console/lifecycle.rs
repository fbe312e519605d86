//! Startup without a store, shutdown during an upload, and the headers of every response.

use std::time::Duration;

use larder::console::ROUTES;
use larder::domain::actor::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{PASSWORD, Set, TestApp, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn every_response_has_the_security_headers() {
    let app = TestApp::start_with(|config| config.public_url = Some("https://larder.example.com".into())).await;
    let visitor = app.visitor();
    let mut paths: Vec<String> =
        ROUTES.iter().filter(|route| route.method == "GET").map(|route| route.pattern.replace("{bucket}", &app.bucket)).collect();
    paths.extend(["/health", "/livez", "/nope", "/static/nope", "/health/redis"].map(str::to_owned));
    for path in paths {
        let page = visitor.get(&path).await;
        let policy = page.header("content-security-policy").unwrap_or_else(|| panic!("{path}"));
        for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("strict-transport-security", "max-age=63072000"),
        ] {
            assert_eq!(page.header(name), Some(value), "{path}: {name}");
        }
        assert_eq!(page.header("x-request-id").map(str::len), Some(16), "{path}");
        assert!(page.header("cache-control").is_some_and(|cache| cache.contains("no-store") || cache.contains("max-age=2")), "{path}");
    }
    let sign_in = visitor.get("/session").await.expect_status(200);
    for asset in sign_in.attributes("link[rel=stylesheet]", "href") {
        let file = visitor.get(&asset).await.expect_status(200);
        assert_eq!(file.header("cache-control"), Some("public, max-age=31536000, immutable"));
        assert!(file.header("content-type").unwrap().starts_with("text/css"));
        for (name, value) in [("x-content-type-options", "nosniff"), ("cross-origin-resource-policy", "same-origin")] {
            assert_eq!(file.header(name), Some(value), "{asset}: {name}");
        }
    }
    let icon = sign_in.attributes("link[rel=icon]", "href").remove(0);
    let icon = visitor.get(&icon).await.expect_status(200);
    assert!(icon.header("content-security-policy").is_some(), "an image can be opened directly");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_services_of_the_domain_need_https_only_if_configured() {
    for (public_url, setting, expected) in [
        ("https://larder.example.com", true, Some("max-age=63072000; includeSubDomains")),
        ("https://larder.example.com", false, Some("max-age=63072000")),
        ("http://larder.example.com", true, None),
    ] {
        let app = TestApp::start_with(|config| {
            config.public_url = Some(public_url.into());
            config.hsts_include_subdomains = setting;
        })
        .await;
        assert_eq!(app.visitor().get("/livez").await.header("strict-transport-security"), expected, "{public_url} {setting}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_https_the_cookie_is_bound_to_the_host() {
    let app = TestApp::start_with(|config| config.public_url = Some("https://larder.example.com".into())).await;
    let email = app.new_user(Role::Viewer).await;
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("email", &email)
        .append_pair("password", crate::support::PASSWORD)
        .finish();
    let request = app.visitor().request(reqwest::Method::POST, "/session").header("origin", "https://larder.example.com");
    let page = app.visitor().send(request.header("content-type", "application/x-www-form-urlencoded").body(body)).await.expect_status(303);
    let cookie = page
        .headers
        .get_all("set-cookie")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find(|cookie| cookie.contains("larder="))
        .unwrap();
    for part in ["__Host-larder=", "HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"));
}

#[tokio::test(flavor = "multi_thread")]
async fn consoles_on_different_ports_of_a_host_keep_their_own_sessions() {
    let apps = [TestApp::start().await, TestApp::start().await];
    let no_redirects = reqwest::redirect::Policy::none();
    let builder = reqwest::Client::builder().cookie_store(true).redirect(no_redirects).no_proxy().tls_certs_only([]);
    let browser = builder.build().unwrap();
    for app in &apps {
        let email = app.new_user(Role::Viewer).await;
        let body = form_urlencoded::Serializer::new(String::new()).append_pair("email", &email).append_pair("password", PASSWORD).finish();
        let request = browser.post(format!("{}/session", app.base)).header("origin", &app.base).header("accept", "text/html");
        let answer = request.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.unwrap();
        assert_eq!(answer.status(), 303);
    }
    for app in &apps {
        let answer = browser.get(format!("{}/buckets", app.base)).header("accept", "text/html").send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", app.base);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_redirects_only_to_own_paths() {
    let app = TestApp::start().await;
    let email = app.new_user(Role::Viewer).await;
    for (next, place) in
        [("/uploads?q=a", "/uploads?q=a"), ("//evil.example", "/"), ("https://evil.example", "/"), ("/\\evil.example", "/"), ("", "/")]
    {
        let fields = [("email", email.as_str()), ("password", crate::support::PASSWORD), ("next", next)];
        let page = app.visitor().post("/session", &fields).await.expect_status(303);
        assert_eq!(page.location(), place, "{next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_console_rejects_every_change() {
    let app = TestApp::start_with(|config| config.read_only = true).await;
    let admin = app.sign_in(Role::Admin).await;
    for route in ROUTES.iter().filter(|route| route.method == "POST") {
        let path = route.pattern.replace("{bucket}", &app.bucket).replace("{id}", "x");
        let open = ["/session", "/session/end", "/theme", "/setup", "/counts", "/health/checks"].contains(&route.pattern);
        if !open {
            assert!(admin.post(&path, &[]).await.expect_status(403).text().contains("read-only"), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_pages_are_served_and_buckets_are_created_later() {
    let set = Set::own().await;
    set.servers().s3().stop();
    let app = TestApp::on(set, |_| {}).await;
    let admin = app.sign_in(Role::Admin).await;
    admin.get("/users").await.expect_status(200);
    admin.get("/health").await.expect_status(200);
    app.servers().s3().start().unwrap();
    eventually("the bucket is created", async || app.ctx.s3.head_bucket(&app.bucket).await.is_ok()).await;
    eventually("the bucket opens", async || admin.get(&format!("/buckets/{}", app.bucket)).await.status == 200).await;
}

/// A store that allows only HEAD requests for buckets.
pub async fn forbidding_store() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = vec![0; 8192];
                let read = socket.read(&mut head).await.unwrap_or(0);
                let line = String::from_utf8_lossy(&head[..read]).lines().next().unwrap_or_default().to_owned();
                let body = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>";
                let answer = if line.starts_with("HEAD") {
                    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
                } else {
                    format!(
                        "HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        body.len()
                    )
                };
                let _ = socket.write_all(answer.as_bytes()).await;
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn if_listing_buckets_is_denied_the_configured_ones_are_shown() {
    let endpoint = forbidding_store().await;
    let app = TestApp::start_with(|config| {
        config.s3.endpoint = Some(endpoint);
        config.s3.buckets = vec!["scans".into(), "invoices".into()];
    })
    .await;
    let viewer = app.sign_in(Role::Viewer).await;
    let page = viewer.get("/buckets").await.expect_status(200);
    assert_eq!(page.texts("table .name-cell"), ["invoices", "scans"]);
    let text = page.text_of("main");
    assert!(text.contains("not counted") && text.contains("S3_BUCKETS") && !text.contains("0 B0"), "{text}");
    let refused = viewer.get("/buckets/scans").await.expect_status(403);
    assert!(refused.text_of("main").contains("denied access"), "{}", refused.text_of("main"));
}

/// Proxies keep idle connections for a minute or more. A request sent while the server closes the connection would be lost.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_stays_open() {
    let app = TestApp::start().await;
    let mut connection = TcpStream::connect(app.base.trim_start_matches("http://")).await.unwrap();
    let mut answer = [0; 4096];
    for round in 0..2 {
        connection.write_all(b"GET /livez HTTP/1.1\r\nhost: larder\r\n\r\n").await.unwrap();
        let length = connection.read(&mut answer).await.unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 200"), "{round}: {}", String::from_utf8_lossy(&answer[..length]));
        if round == 0 {
            let end = tokio::time::timeout(Duration::from_secs(8), connection.read(&mut answer)).await;
            assert!(end.is_err(), "the connection was closed or received unexpected data: {end:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_finishes_uploads_and_accepts_no_new_requests() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    let (send, receive) = tokio::sync::mpsc::channel::<Result<bytes::Bytes, std::io::Error>>(1);
    let body =
        reqwest::Body::wrap_stream(futures_util::stream::unfold(
            receive,
            |mut receive| async move { Some((receive.recv().await?, receive)) },
        ));
    let form = reqwest::multipart::Form::new().part("file", reqwest::multipart::Part::stream(body).file_name("slow.txt"));
    let path = format!("/buckets/{}/uploads", app.bucket);
    let (ready, ctx, bucket, base) = (app.ready(), app.ctx.clone(), app.bucket.clone(), app.base.clone());
    let uploading = tokio::spawn(async move { editor.post_files(&path, form).await });
    // Enough data that the row of the upload is written.
    send.send(Ok(vec![b'x'; 100_000].into())).await.unwrap();
    let sql = app.sql().await;
    eventually("the upload has started", async || !sql.query("SELECT 1 FROM files WHERE state = 'pending'", &[]).await.unwrap().is_empty())
        .await;
    let stopping = tokio::spawn(app.stop());
    eventually("the instance is no longer ready", async || !ready.get()).await;
    send.send(Ok("second half".into())).await.unwrap();
    drop(send);
    uploading.await.unwrap().expect_status(303);
    tokio::time::timeout(Duration::from_secs(30), stopping).await.unwrap().unwrap();
    assert_eq!(ctx.s3.head(&bucket, "slow.txt", None).await.unwrap().size, 100_011);
    assert!(reqwest::Client::builder().no_proxy().build().unwrap().get(format!("{base}/livez")).send().await.is_err());
}
