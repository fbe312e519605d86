//! Uploads are stored completely or not at all, even if the process crashes.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use larder::domain::actor::{Actor, Role};
use larder::domain::audit;
use larder::domain::names::BucketName;
use larder::domain::uploads::{self, File, Receiver, Upload, reaper};
use larder::domain::{Error, Result};
use larder::stores::s3::PutOptions;

use crate::support::{TestApp, eventually, eventually_within};

fn actor() -> Actor {
    Actor { role: Role::Editor, ..Actor::system("Tests") }
}

/// A new person, with a separate share of the memory.
async fn new_person(app: &TestApp) -> Actor {
    let email = app.new_user(Role::Editor).await;
    let row = app.sql().await.query_one("SELECT id::text FROM users WHERE email = $1", &[&email]).await.unwrap();
    Actor { id: Some(row.get::<_, String>(0).parse().unwrap()), ..actor() }
}

async fn receiver(app: &TestApp, overwrite: bool) -> Receiver {
    receiver_of(app, &actor(), overwrite).await
}

async fn receiver_of(app: &TestApp, person: &Actor, overwrite: bool) -> Receiver {
    Receiver::open(&app.ctx, person, BucketName::parse(&app.bucket).unwrap(), "", overwrite).await.unwrap()
}

pub async fn upload(app: &TestApp, name: &str, content: &[u8], overwrite: bool) -> Result<File> {
    upload_as(app, &actor(), name, content, overwrite).await
}

async fn upload_as(app: &TestApp, person: &Actor, name: &str, content: &[u8], overwrite: bool) -> Result<File> {
    let receiver = receiver_of(app, person, overwrite).await;
    let mut upload = receiver.begin(name, Some("text/plain"), None).await.map_err(|refused| refused.error)?;
    for chunk in content.chunks(64 << 10) {
        upload.write(Bytes::copy_from_slice(chunk)).await?;
    }
    upload.finish().await
}

/// An unfinished upload that is large enough to have a row.
async fn started(app: &TestApp, name: &str, overwrite: bool) -> Upload {
    started_by(app, &actor(), name, overwrite).await
}

async fn started_by(app: &TestApp, person: &Actor, name: &str, overwrite: bool) -> Upload {
    let mut upload = receiver_of(app, person, overwrite).await.begin(name, None, None).await.map_err(|refused| refused.error).unwrap();
    upload.write(Bytes::from(content(100_000))).await.unwrap();
    upload
}

pub async fn stored(app: &TestApp, key: &str) -> Vec<u8> {
    let mut opened = app.ctx.s3.get(&app.bucket, key, None, &Default::default()).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = opened.body.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    bytes
}

