//! How both HTTP clients handle servers that fail or do not respond as expected.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use larder::config::Secret;
use larder::stores::connect_error::ErrorClass;
use larder::stores::http::{Error, LARGEST};
use larder::stores::litellm::{LiteLlm, Message, Role};
use larder::stores::qdrant::{Distance, Point, PointId, Qdrant};
use serde_json::{Map, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{HttpStub, Reply, certificates, eventually, tls_front};

const KEY: &str = "key-that-no-one-else-may-see";
/// The clients' timeout in these tests.
const LIMIT: Duration = Duration::from_millis(1500);

/// The outcome of every request that the clients can send to a server at this address.
async fn send_all_requests(url: &str) -> Vec<(&'static str, Error)> {
    let key = Secret::new(KEY);
    let qdrant = Qdrant::new(url, Some(&key)).unwrap().with_timeout(LIMIT);
    let litellm = LiteLlm::new(url, Some(&key)).unwrap().with_timeout(LIMIT);
    let points = [Point { id: PointId::Number(1), vector: vec![1.0], payload: Map::new() }];
    let messages = [Message { role: Role::User, content: "Hello".into() }];
    let (ids, inputs) = ([PointId::Number(1)], ["Hello".to_owned()]);
    let outcomes = tokio::join!(
        async { ("qdrant ready", qdrant.ready().await.err()) },
        async { ("qdrant version", qdrant.version().await.err()) },
        async { ("collections", qdrant.collections().await.err()) },
        async { ("collection", qdrant.collection("c").await.err()) },
        async { ("create", qdrant.create_collection("c", 1, Distance::Dot).await.err()) },
        async { ("exists", qdrant.collection_exists("c").await.err()) },
        async { ("upsert", qdrant.upsert("c", &points).await.err()) },
        async { ("search", qdrant.search("c", &[1.0], None, 1).await.err()) },
        async { ("delete points", qdrant.delete_points("c", &ids).await.err()) },
        async { ("delete", qdrant.delete_collection("c").await.err()) },
        async { ("litellm ready", litellm.ready().await.err()) },
        async { ("litellm version", litellm.version().await.err()) },
        async { ("models", litellm.models().await.err()) },
        async { ("complete", litellm.complete("m", &messages).await.err()) },
        async { ("embed", litellm.embed("m", &inputs).await.err()) },
    );
    let (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o) = outcomes;
    let all = [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o];
    all.into_iter().map(|(name, error)| (name, error.unwrap_or_else(|| panic!("{name} succeeds at {url}")))).collect()
}

/// All requests fail with this class, and no message contains the address or the key.
async fn expect(url: &str, class: ErrorClass) -> Vec<Error> {
    let failed = send_all_requests(url).await;
    let host = url.split("//").nth(1).unwrap().split(':').next().unwrap();
    for (name, error) in &failed {
        assert_eq!(error.class(), class, "{name} at {url}: {error:?}");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains(host) && !text.contains(KEY), "{name}: {text}");
        }
    }
    failed.into_iter().map(|(_, error)| error).collect()
}

/// A page of a web server without an API.
fn html(status: u16) -> Reply {
    Reply::page(status, "content-type: text/html\r\n", "<!doctype html><title>Welcome to 127.0.0.1</title>")
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_and_dns_failures_are_reported() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    expect(&format!("http://{free}"), ErrorClass::Connect).await;
    // No host name has such a long part, so no resolver queries the network, which could be slow. Also, the text of
    // an address must not determine the class of a failure.
    expect(&format!("http://tls-certificate-timeout-{}.invalid:6333", "x".repeat(64)), ErrorClass::Dns).await;
    let dropped = HttpStub::always(Reply::Raw(Vec::new()));
    expect(&dropped.base, ErrorClass::Connect).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_costs_no_more_than_the_timeout() {
    for begin in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"result\":"] {
        let frozen = HttpStub::always(Reply::Freeze(begin));
        let began = Instant::now();
        expect(&frozen.base, ErrorClass::Timeout).await;
        let took = began.elapsed();
        assert!(took >= LIMIT && took < LIMIT * 3, "{took:?} after {begin:?}");
    }
    // Without another timeout, within the 5 s of a page.
    let frozen = HttpStub::always(Reply::Freeze(""));
    let began = Instant::now();
    let (qdrant, litellm) = (Qdrant::new(&frozen.base, None).unwrap(), LiteLlm::new(&frozen.base, None).unwrap());
    assert_eq!(tokio::join!(qdrant.ready(), litellm.models()), (Err(Error::Timeout), Err(Error::Timeout)));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untrusted_certificate_is_rejected() {
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path());
    let port = tls_front(directory.path(), "/nowhere".into(), false).await;
    expect(&format!("https://localhost:{port}"), ErrorClass::Tls).await;
    // The server does not use TLS.
    let plain = HttpStub::always(html(400));
    expect(&plain.base.replace("http:", "https:"), ErrorClass::Tls).await;
}

