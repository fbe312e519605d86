//! Resumable uploads through the API, and forms with many files.

use larder::domain::actor::Role;
use reqwest::{Method, multipart};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{Client, Page, TestApp, eventually};

pub const PART: usize = 8 << 20;

fn json_of(page: &Page) -> Value {
    serde_json::from_slice(&page.body).unwrap()
}

pub async fn post(client: &Client, path: &str, fields: &[(&str, &str)]) -> Page {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = client.request(Method::POST, path).header("accept", "application/json");
    client.send(request.header("content-type", "application/x-www-form-urlencoded").body(body)).await
}

pub async fn part(client: &Client, path: &str, number: &str, body: &[u8], digest: Option<&str>) -> Page {
    let request = client.request(Method::POST, &format!("{path}/parts?number={number}")).header("accept", "application/json");
    let request = digest.iter().fold(request, |request, digest| request.header("content-digest", *digest));
    client.send(request.body(body.to_vec())).await
}

fn content_digest(body: &[u8]) -> String {
    use base64::Engine;
    format!("sha-256=:{}:", base64::engine::general_purpose::STANDARD.encode(Sha256::digest(body)))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_client_uploads_a_file_in_parts_and_reads_the_progress() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    let sent: Vec<u8> = (0..PART + 3).map(|at| (at % 251) as u8).collect();
    let base = format!("/buckets/{}/uploads", app.bucket);
    let length = sent.len().to_string();
    let fields = [("name", "film.mp4"), ("prefix", "a/b"), ("type", "video/mp4"), ("length", length.as_str()), ("fingerprint", "f1")];
    let started = json_of(&post(&editor, &format!("{base}/resumable"), &fields).await.expect_status(200));
    assert_eq!((&started["key"], &started["part_size"], &started["parts"]), (&json!("a/b/film.mp4"), &json!(PART), &json!([])));
    let path = format!("{base}/{}", started["id"].as_str().unwrap());

    let wrong = part(&editor, &path, "1", &sent[..PART], Some(&content_digest(b"other"))).await.expect_status(422);
    assert_eq!(wrong.header("content-type"), Some("application/problem+json"));
    part(&editor, &path, "1", &sent[..PART], Some("sha-256=nonsense")).await.expect_status(400);
    part(&editor, &path, "1", &sent, None).await.expect_status(422);
    part(&editor, &path, "x", &sent[..PART], None).await.expect_status(400);
    part(&editor, &path, "7", &sent[..PART], None).await.expect_status(422);
    let first = part(&editor, &path, "1", &sent[..PART], Some(&content_digest(&sent[..PART]))).await.expect_status(200);
    assert_eq!(json_of(&first)["size"], json!(PART));
    post(&editor, &format!("{path}/completion"), &[]).await.expect_status(422);

    // A repeated request returns the same upload; a different file with that name is rejected.
    let again = json_of(&post(&editor, &format!("{base}/resumable"), &fields).await.expect_status(200));
    assert_eq!((&again["id"], again["parts"].as_array().unwrap().len()), (&started["id"], 1));
    let other = [("name", "film.mp4"), ("prefix", "a/b"), ("length", "5"), ("fingerprint", "f2")];
    let changed = post(&editor, &format!("{base}/resumable"), &other).await.expect_status(422);
    assert_eq!(json_of(&changed)["changed"], json!(true));
    let page = editor.get("/uploads").await.expect_status(200);
    assert!(page.text_of("main").contains("kept until"), "{}", page.text_of("main"));
    let other_user = app.sign_in(Role::Editor).await;
    other_user.get(&path).await.expect_status(404);

    part(&editor, &path, "2", &sent[PART..], None).await.expect_status(200);
    let done = json_of(&post(&editor, &format!("{path}/completion"), &[]).await.expect_status(200));
    let digest: String = Sha256::digest(&sent).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((&done["files"][0]["sha256"], &done["files"][0]["status"]), (&json!(digest), &json!("stored")));
    let state = json_of(&editor.send(editor.request(Method::GET, &path).header("accept", "application/json")).await);
    assert_eq!(state["state"], json!("ready"));
    let got = editor.get(&format!("/buckets/{}/download?key=a%2Fb%2Ffilm.mp4", app.bucket)).await.expect_status(200);
    assert!(got.body == sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_uploads_are_rejected() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    let base = format!("/buckets/{}/uploads", app.bucket);
    for fields in [&[("name", "a")][..], &[("name", "a"), ("length", "-1"), ("fingerprint", "f")]] {
        post(&editor, &format!("{base}/resumable"), fields).await.expect_status(400);
    }
    let long = "f".repeat(201);
    for (name, length, fingerprint, status) in
        [("..", "5", "f", 422), ("a", "0", "f", 422), ("a", "5", "", 422), ("a", "5", &long, 422), ("a", "9999999999999999", "f", 413)]
    {
        let fields = [("name", name), ("length", length), ("fingerprint", fingerprint)];
        post(&editor, &format!("{base}/resumable"), &fields).await.expect_status(status);
    }
    post(&editor, "/buckets/no-such-bucket/uploads/resumable", &[("name", "a"), ("length", "5"), ("fingerprint", "f")])
        .await
        .expect_status(404);
    for id in ["nonsense", "00000000-0000-7000-8000-000000000009"] {
        part(&editor, &format!("{base}/{id}"), "1", b"x", None).await.expect_status(404);
        post(&editor, &format!("{base}/{id}/completion"), &[]).await.expect_status(404);
        post(&editor, &format!("{base}/{id}/deletion"), &[]).await.expect_status(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_with_many_files_is_stored_and_listed_in_pages() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    let mut form = multipart::Form::new();
    for n in 0..700 {
        // One name is used twice, and one is invalid.
        let name = match n {
            600 => "file-0001.txt".to_owned(),
            601 => "..".to_owned(),
            n => format!("file-{n:04}.txt"),
        };
        form = form.part("file", multipart::Part::bytes(format!("content {n}").into_bytes()).file_name(name));
    }
    let page = editor.post_files(&format!("/buckets/{}/uploads", app.bucket), form).await.expect_status(303);
    let result = editor.get(page.location()).await.expect_status(200);
    assert_eq!(result.text_of("h1"), "698 of 700 files stored");
    assert_eq!(result.texts("tbody tr").len(), 500);
    let first = result.texts("tbody tr").swap_remove(0);
    assert!(first.contains("Failed"), "failed files are listed first: {first}");
    let rest = editor.get(&format!("{}?from=500", page.location())).await.expect_status(200);
    assert_eq!(rest.texts("tbody tr").len(), 200);
    let kept = editor.get(&format!("/buckets/{}/download?key=file-0001.txt", app.bucket)).await.expect_status(200);
    assert_eq!(kept.body, b"content 1", "the first file with a name is kept");
    let events = app.sql().await.query_one("SELECT count(*) FROM audit.events WHERE action = 'object.upload'", &[]).await.unwrap();
    assert_eq!(events.get::<_, i64>(0), 698);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_concurrent_uploads_are_a_503_with_retry_after() {
    let app = TestApp::start_with(|config| config.upload.at_once_each = 1).await;
    let editor = app.sign_in(Role::Editor).await;
    let (send, receive) = tokio::sync::mpsc::channel::<Result<bytes::Bytes, std::io::Error>>(1);
    let body =
        reqwest::Body::wrap_stream(futures_util::stream::unfold(
            receive,
            |mut receive| async move { Some((receive.recv().await?, receive)) },
        ));
    let form = multipart::Form::new().part("file", multipart::Part::stream(body).file_name("long.txt"));
    let path = format!("/buckets/{}/uploads", app.bucket);
    let long = editor.request(Method::POST, &path).multipart(form);
    let long = tokio::spawn(async move { long.send().await.unwrap().status().as_u16() });
    send.send(Ok("start".into())).await.unwrap();
    eventually("the upload is in progress", async || app.ctx.upload_memory.in_progress() == 1).await;
    let refused = editor.upload(&app.bucket, "other.txt", "x").await.expect_status(503);
    assert_eq!(refused.header("retry-after"), Some("10"));
    assert!(refused.text_of("main").contains("one person may have"), "{}", refused.text_of("main"));
    drop(send);
    assert_eq!(long.await.unwrap(), 303);
    editor.upload(&app.bucket, "other.txt", "x").await.expect_status(303);
}