pub async fn states(app: &TestApp, key: &str) -> Vec<String> {
    let rows = app.sql().await.query("SELECT state FROM files WHERE object_key = $1 ORDER BY id", &[&key]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Bytes that differ between parts.
pub fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 251 + at % 251) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_size_are_stored_unchanged() {
    let app = TestApp::start().await;
    const PART: usize = 8 << 20;
    for length in [0, 1, PART - 1, PART, PART + 1, 3 * PART + 12_345] {
        let key = format!("f{length}");
        let sent = content(length);
        let file = upload(&app, &key, &sent, false).await.unwrap();
        assert_eq!(file.size, Some(length as i64));
        assert!(stored(&app, &key).await == sent, "{length} bytes were stored differently");
        let head = app.ctx.s3.head(&app.bucket, &key, None).await.unwrap();
        assert_eq!(Some(&head.etag), file.etag.as_ref());
        assert_eq!(head.content_type.as_deref(), Some("text/plain"));
        assert_eq!(states(&app, &key).await, ["ready"]);
    }
    let known = upload(&app, "abc", b"abc", false).await.unwrap();
    assert_eq!(known.sha256.as_deref(), Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_object_is_kept_unless_overwriting_is_requested() {
    let app = TestApp::start().await;
    upload(&app, "a", b"old", false).await.unwrap();
    assert!(matches!(upload(&app, "a", b"new", false).await, Err(Error::Conflict(_))));
    assert_eq!(stored(&app, "a").await, b"old");
    upload(&app, "a", b"newer", true).await.unwrap();
    assert_eq!(stored(&app, "a").await, b"newer");
    assert_eq!(states(&app, "a").await, ["superseded", "failed", "ready"]);
    let events = audit::of_resource(&app.ctx, &actor(), &audit::object(&app.bucket, "a"), 10).await.unwrap();
    assert_eq!(events.iter().map(|event| event.action.as_str()).collect::<Vec<_>>(), ["object.upload", "upload.fail", "object.upload"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_concurrent_uploads_to_a_key_wins_completely() {
    let app = TestApp::start().await;
    let racers = (0..12).map(|n| {
        let app = &app;
        async move { upload(app, "race", format!("racer {n}").as_bytes(), false).await }
    });
    let ended = futures_util::future::join_all(racers).await;
    let winners: Vec<&File> = ended.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    assert_eq!(winners.len(), 1);
    assert!(ended.iter().all(|outcome| matches!(outcome, Ok(_) | Err(Error::Conflict(_)))));
    let head = app.ctx.s3.head(&app.bucket, "race", None).await.unwrap();
    assert_eq!(winners[0].etag.as_deref(), Some(head.etag.as_str()));

    let racers = (0..8).map(|n| {
        let app = &app;
        async move { upload(app, "race", format!("overwriter {n}").as_bytes(), true).await }
    });
    for outcome in futures_util::future::join_all(racers).await {
        outcome.unwrap();
    }
    let head = app.ctx.s3.head(&app.bucket, "race", None).await.unwrap();
    let row = app.sql().await.query_one("SELECT etag FROM files WHERE object_key = 'race' AND state = 'ready'", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), head.etag);
}

/// As if the process had crashed: no heartbeat, no cleanup.
async fn expire(app: &TestApp, key: &str) {
    let update =
        "UPDATE files SET heartbeat_at = now() - interval '2 days', state = 'pending', lease = gen_random_uuid() WHERE object_key = $1";
    assert_eq!(app.sql().await.execute(update, &[&key]).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reaper_completes_published_uploads_and_undoes_the_others() {
    let app = TestApp::start().await;
    // Published, but the process crashed before it updated the row.
    let file = upload(&app, "published", b"whole", false).await.unwrap();
    expire(&app, "published").await;
    // Crashed before publishing, and the key has an object of another upload.
    let options = PutOptions { content_type: "text/plain", metadata: &[], only_if_absent: false };
    app.ctx.s3.put(&app.bucket, "theirs", Bytes::from_static(b"theirs"), &options).await.unwrap();
    let died = started(&app, "theirs", true).await;
    std::mem::forget(died);
    expire(&app, "theirs").await;
    assert_eq!(reaper::pass(&app.ctx).await.unwrap(), 2);
    assert_eq!(states(&app, "published").await, ["ready"]);
    assert_eq!(states(&app, "theirs").await, ["failed"]);
    assert_eq!(stored(&app, "theirs").await, b"theirs");
    assert_eq!(stored(&app, "published").await, b"whole");
    let row =
        app.sql().await.query_one("SELECT id::text, octet_length(sha256) FROM files WHERE object_key = 'published'", &[]).await.unwrap();
    assert_eq!((row.get::<_, String>(0), row.get::<_, i32>(1)), (file.id.to_string(), 32));
    assert_eq!(reaper::pass(&app.ctx).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_upload_cannot_write_any_more() {
    let app = TestApp::start().await;
    let mut slow = started(&app, "slow", false).await;
    slow.write(Bytes::from_static(b"half")).await.unwrap();
    expire(&app, "slow").await;
    assert_eq!(reaper::pass(&app.ctx).await.unwrap(), 1);
    assert!(slow.finish().await.is_err());
    assert_eq!(states(&app, "slow").await, ["failed"]);
    assert!(app.ctx.s3.head(&app.bucket, "slow", None).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_upload_leaves_nothing_and_releases_its_memory() {
    let app = TestApp::start().await;
    let receiver = receiver(&app, false).await;
    let mut dropped = receiver.begin("dropped", None, None).await.map_err(|refused| refused.error).unwrap();
    for chunk in content(20 << 20).chunks(1 << 20) {
        dropped.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    drop(dropped);
    eventually("the row is failed", async || states(&app, "dropped").await == ["failed"]).await;
    eventually("the memory is released", async || app.ctx.upload_memory.in_use() == 0).await;
    assert!(app.ctx.s3.head(&app.bucket, "dropped", None).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_store_fails_the_upload_and_is_used_again_afterwards() {
    let app = TestApp::with_own_servers().await;
    app.servers().s3().freeze();
    let started = std::time::Instant::now();
    let bucket = BucketName::parse(&app.bucket).unwrap();
    assert!(Receiver::open(&app.ctx, &actor(), bucket, "", false).await.is_err());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    app.servers().s3().thaw();
    eventually("an upload succeeds", async || upload(&app, "after", b"x", true).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_shows_pending_uploads_first_then_newest_and_paginates() {
    let app = TestApp::start().await;
    for name in ["a.txt", "b.txt", "c.csv"] {
        upload(&app, name, b"x", false).await.unwrap();
    }
    let open = started(&app, "open.bin", false).await;
    let page = uploads::list(&app.ctx, &actor(), &uploads::Filter::default()).await.unwrap();
    let names = |files: &[File]| files.iter().map(|file| file.name.clone()).collect::<Vec<_>>();
    assert_eq!(
        (names(&page.pending), names(&page.finished)),
        (vec!["open.bin".into()], vec!["c.csv".into(), "b.txt".into(), "a.txt".into()])
    );
    assert_eq!((page.today_files, page.today_bytes), (3, 3));
    let filter = uploads::Filter { q: Some("b".into()), ..uploads::Filter::default() };
    assert_eq!(names(&uploads::list(&app.ctx, &actor(), &filter).await.unwrap().finished), ["b.txt"]);
    drop(open);
}

/// Far more uploads than memory for parts, of eight people, and one fast upload of another.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_slow_uploads_do_not_keep_a_fast_one_waiting() {
    let app = TestApp::start().await;
    let (mut people, mut slow) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        people.push(new_person(&app).await);
    }
    for n in 0..200 {
        slow.push(started_by(&app, &people[n % people.len()], &format!("slow{n}"), false).await);
    }
    assert!(app.ctx.upload_memory.in_use() < 32 << 20, "{}", app.ctx.upload_memory.in_use());
    let fast =
        tokio::time::timeout(Duration::from_secs(15), upload_as(&app, &new_person(&app).await, "fast", &content(20 << 20), false)).await;
    assert_eq!(fast.unwrap().unwrap().size, Some(20 << 20));
    let mut last = slow.pop().unwrap();
    last.write(Bytes::from_static(b"the end")).await.unwrap();
    assert_eq!(last.finish().await.unwrap().size, Some(100_007));
    drop(slow);
    eventually_within(Duration::from_secs(30), "the memory is released", async || app.ctx.upload_memory.in_use() == 0).await;
}

/// A sender measured as fast that holds most of the memory and almost stops sending.
#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_stops_releases_its_memory_for_other_people() {
    let app = TestApp::start_with(|config| config.upload.memory = 16 << 20).await;
    let mut stopped = started(&app, "stopped", false).await;
    for chunk in content(3 << 20).chunks(64 << 10) {
        stopped.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    assert!(app.ctx.upload_memory.in_use() >= 8 << 20);
    // A small file needs no memory for parts and waits for no one.
    upload(&app, "small", &content(50_000), false).await.unwrap();
    let (sent, is_done) = (content(10 << 20), Cell::new(false));
    let fast = async {
        let fast = tokio::time::timeout(Duration::from_secs(15), upload_as(&app, &new_person(&app).await, "fast", &sent, false)).await;
        is_done.set(true);
        fast
    };
    let dripping = async {
        while !is_done.get() {
            stopped.write(Bytes::from_static(b"drip")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let (fast, ()) = tokio::join!(fast, dripping);
    assert_eq!(fast.unwrap().unwrap().size, Some(10 << 20));
    stopped.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_are_limited_per_user_and_in_total_with_a_retry_time() {
    let app = TestApp::start_with(|config| (config.upload.at_once, config.upload.at_once_each) = (3, 2)).await;
    let open = async |who: &Actor| Receiver::open(&app.ctx, who, BucketName::parse(&app.bucket).unwrap(), "", false).await;
    let person = |id: u128| Actor { id: Some(uuid::Uuid::from_u128(id)), ..actor() };
    let held = [open(&person(1)).await.unwrap(), open(&person(1)).await.unwrap()];
    let refused = open(&person(1)).await.map(|_| ());
    assert!(matches!(&refused, Err(Error::Busy { why, .. }) if why.contains("one person")), "{refused:?}");
    let third = open(&person(2)).await.unwrap();
    let refused = open(&person(3)).await.map(|_| ());
    assert!(matches!(&refused, Err(Error::Busy { why, .. }) if why.contains("at the same time")), "{refused:?}");
    assert_eq!(app.ctx.upload_memory.in_progress(), 3);
    drop(held);
    open(&person(3)).await.unwrap();
    drop(third);
    assert_eq!(app.ctx.upload_memory.in_progress(), 0);
}
