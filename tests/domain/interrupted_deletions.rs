//! Deletions interrupted at any point.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use larder::config::Config;
use larder::domain::Context;
use larder::domain::actor::{Actor, Role};
use larder::domain::audit;
use larder::domain::names::{BucketName, ObjectKey};
use larder::domain::objects::{self, DeleteOutcome, ObjectToDelete, Origin, deletions};
use larder::stores::s3::PutOptions;

use crate::support::{TestApp, eventually};
use crate::uploads::{states, upload};

fn actor() -> Actor {
    Actor { role: Role::Editor, ..Actor::system("Tests") }
}

/// A context with a short lease, which treats as expired what the app's own passes still leave alone.
pub fn with_short_lease(app: &TestApp) -> Context {
    let mut config = Config::clone(&app.ctx.config);
    config.upload.lease = Duration::from_secs(60);
    Context { config: Arc::new(config), ..app.ctx.clone() }
}

/// Uploaded through Larder, with a deletion started a while ago.
async fn started_deletion(app: &TestApp, key: &str) -> ObjectToDelete {
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
async fn an_interrupted_deletion_is_settled_by_the_state_of_the_store() {
    let app = TestApp::start().await;
    let ctx = with_short_lease(&app);
    let (gone, kept, replaced) =
        (started_deletion(&app, "gone").await, started_deletion(&app, "kept").await, started_deletion(&app, "replaced").await);
    app.ctx.s3.delete_if(&app.bucket, "gone", &gone.etag).await.unwrap();
    put(&app, "replaced", b"by another program").await;
    // A new upload has taken the key of a deletion whose object the store still had.
    started_deletion(&app, "again").await;
    upload(&app, "again", b"content", true).await.unwrap();
    assert_eq!(states(&app, "again").await, ["deleting", "ready"]);

    assert_eq!(deletions::pass(&ctx).await.unwrap(), 4);
    assert_eq!(states(&app, "gone").await, ["deleted"]);
    assert_eq!(states(&app, "kept").await, ["ready"]);
    assert_eq!(states(&app, "replaced").await, ["superseded"]);
    assert_eq!(states(&app, "again").await, ["superseded", "ready"]);
    assert!(app.ctx.s3.head(&app.bucket, "kept", None).await.is_ok_and(|head| head.etag == kept.etag));
    assert!(app.ctx.s3.head(&app.bucket, "replaced", None).await.is_ok_and(|head| head.etag != replaced.etag));
    let events = audit::of_resource(&app.ctx, &actor(), &audit::object(&app.bucket, "gone"), 10).await.unwrap();
    assert_eq!((events[0].action.as_str(), events[0].actor_label.as_str()), ("object.delete", "Larder"));
    assert!(events[0].detail["settled"].as_str().is_some());
    assert_eq!(deletions::pass(&ctx).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_in_progress_is_left_alone_and_its_object_still_known() {
    let app = TestApp::start().await;
    let ctx = with_short_lease(&app);
    let target = started_deletion(&app, "a").await;
    app.sql().await.execute("UPDATE files SET heartbeat_at = now()", &[]).await.unwrap();
    assert_eq!(deletions::pass(&ctx).await.unwrap(), 0);
    let bucket = BucketName::parse(&app.bucket).unwrap();
    let found = objects::find(&app.ctx, &bucket, &target.key, None).await.unwrap();
    assert!(matches!(found.origin, Origin::Larder { .. }), "{:?}", found.origin);
    assert_eq!(states(&app, "a").await, ["deleting"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_passes_settle_each_deletion_once() {
    let app = TestApp::start().await;
    let ctx = with_short_lease(&app);
    for n in 0..12 {
        let target = started_deletion(&app, &format!("n{n}")).await;
        app.ctx.s3.delete_if(&app.bucket, target.key.as_str(), &target.etag).await.unwrap();
    }
    let passes = futures_util::future::join_all((0..4).map(|_| deletions::pass(&ctx))).await;
    assert_eq!(passes.into_iter().map(|settled| settled.unwrap()).sum::<usize>(), 12);
    let events = "SELECT count(*) FROM audit.events WHERE action = 'object.delete'";
    assert_eq!(app.sql().await.query_one(events, &[]).await.unwrap().get::<_, i64>(0), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_marks_the_row_first_and_restores_it_if_nothing_was_deleted() {
    let app = TestApp::with_own_servers().await;
    let bucket = BucketName::parse(&app.bucket).unwrap();
    let file = upload(&app, "a", b"content", false).await.unwrap();
    let target = ObjectToDelete { key: ObjectKey::parse("a").unwrap(), etag: file.etag.unwrap() };
    put(&app, "a", b"changed").await;
    let outcomes = objects::delete(&app.ctx, &actor(), &bucket, std::slice::from_ref(&target)).await.unwrap();
    assert_eq!((outcomes[0].1.clone(), states(&app, "a").await), (DeleteOutcome::Changed, vec!["ready".to_owned()]));

    let file = upload(&app, "b", b"content", false).await.unwrap();
    let target = ObjectToDelete { key: ObjectKey::parse("b").unwrap(), etag: file.etag.unwrap() };
    app.servers().s3().freeze();
    assert!(objects::delete(&app.ctx, &actor(), &bucket, std::slice::from_ref(&target)).await.is_err());
    assert_eq!(states(&app, "b").await, ["deleting"], "the outcome is unknown");
    app.servers().s3().thaw();
    let ctx = with_short_lease(&app);
    app.sql().await.execute("UPDATE files SET heartbeat_at = now() - interval '100 seconds' WHERE object_key = 'b'", &[]).await.unwrap();
    eventually("the deletion is settled", async || deletions::pass(&ctx).await.unwrap() == 1).await;
    let there = app.ctx.s3.head(&app.bucket, "b", None).await.is_ok();
    assert_eq!(states(&app, "b").await, [if there { "ready" } else { "deleted" }]);
}
