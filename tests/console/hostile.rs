//! Malformed request bodies: no incomplete file is ever published.

use std::time::Duration;

use larder::domain::actor::Role;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Client, TestApp, eventually};

const BOUNDARY: &str = "----larder-test";

/// An encoded part of a form.
fn part(headers: &str, content: &[u8]) -> Vec<u8> {
    [format!("--{BOUNDARY}\r\n{headers}\r\n\r\n").as_bytes(), content, b"\r\n"].concat()
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    part(&format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: text/plain"), content)
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), format!("--{BOUNDARY}--\r\n").into_bytes()].concat()
}

async fn send(client: &Client, path: &str, body: Vec<u8>) -> (u16, String) {
    let request = client
        .request(Method::POST, path)
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))
        .header("accept", "application/json")
        .body(body);
    let page = client.send(request).await;
    (page.status, String::from_utf8_lossy(&page.body).into_owned())
}

/// All keys, after the feature probe of the store has finished.
async fn keys(app: &TestApp) -> Vec<String> {
    app.rules_known().await;
    app.ctx.s3.list(&app.bucket, "", false, None, 1000).await.unwrap().objects.into_iter().map(|object| object.key).collect()
}

async fn states(app: &TestApp) -> Vec<(String, i64)> {
    let rows = app.sql().await.query("SELECT state, count(*) FROM files GROUP BY 1 ORDER BY 1", &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// The head of a raw upload request.
fn head(app: &TestApp, cookie: &str, length: usize) -> Vec<u8> {
    let host = app.base.trim_start_matches("http://");
    format!(
        "POST /buckets/{}/uploads HTTP/1.1\r\nHost: {host}\r\nOrigin: {}\r\nCookie: {cookie}\r\nAccept: application/json\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {length}\r\n\r\n",
        app.bucket, app.base
    )
    .into_bytes()
}

async fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(app.base.trim_start_matches("http://")).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_truncated_anywhere_publishes_nothing() {
    let app = TestApp::start().await;
    let cookie = app.session_cookie(Role::Editor).await;
    let content = vec![b'x'; 40_000];
    let body = form(&[file("cut.txt", &content)]);
    for (round, cut) in (0..body.len()).step_by(body.len() / 25).enumerate() {
        let mut socket = connect(&app).await;
        socket.write_all(&head(&app, &cookie, body.len())).await.unwrap();
        socket.write_all(&body[..cut]).await.unwrap();
        if round % 2 == 0 {
            // RST: unread data is discarded.
            socket.set_zero_linger().unwrap();
            drop(socket);
        } else {
            socket.shutdown().await.unwrap();
            let mut answer = Vec::new();
            let _ = tokio::time::timeout(Duration::from_secs(5), socket.read_to_end(&mut answer)).await;
            assert!(!answer.starts_with(b"HTTP/1.1 2"), "cut at {cut}: {}", String::from_utf8_lossy(&answer));
        }
    }
    eventually("every attempt has ended", async || states(&app).await.iter().all(|(state, _)| state != "pending")).await;
    assert_eq!(keys(&app).await, Vec::<String>::new());
    assert!(states(&app).await.iter().all(|(state, _)| state == "failed"), "{:?}", states(&app).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interruption_in_the_second_part_keeps_the_old_object() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    editor.upload(&app.bucket, "cut.txt", "old").await.expect_status(303);
    let cookie = app.session_cookie(Role::Editor).await;
    let body = form(&[file("cut.txt", &vec![b'x'; 20 << 20])]);
    let mut socket = connect(&app).await;
    let path = format!("/buckets/{}/uploads", app.bucket);
    let request = String::from_utf8(head(&app, &cookie, body.len())).unwrap().replace(&path, &format!("{path}?overwrite=1"));
    socket.write_all(request.as_bytes()).await.unwrap();
    socket.write_all(&body[..18 << 20]).await.unwrap();
    eventually("a part has been sent", async || {
        let rows = app.sql().await.query("SELECT 1 FROM files WHERE s3_upload_id IS NOT NULL", &[]).await.unwrap();
        !rows.is_empty()
    })
    .await;
    socket.set_zero_linger().unwrap();
    drop(socket);
    eventually("the attempt has ended", async || states(&app).await.iter().all(|(state, _)| state != "pending")).await;
    let head = app.ctx.s3.head(&app.bucket, "cut.txt", None).await.unwrap();
    assert_eq!(head.size, 3);
    assert_eq!(states(&app).await, [("failed".to_owned(), 1), ("ready".to_owned(), 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_forms_are_explained() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    let path = format!("/buckets/{}/uploads", app.bucket);
    let empty_input = part("Content-Disposition: form-data; name=\"file\"; filename=\"\"\r\nContent-Type: application/octet-stream", b"");
    let field = part("Content-Disposition: form-data; name=\"note\"", b"x");
    let wide = part(&format!("Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\nX-Pad: {}", "p".repeat(70_000)), b"x");
    for (what, body, expected) in [
        ("no part", form(&[]), 422),
        (
            "another boundary",
            b"--other\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx\r\n--other--\r\n".to_vec(),
            400,
        ),
        ("not a form", b"hello".to_vec(), 400),
        ("three thousand empty inputs", form(&vec![empty_input; 3_000]), 422),
        ("ten thousand fields", form(&vec![field; 10_000]), 413),
        ("a part header of 64 kB", form(&[wide]), 400),
        ("no end", file("a.txt", b"abc"), 400),
    ] {
        let (status, text) = send(&editor, &path, body).await;
        assert_eq!(status, expected, "{what}: {text}");
        assert!(text.contains("\"detail\":\"") && text.contains("request_id"), "{what}: {text}");
    }
    let json = editor.request(Method::POST, &path).header("content-type", "application/json").body("{}");
    editor.send(json).await.expect_status(400);
    assert_eq!(keys(&app).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_stored_under_its_name_in_every_form_or_its_rejection_is_explained() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    let path = format!("/buckets/{}/uploads", app.bucket);
    let disposition = |parameters: &str| part(&format!("Content-Disposition: form-data; name=\"file\"{parameters}"), b"x");
    for (parameters, key) in [
        ("; filename*=UTF-8''na%C3%AFve.txt", "na\u{ef}ve.txt"),
        ("; filename=\"a\\\"b.txt\"", "a\"b.txt"),
        ("; filename=token.txt", "token.txt"),
        ("; filename=\"cafe\u{301}.txt\"", "cafe\u{301}.txt"),
        (&format!("; filename=\"{}\"", "n".repeat(255)), &"n".repeat(255)),
    ] {
        let (status, text) = send(&editor, &path, form(&[disposition(parameters)])).await;
        assert_eq!(status, 201, "{parameters}: {text}");
        assert!(keys(&app).await.iter().any(|stored| stored == key), "{parameters}: {:?}", keys(&app).await);
    }
    for parameters in ["", "; filename=\"\"", "; filename=\"..\"", "; filename*=UTF-8''%FF"] {
        let (status, text) = send(&editor, &path, form(&[disposition(parameters)])).await;
        assert!(status == 422 && text.contains("The file has no name."), "{parameters}: {status} {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_name_is_never_a_path() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    let path = format!("/buckets/{}/uploads?prefix=in", app.bucket);
    let long = "n".repeat(1000);
    for (name, key) in [
        ("../../etc/passwd", "in/passwd"),
        ("\u{202e}fdp.exe", "in/\u{202e}fdp.exe"),
        ("a%22b", "in/a\"b"),
        ("100% final? #2 + x.json", "in/100% final? #2 + x.json"),
        ("<script>alert(1)</script>.txt", "in/script>.txt"),
    ] {
        let (status, text) = send(&editor, &path, form(&[file(name, b"content")])).await;
        assert_eq!(status, 201, "{name}: {text}");
        assert!(keys(&app).await.contains(&key.to_owned()), "{name}: {:?}", keys(&app).await);
    }
    // SeaweedFS would treat the backslash as a slash and write another object.
    let (status, text) = send(&editor, &path, form(&[file("a\\b.txt", b"content")])).await;
    let kept = keys(&app).await.contains(&"in/a\\b.txt".to_owned());
    assert!(if kept { status == 201 } else { status == 422 && text.contains("backslash") }, "{status} {text}");
    let before = keys(&app).await;
    for (name, expected) in [("..", 422), ("a\0b", 400), (long.as_str(), 201)] {
        let (status, text) = send(&editor, &path, form(&[file(name, b"content")])).await;
        // A store may reject a segment of 1,000 bytes, which must not be a server error.
        assert!(status == expected || (name.len() == 1000 && status == 422), "{name:?}: {status} {text}");
    }
    assert!(keys(&app).await.len() <= before.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_file_does_not_affect_the_others_of_its_form() {
    let app = TestApp::start_with(|config| config.upload.max_size = 1000).await;
    let editor = app.sign_in(Role::Editor).await;
    editor.upload(&app.bucket, "there.txt", "old").await.expect_status(303);
    let body = form(&[
        file("first.txt", b"1"),
        file("there.txt", b"new"),
        file("large.txt", &[b'x'; 2000]),
        file("..", b"2"),
        file("last.txt", b"3"),
    ]);
    let request = editor
        .request(Method::POST, &format!("/buckets/{}/uploads", app.bucket))
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(body);
    let result_url = editor.send(request).await.expect_status(303).location().to_owned();
    let result = editor.get(&result_url).await.expect_status(200);
    let text = result.text_of("main");
    for sentence in ["first.txt", "last.txt", "there.txt already exists", "larger than", "The file has no name"] {
        assert!(text.contains(sentence), "{sentence}: {text}");
    }
    assert_eq!(keys(&app).await, ["first.txt", "last.txt", "there.txt"]);
    assert_eq!(app.ctx.s3.head(&app.bucket, "there.txt", None).await.unwrap().size, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_is_reported_before_the_body_is_read() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    let (status, text) = send(&editor, "/buckets/no-such-bucket-here/uploads", form(&[file("a.txt", b"x")])).await;
    assert_eq!(status, 404, "{text}");
    let viewer = app.sign_in(Role::Viewer).await;
    let (status, _) = send(&viewer, &format!("/buckets/{}/uploads", app.bucket), form(&[file("a.txt", b"x")])).await;
    assert_eq!(status, 403);
    assert_eq!(states(&app).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_body_is_closed_after_30_seconds() {
    let app = TestApp::start().await;
    let cookie = app.session_cookie(Role::Editor).await;
    let body = form(&[file("silent.txt", &[b'x'; 50_000])]);
    let mut socket = connect(&app).await;
    socket.write_all(&head(&app, &cookie, body.len())).await.unwrap();
    socket.write_all(&body[..30_000]).await.unwrap();
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(45), socket.read_to_end(&mut answer)).await;
    assert!(reading.is_ok(), "still open after 45 s");
    assert!(!answer.starts_with(b"HTTP/1.1 2"));
    eventually("the attempt has ended", async || states(&app).await == [("failed".to_owned(), 1)]).await;
    assert_eq!(keys(&app).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn api_clients_receive_the_result_of_every_file() {
    let app = TestApp::start_with(|config| config.upload.max_size = 1000).await;
    let editor = app.sign_in(Role::Editor).await;
    editor.upload(&app.bucket, "there.txt", "old").await.expect_status(303);
    let path = format!("/buckets/{}/uploads", app.bucket);
    let (status, text) = send(&editor, &path, form(&[file("there.txt", b"new"), file("second.txt", b"2"), file("third.txt", b"3")])).await;
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    let files: Vec<(&str, &str)> =
        answer["files"].as_array().unwrap().iter().map(|file| (file["key"].as_str().unwrap(), file["status"].as_str().unwrap())).collect();
    assert_eq!((status, files), (201, vec![("there.txt", "failed"), ("second.txt", "stored"), ("third.txt", "stored")]));
    let (status, text) = send(&editor, &path, form(&[file("large.txt", &[b'x'; 2000])])).await;
    assert_eq!(status, 413, "{text}");
    let (status, _) = send(&editor, &path, form(&[file("there.txt", b"new")])).await;
    assert_eq!(status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_claims_a_length_is_stored_as_it_was_sent() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    let path = format!("/buckets/{}/uploads", app.bucket);
    let content: Vec<u8> = (0..117).collect();
    for claimed in ["0", "100", "116", "117", "118", "5000000000", "-1", "many"] {
        let name = format!("claims-{claimed}");
        let header = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Length: {claimed}");
        let (status, text) = send(&editor, &path, form(&[part(&header, &content), file("next", b"next")])).await;
        assert_eq!(status, 201, "{text}");
        let stored = editor.get(&format!("/buckets/{}/download?key={name}", app.bucket)).await.expect_status(200);
        assert_eq!(stored.body, content, "{claimed}");
    }
}
