//! Downloads, previews and temporary links.

use larder::domain::actor::Role;
use larder::stores::s3::PutOptions;
use reqwest::Method;

use crate::support::{Client, Page, TestApp};

pub fn path(app: &TestApp, what: &str, key: &str) -> String {
    let encoded = percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC);
    format!("/buckets/{}/{what}?key={encoded}", app.bucket)
}

pub async fn put(app: &TestApp, key: &str, content: &[u8], media: &str) -> String {
    let options = PutOptions { content_type: media, metadata: &[], only_if_absent: false };
    app.ctx.s3.put(&app.bucket, key, bytes::Bytes::copy_from_slice(content), &options).await.unwrap().etag
}

pub async fn get(client: &Client, path: &str, headers: &[(&str, &str)]) -> Page {
    let request = headers.iter().fold(client.request(Method::GET, path), |request, (name, value)| request.header(*name, *value));
    client.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_of_an_empty_object_is_answered_with_the_object() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    editor.upload(&app.bucket, "empty.bin", "").await.expect_status(303);
    for range in ["bytes=0-", "bytes=0-0", "bytes=-5", "bytes=7-9"] {
        let page = get(&editor, &path(&app, "download", "empty.bin"), &[("range", range)]).await.expect_status(200);
        assert_eq!((page.header("content-length"), page.header("content-range")), (Some("0"), None), "{range}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_support_ranges_and_conditions() {
    let app = TestApp::start().await;
    let viewer = app.sign_in(Role::Viewer).await;
    let content: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
    let etag = put(&app, "Ä 見.bin", &content, "text/html").await;
    let url = path(&app, "download", "Ä 見.bin");
    let whole = get(&viewer, &url, &[]).await.expect_status(200);
    assert!(whole.body == content);
    let quoted = format!("\"{etag}\"");
    for (name, value) in [
        ("content-type", "application/octet-stream"),
        ("content-length", "100000"),
        ("accept-ranges", "bytes"),
        ("etag", quoted.as_str()),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox; default-src 'none'"),
        ("content-disposition", "attachment; filename=\"_ _.bin\"; filename*=UTF-8''%C3%84%20%E8%A6%8B.bin"),
    ] {
        assert_eq!(whole.header(name), Some(value), "{name}");
    }
    let modified = whole.header("last-modified").unwrap().to_owned();
    let head = viewer.send(viewer.request(Method::HEAD, &url)).await.expect_status(200);
    assert_eq!((head.header("content-length"), head.header("etag")), (Some("100000"), Some(quoted.as_str())));
    assert!(head.body.is_empty());

    let part = get(&viewer, &url, &[("range", "bytes=99990-")]).await.expect_status(206);
    assert_eq!((part.body.as_slice(), part.header("content-range")), (&content[99_990..], Some("bytes 99990-99999/100000")));
    assert_eq!(get(&viewer, &url, &[("range", "bytes=-10")]).await.expect_status(206).body, &content[99_990..]);
    assert_eq!(get(&viewer, &url, &[("range", "bytes=0-0")]).await.expect_status(206).body, &content[..1]);
    let outside = get(&viewer, &url, &[("range", "bytes=100000-")]).await.expect_status(416);
    assert_eq!(outside.header("content-range"), Some("bytes */100000"));
    // An invalid Range is ignored, as RFC 9110 permits.
    assert_eq!(get(&viewer, &url, &[("range", "bytes=5-1")]).await.expect_status(200).body.len(), content.len());
    get(&viewer, &url, &[("range", "bytes=5-9"), ("if-range", &quoted)]).await.expect_status(206);
    get(&viewer, &url, &[("range", "bytes=5-9"), ("if-range", &modified)]).await.expect_status(206);
    get(&viewer, &url, &[("range", "bytes=5-9"), ("if-range", "\"other\"")]).await.expect_status(200);
    assert!(get(&viewer, &url, &[("if-none-match", &quoted)]).await.expect_status(304).body.is_empty());
    get(&viewer, &url, &[("if-none-match", "\"other\"")]).await.expect_status(200);
    get(&viewer, &url, &[("if-modified-since", &modified)]).await.expect_status(304);
    get(&viewer, &url, &[("if-match", "\"other\"")]).await.expect_status(412);
    get(&viewer, &url, &[("if-match", &quoted)]).await.expect_status(200);
    get(&viewer, &url, &[("if-unmodified-since", "Sat, 01 Jan 2000 00:00:00 GMT")]).await.expect_status(412);
    for range in ["bytes=5-9", "bytes=100000-"] {
        let head = viewer.send(viewer.request(Method::HEAD, &url).header("range", range)).await.expect_status(200);
        assert_eq!((head.header("content-length"), head.header("content-range")), (Some("100000"), None), "{range}");
    }
    get(&viewer, &path(&app, "download", "missing"), &[]).await.expect_status(404);
    get(&viewer, "/buckets/no-such-bucket-here/download?key=a", &[]).await.expect_status(404);
    assert!(get(&viewer, &format!("/buckets/{}/download", app.bucket), &[]).await.expect_status(400).has("h1"));
    for bad in ["key=a&key=b", "key=%FF", "key="] {
        get(&viewer, &format!("/buckets/{}/download?{bad}", app.bucket), &[]).await.expect_status(400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn previews_depend_on_the_content_and_execute_nothing() {
    let app = TestApp::start().await;
    let viewer = app.sign_in(Role::Viewer).await;
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\0\x03\x08\x06\0\0\0";
    put(&app, "really.html", png, "text/html").await;
    let page = get(&viewer, &path(&app, "preview", "really.html"), &[]).await.expect_status(200);
    assert_eq!(page.header("content-type"), Some("image/png"));
    assert!(page.header("content-security-policy").unwrap().starts_with("sandbox"));
    for (key, content) in [
        ("a.png", "<html><script>alert(1)</script>"),
        ("a.svg", "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"),
        ("a.pdf", "<script>alert(1)</script>%PDF-1.7"),
        ("a.xhtml", "<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><script>alert(1)</script></html>"),
    ] {
        put(&app, key, content.as_bytes(), "image/svg+xml").await;
        let refused = get(&viewer, &path(&app, "preview", key), &[]).await.expect_status(422);
        assert!(!refused.text().contains("alert(1)"), "{key}");
        let object = get(&viewer, &path(&app, "object", key), &[]).await.expect_status(200);
        assert!(object.text_of("pre").contains("alert(1)"), "{key}");
        assert!(!object.texts("script").iter().any(|script| script.contains("alert")), "{key}");
    }
    put(&app, "table.csv", b"name,size\n=1+1,2\n", "text/csv").await;
    let table = get(&viewer, &path(&app, "object", "table.csv"), &[]).await.expect_status(200);
    assert_eq!(table.texts("table.csv td"), ["=1+1", "2"]);
    put(&app, "data.json", b"{\"b\":[1]}", "application/json").await;
    let json = get(&viewer, &path(&app, "object", "data.json"), &[]).await.expect_status(200);
    assert!(json.text_of("pre").contains("\"b\""));
    put(&app, "empty", b"", "text/plain").await;
    get(&viewer, &path(&app, "object", "empty"), &[]).await.expect_status(200);
    put(&app, "binary", &[0, 1, 2, 255], "text/plain").await;
    get(&viewer, &path(&app, "object", "binary"), &[]).await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_downloads_without_a_session_and_is_audited() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    put(&app, "a/plan.html", b"<script>", "text/html").await;
    let k = larder::console::view::paths::field("a/plan.html");
    let links = format!("/buckets/{}/links", app.bucket);
    let page = editor.post(&links, &[("k", &k), ("expires", "300")]).await.expect_status(200);
    let url = page.texts("pre").into_iter().find(|text| text.contains("X-Amz-Signature")).expect("a presigned address");
    let local = "only programs on the same machine as the store can reach";
    assert!(page.text_of("main").contains(local) && !page.text_of("main").contains("Anyone with the link"));
    let object = editor.get(&path(&app, "object", "a/plan.html")).await.expect_status(200);
    assert!(object.text_of("#expires-hint").contains("Set S3_PUBLIC_URL"));
    let answer = reqwest::get(&url).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    assert_eq!(answer.bytes().await.unwrap(), "<script>");
    for expires in ["299", "604801", "-1", "x", ""] {
        editor.post(&links, &[("k", &k), ("expires", expires)]).await.expect_status(422);
    }
    let events = app.sql().await.query("SELECT action, detail::text FROM audit.events WHERE action = 'object.share'", &[]).await.unwrap();
    assert_eq!(events.len(), 1);
    assert!(!events[0].get::<_, String>(1).contains("Signature"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_a_public_address_works_for_anyone() {
    let app = TestApp::start_with(|config| config.s3.public_url = Some("https://files.example.com".into())).await;
    let editor = app.sign_in(Role::Editor).await;
    put(&app, "a.txt", b"1", "text/plain").await;
    let k = larder::console::view::paths::field("a.txt");
    let page = editor.post(&format!("/buckets/{}/links", app.bucket), &[("k", &k), ("expires", "300")]).await.expect_status(200);
    assert!(page.text_of("main").contains("Anyone with the link") && !page.text_of("main").contains("S3_PUBLIC_URL"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_download_is_audited() {
    let app = TestApp::start().await;
    let viewer = app.sign_in(Role::Viewer).await;
    let etag = format!("\"{}\"", put(&app, "secret.bin", b"0123456789", "text/plain").await);
    let url = path(&app, "download", "secret.bin");
    for range in ["bytes=00-", "bytes=-10", "bytes=1-", "bytes=0-"] {
        get(&viewer, &url, &[("range", range)]).await.expect_status(206);
    }
    get(&viewer, &url, &[("if-none-match", &format!("W/{etag}"))]).await.expect_status(304);
    get(&viewer, &url, &[("range", "bytes=5-"), ("if-range", &etag)]).await.expect_status(206);
    viewer.send(viewer.request(Method::HEAD, &url)).await.expect_status(200);
    let events = app
        .sql()
        .await
        .query("SELECT detail->>'range' FROM audit.events WHERE action = 'object.download' ORDER BY sequence", &[])
        .await
        .unwrap();
    let ranges: Vec<Option<String>> = events.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        ranges.iter().map(|range| range.as_deref().unwrap_or("-")).collect::<Vec<_>>(),
        ["bytes=00-", "bytes=-10", "bytes=1-", "bytes=0-"]
    );
}

async fn reads(app: &TestApp) -> Vec<String> {
    let rows = app
        .sql()
        .await
        .query(
            "SELECT action || ' ' || coalesce(detail->>'range', 'all') FROM audit.events
             WHERE action IN ('object.download', 'object.preview') ORDER BY sequence",
            &[],
        )
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_an_audited_read_is_not_audited_again_for_the_same_session() {
    let app = TestApp::start().await;
    let (viewer, other) = (app.sign_in(Role::Viewer).await, app.sign_in(Role::Viewer).await);
    let etag = format!("\"{}\"", put(&app, "secret.bin", b"0123456789", "text/plain").await);
    let url = path(&app, "download", "secret.bin");
    // The ETag is known from a HEAD request, which is not an audited read.
    viewer.send(viewer.request(Method::HEAD, &url)).await.expect_status(200);
    get(&viewer, &url, &[("range", "bytes=1-"), ("if-range", &etag)]).await.expect_status(206);
    // Only one byte has been audited.
    get(&viewer, &url, &[("range", "bytes=0-0")]).await.expect_status(206);
    get(&viewer, &url, &[("range", "bytes=2-"), ("if-range", &etag)]).await.expect_status(206);
    // The whole object was read by another session.
    get(&other, &url, &[]).await.expect_status(200);
    get(&viewer, &url, &[("range", "bytes=0-"), ("if-range", &etag)]).await.expect_status(206);
    // The earlier reads were of the previous version.
    let changed = format!("\"{}\"", put(&app, "secret.bin", b"abcdefghij", "text/plain").await);
    get(&other, &url, &[("range", "bytes=5-"), ("if-range", &changed)]).await.expect_status(206);
    get(&other, &url, &[("range", "bytes=7-"), ("if-range", &changed)]).await.expect_status(206);
    let download = |range: &str| format!("object.download {range}");
    let expected = ["bytes=1-", "bytes=0-0", "bytes=2-", "all", "bytes=0-", "bytes=5-"].map(download);
    assert_eq!(reads(&app).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn previews_are_audited_once_for_each_session_and_state_of_the_object() {
    let app = TestApp::start().await;
    let viewer = app.sign_in(Role::Viewer).await;
    let video = [b"\0\0\0\x20ftypisom\0\0\0\0isomiso2avc1mp41".as_slice(), &[7; 1000]].concat();
    put(&app, "film.mp4", &video, "video/mp4").await;
    put(&app, "note.txt", b"a text", "text/plain").await;
    let film = path(&app, "preview", "film.mp4");
    for range in ["bytes=0-", "bytes=500-", "bytes=900-"] {
        get(&viewer, &film, &[("range", range)]).await.expect_status(206);
    }
    viewer.get(&path(&app, "object", "film.mp4")).await.expect_status(200);
    for _ in 0..2 {
        viewer.get(&path(&app, "object", "note.txt")).await.expect_status(200);
    }
    put(&app, "note.txt", b"another", "text/plain").await;
    viewer.get(&path(&app, "object", "note.txt")).await.expect_status(200);
    assert_eq!(reads(&app).await, ["object.preview bytes=0-", "object.preview all", "object.preview all"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_stored_compressed_is_the_same_file_by_every_way() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    let text = "compressed text\n".repeat(40_000);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
    let stored = encoder.finish().unwrap();
    let client = crate::support::s3_client(&app.ctx.config.s3);
    for (key, encoding) in [("page.txt", "gzip"), ("other.txt", "br")] {
        let put = client.put_object().bucket(&app.bucket).key(key).content_encoding(encoding).content_type("text/plain");
        put.body(stored.clone().into()).send().await.unwrap();
        let download = get(&editor, &path(&app, "download", key), &[]).await.expect_status(200);
        assert_eq!(download.header("content-encoding"), Some(encoding));
        assert!(download.body == stored);
        let fields = [("k", larder::console::view::paths::field(key)), ("expires", "300".to_owned())];
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        let link = editor.post(&format!("/buckets/{}/links", app.bucket), &fields).await.expect_status(200).text_of(".code pre");
        let linked = reqwest::Client::builder().no_proxy().build().unwrap().get(link).send().await.unwrap();
        assert_eq!(linked.headers().get("content-encoding").unwrap(), encoding);
        assert!(linked.bytes().await.unwrap() == stored);
    }
    let page = editor.get(&path(&app, "object", "page.txt")).await.expect_status(200);
    assert!(page.text_of(".preview pre").starts_with("compressed text compressed text"));
    assert!(page.text_of(".preview").contains("The first"), "the preview is limited");
    assert!(page.texts(".kv div").iter().any(|row| row.starts_with("Encodinggzip")), "{:?}", page.texts(".kv div"));
    let page = editor.get(&path(&app, "object", "other.txt")).await.expect_status(200);
    assert!(page.text_of(".preview").contains("Content-Encoding: br"), "{}", page.text_of(".preview"));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_of_uploading_keep_the_character_set_of_the_media_type() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    let media = "text/html; charset=windows-1251";
    let file = reqwest::multipart::Part::bytes(b"<p>".to_vec()).file_name("form.html").mime_str(media).unwrap();
    let form = reqwest::multipart::Form::new().part("file", file);
    editor.post_files(&format!("/buckets/{}/uploads", app.bucket), form).await.expect_status(303);
    let resumable = format!("/buckets/{}/uploads/resumable", app.bucket);
    let fields = [("name", "parts.html"), ("type", media), ("length", "3"), ("fingerprint", "f")];
    let id = editor.post(&resumable, &fields).await.expect_status(200).json()["id"].as_str().unwrap().to_owned();
    let upload = format!("/buckets/{}/uploads/{id}", app.bucket);
    crate::resumable::part(&editor, &upload, "1", b"<p>", None).await.expect_status(200);
    editor.post(&format!("{upload}/completion"), &[]).await.expect_status(200);
    for key in ["form.html", "parts.html"] {
        let head = app.ctx.s3.head(&app.bucket, key, None).await.unwrap();
        assert_eq!(head.content_type.as_deref(), Some(media), "{key}");
        let page = editor.get(&path(&app, "object", key)).await.expect_status(200);
        assert!(page.text_of("main").contains(media));
    }
}
