//! Browsing a bucket, rejected forms, the audit log.

use bytes::Bytes;
use larder::console::view::paths;
use larder::domain::actor::Role;
use larder::stores::s3::PutOptions;

use crate::support::{PASSWORD, TestApp};

async fn put(app: &TestApp, key: &str, content: &'static [u8]) -> String {
    let options = PutOptions { content_type: "text/plain", metadata: &[], only_if_absent: false };
    app.ctx.s3.put(&app.bucket, key, Bytes::from_static(content), &options).await.unwrap().etag
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_can_be_paged_forwards_and_backwards() {
    let app = TestApp::start().await;
    app.rules_known().await;
    let viewer = app.sign_in(Role::Viewer).await;
    for number in 0..25 {
        put(&app, &format!("in/f{number:02}.txt"), b"x").await;
    }
    put(&app, "in/sub/deep.txt", b"x").await;
    let first = format!("/buckets/{}?prefix=in%2F&limit=10", app.bucket);
    let (mut path, mut seen, mut pages) = (first.clone(), Vec::new(), Vec::new());
    loop {
        let page = viewer.get(&path).await.expect_status(200);
        let names = page.texts("tbody .row-link");
        assert!(names.len() <= 10);
        pages.push((path.clone(), names.clone()));
        seen.extend(names);
        match page.attributes("a[rel=next]", "href").first() {
            Some(next) => path = next.clone(),
            None => break,
        }
    }
    assert_eq!(seen.len(), 26, "{seen:?}");
    assert!(seen.contains(&"sub".to_owned()) && seen.contains(&"f24.txt".to_owned()));
    for at in (1..pages.len()).rev() {
        let page = viewer.get(&pages[at].0).await;
        let back = page.attribute("a[rel=prev]", "href");
        assert_eq!(viewer.get(&back).await.expect_status(200).texts("tbody .row-link"), pages[at - 1].1);
    }
    let some = viewer.get(&format!("/buckets/{}?prefix=in%2F&starts=f1", app.bucket)).await.expect_status(200);
    assert_eq!(some.texts("tbody .row-link").len(), 10);
    for limit in ["0", "-1", "x", "100000000000"] {
        let status = viewer.get(&format!("/buckets/{}?limit={limit}", app.bucket)).await.status;
        assert!([200, 400].contains(&status), "{limit}: {status}");
    }
    let status = viewer.get(&format!("/buckets/{}?cursor=garbage", app.bucket)).await.status;
    assert!((200..500).contains(&status), "{status}");
    viewer.get("/buckets/no-such-bucket-here").await.expect_status(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_uploader_is_shown_only_for_unchanged_objects() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    editor.upload(&app.bucket, "own.txt", "1").await.expect_status(303);
    editor.upload(&app.bucket, "changed.txt", "1").await.expect_status(303);
    put(&app, "changed.txt", b"by another application").await;
    put(&app, "theirs.txt", b"1").await;
    let page = editor.get(&format!("/buckets/{}", app.bucket)).await.expect_status(200);
    let row = |name: &str| page.texts("tbody tr").into_iter().find(|row| row.contains(name)).unwrap_or_default();
    assert!(row("own.txt").contains("Tess Test"), "{}", row("own.txt"));
    assert!(row("theirs.txt").to_lowercase().contains("outside larder"), "{}", row("theirs.txt"));
    assert!(row("changed.txt").to_lowercase().contains("outside larder") && !row("changed.txt").contains("Tess"), "{}", row("changed.txt"));
    let object = editor.get(&format!("/buckets/{}/object?key=changed.txt", app.bucket)).await.expect_status(200);
    assert!(object.text_of("main").to_lowercase().contains("changed outside larder"), "{}", object.text_of("main"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_go_to_box_leads_to_folders_objects_and_other_buckets() {
    let app = TestApp::start().await;
    app.rules_known().await;
    let viewer = app.sign_in(Role::Viewer).await;
    put(&app, "a/b c.txt", b"1").await;
    let bucket = &app.bucket;
    for (typed, leads_to) in [
        ("a/", format!("/buckets/{bucket}?prefix=a%2F")),
        ("a/b c.txt", format!("/buckets/{bucket}/object?key=a%2Fb%20c.txt")),
        ("a", format!("/buckets/{bucket}?prefix=a%2F")),
        (&format!("s3://{bucket}/a/b c.txt"), format!("/buckets/{bucket}/object?key=a%2Fb%20c.txt")),
        (&format!("s3://{bucket}"), format!("/buckets/{bucket}")),
    ] {
        let page = viewer.get(&format!("/buckets/{bucket}?to={}", paths::encode(typed))).await.expect_status(303);
        assert_eq!(page.location(), leads_to, "{typed}");
    }
    viewer.get(&format!("/buckets/{bucket}?to={}", paths::encode("s3://Not A Bucket/x"))).await.expect_status(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn bucket_names_are_validated_and_deletion_requires_the_name() {
    let app = TestApp::start().await;
    app.rules_known().await;
    let admin = app.sign_in(Role::Admin).await;
    for (name, sentence) in [("Scans", "Uppercase"), ("ab", "3 to 63"), ("a..b", "dot"), ("192.168.1.1", "IP address"), ("", "3 to 63")] {
        let page = admin.post("/buckets", &[("name", name)]).await.expect_status(422);
        assert!(page.text_of("#bucket-name-why").contains(sentence), "{name}: {}", page.text_of("#bucket-name-why"));
        assert_eq!(page.attribute("#bucket-name", "value"), name);
    }
    admin.post("/buckets", &[("name", &app.bucket)]).await.expect_status(409);
    put(&app, "a.txt", b"1").await;
    let deletion = format!("/buckets/{}/deletion", app.bucket);
    admin.post(&deletion, &[("name", "other")]).await.expect_status(422);
    admin.post(&deletion, &[("name", &app.bucket)]).await.expect_status(409);
    let etag = app.ctx.s3.head(&app.bucket, "a.txt", None).await.unwrap().etag;
    app.ctx.s3.delete_if(&app.bucket, "a.txt", &etag).await.unwrap();
    admin.post(&deletion, &[("name", &app.bucket)]).await.expect_status(303);
    admin.get(&format!("/buckets/{}", app.bucket)).await.expect_status(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_asks_once_and_reports_each_result() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    let (one, two) = (put(&app, "one.txt", b"1").await, put(&app, "two.txt", b"1").await);
    let path = format!("/buckets/{}/deletions", app.bucket);
    let (k1, k2) = (paths::field("one.txt"), paths::field("two.txt"));
    let confirmation = editor.post(&path, &[("k", &k1), ("etag", &one)]).await.expect_status(200);
    assert!(confirmation.text_of("main").contains("one.txt"));
    assert!(app.ctx.s3.head(&app.bucket, "one.txt", None).await.is_ok(), "nothing is deleted before the confirmation");
    put(&app, "two.txt", b"changed").await;
    let fields = [("k", k1.as_str()), ("etag", &one), ("k", &k2), ("etag", &two), ("confirm", "1")];
    let result = editor.post(&path, &fields).await.expect_status(303).location().to_owned();
    let text = editor.get(&result).await.expect_status(200).text_of("main");
    assert!(text.contains("one.txt") && text.contains("two.txt") && text.contains("changed"), "{text}");
    assert!(app.ctx.s3.head(&app.bucket, "one.txt", None).await.is_err());
    assert!(app.ctx.s3.head(&app.bucket, "two.txt", None).await.is_ok());
    let single = editor.post(&path, &[("k", &k2), ("etag", &two), ("confirm", "1")]).await.expect_status(409);
    assert!(single.text_of("main").contains("was changed after you opened it"));
    for bad in [vec![("k", "%%%"), ("etag", "x")], vec![("k", &k1)], vec![("etag", "x")]] {
        editor.post(&path, &bad).await.expect_status(400);
    }
    // Other users cannot see this result.
    app.sign_in(Role::Editor).await.get(&result).await.expect_status(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_is_filtered_and_exported_without_formulas() {
    let app = TestApp::start().await;
    let admin = app.sign_in(Role::Admin).await;
    admin
        .post("/users", &[("email", "x@example.com"), ("name", "=HYPERLINK(\"http://evil\")"), ("role", "admin"), ("password", PASSWORD)])
        .await
        .expect_status(303);
    let other = app.visitor();
    other.post("/session", &[("email", "x@example.com"), ("password", PASSWORD)]).await.expect_status(303);
    other.upload(&app.bucket, "a.txt", "1").await.expect_status(303);
    let csv = admin.get("/audit?format=csv").await.expect_status(200);
    assert!(csv.header("content-type").unwrap().starts_with("text/csv"));
    assert!(csv.header("content-disposition").unwrap().starts_with("attachment"));
    let content = csv.body.strip_prefix("\u{feff}".as_bytes()).expect("Excel requires a byte order mark");
    assert!(content.starts_with(b"sequence,time,"));
    let mut reader = csv::Reader::from_reader(content);
    for record in reader.records().map(Result::unwrap) {
        assert!(record.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@', '\t', '\r'])), "{record:?}");
    }
    let uploads = admin.get("/audit?action=object.upload").await.expect_status(200);
    assert_eq!(uploads.count("tbody tr"), 1);
    let unmatched = admin.get("/audit?actor=no-such-user").await.expect_status(200);
    assert!(unmatched.text_of("main").to_lowercase().contains("no event"), "{}", unmatched.text_of("main"));
    admin.get("/audit?from=2020-01-01&to=2030-12-31&resource=s3%3A%2F%2F").await.expect_status(200);
    for bad in ["from=yesterday", "from=2020-13-45"] {
        let status = admin.get(&format!("/audit?{bad}")).await.status;
        assert!([400, 422].contains(&status), "{bad}: {status}");
    }
    let exported = app.sql().await.query("SELECT 1 FROM audit.events WHERE action = 'audit.export'", &[]).await.unwrap();
    assert_eq!(exported.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_eleventh_wrong_password_is_delayed() {
    let app = TestApp::start().await;
    let visitor = app.visitor();
    let fields = [("email", "mara@example.com"), ("password", "wrong password")];
    for _ in 0..10 {
        let page = visitor.post("/session", &fields).await.expect_status(422);
        assert_eq!(page.attribute("[name=email]", "value"), "mara@example.com", "the e-mail is kept");
        assert!(page.attributes("[name=password]", "value").iter().all(String::is_empty), "the password is not kept");
    }
    let page = visitor.post("/session", &fields).await.expect_status(429);
    let wait: u64 = page.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=900).contains(&wait), "{wait}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_with_nul_bytes_or_long_values_are_handled() {
    let app = TestApp::start().await;
    let admin = app.sign_in(Role::Admin).await;
    let long = "x".repeat(100_000);
    for (value, is_too_large) in [("a\0b", false), (long.as_str(), true), ("\u{202e}", false), ("<script>alert(1)</script>", false)] {
        let start = &value[..value.len().min(20)];
        for (path, field, status) in [
            ("/buckets".to_owned(), "name", 400),
            (format!("/buckets/{}/folders", app.bucket), "name", 400),
            (format!("/buckets/{}/deletion", app.bucket), "name", 400),
            ("/users".to_owned(), "email", 422),
            ("/session".to_owned(), "email", 422),
            ("/setup".to_owned(), "email", 404),
        ] {
            let fields = [(field, value), ("name", value), ("role", "viewer"), ("password", PASSWORD), ("token", "x")];
            let page = admin.post(&path, &fields).await;
            assert_eq!(page.status, if is_too_large { 413 } else { status }, "{path} with {start:?}");
            assert!(!page.text().contains("<script>alert"), "{path}");
        }
        let encoded = paths::encode(value);
        for (path, status) in [
            ("/audit?actor=", 200),
            ("/audit?resource=", 200),
            ("/uploads?q=", 200),
            ("/uploads?bucket=", 422),
            ("/session?next=", 303),
            ("/buckets?starts=", 200),
        ] {
            let page = admin.get(&format!("{path}{}", &encoded[..encoded.len().min(4000)])).await;
            assert_eq!(page.status, status, "{path} with {start:?}");
            assert!(!page.text().contains("<script>alert"), "{path}");
        }
    }
}
