//! The settings of a bucket: what the store says, what it can do, and that it can be asked again.

use larder::domain::actor::Role;

use crate::support::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_can_do_is_shown_in_words_and_can_be_tried_again() {
    let app = TestApp::start().await;
    app.rules_known().await;
    let path = format!("/buckets/{}/settings", app.bucket);
    let again = format!("/buckets/{}/abilities", app.bucket);
    let viewer = app.sign_in(Role::Viewer).await;
    let page = viewer.get(&path).await.expect_status(200);
    assert_eq!(page.count(".abilities tbody tr"), 14);
    assert!(page.has("#abilities time[datetime]") && !page.has(&format!("form[action='{again}']")));
    let minio = std::env::var_os("LARDER_TEST_S3").is_some_and(|kind| kind == "minio");
    let row = page.texts(".abilities tbody tr").into_iter().find(|row| row.contains("Delete only")).unwrap();
    let expected = if minio { "No The store ignores the condition. Larder looks first" } else { "Yes What has changed" };
    assert!(row.contains(expected), "{row}");

    let editor = app.sign_in(Role::Editor).await;
    assert!(editor.get(&path).await.has(&format!("form[method=post][action='{again}'] button")));
    assert_eq!(editor.post(&again, &[]).await.expect_status(303).location(), path);
    assert!(editor.get(&path).await.expect_status(200).text_of(".flash").contains("tried again"));
    editor.post("/buckets/t-no-such-bucket/abilities", &[]).await.expect_status(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_the_page_opens_with_what_was_found_before() {
    let app = TestApp::with_own_servers().await;
    app.rules_known().await;
    let viewer = app.sign_in(Role::Viewer).await;
    let path = format!("/buckets/{}/settings", app.bucket);
    app.servers().s3().freeze();
    let started = std::time::Instant::now();
    let page = viewer.get(&path).await.expect_status(200);
    assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(page.text_of("main").contains("The store does not answer"), "{}", page.text_of("main"));
    assert_eq!(page.count(".abilities tbody tr"), 14, "what was found before still stands");
    app.servers().s3().thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_key_may_not_write_nothing_is_claimed() {
    let endpoint = crate::lifecycle::forbidding_store().await;
    let app = TestApp::start_with(|config| {
        config.s3.endpoint = Some(endpoint);
        config.s3.buckets = vec!["scans".into()];
    })
    .await;
    let editor = app.sign_in(Role::Editor).await;
    let page = editor.get("/buckets/scans/settings").await.expect_status(200);
    assert!(page.text_of("#abilities").contains("Not tried yet"), "{}", page.text_of("#abilities"));
    editor.post("/buckets/scans/abilities", &[]).await.expect_status(303);
    let page = editor.get("/buckets/scans/settings").await.expect_status(200);
    assert!(page.text_of(".flash").contains("may not write"), "{}", page.text_of(".flash"));
}
