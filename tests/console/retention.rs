//! Buckets that keep versions or objects.

use aws_sdk_s3::types::{DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockRetentionMode, ObjectLockRule};
use larder::config::{Config, Stores};
use larder::console::view::paths;
use larder::domain::actor::Role;

use crate::support::{Set, TestApp, eventually, s3_client};

/// A bucket whose new objects cannot be deleted for a day.
async fn retaining_bucket() -> (aws_sdk_s3::Client, String) {
    let set = Set::shared().await;
    let client = s3_client(&Config::from_lookup(&|_| None, Stores::Embedded(set.servers().urls())).unwrap().s3);
    let bucket = format!("t-{}", uuid::Uuid::now_v7().simple());
    client.create_bucket().bucket(&bucket).object_lock_enabled_for_bucket(true).send().await.unwrap();
    let day = DefaultRetention::builder().mode(ObjectLockRetentionMode::Governance).days(1).build();
    let lock = ObjectLockConfiguration::builder().object_lock_enabled(ObjectLockEnabled::Enabled);
    let lock = lock.rule(ObjectLockRule::builder().default_retention(day).build()).build();
    client.put_object_lock_configuration().bucket(&bucket).object_lock_configuration(lock).send().await.unwrap();
    (client, bucket)
}

async fn versions(client: &aws_sdk_s3::Client, bucket: &str) -> usize {
    let found = client.list_object_versions().bucket(bucket).send().await.unwrap();
    found.versions().len() + found.delete_markers().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_for_trial_to_a_bucket_that_keeps_new_objects() {
    let (client, bucket) = retaining_bucket().await;
    let name = bucket.clone();
    let app = TestApp::start_with(|config| config.s3.buckets = vec![name]).await;
    let editor = app.sign_in(Role::Editor).await;
    eventually("the health page says that it only reads", async || {
        editor.get("/health").await.text().contains("cannot be deleted during its default retention")
    })
    .await;
    let settings = format!("/buckets/{bucket}/settings");
    assert!(editor.get(&settings).await.expect_status(200).text_of("main").contains("health checks only read"));
    editor.post(&format!("/buckets/{bucket}/abilities"), &[]).await.expect_status(303);
    let page = editor.get(&settings).await.expect_status(200);
    assert!(page.text_of(".flash").contains("cannot be deleted during its default retention"), "{}", page.text_of(".flash"));
    assert_eq!(versions(&client, &bucket).await, 0);

    editor.upload(&bucket, "kept.txt", "1").await.expect_status(303);
    let etag = app.ctx.s3.head(&bucket, "kept.txt", None).await.unwrap().etag;
    let fields = [("k", paths::field("kept.txt")), ("etag", etag)];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    let confirmation = editor.post(&format!("/buckets/{bucket}/deletions"), &fields).await.expect_status(200);
    assert!(confirmation.text_of("main").contains("The bucket is versioned: earlier versions remain"), "{}", confirmation.text_of("main"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_from_a_bucket_without_versions_cannot_be_undone() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    editor.upload(&app.bucket, "a.txt", "1").await.expect_status(303);
    let etag = app.ctx.s3.head(&app.bucket, "a.txt", None).await.unwrap().etag;
    let fields = [("k", paths::field("a.txt")), ("etag", etag)];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    let confirmation = editor.post(&format!("/buckets/{}/deletions", app.bucket), &fields).await.expect_status(200);
    assert!(confirmation.text_of("main").contains("This cannot be undone."), "{}", confirmation.text_of("main"));
}
