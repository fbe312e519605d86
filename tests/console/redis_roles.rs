//! The pages with a Redis that is a replica, runs in cluster mode, or is a Sentinel.

use larder::config::Secret;
use larder::domain::actor::Role;

use crate::cache::{field, key_url};
use crate::support::{RedisServer, TcpSwitch, TestApp, eventually};

async fn on(url: &str) -> TestApp {
    let url = Secret::new(url);
    TestApp::start_with(|config| (config.redis.url, config.redis.browse_url) = (url, None)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_reported_until_the_address_leads_to_the_primary() {
    let (old, new) = (RedisServer::start(&[]).await, RedisServer::start(&[]).await);
    for server in [&old, &new] {
        let _: () = server.run("SET seen 1").await;
    }
    let proxy = TcpSwitch::start(&old.address()).await;
    let app = on(&proxy.base.replace("http://", "redis://")).await;
    let admin = app.sign_in(Role::Admin).await;
    assert!(!admin.get("/cache/keys").await.expect_status(200).has(".banner"));
    let state = async || admin.get("/health?format=json").await.json()["checks"]["redis:responseTime"][0]["status"].clone();
    eventually("Redis is up", async || state().await == "pass").await;

    let _: () = old.run(&format!("REPLICAOF 127.0.0.1 {}", new.port)).await;
    eventually("Redis is degraded", async || state().await == "warn").await;
    eventually("the pages say so", async || {
        admin.get("/cache/keys").await.text_of(".banner").contains("Redis is degraded. The server is a replica and accepts no writes.")
    })
    .await;
    assert!(admin.get("/health").await.text_of("main").contains("The server is a replica and accepts no writes."));
    let delete = async || admin.post("/cache/key/deletion", &[("k", &field(b"seen")), ("confirm", "1")]).await;
    let refused = delete().await.expect_status(503).text();
    assert!(refused.contains("is a replica and accepts no writes, so nothing was changed"), "{refused}");
    admin.get(&key_url(b"seen")).await.expect_status(200);

    proxy.switch_to(&new.address());
    eventually("Redis is up", async || state().await == "pass").await;
    assert!(!admin.get("/cache/keys").await.expect_status(200).has(".banner"));
    // A connection that was opened just before the switch is replaced only a second after the last refusal.
    eventually("the key is deleted", async || delete().await.status == 303).await;
    assert_eq!(new.run::<u64>("EXISTS seen").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_requests_resp3_leads_to_the_same_pages() {
    let server = RedisServer::start(&["--slowlog-log-slower-than", "0"]).await;
    for command in [
        "SET v:string text",
        "HSET v:hash field value",
        "RPUSH v:list a b",
        "SADD v:set a",
        "ZADD v:zset 1.5 a 2 b",
        "XADD v:stream 1-1 field value",
        "XGROUP CREATE v:stream group 0",
    ] {
        let _: redis::Value = server.run(command).await;
    }
    let mut found = Vec::new();
    for url in [server.url(), format!("{}?protocol=resp3", server.url())] {
        let app = on(&url).await;
        let admin = app.sign_in(Role::Admin).await;
        let mut texts = Vec::new();
        for path in ["/cache", "/cache/namespaces", "/cache/slowlog", "/cache/clients", "/cache/biggest"] {
            let page = admin.get(path).await.expect_status(200);
            assert!(path == "/cache" || path == "/cache/biggest" || page.has("tbody tr"), "{path}");
        }
        texts.push(admin.get("/cache/settings").await.expect_status(200).text_of("tbody"));
        texts.push(admin.get("/cache/keys?match=v:*").await.expect_status(200).texts("tbody a").concat());
        for key in ["string", "hash", "list", "set", "zset", "stream"] {
            let page = admin.get(&key_url(format!("v:{key}").as_bytes())).await.expect_status(200);
            texts.push(page.text_of("section[aria-label=Value]") + &page.text_of(".kv"));
        }
        found.push(texts);
    }
    assert_eq!(found[0], found[1]);
    assert!(found[0][6].contains("1.5"), "{:?}", found[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsupported_mode_is_named_on_the_pages() {
    for (options, sentence) in [
        (&["--cluster-enabled", "yes"][..], "This Redis runs in cluster mode, which Larder does not support."),
        (&["--sentinel"], "REDIS_URL is the address of a Redis Sentinel, which Larder does not support."),
    ] {
        let server = RedisServer::start(options).await;
        let app = on(&server.url()).await;
        let admin = app.sign_in(Role::Admin).await;
        for path in ["/cache", "/cache/keys", "/cache/namespaces", "/cache/slowlog", "/cache/clients", "/cache/settings", "/cache/biggest"]
        {
            let page = admin.get(path).await.expect_status(503).text();
            assert!(page.contains(sentence), "{path}: {page}");
        }
        eventually("the health page says so", async || admin.get("/health").await.text_of("main").contains(sentence)).await;
        admin.get("/").await.expect_status(200);
    }
}
