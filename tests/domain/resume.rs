//! Uploads are resumed on any replica, after any interruption, and never with different bytes.

use bytes::Bytes;
use larder::domain::actor::{Actor, Role};
use larder::domain::names::BucketName;
use larder::domain::uploads::resume::{self, Resumable, ResumeRequest, StoredPart};
use larder::domain::uploads::{File, FileState, Receiver, reaper};
use larder::domain::{Error, Result};
use sha2::{Digest, Sha256};

use crate::support::{Set, TestApp};
use crate::uploads::{content, states, stored};

const PART: usize = 8 << 20;

struct Sender<'a> {
    app: &'a TestApp,
    actor: Actor,
}

impl<'a> Sender<'a> {
    async fn new(app: &'a TestApp) -> Self {
        let email = app.new_user(Role::Editor).await;
        let row = app.sql().await.query_one("SELECT id::text FROM users WHERE email = $1", &[&email]).await.unwrap();
        let id = row.get::<_, String>(0).parse().unwrap();
        Self { app, actor: Actor { id: Some(id), role: Role::Editor, ..Actor::system(&email) } }
    }

    fn at(&self, app: &'a TestApp) -> Self {
        Self { app, actor: self.actor.clone() }
    }

    async fn open_with(&self, name: &str, length: usize, fingerprint: &str, restart: bool) -> Result<Resumable> {
        let receiver = Receiver::open(&self.app.ctx, &self.actor, BucketName::parse(&self.app.bucket).unwrap(), "", false).await?;
        let wanted = ResumeRequest { name, content_type: Some("text/plain"), length: length as u64, fingerprint, restart };
        resume::open(&receiver, &wanted).await
    }

    async fn open(&self, name: &str, length: usize) -> Resumable {
        self.open_with(name, length, "f", false).await.unwrap()
    }

    async fn part(&self, upload: &Resumable, number: i32, body: &[u8]) -> Result<StoredPart> {
        self.part_with(upload, number, body, Some(Sha256::digest(body).to_vec())).await
    }

    async fn part_with(&self, upload: &Resumable, number: i32, body: &[u8], digest: Option<Vec<u8>>) -> Result<StoredPart> {
        let mut part = resume::start_part(&self.app.ctx, &self.actor, &self.app.bucket, upload.file.id, number).await?;
        for chunk in body.chunks(100_000) {
            part.write(Bytes::copy_from_slice(chunk)).await?;
        }
        part.finish(digest).await
    }

    async fn complete(&self, upload: &Resumable, overwrite: bool) -> Result<File> {
        resume::complete(&self.app.ctx, &self.actor, &self.app.bucket, upload.file.id, Some(overwrite), None).await
    }

