//! Readers that take no bytes, and objects that change while they are read.

use larder::domain::actor::Role;
use reqwest::Method;

use crate::support::{PASSWORD, TestApp, eventually};
use crate::transfers::{get, path, put};

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_download_is_complete_and_holds_no_store_connection() {
    let app = TestApp::start_with(|config| config.download_limit_per_person = 2).await;
    let viewer = app.sign_in(Role::Viewer).await;
    let content: Vec<u8> = (0..24_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (all, part) = (put(&app, "large.bin", &content, "application/octet-stream").await, content[5..].to_vec());
    let url = path(&app, "download", "large.bin");
    let mut whole = viewer.request(Method::GET, &url).send().await.unwrap();
    let mut rest = viewer.request(Method::GET, &url).header("range", "bytes=5-").send().await.unwrap();
    assert_eq!(whole.headers()["etag"].to_str().unwrap(), format!("\"{all}\""));
    let (mut got_whole, mut got_rest) = (whole.chunk().await.unwrap().unwrap().to_vec(), rest.chunk().await.unwrap().unwrap().to_vec());
    // A third download exceeds the limit per user.
    let refused = viewer.get(&url).await.expect_status(503);
    assert!(refused.text().contains("2 of your downloads are in progress"), "{}", refused.text());
    eventually("the connections to the store are closed", async || app.ctx.open_bodies.held() == 0).await;
    while let Some(chunk) = whole.chunk().await.unwrap() {
        got_whole.extend_from_slice(&chunk);
    }
    while let Some(chunk) = rest.chunk().await.unwrap() {
        got_rest.extend_from_slice(&chunk);
    }
    assert!(got_whole == content && got_rest == part);
    eventually("the slots are free again", async || app.ctx.downloads.count() == 0).await;

    // If the object is replaced, the download is interrupted or still the old object, never a mixture.
    let mut cut = viewer.request(Method::GET, &url).send().await.unwrap();
    let mut got = cut.chunk().await.unwrap().unwrap().to_vec();
    eventually("the connection to the store is closed", async || app.ctx.open_bodies.held() == 0).await;
    put(&app, "large.bin", &vec![0; content.len()], "application/octet-stream").await;
    let ended = loop {
        match cut.chunk().await {
            Ok(Some(chunk)) => got.extend_from_slice(&chunk),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    assert!(content.starts_with(&got) && ended == (got.len() == content.len()), "{} bytes, ended: {ended}", got.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_downloads_are_ended_only_while_others_wait_for_a_slot() {
    let app = TestApp::start_with(|config| (config.download_limit, config.download_limit_per_person) = (4, 2)).await;
    let (one, two, third) = (app.sign_in(Role::Viewer).await, app.sign_in(Role::Viewer).await, app.sign_in(Role::Viewer).await);
    let content = vec![7; 24 << 20];
    put(&app, "large.bin", &content, "application/octet-stream").await;
    put(&app, "small.bin", b"small", "application/octet-stream").await;
    let (large, small) = (path(&app, "download", "large.bin"), path(&app, "download", "small.bin"));
    let mut unread = Vec::new();
    for client in [&one, &two, &one, &two] {
        unread.push(client.request(Method::GET, &large).send().await.unwrap());
    }
    let began = std::time::Instant::now();
    let refused = third.get(&small).await.expect_status(503);
    assert!(refused.header("retry-after").is_some() && began.elapsed() < std::time::Duration::from_secs(1));
    assert!(refused.text().contains("4 downloads are in progress"), "{}", refused.text());
    // The readers were measured as slow, so another user gets a slot, and one with a slow download of its own does not.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    one.get(&small).await.expect_status(503);
    assert_eq!(third.get(&small).await.expect_status(200).body, b"small");
    assert_eq!(third.get(&small).await.expect_status(200).body, b"small");
    let mut complete = 0;
    for mut response in unread {
        let mut length = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            length += chunk.len();
        }
        assert!(length <= content.len());
        complete += usize::from(length == content.len());
    }
    assert_eq!(complete, 3, "one download was ended, the others were not");
    eventually("the slots are free again", async || app.ctx.downloads.count() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_of_three_users_do_not_keep_the_store_connections_from_a_fourth() {
    let app = TestApp::start().await;
    put(&app, "large.bin", &vec![7; 24 << 20], "application/octet-stream").await;
    put(&app, "small.bin", b"small", "application/octet-stream").await;
    let mut readers = tokio::task::JoinSet::new();
    let address: std::net::SocketAddr = app.base.trim_start_matches("http://").parse().unwrap();
    for _ in 0..3 {
        let (email, visitor) = (app.new_user(Role::Viewer).await, app.visitor());
        let signed_in = visitor.post("/session", &[("email", &email), ("password", PASSWORD)]).await.expect_status(303);
        let cookie = signed_in.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        for _ in 0..30 {
            let request = format!("GET {} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\n\r\n", path(&app, "download", "large.bin"));
            readers.spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let socket = tokio::net::TcpSocket::new_v4().unwrap();
                socket.set_recv_buffer_size(16 << 10).unwrap();
                let mut socket = socket.connect(address).await.unwrap();
                socket.write_all(request.as_bytes()).await.unwrap();
                // About 40 kB per second.
                let mut buffer = vec![0; 4 << 10];
                while socket.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            });
        }
    }
    eventually("the readers hold connections to the store", async || app.ctx.open_bodies.held() >= 30).await;
    let fourth = app.sign_in(Role::Viewer).await;
    for _ in 0..20 {
        let began = std::time::Instant::now();
        assert_eq!(fourth.get(&path(&app, "download", "small.bin")).await.expect_status(200).body, b"small");
        assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    readers.abort_all();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_replaced_after_its_check_is_not_embedded() {
    let app = TestApp::start().await;
    let viewer = app.sign_in(Role::Viewer).await;
    // The size of an image is in its first bytes: 2 × 3 pixels, and 60,000 × 60,000.
    let png = |width: u32, height: u32| {
        let start = [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], &width.to_be_bytes(), &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
        [start, vec![0; 50_000]].concat()
    };
    let (small, large) = (png(2, 3), png(60_000, 60_000));
    let etag = put(&app, "image.png", &small, "image/png").await;
    let url = path(&app, "preview", "image.png");
    assert_eq!(get(&viewer, &url, &[("if-match", &format!("\"{etag}\""))]).await.expect_status(200).body, small);
    get(&viewer, &url, &[("if-match", "\"other\"")]).await.expect_status(412);
    get(&viewer, &url, &[("if-none-match", &format!("\"{etag}\""))]).await.expect_status(304);
    let over = std::sync::atomic::AtomicBool::new(false);
    let replacing = async {
        while !over.load(std::sync::atomic::Ordering::Relaxed) {
            put(&app, "image.png", &large, "image/png").await;
            put(&app, "image.png", &small, "image/png").await;
        }
    };
    let reading = async {
        let mut statuses = std::collections::BTreeMap::new();
        for _ in 0..300 {
            let page = viewer.get(&url).await;
            assert!(page.body != large, "the unchecked image was sent");
            assert!(page.status != 200 || page.body == small);
            *statuses.entry(page.status).or_insert(0) += 1;
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        statuses
    };
    let ((), statuses) = futures_util::future::join(replacing, reading).await;
    assert!(statuses.keys().all(|status| matches!(status, 200 | 404 | 412 | 422)), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unread_object_page_holds_its_preview_slot() {
    let app = TestApp::start().await;
    put(&app, "note.txt", "<&>\n".repeat(60_000).as_bytes(), "text/plain").await;
    let viewer = app.sign_in(Role::Viewer).await;
    let url = path(&app, "object", "note.txt");
    let whole = viewer.get(&url).await.expect_status(200);
    assert!(whole.body.len() > 200_000 && whole.text().contains("&#60;"));
    eventually("the slot is free after the page was sent", async || app.ctx.previews.count() == 0).await;
    let (email, visitor) = (app.new_user(Role::Viewer).await, app.visitor());
    let signed_in = visitor.post("/session", &[("email", &email), ("password", PASSWORD)]).await.expect_status(303);
    let cookie = signed_in.header("set-cookie").unwrap().split(';').next().unwrap();
    let address: std::net::SocketAddr = app.base.trim_start_matches("http://").parse().unwrap();
    let mut unread = Vec::new();
    // Two kilobytes of buffer, but the kernel and the connection take some pages whole.
    eventually("eight unread pages hold a slot", async || {
        use tokio::io::AsyncWriteExt;
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2 << 10).unwrap();
        let mut socket = socket.connect(address).await.unwrap();
        let request = format!("GET {url} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\n\r\n");
        // Several requests on one connection fill its buffers.
        socket.write_all(request.repeat(30).as_bytes()).await.unwrap();
        unread.push(socket);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        app.ctx.previews.count() >= 8
    })
    .await;
    let page = viewer.get(&url).await.expect_status(200);
    assert!(page.body.len() > 200_000, "another user has slots");
    drop(unread);
    eventually("the slots are free again", async || app.ctx.previews.count() == 0).await;
}
