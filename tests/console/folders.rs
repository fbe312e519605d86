//! Folders: missing ones, those on later pages, and names that look the same.

use bytes::Bytes;
use futures_util::StreamExt;
use larder::console::view::paths;
use larder::domain::actor::Role;

use crate::support::{TestApp, s3_client};
use crate::transfers::put;

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_does_not_exist_is_not_found_and_can_be_created() {
    let app = TestApp::start().await;
    app.rules_known().await;
    let (editor, viewer) = (app.sign_in(Role::Editor).await, app.sign_in(Role::Viewer).await);
    let url = format!("/buckets/{}?prefix=a%2Fnew%20one%2F", app.bucket);
    let missing = editor.get(&url).await.expect_status(404);
    assert!(missing.text_of("main").contains("No such folder"), "{}", missing.text_of("main"));
    assert!(!viewer.get(&url).await.expect_status(404).has("main form[method=post]"));
    let form = "form:has(input[name=name][type=hidden])";
    let (action, name) = (missing.attribute(form, "action"), missing.attribute("input[name=name][type=hidden]", "value"));
    let created = editor.post(&action, &[("name", &name)]).await.expect_status(303);
    assert_eq!(created.location(), url);
    assert!(editor.get(&url).await.expect_status(200).text_of("main").contains("is empty"));
    // A bucket without objects, and a search without a result, are not missing folders.
    viewer.get(&format!("/buckets/{}", app.bucket)).await.expect_status(200);
    viewer.get(&format!("{url}&starts=x")).await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typed_path_with_a_leading_slash_opens_what_is_meant() {
    let app = TestApp::start().await;
    app.rules_known().await;
    let viewer = app.sign_in(Role::Viewer).await;
    put(&app, "photos/a.txt", b"1", "text/plain").await;
    let bucket = &app.bucket;
    for (typed, leads_to) in [
        ("/photos/".to_owned(), format!("/buckets/{bucket}?prefix=photos%2F")),
        ("//photos/a.txt".to_owned(), format!("/buckets/{bucket}/object?key=photos%2Fa.txt")),
        (format!("s3://{bucket}//photos/"), format!("/buckets/{bucket}?prefix=photos%2F")),
        ("/".to_owned(), format!("/buckets/{bucket}")),
    ] {
        let page = viewer.get(&format!("/buckets/{bucket}?to={}", paths::encode(&typed))).await.expect_status(303);
        assert_eq!(page.location(), leads_to, "{typed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_begin_with_a_slash_stay_reachable() {
    let endpoint = crate::support::moto().await.base.clone();
    let app = TestApp::start_with(|config| config.s3.endpoint = Some(endpoint)).await;
    app.rules_known().await;
    let viewer = app.sign_in(Role::Viewer).await;
    let put = s3_client(&app.ctx.config.s3).put_object().bucket(&app.bucket).key("/photos/a.txt");
    put.body(Bytes::from_static(b"1").into()).send().await.unwrap();
    let page = viewer.get(&format!("/buckets/{}?to=%2Fphotos%2F", app.bucket)).await.expect_status(303);
    assert_eq!(page.location(), format!("/buckets/{}?prefix=%2Fphotos%2F", app.bucket));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_page_links_to_the_folders_of_later_pages() {
    let app = TestApp::start().await;
    app.rules_known().await;
    let viewer = app.sign_in(Role::Viewer).await;
    put(&app, "first/a.txt", b"1", "text/plain").await;
    let files = (0..1_500).map(|number| {
        let (store, bucket) = (app.ctx.s3.clone(), app.bucket.clone());
        async move {
            let options = larder::stores::s3::PutOptions { content_type: "text/plain", metadata: &[], only_if_absent: false };
            store.put(&bucket, &format!("m{number:04}.txt"), Bytes::from_static(b"1"), &options).await.unwrap();
        }
    });
    futures_util::stream::iter(files).buffer_unordered(32).collect::<Vec<()>>().await;
    put(&app, "x y/a.txt", b"1", "text/plain").await;
    put(&app, "z/a.txt", b"1", "text/plain").await;
    let page = viewer.get(&format!("/buckets/{}", app.bucket)).await.expect_status(200);
    assert_eq!(page.texts(".later-folders a"), ["x y", "z"]);
    assert!(!page.text_of(".later-folders").contains("There may be more"));
    let urls = page.attributes(".later-folders a", "href");
    assert_eq!(urls[0], format!("/buckets/{}?prefix=x%20y%2F", app.bucket));
    viewer.get(&urls[1]).await.expect_status(200);
    let next = viewer.get(&page.attribute("a[rel=next]", "href")).await.expect_status(200);
    assert!(!next.has(".later-folders"));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_look_the_same_are_marked_and_not_stored_without_asking() {
    let app = TestApp::start().await;
    app.rules_known().await;
    let editor = app.sign_in(Role::Editor).await;
    let (composed, decomposed) = ("caf\u{e9}.txt", "cafe\u{301}.txt");
    let upload = format!("/buckets/{}/uploads", app.bucket);
    let send = async |name: &str, query: &str| {
        let file = reqwest::multipart::Part::bytes(b"1".to_vec()).file_name(name.to_owned());
        let request = editor.request(reqwest::Method::POST, &format!("{upload}{query}")).header("accept", "application/json");
        editor.send(request.multipart(reqwest::multipart::Form::new().part("file", file))).await
    };
    send(composed, "").await.expect_status(201);
    let refused = send(decomposed, "").await.expect_status(409).json();
    assert_eq!(refused["files"][0]["code"], "exists");
    assert!(refused["files"][0]["error"].as_str().unwrap_or_default().contains("looks like"), "{refused}");
    let fields = [("name", decomposed), ("length", "1"), ("fingerprint", "f")];
    editor.post(&format!("{upload}/resumable"), &fields).await.expect_status(409);
    send(decomposed, "?overwrite=1").await.expect_status(201);
    put(&app, "A\u{30a}.txt", b"1", "text/plain").await;
    put(&app, "plain.txt", b"1", "text/plain").await;
    let page = editor.get(&format!("/buckets/{}", app.bucket)).await.expect_status(200);
    let mut notes = page.texts("tbody .row-why");
    notes.sort();
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(notes[0].starts_with("Looks like another name here, but has composed"));
    assert!(notes[1].starts_with("Looks like another name here, but has decomposed"));
    assert!(notes[2].starts_with("The name has decomposed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_command_quotes_the_folder_for_the_shell() {
    let app = TestApp::start().await;
    app.rules_known().await;
    let editor = app.sign_in(Role::Editor).await;
    let made = editor.post(&format!("/buckets/{}/folders", app.bucket), &[("name", "it's a folder")]).await.expect_status(303);
    let page = editor.get(made.location()).await.expect_status(200);
    let command = page.text_of(".empty-code pre");
    assert!(command.contains(&format!("'s3://{}/it'\\''s a folder/'", app.bucket)), "{command}");
}
