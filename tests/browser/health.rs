//! The health page left open: it updates itself with scripts, and on reload without.

use std::time::Duration;

use larder::domain::actor::Role;
use larder::domain::health::{Service, State};

use crate::support::{HttpStub, Reply, Settings, TcpSwitch, TestApp, eventually, eventually_within};
use crate::{signed_in, signed_in_at};

const LIMIT: Duration = Duration::from_secs(20);

async fn shows_changes(script: bool) {
    let app = TestApp::with_own_servers().await;
    let state = |service| app.ctx.health.one(service).state;
    eventually("Redis is up", async || state(Service::Redis) == State::Up).await;
    let browser = signed_in(&app, Role::Viewer, Settings { script, ..Settings::default() }).await;
    let page = format!("{}/health", app.base);
    browser.goto(&page).await;
    let shown = async |words: &str| {
        if !script {
            browser.goto(&page).await;
        }
        eventually_within(LIMIT, words, async || browser.text("[data-key=redis]").await.contains(words)).await;
    };
    shown("Up").await;
    app.servers().redis().freeze();
    eventually_within(LIMIT, "Redis is down", async || state(Service::Redis) == State::Down).await;
    shown("No response within 1000 ms").await;
    eventually_within(LIMIT, "the menu shows the outage", async || browser.text(".sidebar").await.contains("1 down")).await;
    app.servers().redis().thaw();
    eventually_within(LIMIT, "Redis is up", async || state(Service::Redis) == State::Up).await;
    shown("Required for").await;
    browser.click("form[action='/health/checks'] button").await;
    eventually_within(LIMIT, "the result is shown", async || browser.text(".flash").await.contains("Checked: ")).await;
    assert_eq!(browser.unexpected_errors().await, Vec::<String>::new());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_scripts_the_page_updates_itself() {
    shows_changes(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_scripts_a_reload_updates_the_page() {
    shows_changes(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_phone_layout_shows_no_outage_while_all_services_are_up() {
    let app = TestApp::start().await;
    eventually("all is up", async || app.ctx.health.down().is_empty() && app.ctx.health.one(Service::S3).state == State::Up).await;
    let browser = signed_in(&app, Role::Viewer, Settings { width: 390, ..Settings::default() }).await;
    for page in ["/", "/health", "/buckets"] {
        browser.goto(&format!("{}{page}", app.base)).await;
        assert!(!browser.text(".topbar").await.contains("down"), "{page}");
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_update_preserves_the_focus() {
    let app = TestApp::start().await;
    eventually("all is up", async || app.ctx.health.one(Service::S3).state == State::Up).await;
    let browser = signed_in(&app, Role::Viewer, Settings::default()).await;
    browser.goto(&format!("{}/health", app.base)).await;
    let run = async |script: &str| browser.client.execute(script, Vec::new()).await.unwrap();
    run("document.querySelector('[data-key=redis] h2 a').focus(); document.querySelector('[data-key=redis]').dataset.old = 'yes'").await;
    eventually_within(LIMIT, "the card has been replaced", async || {
        run("return document.querySelector('[data-key=redis]').dataset.old ?? ''").await == ""
    })
    .await;
    assert_eq!(run("return document.activeElement.textContent").await, "Redis");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_service_updates_itself() {
    let app = TestApp::with_own_servers().await;
    eventually("Redis is up", async || app.ctx.health.one(Service::Redis).state == State::Up).await;
    let browser = signed_in(&app, Role::Viewer, Settings::default()).await;
    browser.goto(&format!("{}/health/services/redis?range=day", app.base)).await;
    let run = async |script: &str| browser.client.execute(script, Vec::new()).await.unwrap();
    run("document.querySelector('.switch [aria-current]').focus()").await;
    app.servers().redis().freeze();
    let shows = async |selector: &str, text: &str| {
        eventually_within(LIMIT, text, async || browser.text(selector).await.contains(text)).await;
    };
    shows("h1", "Down").await;
    assert_eq!(browser.text("[data-status]").await, "Redis: Down", "screen readers announce the change");
    shows("main", "What to do").await;
    shows("[data-key=incidents]", "Ongoing").await;
    shows(".sidebar", "1 down").await;
    browser.picture("health-service-live-down").await;
    app.servers().redis().thaw();
    shows("h1", "Up").await;
    assert_eq!(run("return document.activeElement.textContent").await, "24 hours", "the focus is preserved");
    assert_eq!(browser.axe_violations().await, Vec::<String>::new());
    assert_eq!(browser.unexpected_errors().await, Vec::<String>::new());
    browser.close().await;
}

/// For example when Larder restarts behind a proxy, or when Postgres is down for longer than sessions are cached.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_shows_that_live_updates_stopped_and_reconnects() {
    let app = TestApp::start().await;
    let switch = TcpSwitch::start(&app.base).await;
    let browser = signed_in_at(&app, &switch.base, Role::Viewer, Settings::default()).await;
    browser.goto(&format!("{}/health", switch.base)).await;
    let stalled = async || browser.text("main").await.contains("Live updates stopped");
    assert!(!stalled().await);
    let proxy = HttpStub::always(Reply::page(503, "content-type: text/html\r\n", "no"));
    switch.switch_to(&proxy.base);
    switch.close_connections();
    eventually_within(LIMIT, "the page shows the interruption", stalled).await;
    switch.switch_to(&app.base);
    eventually_within(LIMIT, "the page has reconnected", async || !stalled().await).await;
    // Connection refused: the browser retries forever.
    switch.switch_to("http://127.0.0.1:1");
    switch.close_connections();
    eventually_within(LIMIT, "the page shows the second interruption", stalled).await;
    switch.switch_to(&app.base);
    eventually_within(LIMIT, "the page has reconnected again", async || !stalled().await).await;
    // The connection stays open without any data.
    let silent = HttpStub::always(Reply::Freeze("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"));
    switch.switch_to(&silent.base);
    switch.close_connections();
    eventually_within(LIMIT * 2, "the page detects the missing heartbeats", stalled).await;
    browser.close().await;
}
