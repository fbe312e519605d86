//! Hostile names and files are displayed but never executed.

use bytes::Bytes;
use larder::domain::actor::Role;
use larder::stores::s3::PutOptions;

use crate::signed_in;
use crate::support::{Settings, TestApp};

const NAMES: [&str; 8] = [
    "<script>window.ran = 1</script>",
    "<img src=x onerror=\"window.ran = 1\">.png",
    "\"><svg onload=window.ran=1>.svg",
    "'-window.ran=1-'.html",
    "{{7*7}}${7*7}.txt",
    "\u{202e}gpj.exe",
    "javascript:window.ran=1",
    "a\nb\tc.txt",
];
const CONTENT: &[u8] =
    b"<!doctype html><html><body onload=\"parent.ran = 1; top.ran = 1; window.ran = 1\"><script>top.ran = 1; window.ran = 1</script>\
    <svg xmlns='http://www.w3.org/2000/svg' onload='top.ran = 1'><script>top.ran = 1</script></svg></body></html>";

#[tokio::test(flavor = "multi_thread")]
async fn no_page_executes_hostile_names_or_files() {
    let app = TestApp::start().await;
    let rules = app.rules_known().await;
    let browser = signed_in(&app, Role::Admin, Settings::default()).await;
    let editor = app.sign_in(Role::Editor).await;
    editor.upload(&app.bucket, "<script>window.ran = 1<script>.html", CONTENT).await.expect_status(303);
    let mut pages = vec!["/".to_owned(), "/uploads".into(), "/audit".into(), format!("/buckets/{}", app.bucket)];
    for name in NAMES.iter().filter(|name| rules.mangled(name).is_none()) {
        for media in ["text/html", "image/svg+xml"] {
            let options = PutOptions { content_type: media, metadata: &[("note", "<script>window.ran=1</script>")], only_if_absent: false };
            app.ctx.s3.put(&app.bucket, name, Bytes::from_static(CONTENT), &options).await.unwrap();
        }
        let key = larder::console::view::paths::encode(name);
        pages.push(format!("/buckets/{}/object?key={key}", app.bucket));
        pages.push(format!("/buckets/{}/preview?key={key}", app.bucket));
        pages.push(format!("/buckets/{}?prefix={key}", app.bucket));
        pages.push(format!("/buckets/{}?starts={key}", app.bucket));
        pages.push(format!("/uploads?q={key}"));
        pages.push(format!("/audit?actor={key}&resource={key}"));
    }
    for page in pages {
        browser.goto(&format!("{}{page}", app.base)).await;
        let ran = browser.client.execute("return window.ran ?? null", Vec::new()).await.unwrap();
        assert!(ran.is_null(), "a script ran on {page}");
        let reports: Vec<String> = browser.console_errors().await.into_iter().filter(|line| line.contains("Security Policy")).collect();
        assert_eq!(reports, Vec::<String>::new(), "{page}");
    }
    browser.close().await;
}
