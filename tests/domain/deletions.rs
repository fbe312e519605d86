//! Deletes only the objects that the user saw.

use bytes::Bytes;
use larder::domain::Error;
use larder::domain::actor::{Actor, Role};
use larder::domain::audit;
use larder::domain::names::{BucketName, ObjectKey};
use larder::domain::objects::{self, DeleteOutcome, ObjectToDelete};
use larder::stores::s3::PutOptions;

use crate::support::{TestApp, eventually};
use crate::uploads::upload;

fn actor() -> Actor {
    Actor { role: Role::Editor, ..Actor::system("Tests") }
}

async fn put(app: &TestApp, key: &str, content: &'static [u8]) -> ObjectToDelete {
    let options = PutOptions { content_type: "text/plain", metadata: &[], only_if_absent: false };
    let stored = app.ctx.s3.put(&app.bucket, key, Bytes::from_static(content), &options).await.unwrap();
    ObjectToDelete { key: ObjectKey::parse(key).unwrap(), etag: stored.etag }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_object_has_its_own_outcome_and_only_unchanged_ones_are_deleted() {
    let app = TestApp::start().await;
    app.rules_known().await;
    let bucket = BucketName::parse(&app.bucket).unwrap();
    let seen = put(&app, "seen", b"1").await;
    let changed = put(&app, "changed", b"1").await;
    put(&app, "changed", b"2").await;
    let gone = ObjectToDelete { key: ObjectKey::parse("gone").unwrap(), etag: "x".into() };
    put(&app, "seen2", b"1").await;
    let outcomes = objects::delete(&app.ctx, &actor(), &bucket, &[seen.clone(), changed.clone(), gone.clone()]).await.unwrap();
    assert_eq!(outcomes, [(seen, DeleteOutcome::Deleted), (changed, DeleteOutcome::Changed), (gone, DeleteOutcome::AlreadyDeleted)]);
    let left: Vec<String> = app.ctx.s3.list(&app.bucket, "", false, None, 10).await.unwrap().objects.into_iter().map(|o| o.key).collect();
    assert_eq!(left, ["changed", "seen2"]);
    let events = audit::of_resource(&app.ctx, &actor(), &audit::object(&app.bucket, "seen"), 10).await.unwrap();
    assert_eq!((events[0].action.as_str(), events[0].outcome.as_str()), ("object.delete", "ok"));
    let events = audit::of_resource(&app.ctx, &actor(), &audit::object(&app.bucket, "changed"), 10).await.unwrap();
    assert_eq!(events[0].outcome, "refused");
}

/// Every unusual kind of key that a store may keep, each with neighbours that a careless implementation would affect.
#[tokio::test(flavor = "multi_thread")]
async fn an_action_on_a_key_affects_no_other_object() {
    let app = TestApp::start().await;
    let bucket = BucketName::parse(&app.bucket).unwrap();
    let rules = app.rules_known().await;
    let all = [
        "plain",
        "a?b",
        "a",
        "a#1",
        "a%2Fb",
        "a/b",
        "a+b",
        "a b",
        "a\"b",
        "a'b",
        "<script>alert(1)</script>",
        "a&b=c",
        "emoji 🦫",
        "é",
        "e\u{301}",
        " lead",
        "trail ",
        "a\nb",
        "a\r\nb",
        "a\tb",
        "\u{202e}fdp",
        "url",
        "metadata",
        "x/url",
        "a\\b",
        "/lead",
        "a//b",
        "a/../c",
        "a/./d",
        "..",
    ];
    let long = "k".repeat(200);
    let (mut kept, mut refused) = (Vec::new(), 0);
    for key in all.iter().copied().chain([long.as_str()]) {
        if rules.mangled(key).is_some() {
            refused += 1;
            let target = ObjectToDelete { key: ObjectKey::parse(key).unwrap(), etag: "x".into() };
            assert!(
                matches!(objects::delete(&app.ctx, &actor(), &bucket, &[target]).await.unwrap()[0].1, DeleteOutcome::Failed(_)),
                "{key:?}"
            );
            continue;
        }
        kept.push(put(&app, key, b"content").await);
    }
    assert!(kept.len() >= 24, "{} kept, {refused} refused", kept.len());
    while let Some(target) = kept.pop() {
        let found = objects::find(&app.ctx, &bucket, &target.key, None).await.unwrap();
        assert_eq!(found.etag, target.etag);
        let outcomes = objects::delete(&app.ctx, &actor(), &bucket, std::slice::from_ref(&target)).await.unwrap();
        assert_eq!(outcomes[0].1, DeleteOutcome::Deleted, "{:?}", target.key);
        for other in &kept {
            let head = app.ctx.s3.head(&app.bucket, other.key.as_str(), None).await;
            assert!(head.is_ok_and(|head| head.etag == other.etag), "deleting {:?} also affected {:?}", target.key, other.key);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed_at_the_store_if_it_cannot_be_recorded() {
    let app = TestApp::with_own_servers().await;
    let bucket = BucketName::parse(&app.bucket).unwrap();
    let seen = put(&app, "seen", b"1").await;
    app.servers().postgres().freeze();
    assert!(objects::delete(&app.ctx, &actor(), &bucket, std::slice::from_ref(&seen)).await.is_err());
    assert!(larder::domain::buckets::create(&app.ctx, &actor(), "never-made").await.is_err());
    assert!(larder::domain::buckets::delete(&app.ctx, &actor(), &bucket, &app.bucket).await.is_err());
    assert!(objects::create_folder(&app.ctx, &actor(), &bucket, "", "never").await.is_err());
    app.servers().postgres().thaw();
    assert!(app.ctx.s3.head(&app.bucket, "seen", None).await.is_ok());
    assert!(app.ctx.s3.head(&app.bucket, "never/", None).await.is_err());
    assert!(app.ctx.s3.head_bucket("never-made").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_and_deletions_of_one_key_at_the_same_moment_leave_one_truth() {
    let app = TestApp::start_with(|config| config.upload.at_once_each = 100).await;
    let replica = app.replica().await;
    app.rules_known().await;
    let bucket = BucketName::parse(&app.bucket).unwrap();
    for round in 0..5 {
        let key = format!("raced-{round}");
        let deletions = async {
            for at in 0..40 {
                let ctx = if at % 2 == 0 { &app.ctx } else { &replica.ctx };
                let Ok(head) = ctx.s3.head(&app.bucket, &key, None).await else { continue };
                // Half of them carry the ETag of an object that was replaced long ago.
                let etag = if at % 4 < 2 { head.etag } else { "0".repeat(32) };
                objects::delete(ctx, &actor(), &bucket, &[ObjectToDelete { key: ObjectKey::parse(&key).unwrap(), etag }]).await.unwrap();
            }
        };
        let uploads = futures_util::future::join_all((0..40_u32).map(|at| {
            let (app, key) = (if at % 2 == 0 { &app } else { &replica }, &key);
            async move { upload(app, key, &vec![b'x'; 1 + at as usize * 7_000], true).await }
        }));
        let (outcomes, ()) = futures_util::join!(uploads, deletions);
        for outcome in outcomes {
            // Waiting for a turn may take too long; anything else is an error of ours.
            assert!(matches!(outcome, Ok(_) | Err(Error::Busy { .. } | Error::Conflict(_))), "{:?}", outcome.err());
        }
        let sql = app.sql().await;
        eventually("nothing is in progress", async || {
            let query = "SELECT count(*) FROM files WHERE object_key = $1 AND state IN ('pending', 'deleting')";
            sql.query_one(query, &[&key]).await.unwrap().get::<_, i64>(0) == 0
        })
        .await;
        let rows = sql.query("SELECT etag FROM files WHERE object_key = $1 AND state = 'ready'", &[&key]).await.unwrap();
        let ready: Vec<Option<String>> = rows.iter().map(|row| row.get(0)).collect();
        let stored = app.ctx.s3.head(&app.bucket, &key, None).await.ok().map(|head| head.etag);
        assert_eq!(ready, stored.clone().map(Some).into_iter().collect::<Vec<_>>(), "the store has {stored:?}");
    }
}
