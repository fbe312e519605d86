//! The unfinished uploads of a bucket, of Larder and of other applications, and aborting one.

use bytes::Bytes;
use larder::console::view::paths;
use larder::domain::actor::Role;
use larder::stores::s3::{Error, Part, PutOptions};

use crate::resumable::{PART, part, post};
use crate::support::{Client, Page, TestApp, eventually};

const TEXT: PutOptions<'static> = PutOptions { content_type: "text/plain", metadata: &[], only_if_absent: false };

fn path(app: &TestApp) -> String {
    format!("/buckets/{}/unfinished", app.bucket)
}

/// Starts an upload outside Larder, with one part.
async fn start_multipart(app: &TestApp, key: &str, length: usize) -> String {
    let upload = app.ctx.s3.create_multipart(&app.bucket, key, &TEXT).await.unwrap();
    let part = Part { number: 1, body: Bytes::from(vec![b'x'; length]) };
    app.ctx.s3.put_part(&app.bucket, key, &upload, part).await.unwrap();
    upload
}

async fn is_open(app: &TestApp, key: &str, upload: &str) -> bool {
    !matches!(app.ctx.s3.list_parts(&app.bucket, key, upload, None, 1).await, Err(Error::NoSuchUpload))
}

/// A form that has sent its first part and continues on request.
struct Slow {
    send: tokio::sync::mpsc::Sender<Result<Bytes, std::io::Error>>,
    answer: tokio::task::JoinHandle<Page>,
}

async fn slow(app: &TestApp, editor: Client, name: &str) -> Slow {
    let (send, receive) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let body =
        reqwest::Body::wrap_stream(futures_util::stream::unfold(
            receive,
            |mut receive| async move { Some((receive.recv().await?, receive)) },
        ));
    let form = reqwest::multipart::Form::new().part("file", reqwest::multipart::Part::stream(body).file_name(name.to_owned()));
    let target = format!("/buckets/{}/uploads", app.bucket);
    let answer = tokio::spawn(async move { editor.post_files(&target, form).await });
    send.send(Ok(Bytes::from(vec![b'x'; 9 << 20]))).await.unwrap();
    let sql = app.sql().await;
    let query = "SELECT 1 FROM files WHERE s3_upload_id IS NOT NULL AND state = 'pending'";
    eventually("a part is being uploaded", async || !sql.query(query, &[]).await.unwrap().is_empty()).await;
    Slow { send, answer }
}

