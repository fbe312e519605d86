//! Records compared with the store: every kind of difference is reported, repaired, and then gone.

use bytes::Bytes;
use larder::domain::Error;
use larder::domain::actor::{Actor, Role};
use larder::domain::audit;
use larder::domain::names::BucketName;
use larder::domain::reconcile::{Options, Report, run};
use larder::domain::uploads::Receiver;
use larder::stores::s3::PutOptions;

use crate::interrupted_deletions::with_short_lease;
use crate::support::TestApp;
use crate::uploads::states;

const TEXT: PutOptions<'static> = PutOptions { content_type: "text/plain", metadata: &[], only_if_absent: false };

/// Uploaded through Larder, under its whole key.
async fn upload(app: &TestApp, key: &str) {
    let at = key.rfind('/').map_or(0, |at| at + 1);
    let actor = Actor { role: Role::Editor, ..Actor::system("Tests") };
    let receiver = Receiver::open(&app.ctx, &actor, BucketName::parse(&app.bucket).unwrap(), &key[..at], false).await.unwrap();
    let mut upload = receiver.begin(&key[at..], None, None).await.map_err(|refused| refused.error).unwrap();
    upload.write(Bytes::from_static(b"content")).await.unwrap();
    upload.finish().await.unwrap();
}

async fn reconcile(app: &TestApp, repair: bool) -> (Report, Vec<String>) {
    let bucket = BucketName::parse(&app.bucket).unwrap();
    let mut lines = Vec::new();
    let options = Options { bucket: Some(&bucket), repair };
    let report = run(&with_short_lease(app), &options, &mut |line: &str| lines.push(line.to_owned())).await.unwrap();
    (report, lines)
}

async fn set(app: &TestApp, key: &str, values: &str) {
    let changed = app.sql().await.execute(&format!("UPDATE files SET {values} WHERE object_key = $1"), &[&key]).await.unwrap();
    assert_eq!(changed, 1, "{key}");
}

async fn put(app: &TestApp, key: &str) {
    app.ctx.s3.put(&app.bucket, key, Bytes::from_static(b"by another program"), &TEXT).await.unwrap();
}

async fn remove(app: &TestApp, key: &str) {
    let etag = app.ctx.s3.head(&app.bucket, key, None).await.unwrap().etag;
    app.ctx.s3.delete_if(&app.bucket, key, &etag).await.unwrap();
}

