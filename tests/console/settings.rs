//! The settings of a bucket and the features of its store.

use larder::domain::actor::Role;

use crate::support::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn store_features_are_shown_and_can_be_checked_again() {
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
    let expected = if minio { "No It ignores the condition. Larder checks before deleting" } else { "Yes An object that changed" };
    assert!(row.contains(expected), "{row}");

    let editor = app.sign_in(Role::Editor).await;
    assert!(editor.get(&path).await.has(&format!("form[method=post][action='{again}'] button")));
    assert_eq!(editor.post(&again, &[]).await.expect_status(303).location(), path);
    assert!(editor.get(&path).await.expect_status(200).text_of(".flash").contains("checked again"));
    editor.post("/buckets/t-no-such-bucket/abilities", &[]).await.expect_status(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_the_page_shows_earlier_results() {
    let app = TestApp::with_own_servers().await;
    app.rules_known().await;
    let viewer = app.sign_in(Role::Viewer).await;
    let path = format!("/buckets/{}/settings", app.bucket);
    app.servers().s3().freeze();
    let started = std::time::Instant::now();
    let page = viewer.get(&path).await.expect_status(200);
    assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(page.text_of("main").contains("The object store is not responding"), "{}", page.text_of("main"));
    assert_eq!(page.count(".abilities tbody tr"), 14, "earlier results are shown");
    app.servers().s3().thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn if_the_key_may_not_write_no_feature_is_claimed() {
    let endpoint = crate::lifecycle::forbidding_store().await;
    let app = TestApp::start_with(|config| {
        config.s3.endpoint = Some(endpoint);
        config.s3.buckets = vec!["scans".into()];
    })
    .await;
    let editor = app.sign_in(Role::Editor).await;
    let page = editor.get("/buckets/scans/settings").await.expect_status(200);
    assert!(page.text_of("#abilities").contains("Not checked yet"), "{}", page.text_of("#abilities"));
    editor.post("/buckets/scans/abilities", &[]).await.expect_status(303);
    let page = editor.get("/buckets/scans/settings").await.expect_status(200);
    assert!(page.text_of(".flash").contains("may not write"), "{}", page.text_of(".flash"));
}
