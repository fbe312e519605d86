//! Objects whose content or headers the store does not return as usual: their pages open nevertheless.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::StorageClass;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use larder::console::view::paths;
use larder::domain::actor::Role;

use crate::support::{Client, Page, Reply, Set, TestApp, eventually, moto, s3_client, s3_error, s3_front};

async fn on_endpoint(endpoint: &str) -> TestApp {
    let endpoint = endpoint.to_owned();
    TestApp::start_with(|config| config.s3.endpoint = Some(endpoint)).await
}

/// The page, the download and the row of `key`: the page opens and contains `sentence`, and the download answers with
/// `status` and the same sentence.
async fn expect_unreadable(app: &TestApp, client: &Client, key: &str, sentence: &str, status: u16) -> Page {
    let query = format!("key={}", paths::encode(key));
    let page = client.get(&format!("/buckets/{}/object?{query}", app.bucket)).await.expect_status(200);
    assert!(page.text_of(".preview").contains(sentence), "{}", page.text_of(".preview"));
    assert!(page.text_of("main").contains("Delete"));
    for path in ["download", "preview"] {
        let refused = client.get(&format!("/buckets/{}/{path}?{query}", app.bucket)).await.expect_status(status);
        assert!(refused.text_of("main").contains(sentence), "{path}: {}", refused.text_of("main"));
    }
    page
}

/// Deletes the object through its page.
async fn delete(app: &TestApp, client: &Client, page: &Page) {
    let (key, etag) = (page.attribute("form[action$=deletions] input[name=k]", "value"), page.attribute("input[name=etag]", "value"));
    let fields = [("k", key.as_str()), ("etag", &etag), ("confirm", "1")];
    let answer = client.post(&format!("/buckets/{}/deletions", app.bucket), &fields).await.expect_status(303);
    let shown = client.get(answer.location()).await.text();
    assert!(shown.contains("Deleted"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_an_archived_object_opens_and_says_that_it_must_be_restored() {
    let app = on_endpoint(&moto().await.base).await;
    let client = s3_client(&app.ctx.config.s3);
    eventually("the bucket exists", async || app.ctx.s3.head_bucket(&app.bucket).await.is_ok()).await;
    let put = client.put_object().bucket(&app.bucket).key("old.txt").storage_class(StorageClass::Glacier);
    put.body(ByteStream::from_static(b"archived")).send().await.unwrap();
    app.rules_known().await;
    let editor = app.sign_in(Role::Editor).await;
    let page = expect_unreadable(&app, &editor, "old.txt", "archived in GLACIER. Restore it in the store first.", 409).await;
    assert!(page.texts(".kv div").contains(&"Storage classGLACIER".to_owned()), "{:?}", page.texts(".kv div"));
    let listing = editor.get(&format!("/buckets/{}", app.bucket)).await.expect_status(200);
    assert!(listing.text_of("tbody tr").contains("GLACIER"), "{}", listing.text_of("tbody tr"));
    let fields = [("k", paths::field("old.txt")), ("expires", "300".to_owned())];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    let link = editor.post(&format!("/buckets/{}/links", app.bucket), &fields).await.expect_status(409);
    assert!(link.text_of("main").contains("archived in GLACIER"));
    delete(&app, &editor, &page).await;
    assert!(app.ctx.s3.head(&app.bucket, "old.txt", None).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_an_object_with_a_customer_key_opens_with_the_details_of_the_listing() {
    if !Set::is_seaweedfs() {
        // MinIO accepts customer keys only over TLS.
        return;
    }
    let app = TestApp::start().await;
    app.rules_known().await;
    let put = s3_client(&app.ctx.config.s3).put_object().bucket(&app.bucket).key("secret.bin").sse_customer_algorithm("AES256");
    let put = put.sse_customer_key(STANDARD.encode([b'0'; 32])).sse_customer_key_md5("zZ5FnqcIqUjVwvWmyog4zw==");
    put.body(ByteStream::from_static(b"encrypted")).send().await.unwrap();
    let editor = app.sign_in(Role::Editor).await;
    let page = expect_unreadable(&app, &editor, "secret.bin", "encrypted with a customer key", 409).await;
    assert!(page.text_of("main").contains("9 bytes"));
    assert_eq!(editor.upload(&app.bucket, "secret.bin", "other").await.expect_status(303).status, 303);
    let head = app.ctx.s3.head(&app.bucket, "secret.bin", None).await.unwrap();
    assert_eq!(head.size, 9, "an upload does not replace it");
    delete(&app, &editor, &page).await;
    editor.get(&format!("/buckets/{}/object?key=secret.bin", app.bucket)).await.expect_status(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_an_object_that_only_get_refuses_opens_with_its_details() {
    let real = Set::shared().await.servers().urls().s3_endpoint.clone();
    let front = s3_front(&real, |request, forward| {
        let denied = "User larder is not authorized to perform: kms:Decrypt on resource key/1";
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", path) if path.contains("/kms.txt") => s3_error(request, 403, "", "AccessDenied", denied),
            ("GET", path) if path.contains("/policy.txt") => s3_error(request, 403, "", "AccessDenied", "Access Denied."),
            ("GET" | "HEAD", path) if path.contains("/hidden.txt") => s3_error(request, 403, "", "AccessDenied", "Access Denied."),
            _ => Reply::Raw(forward()),
        }
    });
    let app = on_endpoint(&front.base).await;
    app.rules_known().await;
    let editor = app.sign_in(Role::Editor).await;
    for (key, sentence, status) in
        [("kms.txt", "could not decrypt this object", 409), ("policy.txt", "access key", 403), ("hidden.txt", "access key", 403)]
    {
        editor.upload(&app.bucket, key, "content").await.expect_status(303);
        let page = expect_unreadable(&app, &editor, key, sentence, status).await;
        assert!(page.text_of("main").contains("7 bytes"), "{key}");
    }
}