#[tokio::test(flavor = "multi_thread")]
async fn own_and_foreign_uploads_are_listed_with_their_progress() {
    let app = TestApp::start().await;
    app.rules_known().await;
    let viewer = app.sign_in(Role::Viewer).await;
    let empty = viewer.get(&path(&app)).await.expect_status(200);
    assert!(empty.text_of("main").contains("No unfinished uploads"), "{}", empty.text_of("main"));
    start_multipart(&app, "in/ü <b>.bin", 1_500).await;
    let uploading = slow(&app, app.sign_in(Role::Editor).await, "own.bin").await;
    eventually("the first part was received", async || {
        viewer.get(&path(&app)).await.texts("tbody tr").iter().any(|row| row.contains("own.bin") && row.contains("8.4 MB"))
    })
    .await;
    let page = viewer.get(&path(&app)).await.expect_status(200);
    let row = |name: &str| page.texts("tbody tr").into_iter().find(|row| row.contains(name)).unwrap_or_default();
    let theirs = row("ü <b>.bin");
    assert!(theirs.contains("another application") && theirs.contains("Other application") && theirs.contains("1.5"), "{theirs}");
    let own = row("own.bin");
    assert!(own.contains("Tess Test") && own.contains("Uploading") && own.contains("1 part"), "{own}");
    assert!(!page.has("form[action$='/unfinished/deletion']"), "a viewer cannot abort uploads");
    assert!(viewer.get("/uploads").await.has(&format!("a[href='{}']", path(&app))));
    assert!(viewer.get(&format!("/buckets/{}/settings", app.bucket)).await.has(&format!("a[href='{}']", path(&app))));
    assert!(viewer.get(&format!("/buckets/{}", app.bucket)).await.has(&format!("a[href='{}']", path(&app))));
    drop(uploading.send);
    uploading.answer.await.unwrap().expect_status(303);
    assert!(!viewer.get(&path(&app)).await.text_of("main").contains("own.bin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn aborting_asks_once_and_affects_only_the_named_upload() {
    let app = TestApp::start().await;
    app.rules_known().await;
    let editor = app.sign_in(Role::Editor).await;
    let (one, other) = (start_multipart(&app, "same.bin", 10).await, start_multipart(&app, "same.bin", 10).await);
    let target = format!("{}/deletion", path(&app));
    let k = paths::field("same.bin");
    let confirmation = editor.post(&target, &[("k", &k), ("upload", &one)]).await.expect_status(200);
    assert!(confirmation.text_of("form.confirm").contains("same.bin") && is_open(&app, "same.bin", &one).await);
    let done = editor.post(&target, &[("k", &k), ("upload", &one), ("confirm", "1")]).await.expect_status(303);
    assert_eq!(done.location(), path(&app));
    assert!(!is_open(&app, "same.bin", &one).await && is_open(&app, "same.bin", &other).await);
    assert!(editor.get(&path(&app)).await.text_of(".flash").contains("aborted"));
    // Already ended: nothing to confirm.
    assert_eq!(editor.post(&target, &[("k", &k), ("upload", &one)]).await.expect_status(303).location(), path(&app));
    assert!(editor.get(&path(&app)).await.text_of(".flash").contains("already been completed or aborted"));
    let audit = app.sign_in(Role::Admin).await.get("/audit?action=upload.abort").await.expect_status(200);
    assert_eq!(audit.count("tbody tr"), 1);
    for bad in [vec![("k", "%%%"), ("upload", "x")], vec![("k", k.as_str()), ("upload", "")], vec![("k", k.as_str())]] {
        editor.post(&target, &bad).await.expect_status(400);
    }
    app.visitor().get(&path(&app)).await.expect_status(303);
    editor.get("/buckets/t-no-such-bucket/unfinished").await.expect_status(404);
    let status = editor.get(&format!("{}?key=garbage&upload=garbage", path(&app))).await.status;
    assert!((200..500).contains(&status), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_own_upload_counts_as_failed_and_stores_nothing() {
    let app = TestApp::start().await;
    app.rules_known().await;
    let editor = app.sign_in(Role::Editor).await;
    let uploading = slow(&app, app.sign_in(Role::Editor).await, "own.bin").await;
    let sql = app.sql().await;
    let row = sql.query_one("SELECT s3_upload_id FROM files WHERE state = 'pending'", &[]).await.unwrap();
    let upload: String = row.get(0);
    let target = format!("{}/deletion", path(&app));
    let k = paths::field("own.bin");
    // Not while the object is being published.
    sql.execute("UPDATE files SET publishing = true WHERE state = 'pending'", &[]).await.unwrap();
    editor.post(&target, &[("k", &k), ("upload", &upload), ("confirm", "1")]).await.expect_status(303);
    assert!(editor.get(&path(&app)).await.text_of(".flash").contains("being stored"));
    assert!(is_open(&app, "own.bin", &upload).await);
    sql.execute("UPDATE files SET publishing = false WHERE state = 'pending'", &[]).await.unwrap();

    editor.post(&target, &[("k", &k), ("upload", &upload), ("confirm", "1")]).await.expect_status(303);
    let row = sql.query_one("SELECT state, error FROM files", &[]).await.unwrap();
    assert_eq!((row.get::<_, String>(0), row.get::<_, String>(1)), ("failed".into(), "Aborted by Tess Test.".into()));
    drop(uploading.send);
    let answer = uploading.answer.await.unwrap();
    assert!(answer.status >= 300, "{}", answer.status);
    assert!(app.ctx.s3.head(&app.bucket, "own.bin", None).await.is_err());
    let row = sql.query_one("SELECT error FROM files", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "Aborted by Tess Test.");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_uploads_are_listed_in_pages() {
    let app = TestApp::start().await;
    app.rules_known().await;
    let viewer = app.sign_in(Role::Viewer).await;
    for n in 0..45 {
        app.ctx.s3.create_multipart(&app.bucket, &format!("many/{n:02}+.bin"), &TEXT).await.unwrap();
    }
    let (mut next, mut seen, mut pages) = (path(&app), Vec::new(), 0);
    loop {
        let page = viewer.get(&next).await.expect_status(200);
        let names = page.texts("tbody .row-name");
        assert!(names.len() <= 20);
        seen.extend(names);
        pages += 1;
        match page.attributes("a[rel=next]", "href").first() {
            Some(url) => next = url.clone(),
            None => break,
        }
    }
    seen.sort();
    let expected: Vec<String> = (0..45).map(|n| format!("{n:02}+.bin")).collect();
    assert_eq!((seen, pages), (expected, 3));
}

/// MinIO keeps its list of uploads in memory.
#[tokio::test(flavor = "multi_thread")]
async fn own_uploads_are_listed_even_if_the_store_omits_them() {
    let app = TestApp::with_own_servers().await;
    app.rules_known().await;
    let editor = app.sign_in(Role::Editor).await;
    editor.upload(&app.bucket, "own.bin", "x").await.expect_status(303);
    let upload = start_multipart(&app, "own.bin", 2_500).await;
    let ended = start_multipart(&app, "ended.bin", 10).await;
    editor.upload(&app.bucket, "ended.bin", "x").await.expect_status(303);
    let sql = app.sql().await;
    for (name, upload) in [("own.bin", &upload), ("ended.bin", &ended)] {
        let set = "UPDATE files SET state = 'pending', lease = gen_random_uuid(), heartbeat_at = now(), s3_upload_id = $2 WHERE name = $1";
        sql.execute(set, &[&name, upload]).await.unwrap();
    }
    app.ctx.s3.abort_multipart(&app.bucket, "ended.bin", &ended).await.unwrap();
    app.servers().s3().stop();
    app.servers().s3().start().unwrap();
    eventually("the store is back", async || app.ctx.s3.head_bucket(&app.bucket).await.is_ok()).await;
    let page = editor.get(&path(&app)).await.expect_status(200);
    assert_eq!(page.texts("tbody .row-name"), ["own.bin"]);
    assert!(page.text_of("tbody tr").contains("2.5"), "{}", page.text_of("tbody tr"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_the_page_is_a_503_in_time() {
    let app = TestApp::with_own_servers().await;
    app.rules_known().await;
    let viewer = app.sign_in(Role::Viewer).await;
    app.servers().s3().freeze();
    let started = std::time::Instant::now();
    let page = viewer.get(&path(&app)).await.expect_status(503);
    assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(page.text_of("h1").contains("object store"));
    app.servers().s3().thaw();
    eventually("the page is back", async || viewer.get(&path(&app)).await.status == 200).await;
}

/// Starts a resumable upload. Returns its path and its id in the store.
async fn in_parts(app: &TestApp, editor: &Client, name: &str, length: usize) -> (String, String) {
    let base = format!("/buckets/{}/uploads", app.bucket);
    let fields = [("name", name), ("length", &length.to_string()), ("fingerprint", "f")];
    let started = post(editor, &format!("{base}/resumable"), &fields).await.expect_status(200).json();
    let id = started["id"].as_str().unwrap();
    let query = "SELECT s3_upload_id FROM files WHERE id::text = $1";
    (format!("{base}/{id}"), app.sql().await.query_one(query, &[&id]).await.unwrap().get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_shows_the_same_activity_of_an_upload() {
    let app = TestApp::start().await;
    app.rules_known().await;
    let editor = app.sign_in(Role::Editor).await;
    let (at, upload) = in_parts(&app, &editor, "film.bin", PART + 3).await;
    part(&editor, &at, "1", &vec![b'x'; PART], None).await.expect_status(200);
    let shows = async |label: &str, consequence: &str| {
        for page in ["/uploads", &path(&app)] {
            let row = editor.get(page).await.expect_status(200).texts("tbody tr").swap_remove(0);
            assert!(row.contains("film.bin") && row.contains(label), "{page}: {row}");
        }
        let confirmation = editor.post(&format!("{}/deletion", path(&app)), &[("k", &paths::field("film.bin")), ("upload", &upload)]).await;
        let confirmation = confirmation.expect_status(200).text_of("form.confirm");
        assert!(confirmation.contains(consequence), "{confirmation}");
    };
    shows("Uploading", "The upload is in progress").await;
    let sql = app.sql().await;
    sql.execute("UPDATE files SET heartbeat_at = now() - interval '61 seconds'", &[]).await.unwrap();
    shows("Waiting to be resumed", "The upload is not in progress").await;
    part(&editor, &at, "2", b"end", None).await.expect_status(200);
    shows("Waiting for completion", "All parts were received").await;
    post(&editor, &format!("{at}/completion"), &[]).await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_cancelled_by_its_sender_is_not_a_failure() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    let (at, _) = in_parts(&app, &editor, "film.bin", 5).await;
    editor.upload(&app.bucket, "taken.txt", "1").await.expect_status(303);
    editor.upload(&app.bucket, "taken.txt", "2").await.expect_status(303);
    post(&editor, &format!("{at}/deletion"), &[]).await.expect_status(204);
    let state = editor.send(editor.request(reqwest::Method::GET, &at).header("accept", "application/json")).await;
    assert_eq!(state.expect_status(200).json()["state"], "cancelled");
    let row = async |query: &str, name: &str| {
        let rows = editor.get(&format!("/uploads{query}")).await.expect_status(200).texts("tbody tr");
        rows.into_iter().find(|row| row.contains(name) && !row.contains("Stored"))
    };
    assert!(row("", "film.bin").await.is_some_and(|row| row.contains("Cancelled") && !row.contains("Failed")));
    assert!(row("?state=cancelled", "film.bin").await.is_some() && row("?state=cancelled", "taken.txt").await.is_none());
    assert!(row("?state=failed", "film.bin").await.is_none() && row("?state=failed", "taken.txt").await.is_some());
    let overview = editor.get("/").await.expect_status(200).text_of("main");
    assert!(overview.contains("1 failed") && overview.contains("Aborted the upload of film.bin"), "{overview}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_result_of_a_single_file_is_in_the_singular() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    let result = async |content: &str| {
        let sent = editor.upload(&app.bucket, "a.txt", content.to_owned()).await.expect_status(303);
        let page = editor.get(sent.location()).await.expect_status(200);
        (page.text_of("h1"), page.text_of(".page-head .context"))
    };
    assert_eq!(result("1").await, ("1 file stored".into(), "The file was stored completely and its SHA-256 checksum was recorded.".into()));
    assert_eq!(result("2").await, ("The file was not stored".into(), "See the reason below.".into()));
}
