//! The whole user journey: setup, sign-in, create a bucket, upload, view, download, delete, sign out.

use std::path::PathBuf;

use fantoccini::Locator;
use larder::domain::setup;

use crate::support::{Browser, PASSWORD, Settings, TestApp, eventually};

const BUCKET: &str = "journey-photos";

#[tokio::test(flavor = "multi_thread")]
async fn with_script() {
    journey(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_script() {
    journey(false).await;
}

async fn journey(script: bool) {
    let app = TestApp::start().await;
    let bucket = format!("{BUCKET}-{}", &uuid::Uuid::now_v7().simple().to_string()[20..]);
    let browser = Browser::open(Settings { script, ..Settings::default() }).await;
    set_up_and_sign_in(&app, &browser).await;

    browser.goto(&format!("{}/buckets", app.base)).await;
    browser.click("summary.button.primary").await;
    browser.fill("#bucket-name", "Journey").await;
    browser.click("form[action='/buckets'] button.primary").await;
    eventually("the violated rule is shown next to the field", async || {
        browser.text("#bucket-name-why").await.contains("Uppercase letters")
    })
    .await;
    browser.fill("#bucket-name", &bucket).await;
    browser.click("form[action='/buckets'] button.primary").await;
    eventually("the new bucket opens", async || browser.text("h1").await == bucket).await;

    // Concurrent journeys share a download directory.
    let photo_name = format!("photo-{}.bin", if script { "live" } else { "plain" });
    upload(&app, &browser, (&bucket, &photo_name), script).await;
    let browse_url = format!("{}/buckets/{bucket}", app.base);
    browser.goto(&browse_url).await;
    let names = browser.client.find_all(Locator::Css("tbody .row-link")).await.unwrap();
    assert_eq!(names.len(), 2);

    browser.goto(&format!("{browse_url}/object?key=notes.txt")).await;
    eventually("the text is shown", async || browser.text("pre").await.contains("Hello from the journey")).await;
    let file = browser.downloads().join(&photo_name);
    // The browser downloads the file and stays on the current page.
    let _ = browser.client.goto(&format!("{browse_url}/download?key={photo_name}")).await;
    eventually("the download is complete", async || std::fs::read(&file).is_ok_and(|bytes| bytes == photo())).await;

    browser.goto(&browse_url).await;
    for mark in browser.client.find_all(Locator::Css("input[name=pair]")).await.unwrap() {
        mark.click().await.unwrap();
    }
    browser.click("[data-delete]").await;
    browser.find("form.confirm").await;
    eventually("the page lists the objects to delete", async || {
        let page = browser.text("form.confirm").await;
        page.contains("notes.txt") && page.contains(&photo_name)
    })
    .await;
    browser.click("button.danger-solid").await;
    eventually("the result is shown", async || browser.text("main").await.contains("Deleted")).await;
    browser.goto(&browse_url).await;
    eventually("the bucket is empty", async || browser.text("main").await.contains("is empty")).await;

    assert_eq!(browser.unexpected_errors().await, Vec::<String>::new());
    browser.click("summary.person").await;
    browser.click("form[action='/session/end'] button").await;
    eventually("the sign-in page is back", async || browser.client.current_url().await.unwrap().path() == "/session").await;
    browser.goto(&browse_url).await;
    assert_eq!(browser.client.current_url().await.unwrap().path(), "/session");
    browser.close().await;
}

async fn set_up_and_sign_in(app: &TestApp, browser: &Browser) {
    let token = setup::issue_token(&app.ctx).await.unwrap().unwrap();
    browser.goto(&format!("{}/setup?token={token}", app.base)).await;
    browser.fill("[name=name]", "Mara Lindqvist").await;
    browser.fill("[name=email]", "mara@example.com").await;
    browser.fill("[name=password]", PASSWORD).await;
    browser.click("form button.primary").await;
    eventually("the sign-in page follows", async || browser.client.current_url().await.unwrap().path() == "/session").await;
    browser.fill("[name=email]", "mara@example.com").await;
    browser.fill("[name=password]", "not the password").await;
    browser.click("form button.primary").await;
    eventually("the sign-in is rejected with a message", async || browser.text("main").await.contains("Incorrect")).await;
    browser.fill("[name=email]", "mara@example.com").await;
    browser.fill("[name=password]", PASSWORD).await;
    browser.click("form button.primary").await;
    eventually("the overview opens", async || browser.text("h1").await == "Overview").await;
}

fn photo() -> Vec<u8> {
    (0..3_000_000_u32).map(|at| (at % 253) as u8).collect()
}

/// Uploads two files through the form.
async fn upload(app: &TestApp, browser: &Browser, (bucket, photo_name): (&str, &str), script: bool) {
    let directory = tempfile::tempdir().unwrap();
    let files: [(PathBuf, Vec<u8>); 2] =
        [(directory.path().join("notes.txt"), b"Hello from the journey\n".to_vec()), (directory.path().join(photo_name), photo())];
    for (path, content) in &files {
        std::fs::write(path, content).unwrap();
    }
    browser.goto(&format!("{}/uploads/new?bucket={bucket}", app.base)).await;
    if script {
        browser.find(".actions[data-live]:not([hidden])").await;
        // With scripts the file input still exists but is hidden.
        let show = "const input = document.querySelector('input[type=file]'); input.closest('[data-plain]').hidden = false;";
        browser.client.execute(show, Vec::new()).await.unwrap();
    }
    browser.choose("#upload-files", &[&files[0].0, &files[1].0]).await;
    if script {
        eventually("both are stored", async || browser.client.find_all(Locator::Css(".queue-row.is-stored")).await.unwrap().len() == 2)
            .await;
    } else {
        browser.click("form.drop button.primary").await;
        eventually("the result page opens", async || browser.client.current_url().await.unwrap().path().starts_with("/uploads/0")).await;
        eventually("both are listed", async || {
            let page = browser.text("main").await;
            page.contains("notes.txt") && page.contains(photo_name)
        })
        .await;
    }
}
