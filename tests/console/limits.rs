//! The rate limit: clients that request too many pages receive 429, others are not affected.

use larder::domain::actor::Role;
use reqwest::Method;
use reqwest::header::ACCEPT;

use crate::support::{Client, Page, Set, TestApp, eventually};

async fn with_limit(limit: u64) -> TestApp {
    TestApp::start_with(|config| config.rate_limit_per_minute = limit).await
}

async fn get_json(client: &Client, path: &str) -> Page {
    client.send(client.request(Method::GET, path).header(ACCEPT, "application/json")).await
}

/// The value of a parameter of a structured header field.
fn parameter(page: &Page, field: &str, name: &str) -> u64 {
    let value = page.header(field).unwrap_or_else(|| panic!("{}: no {field}", page.path));
    let value = value.split(';').find_map(|part| part.strip_prefix(&format!("{name}="))).unwrap();
    value.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_reports_the_remaining_requests_and_too_many_are_rejected() {
    let app = with_limit(10).await;
    let (viewer, other) = (app.sign_in(Role::Viewer).await, app.sign_in(Role::Viewer).await);
    for count in 1..=10 {
        let page = viewer.get("/uploads").await.expect_status(200);
        assert_eq!(page.header("ratelimit-policy"), Some("\"pages\";q=10;w=60"));
        assert_eq!(parameter(&page, "ratelimit", "r"), 10 - count);
        assert!((1..=60).contains(&parameter(&page, "ratelimit", "t")));
    }
    let refused = viewer.get("/uploads").await.expect_status(429);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait) && parameter(&refused, "ratelimit", "r") == 0);
    assert!(refused.text().contains("more than 10 pages per minute"), "{}", refused.text());
    let problem = get_json(&viewer, "/uploads").await.expect_status(429);
    assert_eq!(problem.header("content-type"), Some("application/problem+json"));
    assert!(problem.json()["status"] == 429 && problem.header("retry-after").is_some());
    assert_eq!(viewer.get("/session").await.status, 429, "public pages are counted too");
    other.get("/uploads").await.expect_status(200);
    for open in ["/health", "/livez", "/readyz", "/health/redis", "/static/nothing"] {
        let page = viewer.get(open).await;
        assert!(page.status != 429 && page.header("ratelimit").is_none(), "{open}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_not_counted() {
    let app = with_limit(5).await;
    let editor = app.sign_in(Role::Editor).await;
    for at in 0..40 {
        let done = editor.upload(&app.bucket, &format!("{at}.txt"), "x").await.expect_status(303);
        assert!(done.header("ratelimit").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous_requests_and_unknown_tokens_are_counted_by_address() {
    let app = with_limit(12).await;
    let viewer = app.sign_in(Role::Viewer).await;
    let visitor = app.visitor();
    // Signing in counts as one request.
    for _ in 0..5 {
        visitor.get("/session").await.expect_status(200);
    }
    let mut statuses = Vec::new();
    for at in 0..10 {
        let token = format!("{}={at:0>43}", larder::console::http::session::cookie_name(&app.ctx.config));
        statuses.push(visitor.send(visitor.request(Method::GET, "/uploads").header("cookie", token)).await.status);
    }
    assert_eq!(statuses, [303, 303, 303, 303, 303, 303, 429, 429, 429, 429]);
    viewer.get("/uploads").await.expect_status(200);
    assert_eq!(visitor.get("/session").await.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_behind_a_proxy_are_counted_separately() {
    let app = TestApp::start_with(|config| {
        config.rate_limit_per_minute = 3;
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let visitor = app.visitor();
    let get = async |header: &str, value: String| visitor.send(visitor.request(Method::GET, "/session").header(header, value)).await.status;
    for (header, client) in [
        ("x-forwarded-for", "203.0.113.7:PORT"),
        ("x-forwarded-for", "[2001:db8:1::1]:PORT"),
        ("x-forwarded-for", "198.51.100.1, 203.0.113.8:PORT, 127.0.0.2:PORT"),
        ("forwarded", "for=203.0.113.9;proto=https"),
        ("forwarded", "for=\"[2001:db8:2::1]:PORT\""),
    ] {
        let mut statuses = Vec::new();
        for port in 51234..51238 {
            statuses.push(get(header, client.replace("PORT", &port.to_string())).await);
        }
        assert_eq!(statuses, [200, 200, 200, 429], "{header}: {client}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_zero_disables_counting() {
    let app = with_limit(0).await;
    let viewer = app.sign_in(Role::Viewer).await;
    for _ in 0..20 {
        assert!(viewer.get("/uploads").await.expect_status(200).header("ratelimit").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_limited_without_redis() {
    let app = TestApp::on(Set::own().await, |config| config.rate_limit_per_minute = 20).await;
    let viewer = app.sign_in(Role::Viewer).await;
    assert_eq!(parameter(&viewer.get("/uploads").await.expect_status(200), "ratelimit", "r"), 19);
    app.servers().redis().freeze();
    for count in 2..=20 {
        assert_eq!(parameter(&viewer.get("/uploads").await.expect_status(200), "ratelimit", "r"), 20 - count);
    }
    viewer.get("/uploads").await.expect_status(429);
    app.servers().redis().thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_a_limited_number_of_connections() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const MAX: usize = 512;
    let app = TestApp::start().await;
    let behind_proxy = TestApp::start_with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let connect = async |base: &str, from: [u8; 4]| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(base.trim_start_matches("http://").parse().unwrap()).await.unwrap()
    };
    // Whether the server answers on this connection.
    let answers = async |socket: &mut tokio::net::TcpStream| {
        let _ = socket.write_all(b"GET /livez HTTP/1.1\r\nHost: larder\r\n\r\n").await;
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).await.is_ok() && &answer == b"HTTP/1.1 200"
    };
    let began = std::time::Instant::now();
    let mut idle = Vec::new();
    for _ in 0..MAX + 20 {
        idle.push(connect(&app.base, [127, 0, 0, 2]).await);
    }
    let mut closed = 0;
    for socket in &mut idle {
        closed += usize::from(!answers(socket).await);
    }
    assert_eq!(closed, 20, "the connections above the limit are closed immediately");
    assert!(began.elapsed() < std::time::Duration::from_secs(20));
    assert!(answers(&mut connect(&app.base, [127, 0, 0, 3]).await).await, "another address");
    idle.truncate(MAX - 1);
    eventually("a new connection is accepted", async || answers(&mut connect(&app.base, [127, 0, 0, 2]).await).await).await;
    drop(idle);
    let mut proxied = Vec::new();
    for _ in 0..MAX + 20 {
        proxied.push(connect(&behind_proxy.base, [127, 0, 0, 2]).await);
    }
    assert!(answers(proxied.last_mut().unwrap()).await, "the connections of a trusted proxy are not limited");
}