    async fn state(&self, upload: &Resumable) -> Result<Resumable> {
        resume::state(&self.app.ctx, &self.actor, &self.app.bucket, upload.file.id).await
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Without the uploads of the abilities probe.
async fn open_at_store(app: &TestApp) -> usize {
    let open = app.ctx.s3.list_multipart(&app.bucket, None, None, 100).await.unwrap().uploads;
    open.iter().filter(|upload| !upload.key.starts_with(".larder-probe-")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_resumed_on_another_replica_and_hashed_as_a_whole() {
    let app = TestApp::start().await;
    let sent = content(2 * PART + 12_345);
    let sender = Sender::new(&app).await;
    let upload = sender.open("big", sent.len()).await;
    assert_eq!((upload.part_size, upload.length, upload.parts.len()), (PART as u64, sent.len() as u64, 0));
    sender.part(&upload, 1, &sent[..PART]).await.unwrap();

    let other = app.replica().await;
    let there = sender.at(&other);
    let found = there.open("big", sent.len()).await;
    assert_eq!((found.file.id, found.parts.len()), (upload.file.id, 1));
    // The last part may arrive early and waits for the one before it.
    let (last, middle) = tokio::join!(there.part(&found, 3, &sent[2 * PART..]), sender.part(&found, 2, &sent[PART..2 * PART]));
    assert_eq!((last.unwrap().number, middle.unwrap().number), (3, 2));
    let file = there.complete(&found, false).await.unwrap();
    assert_eq!(file.sha256, Some(hex(&Sha256::digest(&sent))));
    assert!(stored(&app, "big").await == sent);
    assert_eq!(states(&app, "big").await, ["ready"]);
    // Completing again returns the same file.
    assert_eq!(sender.complete(&found, false).await.unwrap().etag, file.etag);
    assert_eq!(sender.state(&found).await.unwrap().file.state, FileState::Ready);
    reaper::pass(&app.ctx).await.unwrap();
    assert_eq!(app.sql().await.query("SELECT 1 FROM upload_parts", &[]).await.unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_do_not_match_are_rejected() {
    let app = TestApp::start().await;
    let sent = content(PART + 1_000);
    let sender = Sender::new(&app).await;
    let upload = sender.open("file", sent.len()).await;
    let wrong = sender.part_with(&upload, 1, &sent[..PART], Some(vec![0; 32])).await;
    assert!(matches!(&wrong, Err(Error::Refused { field: "digest", .. })), "{wrong:?}");
    for (number, body) in [(1, &sent[..PART - 1]), (1, &sent[..PART + 1]), (2, &sent[..999])] {
        assert!(matches!(sender.part(&upload, number, body).await, Err(Error::Refused { field: "number", .. })), "{number}");
    }
    for number in [0, -1, 3, i32::MAX] {
        assert!(matches!(sender.part(&upload, number, b"x").await, Err(Error::Refused { field: "number", .. })), "{number}");
    }
    assert!(matches!(sender.complete(&upload, false).await, Err(Error::Refused { field: "number", .. })), "no part has been sent");

    sender.part(&upload, 1, &sent[..PART]).await.unwrap();
    sender.part(&upload, 1, &sent[..PART]).await.unwrap();
    let mut changed = sent.clone();
    changed[5] ^= 1;
    let refused = sender.part(&upload, 1, &changed[..PART]).await;
    assert!(matches!(&refused, Err(Error::Conflict(why)) if why.contains("changed")), "{refused:?}");
    sender.part(&upload, 2, &sent[PART..]).await.unwrap();
    let told = resume::complete(&app.ctx, &sender.actor, &app.bucket, upload.file.id, Some(false), Some(vec![1; 32])).await;
    assert!(matches!(told, Err(Error::Refused { field: "digest", .. })));
    sender.complete(&upload, false).await.unwrap();
    assert!(stored(&app, "file").await == sent);
    assert!(matches!(sender.part(&upload, 2, &sent[PART..]).await, Err(Error::Refused { field: "id", .. })), "the upload has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_file_with_the_same_name_is_not_mixed_with_the_first() {
    let app = TestApp::start().await;
    let sender = Sender::new(&app).await;
    let first = sender.open_with("a", 100, "one", false).await.unwrap();
    for (length, fingerprint) in [(100, "two"), (101, "one")] {
        let refused = sender.open_with("a", length, fingerprint, false).await;
        assert!(matches!(&refused, Err(Error::Refused { field: "restart", .. })), "{refused:?}");
    }
    assert_eq!(sender.open_with("a", 100, "one", false).await.unwrap().file.id, first.file.id);
    let second = sender.open_with("a", 100, "two", true).await.unwrap();
    assert_ne!(second.file.id, first.file.id);
    assert_eq!(states(&app, "a").await, ["cancelled", "pending"]);
    assert_eq!(open_at_store(&app).await, 1);
    assert!(sender.part(&first, 1, &content(100)).await.is_err());
    // Ten tabs that start at the same time share one upload.
    let tabs = futures_util::future::join_all((0..10).map(|_| sender.open_with("b", 50, "same", false))).await;
    let ids: std::collections::HashSet<_> = tabs.into_iter().map(|tab| tab.unwrap().file.id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(open_at_store(&app).await, 2);
    // Uploads of other users are not accessible.
    let other = Sender::new(&app).await;
    assert!(matches!(other.state(&second).await, Err(Error::NotFound(_))));
    assert!(matches!(other.part(&second, 1, &content(100)).await, Err(Error::NotFound(_))));
    assert!(matches!(resume::abort(&app.ctx, &other.actor, &app.bucket, second.file.id).await, Err(Error::NotFound(_))));
    resume::abort(&app.ctx, &sender.actor, &app.bucket, second.file.id).await.unwrap();
    resume::abort(&app.ctx, &sender.actor, &app.bucket, second.file.id).await.unwrap();
    assert_eq!(open_at_store(&app).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_blocked_by_an_existing_object_need_not_be_sent_again() {
    let app = TestApp::start().await;
    let sender = Sender::new(&app).await;
    let upload = sender.open("taken", 5).await;
    sender.part(&upload, 1, b"newer").await.unwrap();
    let options = larder::stores::s3::PutOptions { content_type: "text/plain", metadata: &[], only_if_absent: false };
    app.ctx.s3.put(&app.bucket, "taken", Bytes::from_static(b"older"), &options).await.unwrap();
    assert!(matches!(sender.complete(&upload, false).await, Err(Error::Conflict(_))));
    assert_eq!(stored(&app, "taken").await, b"older");
    assert_eq!(sender.state(&upload).await.unwrap().parts.len(), 1);
    sender.complete(&upload, true).await.unwrap();
    assert_eq!(stored(&app, "taken").await, b"newer");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_kept_for_days_and_then_cancelled() {
    let app = TestApp::on(Set::shared().await, |config| config.upload.keep = std::time::Duration::from_secs(3 * 86_400)).await;
    let sender = Sender::new(&app).await;
    let upload = sender.open("kept", 5).await;
    sender.part(&upload, 1, b"bytes").await.unwrap();
    let age = async |days: i32, publishing: bool| {
        let update = "UPDATE files SET heartbeat_at = now() - make_interval(days => $1), publishing = $2 WHERE object_key = 'kept'";
        app.sql().await.execute(update, &[&days, &publishing]).await.unwrap();
    };
    age(2, false).await;
    assert_eq!(reaper::pass(&app.ctx).await.unwrap(), 0);
    // The publisher has crashed: the upload is pending again.
    age(2, true).await;
    assert_eq!(reaper::pass(&app.ctx).await.unwrap(), 1);
    assert_eq!((states(&app, "kept").await, open_at_store(&app).await), (vec!["pending".to_owned()], 1));
    age(4, false).await;
    assert_eq!(reaper::pass(&app.ctx).await.unwrap(), 1);
    assert_eq!((states(&app, "kept").await, open_at_store(&app).await), (vec!["failed".to_owned()], 0));
}