/// One difference of each kind.
async fn create_differences(app: &TestApp) -> (String, String) {
    for key in ["well", "a/in", "a-beside", "gone", "a/gone", "changed", "whole", "stopped", "half-deleted", "leftover"] {
        upload(app, key).await;
    }
    remove(app, "gone").await;
    remove(app, "a/gone").await;
    put(app, "changed").await;
    put(app, "foreign").await;
    set(app, "whole", "state = 'failed', error = 'lost', etag = NULL").await;
    set(app, "stopped", "state = 'pending', lease = gen_random_uuid(), heartbeat_at = now() - interval '100 seconds'").await;
    set(app, "half-deleted", "state = 'deleting', lease = gen_random_uuid(), heartbeat_at = now() - interval '100 seconds'").await;
    let ours = app.ctx.s3.create_multipart(&app.bucket, "leftover", &TEXT).await.unwrap();
    set(app, "leftover", &format!("s3_upload_id = '{ours}'")).await;
    let theirs = app.ctx.s3.create_multipart(&app.bucket, "theirs", &TEXT).await.unwrap();
    (ours, theirs)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_difference_is_reported_then_repaired_and_then_gone() {
    let app = TestApp::start().await;
    app.rules_known().await;
    let (ours, theirs) = create_differences(&app).await;
    let before = app.sql().await.query("SELECT id::text, state, etag, updated_at::text FROM files ORDER BY id", &[]).await.unwrap();

    let (report, lines) = reconcile(&app, false).await;
    let said = |lines: &[String], key: &str| lines.iter().filter(|line| line.contains(&format!("{}/{key}\"", app.bucket))).count();
    for key in ["gone", "a/gone", "changed", "whole", "stopped", "half-deleted", "leftover", "theirs"] {
        assert_eq!(said(&lines, key), 1, "{key}: {lines:#?}");
    }
    assert_eq!((report.differences, report.repaired, report.left(), report.notes), (7, 0, 7, 1), "{lines:#?}");
    assert_eq!((report.objects, report.uploads), (9, 2));
    let after = app.sql().await.query("SELECT id::text, state, etag, updated_at::text FROM files ORDER BY id", &[]).await.unwrap();
    let row = |row: &tokio_postgres::Row| (row.get::<_, String>(0), row.get::<_, String>(1), row.get::<_, String>(3));
    assert_eq!(before.iter().map(row).collect::<Vec<_>>(), after.iter().map(row).collect::<Vec<_>>(), "nothing was changed");

    let (report, lines) = reconcile(&app, true).await;
    assert_eq!((report.differences, report.repaired, report.notes), (7, 7, 1), "{lines:#?}");
    for (key, state) in [
        ("well", "ready"),
        ("a/in", "ready"),
        ("a-beside", "ready"),
        ("gone", "deleted"),
        ("a/gone", "deleted"),
        ("changed", "superseded"),
        ("whole", "ready"),
        ("stopped", "ready"),
        ("half-deleted", "ready"),
        ("leftover", "ready"),
    ] {
        assert_eq!(states(&app, key).await, [state], "{key}");
    }
    for key in ["well", "a/in", "changed", "foreign", "whole", "stopped", "half-deleted", "leftover"] {
        assert!(app.ctx.s3.head(&app.bucket, key, None).await.is_ok(), "{key} still exists");
    }
    assert!(app.ctx.s3.list_parts(&app.bucket, "leftover", &ours, None, 1).await.is_err());
    assert!(
        app.ctx.s3.list_parts(&app.bucket, "theirs", &theirs, None, 1).await.is_ok(),
        "an upload of another application is not touched"
    );
    let actor = Actor { role: Role::Admin, ..Actor::system("Tests") };
    let events = audit::of_resource(&app.ctx, &actor, &audit::object(&app.bucket, "whole"), 1).await.unwrap();
    assert_eq!((events[0].action.as_str(), events[0].actor_label.as_str()), ("file.reconcile", "Reconciliation"));

    let (report, lines) = reconcile(&app, true).await;
    assert_eq!((report.differences, report.left(), report.notes), (0, 0, 1), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_in_any_listing_order_are_no_difference() {
    let app = TestApp::start().await;
    app.rules_known().await;
    // Rows as left by an upload, for objects in folders next to files whose names sort around the slash.
    let mut keys = Vec::new();
    for n in 0..30 {
        keys.extend([format!("d{n}/x"), format!("d{n}-x"), format!("d{n}.x"), format!("d{n}/y/z")]);
    }
    for key in &keys {
        upload(&app, key).await;
    }
    let (report, lines) = reconcile(&app, false).await;
    assert_eq!((report.objects, report.differences), (keys.len() as u64, 0), "{lines:#?}");
    for key in ["d7/x", "d7-x", "d29/y/z"] {
        remove(&app, key).await;
    }
    let (report, lines) = reconcile(&app, true).await;
    assert_eq!((report.differences, report.repaired), (3, 3), "{lines:#?}");
    assert_eq!(reconcile(&app, false).await.0.differences, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_bucket_and_one_that_never_existed() {
    let app = TestApp::start().await;
    app.rules_known().await;
    upload(&app, "a").await;
    remove(&app, "a").await;
    app.ctx.s3.delete_bucket(&app.bucket).await.unwrap();
    let mut lines = Vec::new();
    let all = Options { bucket: None, repair: true };
    let report = run(&app.ctx, &all, &mut |line: &str| lines.push(line.to_owned())).await.unwrap();
    assert_eq!((report.differences, report.repaired), (0, 0), "possibly the wrong store: {lines:#?}");
    assert!(lines.iter().any(|line| line.contains("does not exist in the store")), "{lines:#?}");
    let (report, lines) = reconcile(&app, true).await;
    assert_eq!((report.differences, report.repaired), (1, 1), "{lines:#?}");
    let never = BucketName::parse("t-never-was").unwrap();
    let options = Options { bucket: Some(&never), repair: true };
    assert!(matches!(run(&app.ctx, &options, &mut |_| {}).await, Err(Error::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumable_upload_is_no_difference() {
    let app = TestApp::start().await;
    app.rules_known().await;
    upload(&app, "a").await;
    remove(&app, "a").await;
    let open = app.ctx.s3.create_multipart(&app.bucket, "a", &TEXT).await.unwrap();
    let silent = "state = 'pending', lease = gen_random_uuid(), heartbeat_at = now() - interval '100 seconds', fingerprint = 'f', length = 7, part_size = 8388608";
    set(&app, "a", &format!("{silent}, s3_upload_id = '{open}'")).await;
    let (report, lines) = reconcile(&app, true).await;
    assert_eq!((report.differences, report.notes), (0, 0), "{lines:#?}");
    assert!(app.ctx.s3.list_parts(&app.bucket, "a", &open, None, 1).await.is_ok(), "its parts are kept");
}
