//! The page of health as somebody leaves it open: it follows what happens, with script by itself, without by reload.

use std::time::Duration;

use larder::domain::actor::Role;
use larder::domain::health::{Service, State};

use crate::support::{HttpStub, Reply, Settings, TcpSwitch, TestApp, eventually, eventually_within};
use crate::{signed_in, signed_in_at};

const LIMIT: Duration = Duration::from_secs(20);

async fn follow(script: bool) {
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
    shown("No answer within 1000 ms").await;
    eventually_within(LIMIT, "the menu says so", async || browser.text(".sidebar").await.contains("1 down")).await;
    app.servers().redis().thaw();
    eventually_within(LIMIT, "Redis is up", async || state(Service::Redis) == State::Up).await;
    shown("Needed for").await;
    browser.click("form[action='/health/checks'] button").await;
    eventually_within(LIMIT, "what was found is said", async || browser.text(".flash").await.contains("Checked just now")).await;
    assert_eq!(browser.unexpected_errors().await, Vec::<String>::new());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_script_it_follows_by_itself() {
    follow(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_script_it_follows_by_reload() {
    follow(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_phone_nothing_is_said_to_be_down_while_all_is_up() {
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
async fn what_has_the_focus_keeps_it_while_the_page_is_renewed() {
    let app = TestApp::start().await;
    eventually("all is up", async || app.ctx.health.one(Service::S3).state == State::Up).await;
    let browser = signed_in(&app, Role::Viewer, Settings::default()).await;
    browser.goto(&format!("{}/health", app.base)).await;
    let run = async |script: &str| browser.client.execute(script, Vec::new()).await.unwrap();
    run("document.querySelector('[data-key=redis] h2 a').focus(); document.querySelector('[data-key=redis]').dataset.old = 'yes'").await;
    eventually_within(LIMIT, "the card is another one", async || {
        run("return document.querySelector('[data-key=redis]').dataset.old ?? ''").await == ""
    })
    .await;
    assert_eq!(run("return document.activeElement.textContent").await, "Redis");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_service_follows_by_itself() {
    let app = TestApp::with_own_servers().await;
    eventually("Redis is up", async || app.ctx.health.one(Service::Redis).state == State::Up).await;
    let browser = signed_in(&app, Role::Viewer, Settings::default()).await;
    browser.goto(&format!("{}/health/services/redis?range=day", app.base)).await;
    let run = async |script: &str| browser.client.execute(script, Vec::new()).await.unwrap();
    run("document.querySelector('.switch [aria-current]').focus()").await;
    app.servers().redis().freeze();
    let says = async |place: &str, words: &str| {
        eventually_within(LIMIT, words, async || browser.text(place).await.contains(words)).await;
    };
    says("h1", "Down").await;
    assert_eq!(browser.text("[data-status]").await, "Redis: Down", "screen readers are told");
    says("main", "What to do").await;
    says("[data-key=incidents]", "Lasts").await;
    says(".sidebar", "1 down").await;
    browser.picture("health-service-live-down").await;
    app.servers().redis().thaw();
    says("h1", "Up").await;
    assert_eq!(run("return document.activeElement.textContent").await, "24 hours", "the focus stays");
    assert_eq!(browser.axe_violations().await, Vec::<String>::new());
    assert_eq!(browser.unexpected_errors().await, Vec::<String>::new());
    browser.close().await;
}

/// As when the console is restarted behind a proxy, or Postgres is gone for longer than sessions are remembered.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_not_live_any_more_says_so_and_comes_back() {
    let app = TestApp::start().await;
    let switch = TcpSwitch::start(&app.base).await;
    let browser = signed_in_at(&app, &switch.base, Role::Viewer, Settings::default()).await;
    browser.goto(&format!("{}/health", switch.base)).await;
    let stalled = async || browser.text("main").await.contains("not live any more");
    assert!(!stalled().await);
    let proxy = HttpStub::always(Reply::page(503, "content-type: text/html\r\n", "no"));
    switch.switch_to(&proxy.base);
    switch.close_connections();
    eventually_within(LIMIT, "it says so", stalled).await;
    switch.switch_to(&app.base);
    eventually_within(LIMIT, "it is live again", async || !stalled().await).await;
    // Nobody listens: the browser tries again for ever.
    switch.switch_to("http://127.0.0.1:1");
    switch.close_connections();
    eventually_within(LIMIT, "it says so, too", stalled).await;
    switch.switch_to(&app.base);
    eventually_within(LIMIT, "it is live once more", async || !stalled().await).await;
    // No word comes, and no end.
    let silent = HttpStub::always(Reply::Freeze("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"));
    switch.switch_to(&silent.base);
    switch.close_connections();
    eventually_within(LIMIT * 2, "it hears the silence", stalled).await;
    browser.close().await;
}
