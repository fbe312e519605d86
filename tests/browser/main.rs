//! The console in Chromium, with script and without.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a test that fails")]

#[path = "../support/mod.rs"]
mod support;

use support::{Browser, Settings};

const PAGE: &str = "data:text/html,<html lang=en><title>T</title><main><h1>Here</h1><p id=p>no script</p></main>\
    <script>document.getElementById('p').textContent = 'script'; console.error('seen')</script></html>";

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_runs_script_only_when_it_is_asked_to() {
    let browser = Browser::open(Settings::default()).await;
    browser.goto(PAGE).await;
    assert_eq!(browser.text("#p").await, "script");
    assert!(browser.console_errors().await.iter().any(|line| line.contains("seen")));
    assert!(browser.picture("support").await.is_file());
    assert_eq!(browser.axe_violations().await, Vec::<String>::new());
    browser.close().await;

    let browser = Browser::open(Settings { script: false, dark: true, width: 390, height: 800 }).await;
    browser.goto(PAGE).await;
    assert_eq!(browser.text("#p").await, "no script");
    assert!(browser.picture("support-no-script").await.is_file());
    browser.close().await;
}