/// Certificate authorities and proxies come from the environment, which only a separate process can change.
#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_certificate_is_accepted_and_proxy_variables_are_ignored() {
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path());
    let socket = directory.path().join("s");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 20\r\nconnection: close\r\n\r\nall shards are ready";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let port = tls_front(directory.path(), socket.display().to_string(), false).await;
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "--ignored", "http::in_a_separate_process"]).env("LARDER_TEST_URL", format!("https://localhost:{port}"));
    child.env("SSL_CERT_FILE", directory.path().join("ca.pem"));
    let nobody = "http://127.0.0.1:9";
    child.envs(["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].map(|name| (name, nobody))).env_remove("NO_PROXY");
    let output = child.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "another test starts it"]
async fn in_a_separate_process() {
    let Some(url) = std::env::var_os("LARDER_TEST_URL") else { return };
    Qdrant::new(url.to_str().unwrap(), Some(&Secret::new(KEY))).unwrap().ready().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_key_is_distinguished_from_other_errors() {
    for status in [401, 403] {
        for reply in [html(status), Reply::Json(status, json!({"error": {"message": format!("Bad key {KEY} at 127.0.0.1")}}))] {
            expect(&HttpStub::always(reply).base, ErrorClass::Auth).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_the_api_is_a_protocol_error() {
    let garbage = Reply::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec());
    let not_utf8 = Reply::Raw(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\n\xff\xfe\xfd".to_vec());
    let empty = Reply::page(200, "", "");
    for reply in [html(200), html(404), garbage, not_utf8, empty, Reply::Json(200, json!([1])), Reply::Json(200, json!({"result": 7}))] {
        for error in expect(&HttpStub::always(reply.clone()).base, ErrorClass::Protocol).await {
            assert!(matches!(error, Error::Protocol(_)), "{error:?} for {reply:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_contains_the_servers_message() {
    let said = json!({"error": {"message": format!("No room at 127.0.0.1 for {KEY}")}});
    for error in expect(&HttpStub::always(Reply::Json(500, said.clone())).base, ErrorClass::Protocol).await {
        assert_eq!(error, Error::Failed("No room at … for …".into()));
    }
    for error in expect(&HttpStub::always(html(502)).base, ErrorClass::Degraded).await {
        assert_eq!(error, Error::NotReady("no reason given".into()));
    }
    let busy = Reply::page(429, "retry-after: 7\r\n", &said.to_string());
    for error in expect(&HttpStub::always(busy).base, ErrorClass::Degraded).await {
        assert_eq!(error, Error::Busy { retry_after: Some(Duration::from_secs(7)) });
    }
}

/// The bytes sent by the server bound what the client can have stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_huge_response_is_rejected_before_it_fills_the_memory() {
    let announced = HttpStub::always(Reply::Endless("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"));
    let unannounced = HttpStub::always(Reply::Endless("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"));
    for (stub, at_most) in [(announced, 8 << 20), (unannounced, LARGEST as u64 + (16 << 20))] {
        let qdrant = Qdrant::new(&stub.base, None).unwrap();
        assert_eq!(qdrant.collections().await, Err(Error::TooLarge));
        let mut before = u64::MAX;
        eventually("the client disconnects", async || std::mem::replace(&mut before, stub.sent()) == stub.sent()).await;
        assert!(stub.sent() < at_most, "{} bytes", stub.sent());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_always_sent_but_never_to_another_host() {
    let other = HttpStub::always(Reply::Json(200, json!({})));
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: {}/elsewhere\r\n", other.base);
        let stub = HttpStub::always(Reply::page(status, &location, ""));
        expect(&stub.base, ErrorClass::Protocol).await;
        let received = stub.received();
        assert_eq!(received.len(), 15, "{received:?}");
        for one in received {
            let sent = if let Some(key) = one.header("api-key") { key } else { &one.header("authorization").unwrap()["Bearer ".len()..] };
            assert_eq!(sent, KEY, "{one:?}");
        }
    }
    assert!(other.received().is_empty(), "{:?}", other.received());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_be_behind_a_path_and_no_name_escapes_it() {
    let stub = HttpStub::always(html(404));
    let qdrant = Qdrant::new(&format!("{}/behind/", stub.base), None).unwrap();
    for name in ["a/../../b", "a?b#c", "é x", "%2e%2e", "//evil.example", "\\evil"] {
        qdrant.collection(name).await.unwrap_err();
    }
    let received: BTreeSet<String> = stub.received().into_iter().map(|one| one.path).collect();
    let name = |path: &String| path.strip_prefix("/behind/collections/").map(str::to_owned);
    let names: Vec<String> = received.iter().map(|path| name(path).unwrap_or_else(|| panic!("{path}"))).collect();
    assert_eq!(names, ["%252e%252e", "%2F%2Fevil.example", "%5Cevil", "%C3%A9%20x", "a%2F..%2F..%2Fb", "a%3Fb%23c"]);
    qdrant.version().await.unwrap_err();
    assert_eq!(stub.received().last().unwrap().path, "/behind");
    for name in ["", ".", ".."] {
        assert!(matches!(qdrant.delete_collection(name).await, Err(Error::Refused(_))), "{name:?}");
    }
    assert_eq!(stub.received().len(), 7, "nothing was sent for these");
}
