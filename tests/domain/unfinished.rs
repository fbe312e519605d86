//! Deletions that stop halfway, wherever they stop.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use larder::config::Config;
use larder::domain::Context;
use larder::domain::actor::{Actor, Role};
use larder::domain::audit;
use larder::domain::names::{BucketName, ObjectKey};
use larder::domain::objects::{self, DeleteOutcome, ObjectToDelete, Origin, unfinished};
use larder::stores::s3::PutOptions;

use crate::support::{TestApp, eventually};
use crate::uploads::{states, upload};

fn actor() -> Actor {
    Actor { role: Role::Editor, ..Actor::system("Tests") }
}

/// Whoever goes by this takes for silent what the app's own passes still leave alone.
pub fn impatient(app: &TestApp) -> Context {
    let mut config = Config::clone(&app.ctx.config);
    config.upload.lease = Duration::from_secs(60);
    Context { config: Arc::new(config), ..app.ctx.clone() }
}

/// Uploaded through Larder, and its deletion begun a while ago.
async fn begun(app: &TestApp, key: &str) -> ObjectToDelete {
    let file = upload(app, key, b"content", false).await.unwrap();
    let update = "UPDATE files SET state = 'deleting', lease = gen_random_uuid(), heartbeat_at = now() - interval '100 seconds'
                  WHERE object_key = $1 AND state = 'ready'";
    assert_eq!(app.sql().await.execute(update, &[&key]).await.unwrap(), 1);
    ObjectToDelete { key: ObjectKey::parse(key).unwrap(), etag: file.etag.unwrap() }
}

async fn put(app: &TestApp, key: &str, content: &'static [u8]) {
    let options = PutOptions { content_type: "text/plain", metadata: &[], only_if_absent: false };
    app.ctx.s3.put(&app.bucket, key, Bytes::from_static(content), &options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_says_settles_a_deletion_that_stopped_halfway() {
    let app = TestApp::start().await;
    let ctx = impatient(&app);
    let (gone, kept, replaced) = (begun(&app, "gone").await, begun(&app, "kept").await, begun(&app, "replaced").await);
    app.ctx.s3.delete_if(&app.bucket, "gone", &gone.etag).await.unwrap();
    put(&app, "replaced", b"by another program").await;
    // A new upload has taken the key of one whose object the store still had.
    begun(&app, "again").await;
    upload(&app, "again", b"content", true).await.unwrap();
    assert_eq!(states(&app, "again").await, ["deleting", "ready"]);

    assert_eq!(unfinished::pass(&ctx).await.unwrap(), 4);
    assert_eq!(states(&app, "gone").await, ["deleted"]);
    assert_eq!(states(&app, "kept").await, ["ready"]);
    assert_eq!(states(&app, "replaced").await, ["superseded"]);
    assert_eq!(states(&app, "again").await, ["superseded", "ready"]);
    assert!(app.ctx.s3.head(&app.bucket, "kept", None).await.is_ok_and(|head| head.etag == kept.etag));
    assert!(app.ctx.s3.head(&app.bucket, "replaced", None).await.is_ok_and(|head| head.etag != replaced.etag));
    let events = audit::of_resource(&app.ctx, &actor(), &audit::object(&app.bucket, "gone"), 10).await.unwrap();
    assert_eq!((events[0].action.as_str(), events[0].actor_label.as_str()), ("object.delete", "Larder"));
    assert!(events[0].detail["settled"].as_str().is_some());
    assert_eq!(unfinished::pass(&ctx).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_under_way_is_left_alone_and_the_object_still_known() {
    let app = TestApp::start().await;
    let ctx = impatient(&app);
    let doomed = begun(&app, "a").await;
    app.sql().await.execute("UPDATE files SET heartbeat_at = now()", &[]).await.unwrap();
    assert_eq!(unfinished::pass(&ctx).await.unwrap(), 0);
    let bucket = BucketName::parse(&app.bucket).unwrap();
    let found = objects::find(&app.ctx, &bucket, &doomed.key, None).await.unwrap();
    assert!(matches!(found.origin, Origin::Larder { .. }), "{:?}", found.origin);
    assert_eq!(states(&app, "a").await, ["deleting"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_settle_at_once_do_each_deletion_once() {
    let app = TestApp::start().await;
    let ctx = impatient(&app);
    for n in 0..12 {
        let doomed = begun(&app, &format!("n{n}")).await;
        app.ctx.s3.delete_if(&app.bucket, doomed.key.as_str(), &doomed.etag).await.unwrap();
    }
    let passes = futures_util::future::join_all((0..4).map(|_| unfinished::pass(&ctx))).await;
    assert_eq!(passes.into_iter().map(|settled| settled.unwrap()).sum::<usize>(), 12);
    let events = "SELECT count(*) FROM audit.events WHERE action = 'object.delete'";
    assert_eq!(app.sql().await.query_one(events, &[]).await.unwrap().get::<_, i64>(0), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_marks_the_row_first_and_takes_it_back_where_nothing_went() {
    let app = TestApp::with_own_servers().await;
    let bucket = BucketName::parse(&app.bucket).unwrap();
    let file = upload(&app, "a", b"content", false).await.unwrap();
    let doomed = ObjectToDelete { key: ObjectKey::parse("a").unwrap(), etag: file.etag.unwrap() };
    put(&app, "a", b"changed").await;
    let fates = objects::delete(&app.ctx, &actor(), &bucket, std::slice::from_ref(&doomed)).await.unwrap();
    assert_eq!((fates[0].1.clone(), states(&app, "a").await), (DeleteOutcome::Changed, vec!["ready".to_owned()]));

    let file = upload(&app, "b", b"content", false).await.unwrap();
    let doomed = ObjectToDelete { key: ObjectKey::parse("b").unwrap(), etag: file.etag.unwrap() };
    app.servers().s3().freeze();
    assert!(objects::delete(&app.ctx, &actor(), &bucket, std::slice::from_ref(&doomed)).await.is_err());
    assert_eq!(states(&app, "b").await, ["deleting"], "nobody knows yet");
    app.servers().s3().thaw();
    let ctx = impatient(&app);
    app.sql().await.execute("UPDATE files SET heartbeat_at = now() - interval '100 seconds' WHERE object_key = 'b'", &[]).await.unwrap();
    eventually("the store is asked", async || unfinished::pass(&ctx).await.unwrap() == 1).await;
    let there = app.ctx.s3.head(&app.bucket, "b", None).await.is_ok();
    assert_eq!(states(&app, "b").await, [if there { "ready" } else { "deleted" }]);
}
