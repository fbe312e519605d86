//! Requests that no page links to: each is answered with a clear error, none with a server error.

use std::io::Read;

use larder::domain::actor::Role;
use reqwest::Method;

use crate::support::{Client, Page, TestApp, eventually};

async fn request(client: &Client, method: &str, path: &str, accept: &str) -> Page {
    client.send(client.request(Method::from_bytes(method.as_bytes()).unwrap(), path).header("accept", accept)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_version_finds_styles_and_does_not_cache_them() {
    let app = TestApp::start().await;
    let visitor = app.visitor();
    let own = visitor.get("/session").await.attributes("link[rel=stylesheet]", "href").remove(0);
    let (directory, name) = own.rsplit_once('/').unwrap();
    let current = visitor.get(&own).await.expect_status(200);
    assert_eq!(current.header("cache-control"), Some("public, max-age=31536000, immutable"));
    for other in ["/static/0123456789ab", &format!("{directory}0"), "/static/x"] {
        let file = visitor.get(&format!("{other}/{name}")).await.expect_status(200);
        assert_eq!(file.header("cache-control"), Some("no-store"), "{other}");
        assert_eq!((file.body, file.headers["content-type"].as_bytes()), (current.body.clone(), b"text/css; charset=utf-8".as_slice()));
    }
    for missing in ["/static", "/static/", "/static/x", "/static/x/", "/static/x/nothing.css"] {
        visitor.get(missing).await.expect_status(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn static_files_deleted_while_running_are_written_again() {
    let app = TestApp::start().await;
    let visitor = app.visitor();
    let style = visitor.get("/session").await.attributes("link[rel=stylesheet]", "href").remove(0);
    let before = visitor.get(&style).await.expect_status(200);
    for file in std::fs::read_dir(app.static_files()).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let after = visitor.get(&style).await.expect_status(200);
    assert_eq!((after.body.clone(), after.header("content-type")), (before.body.clone(), Some("text/css; charset=utf-8")));
    std::fs::remove_dir_all(app.static_files()).unwrap();
    let compressed = visitor.send(visitor.request(Method::GET, &style).header("accept-encoding", "gzip")).await.expect_status(200);
    assert!(gunzipped(&compressed).as_bytes() == before.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_numbers_and_names_are_explained() {
    let app = TestApp::start().await;
    let admin = app.sign_in(Role::Admin).await;
    admin.upload(&app.bucket, "a.txt", "x").await.expect_status(303);
    let browser = format!("/buckets/{}", app.bucket);
    for query in ["offset=18446744073709551615", "offset=18446744073709551615&limit=1", "back=18446744073709551615.&offset=1"] {
        admin.get(&format!("{browser}?{query}")).await.expect_status(200);
    }
    let pair = |key: &str| format!("{}:x:18446744073709551615", larder::console::view::paths::field(key));
    let sizes = [("pair", pair("a")), ("pair", pair("b"))];
    let fields: Vec<(&str, &str)> = sizes.iter().map(|(name, value)| (*name, value.as_str())).collect();
    admin.post(&format!("{browser}/deletions"), &fields).await.expect_status(200);
    for (path, field) in [
        ("/audit?from=%2B262142-12-31", "from"),
        ("/audit?to=%2B262142-12-31", "to"),
        ("/audit?to=%2B10000-01-01&format=csv", "to"),
        ("/audit?from=1969-12-31", "from"),
        ("/audit?action=x", "action"),
        ("/audit?action=obj%25", "action"),
        ("/uploads?bucket=No%20Bucket", "bucket"),
    ] {
        let page = admin.get(path).await.expect_status(422);
        assert!(!page.text_of(&format!("#{field}-why")).is_empty(), "{path}");
    }
    for path in ["/audit?from=1970-01-01&to=9999-12-31", "/audit?action=object", "/audit?action=object.upload", "/uploads?bucket=none-such"]
    {
        admin.get(path).await.expect_status(200);
    }
    let folder = admin.post(&format!("{browser}/folders?prefix=abc"), &[("name", "d")]).await.expect_status(303);
    assert!(folder.location().ends_with("?prefix=abc%2Fd%2F"), "{}", folder.location());
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_reject_methods_like_pages() {
    let app = TestApp::start().await;
    let visitor = app.visitor();
    let icon = larder::console::view::assets::url("icon.svg");
    for path in ["/livez", "/readyz", "/health", "/health/redis", &icon] {
        let options = request(&visitor, "OPTIONS", path, "text/html").await.expect_status(204);
        assert_eq!((options.header("allow"), options.body.len()), (Some("GET, HEAD, OPTIONS"), 0), "{path}");
        for method in ["PUT", "POST", "DELETE"] {
            let page = request(&visitor, method, path, "text/html").await.expect_status(405);
            assert_eq!((page.header("allow"), page.has("h1")), (Some("GET, HEAD, OPTIONS"), true), "{method} {path}");
            let problem = request(&visitor, method, path, "application/json").await.expect_status(405);
            assert_eq!(problem.header("content-type"), Some("application/problem+json"), "{method} {path}");
        }
        eventually("the check has run", async || visitor.get(path).await.status == 200).await;
        for accept in ["text/html", "application/json"] {
            let (got, head) = (request(&visitor, "GET", path, accept).await, request(&visitor, "HEAD", path, accept).await);
            assert_eq!((got.status, head.status, head.body.len()), (200, 200, 0), "{path}");
            assert_eq!(got.header("content-type"), head.header("content-type"), "{path}");
        }
    }
    let directory = icon.trim_end_matches("/icon.svg");
    for path in [directory, &format!("{directory}/"), &format!("{directory}/%2e%2e/x"), &format!("{directory}/icon.svg/x")] {
        let page = visitor.get(path).await;
        assert!((page.status == 404 || path.contains('%')) && page.has("h1"), "{path}: {} {}", page.status, page.text());
    }
    assert_eq!(visitor.get(&icon).await.header("content-type"), Some("image/svg+xml"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trailing_slash_redirects_to_the_path_without_it() {
    let app = TestApp::start().await;
    let visitor = app.visitor();
    for (path, target) in [
        ("/health/", "/health"),
        ("/health/redis/", "/health/redis"),
        ("/livez/?x=1&y=%2F", "/livez?x=1&y=%2F"),
        ("/buckets/", "/buckets"),
        ("/buckets/x/?prefix=a%2F", "/buckets/x?prefix=a%2F"),
        ("/session/", "/session"),
    ] {
        for method in ["GET", "HEAD", "POST"] {
            let page = request(&visitor, method, path, "text/html").await.expect_status(308);
            assert_eq!(page.location(), target, "{method} {path}");
        }
    }
    for path in ["//", "//evil.example/", "//health/", "/health//", "/nothing/", "/buckets//", "/static/", "/%2F/"] {
        request(&visitor, "GET", path, "text/html").await.expect_status(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_clients_receive_no_chunks() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let app = TestApp::start().await;
    let address = app.base.trim_start_matches("http://");
    let cookie = app.session_cookie(Role::Admin).await;
    for (path, connection) in [("/audit?format=csv", "close"), ("/audit?format=csv", "keep-alive"), ("/livez", "close")] {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: {connection}\r\nCookie: {cookie}\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(std::time::Duration::from_secs(20), socket.read_to_end(&mut answer)).await.unwrap().unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200") && !head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
        assert!(!path.contains("csv") || body.contains("user.create"), "{body}");
    }
}

fn gunzipped(page: &Page) -> String {
    assert_eq!(page.header("content-encoding"), Some("gzip"), "{}", page.path);
    let mut text = String::new();
    flate2::read::GzDecoder::new(page.body.as_slice()).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_responses_have_the_same_content() {
    let app = TestApp::start().await;
    let viewer = app.sign_in(Role::Viewer).await;
    let get = async |path: &str, site: &str, encodings: &str| {
        let request = viewer.request(Method::GET, path).header("sec-fetch-site", site).header("accept-encoding", encodings);
        viewer.send(request).await.expect_status(200)
    };
    for (name, _) in larder::console::view::assets::FILES {
        let path = larder::console::view::assets::url(name);
        let (plain, compressed) = (viewer.get(&path).await, get(&path, "cross-site", "gzip, br").await);
        assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("accept-encoding")), "{name}");
        assert_eq!((plain.header("content-type"), plain.text()), (compressed.header("content-type"), gunzipped(&compressed)));
        assert!(compressed.body.len() < plain.body.len() && compressed.header("vary") == Some("accept-encoding"), "{name}");
        viewer.get(&format!("{path}.gz")).await.expect_status(404);
    }
    let page = get("/buckets", "same-origin", "gzip").await;
    assert!(gunzipped(&page).contains("<h1>Buckets</h1>") && page.header("vary").unwrap().contains("sec-fetch-site"));
    for (site, encodings) in [("cross-site", "gzip"), ("same-site", "gzip"), ("none", "identity")] {
        let page = get("/buckets", site, encodings).await;
        assert!(page.header("content-encoding").is_none() && page.text_of("h1") == "Buckets", "{site} {encodings}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_details_are_not_cached_for_others() {
    let app = TestApp::start().await;
    let viewer = app.sign_in(Role::Viewer).await;
    let page = request(&viewer, "GET", "/health", "application/json").await;
    assert!(page.header("cache-control").unwrap().starts_with("private, max-age="), "{:?}", page.header("cache-control"));
    for client in [&viewer, &app.visitor()] {
        for accept in ["text/html", "application/json"] {
            assert_eq!(request(client, "GET", "/health", accept).await.header("vary"), Some("Accept, Cookie"));
        }
    }
    let page = request(&app.visitor(), "GET", "/health", "application/json").await;
    assert!(page.header("cache-control").unwrap().starts_with("max-age="));
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_from_a_rebound_host_name_are_rejected() {
    let app = TestApp::start().await;
    let admin = app.sign_in(Role::Admin).await;
    let rebound = |site: Option<&str>| {
        let form = admin.request(Method::POST, "/theme").header("host", "rebound.example").header("origin", "http://rebound.example");
        match site {
            Some(site) => form.header("sec-fetch-site", site),
            None => form,
        }
    };
    for site in [None, Some("same-origin"), Some("none")] {
        let page = admin.send(rebound(site)).await.expect_status(403);
        assert!(page.text_of("main").contains("PUBLIC_URL"), "{site:?}");
    }
}
