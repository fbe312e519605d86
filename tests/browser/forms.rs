//! What people do to forms: a double click, going back, and dropping what cannot be uploaded.

use fantoccini::Locator;
use larder::domain::actor::Role;

use super::signed_in;
use crate::support::{Settings, TestApp, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_double_click_sends_a_form_once_and_going_back_sends_nothing() {
    let app = TestApp::start().await;
    let browser = signed_in(&app, Role::Admin, Settings::default()).await;
    let name = format!("twice-{}", &app.bucket[app.bucket.len() - 12..]);
    browser.goto(&format!("{}/buckets", app.base)).await;
    let twice = "window.addEventListener('submit', (event) => {
          if (!event.defaultPrevented) sessionStorage.sent = Number(sessionStorage.sent ?? 0) + 1;
        });
        const form = document.querySelector('#bucket-name').form;
        form.querySelector('#bucket-name').value = arguments[0];
        const button = form.querySelector('button.primary, button:not([type=button])');
        button.click();
        button.click();";
    browser.client.execute(twice, vec![name.clone().into()]).await.unwrap();
    eventually("the bucket is created", async || {
        let text = browser.text("body").await;
        assert!(!text.contains("already exists"), "{text}");
        text.contains(&name) && browser.client.find(Locator::Css("[role=status]")).await.is_ok()
    })
    .await;
    let created = async || {
        let sql = app.sql().await;
        let count = "SELECT count(*) FROM audit.events WHERE action = 'bucket.create' AND resource = 's3://' || $1 || '/'";
        sql.query_one(count, &[&name]).await.unwrap().get::<_, i64>(0)
    };
    assert_eq!(created().await, 1);
    let sent = browser.client.execute("return sessionStorage.sent", Vec::new()).await.unwrap();
    assert_eq!(sent, "1");
    browser.client.back().await.unwrap();
    browser.find("#main").await;
    browser.client.forward().await.unwrap();
    browser.find("#main").await;
    assert_eq!(created().await, 1);
    assert_eq!(browser.unexpected_errors().await, Vec::<String>::new());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_dropped_has_a_row() {
    let app = TestApp::start().await;
    let browser = signed_in(&app, Role::Editor, Settings::default()).await;
    browser.goto(&format!("{}/uploads/new?bucket={}", app.base, app.bucket)).await;
    browser.find(".actions[data-live]:not([hidden])").await;
    // Scripts cannot drop real folders, so the entries have the interface of those that a browser passes.
    let drop = "const file = (name) => ({ isFile: true, name, file: (done) => done(new File(['content'], name)) });
        const locked = (name) => ({ isFile: true, name, file: (done, failed) => failed(new DOMException('', 'NotReadableError')) });
        const folder = (name, batches) => ({ isDirectory: true, name, createReader: () => ({
          readEntries: (done, failed) => batches ? done(batches.shift() ?? []) : failed(new DOMException('', 'NotReadableError')) }) });
        const entries = [folder('scans', [[file('a.txt'), locked('locked.txt')], [folder('empty', []), folder('private', null)]])];
        const event = new Event('drop', { bubbles: true, cancelable: true });
        event.dataTransfer = { types: ['Files'], items: entries.map((entry) => ({ webkitGetAsEntry: () => entry })), files: [] };
        document.dispatchEvent(event);";
    browser.client.execute(drop, Vec::new()).await.unwrap();
    let rows = async |selector: &str| browser.client.find_all(Locator::Css(selector)).await.unwrap();
    eventually("the readable file is stored", async || rows(".queue-row.is-stored").await.len() == 1).await;
    let mut failed = Vec::new();
    for row in rows(".queue-row.is-failed").await {
        failed.push(row.text().await.unwrap());
    }
    assert_eq!(failed.len(), 3, "{failed:?}");
    for (row, (name, why)) in failed.iter().zip([
        ("scans/locked.txt", "cannot read this file"),
        ("scans/empty/", "folder is empty"),
        ("scans/private/", "cannot read this folder"),
    ]) {
        assert!(row.contains(name) && row.contains(why) && row.contains("Not uploaded") && !row.contains("Retry"), "{row}");
    }
    assert!(browser.text("[data-sums]").await.contains("1 stored, 3 failed"));
    assert!(rows("[data-retry-all]:not([hidden])").await.is_empty());
    assert_eq!(browser.unexpected_errors().await, Vec::<String>::new());
    browser.close().await;
}
