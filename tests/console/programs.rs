//! Error responses for API clients: they name the field, the header or the file.

use larder::domain::actor::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::resumable::{part, post};
use crate::support::{Client, Page, TestApp, eventually};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

async fn detail(page: Page, status: u16) -> String {
    page.expect_status(status).json()["detail"].as_str().unwrap().to_owned()
}

/// Starts an upload and sends its only part. Returns the path of the upload.
async fn started(client: &Client, app: &TestApp, fields: &[(&str, &str)], content: &[u8]) -> String {
    let base = format!("/buckets/{}/uploads", app.bucket);
    let upload = post(client, &format!("{base}/resumable"), fields).await.expect_status(200).json();
    let path = format!("{base}/{}", upload["id"].as_str().unwrap());
    part(client, &path, "1", content, None).await.expect_status(200);
    path
}

async fn without_body(client: &Client, path: &str) -> Page {
    client.send(client.request(Method::POST, path).header("accept", JSON)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_form_is_a_problem_document_for_api_clients_and_a_page_for_browsers() {
    let app = TestApp::start().await;
    let admin = app.sign_in(Role::Admin).await;
    for (name, status, why) in [(app.bucket.as_str(), 409, "already"), ("NO", 422, "Uppercase")] {
        let problem = post(&admin, "/buckets", &[("name", name)]).await;
        assert_eq!(problem.header("content-type"), Some("application/problem+json"));
        let shown = admin.post("/buckets", &[("name", name)]).await.expect_status(status).text_of("main");
        let problem = detail(problem, status).await;
        assert!(problem.contains(why) && shown.contains(&problem), "{problem}: {shown}");
    }
    let email = app.new_user(Role::Viewer).await;
    let wrong = [("email", email.as_str()), ("password", "not this one")];
    assert!(detail(post(&app.visitor(), "/session", &wrong).await, 422).await.contains("Incorrect"));
    let mut waits = post(&app.visitor(), "/session", &wrong).await;
    for _ in 0..10 {
        waits = post(&app.visitor(), "/session", &wrong).await;
    }
    assert!(waits.header("retry-after").is_some_and(|wait| wait != "1"), "{:?}", waits.header("retry-after"));
    assert!(detail(waits, 429).await.contains("Too many failed attempts"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_field_is_named() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    let create = format!("/buckets/{}/uploads/resumable", app.bucket);
    let long = "f".repeat(201);
    for fingerprint in ["", &long] {
        let fields = [("name", "a"), ("length", "5"), ("fingerprint", fingerprint)];
        let answer = post(&editor, &create, &fields).await.expect_status(422).json();
        assert!(answer["detail"].as_str().unwrap().contains("fingerprint"), "{answer}");
        assert_eq!(answer.get("changed"), None, "the file has not changed: {answer}");
    }
    for (length, why) in [("", "a whole number"), ("abc", "a whole number"), ("-1", "0 or more"), ("99999999999999999999", "smaller")] {
        let reason = detail(post(&editor, &create, &[("name", "a"), ("length", length), ("fingerprint", "f")]).await, 400).await;
        assert!(reason.starts_with("The field length must be") && reason.contains(why), "{reason}");
    }
    assert_eq!(detail(post(&editor, &create, &[("name", "a")]).await, 400).await, "The field length is missing.");

    let path = started(&editor, &app, &[("name", "a"), ("length", "5"), ("fingerprint", "f")], b"bytes").await;
    assert_eq!(detail(without_body(&editor, &format!("{path}/parts")).await, 400).await, "The parameter number is missing.");
    let reason = detail(part(&editor, &path, "x", b"bytes", None).await, 400).await;
    assert_eq!(reason, "The parameter number must be a whole number.");
    let html = editor.get("/uploads/00000000-0000-7000-8000-000000000009?from=x").await.expect_status(400);
    assert!(html.text_of("main").contains("The parameter from must be a whole number"), "{}", html.text_of("main"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_content_type_is_explained_and_an_empty_body_is_a_form() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    let path = started(&editor, &app, &[("name", "a"), ("length", "5"), ("fingerprint", "f")], b"bytes").await;
    let completion = format!("{path}/completion");
    for media in [JSON, "text/plain"] {
        let request = editor.request(Method::POST, &completion).header("accept", JSON).header("content-type", media);
        let reason = detail(editor.send(request.body("{\"overwrite\":1}")).await, 400).await;
        assert!(reason.contains(FORM) && reason.contains(media), "{reason}");
    }
    let request = editor.request(Method::POST, &completion).header("accept", JSON).body("overwrite=1");
    assert!(detail(editor.send(request).await, 400).await.contains(FORM));
    let file = without_body(&editor, &completion).await.expect_status(200).json()["files"][0].clone();
    assert_eq!((&file["status"], &file["code"]), (&json!("stored"), &Value::Null));
    without_body(&editor, &completion).await.expect_status(200);
    // An empty body is accepted with any Content-Type.
    let request = editor.request(Method::POST, &completion).header("accept", JSON).header("content-type", JSON);
    editor.send(request).await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_without_overwrite_uses_the_value_of_the_start() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    editor.upload(&app.bucket, "a", "older").await.expect_status(303);
    let fields = [("name", "a"), ("length", "5"), ("fingerprint", "f"), ("overwrite", "1")];
    let path = started(&editor, &app, &fields, b"newer").await;
    let completion = format!("{path}/completion");
    post(&editor, &completion, &[("overwrite", "0")]).await.expect_status(409);
    // Resuming without overwrite resets the earlier value.
    let again = post(&editor, &format!("/buckets/{}/uploads/resumable", app.bucket), &fields[..3]).await.expect_status(200);
    assert_eq!(again.json()["parts"].as_array().unwrap().len(), 1);
    without_body(&editor, &completion).await.expect_status(409);
    post(&editor, &format!("/buckets/{}/uploads/resumable", app.bucket), &fields).await.expect_status(200);
    without_body(&editor, &completion).await.expect_status(200);
    assert_eq!(editor.get(&format!("/buckets/{}/download?key=a", app.bucket)).await.body, b"newer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_form_reports_complete_files_and_every_failure_has_a_code() {
    let app = TestApp::start_with(|config| config.upload.max_size = 1000).await;
    let editor = app.sign_in(Role::Editor).await;
    let file = |name: &str, content: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n{content}\r\n")
    };
    let send = async |body: String| {
        let path = format!("/buckets/{}/uploads", app.bucket);
        let request = editor.request(Method::POST, &path).header("accept", JSON).header("content-type", "multipart/form-data; boundary=b");
        editor.send(request.body(body)).await
    };
    let codes = |answer: &Value| {
        let files = answer["files"].as_array().unwrap().iter();
        files.map(|file| (file["status"].as_str().unwrap().to_owned(), file["code"].as_str().unwrap_or("-").to_owned())).collect::<Vec<_>>()
    };
    let pair = |status: &str, code: &str| (status.to_owned(), code.to_owned());

    let cut = [file("whole.txt", "1"), file("cut.txt", "short").trim_end().to_owned()].concat();
    let answer = send(cut).await.expect_status(400);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let answer = answer.json();
    assert_eq!(codes(&answer), [pair("stored", "-"), pair("failed", "incomplete")], "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("The form was incomplete"), "{answer}");
    assert_eq!(editor.get(&format!("/buckets/{}/download?key=whole.txt", app.bucket)).await.expect_status(200).body, b"1");

    let mixed =
        [file("whole.txt", "2"), file("..", "3"), file("large.txt", &"x".repeat(1001)), file("new.txt", "4"), "--b--\r\n".to_owned()];
    let answer = send(mixed.concat()).await.expect_status(201).json();
    let expected = [pair("failed", "exists"), pair("failed", "name"), pair("failed", "too_large"), pair("stored", "-")];
    assert_eq!(codes(&answer), expected, "{answer}");
    // The audit log records whether each was refused or failed.
    let query = "SELECT split_part(resource, '/', 4), outcome FROM audit.events WHERE action = 'upload.fail' ORDER BY 1";
    eventually("each result is in the audit log", async || app.sql().await.query(query, &[]).await.unwrap().len() == 4).await;
    let rows = app.sql().await.query(query, &[]).await.unwrap();
    let outcomes: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let expected = [pair("..", "refused"), pair("cut.txt", "failed"), pair("large.txt", "refused"), pair("whole.txt", "refused")];
    assert_eq!(outcomes, expected);
    let events = editor.get("/").await.expect_status(200).text_of(".events tbody");
    assert!(events.contains("Refused Attempted to upload whole.txt"), "{events}");
    assert!(events.contains("Failed Attempted to upload cut.txt"), "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_session_api_clients_receive_401_and_browsers_are_redirected() {
    let app = TestApp::start().await;
    let visitor = app.visitor();
    let path = format!("/buckets/{}/download?key=a", app.bucket);
    for accept in ["*/*", JSON, "application/octet-stream"] {
        for method in [Method::GET, Method::HEAD] {
            let page = visitor.send(visitor.request(method, &path).header("accept", accept)).await.expect_status(401);
            assert_eq!(page.header("content-type"), Some("application/problem+json"), "{accept}");
        }
    }
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let page = visitor.send(visitor.request(Method::GET, &path).header("accept", browser)).await.expect_status(303);
    assert!(page.location().starts_with("/session?next="), "{}", page.location());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_origin_is_explained() {
    let app = TestApp::start().await;
    for origin in [None, Some("https://elsewhere.example")] {
        let request = reqwest::Client::new().post(format!("{}/session", app.base)).header("accept", JSON);
        let request = origin.iter().fold(request, |request, origin| request.header("origin", *origin));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 403);
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert!(answer["detail"].as_str().unwrap().contains("header Origin is missing or is not"), "{answer}");
    }
}
