//! The page of a key: its value and its expiry.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use larder::domain::actor::Role;
use redis::AsyncCommands;

use crate::cache::{field, key_url, own};
use crate::support::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn values_of_each_type_are_paginated() {
    let app = TestApp::start().await;
    let admin = app.sign_in(Role::Admin).await;
    let mut redis = app.redis_connection().await;
    let name = |name: &str| own(&app, name);
    let mut fill = redis::pipe();
    fill.set(name("json"), "{\"b\":1,\"a\":[2]}").set(name("raw"), &b"\xff\0\x01"[..]).set(name("empty"), "");
    fill.set(name("long"), "x".repeat(100_000));
    for at in 0..250 {
        fill.hset(name("hash"), format!("field-{at}"), if at == 7 { "<b>\u{1b}".repeat(2_000) } else { at.to_string() }).ignore();
        fill.rpush(name("list"), at).ignore().sadd(name("set"), at).ignore().zadd(name("zset"), format!("m{at}"), at).ignore();
        fill.cmd("XADD").arg(name("stream")).arg("*").arg("n").arg(at).ignore();
    }
    let _: () = fill.query_async(&mut redis).await.unwrap();
    let show = async |at: &str, rest: &str| admin.get(&format!("{}{rest}", key_url(&name(at)))).await.expect_status(200);
    assert!(show("json", "").await.text_of("pre").contains("\"b\": 1,"));
    assert_eq!(show("json", "&as=text").await.text_of("pre"), "{\"b\":1,\"a\":[2]}");
    assert!(show("raw", "").await.text_of("pre").contains("ff 00 01"));
    assert!(show("empty", "").await.text_of("main").contains("This string is empty"));
    let long = show("long", "").await;
    assert_eq!(long.text_of("pre").len(), 64 << 10);
    assert_eq!(admin.get(long.attribute("a[rel=next]", "href").as_str()).await.text_of("pre").len(), 100_000 - (64 << 10));
    let downloaded = admin.get(&format!("/cache/key/download?k={}", field(&name("long")))).await.expect_status(200);
    assert_eq!(downloaded.body.len(), 100_000);
    assert!(downloaded.header("content-disposition").unwrap().starts_with("attachment"));
    for (kind, last) in [("list", "249"), ("zset", "m249"), ("stream", "n: 249"), ("hash", "249"), ("set", "249")] {
        let (mut page, mut rows, mut whole) = (show(kind, "").await, Vec::new(), Vec::new());
        loop {
            rows.extend(page.texts("tbody tr"));
            whole.extend(page.attributes("tbody a[href*='&field=']", "href"));
            match page.attributes("a[rel=next]", "href").first() {
                Some(next) => page = admin.get(next).await.expect_status(200),
                None => break,
            }
        }
        assert!(rows.len() >= 250 && rows.iter().any(|row| row.contains(last)), "{kind}: {} rows", rows.len());
        assert!(page.text_of("main").contains("250"), "{kind}");
        assert_eq!(whole.len(), usize::from(kind == "hash"), "truncated elements can be downloaded");
    }
    let cut = admin.get(&format!("/cache/key/download?k={}&field={}", field(&name("hash")), field(b"field-7"))).await.expect_status(200);
    assert_eq!(cut.body.len(), "<b>\u{1b}".len() * 2_000);
    for bad in ["&from=x", "&from=-1"] {
        admin.get(&format!("{}{bad}", key_url(&name("list")))).await.expect_status(400);
    }
    for bad in ["/cache/key", "/cache/key?k=%2B%2B", "/cache/key/download?k=YQ&index=x"] {
        admin.get(bad).await.expect_status(400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_is_set_changed_and_removed() {
    let app = TestApp::start().await;
    let admin = app.sign_in(Role::Admin).await;
    let mut redis = app.redis_connection().await;
    let name = own(&app, "lives");
    let _: () = redis.set(&name, "1").await.unwrap();
    let set = async |ttl: &str, unit: &str| admin.post("/cache/key/expiry", &[("k", &field(&name)), ("ttl", ttl), ("unit", unit)]).await;
    set("90", "").await.expect_status(303);
    assert!((85..=90).contains(&redis.ttl::<_, i64>(&name).await.unwrap()));
    set("2", "days").await.expect_status(303);
    assert!(redis.ttl::<_, i64>(&name).await.unwrap() > 172_000);
    assert!(admin.get(&key_url(&name)).await.text_of("main").contains("47 hours"));
    for (bad, words) in [
        ("-1", "whole number"),
        ("0", "at least one second"),
        ("99999999999999999999", "whole number"),
        ("9999999999999", "100 years"),
        ("x", "whole number"),
        ("", "whole number"),
    ] {
        let page = set(bad, "seconds").await.expect_status(422);
        assert!(page.text_of("#ttl-why").contains(words) && page.attribute("#ttl", "value") == bad, "{bad}");
    }
    assert!(redis.ttl::<_, i64>(&name).await.unwrap() > 172_000, "a refused expiry changes nothing");
    let page = admin.get(&key_url(&name)).await;
    assert!(page.attribute("#ttl", "value").parse::<i64>().unwrap() > 172_000, "the field contains the current TTL");
    let remove = async || admin.post("/cache/key/expiry/removal", &[("k", &field(&name))]).await;
    assert!(page.has("form[action='/cache/key/expiry/removal']"));
    remove().await.expect_status(303);
    assert_eq!(redis.ttl::<_, i64>(&name).await.unwrap(), -1);
    assert!(!admin.get(&key_url(&name)).await.has("form[action='/cache/key/expiry/removal']"));
    remove().await.expect_status(303);
    let _: () = redis.del(&name).await.unwrap();
    set("5", "").await.expect_status(404);
    remove().await.expect_status(404);
    assert_eq!(admin.get("/audit?action=key.expire").await.count("tbody tr"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_stays_text_on_every_page_without_losing_a_byte() {
    let app = TestApp::start().await;
    let admin = app.sign_in(Role::Admin).await;
    let mut redis = app.redis_connection().await;
    for (at, start) in ["", "a", "ab", "abc"].into_iter().enumerate() {
        let name = own(&app, format!("text {at}"));
        let text = format!("{start}{}", "\u{1f600}".repeat(50_000));
        let _: () = redis.set(&name, &text).await.unwrap();
        let (mut page, mut read) = (admin.get(&key_url(&name)).await.expect_status(200), String::new());
        loop {
            assert_eq!(page.text_of(".switch [aria-current]"), "Text");
            read += &page.text_of("pre");
            match page.attributes("a[rel=next]", "href").first() {
                Some(next) => page = admin.get(next).await.expect_status(200),
                None => break,
            }
        }
        assert!(read == text, "{at}: {} of {} bytes", read.len(), text.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_that_redis_returns_whole_are_paginated() {
    let app = TestApp::with_own_servers().await;
    let admin = app.sign_in(Role::Admin).await;
    let mut redis = app.redis_connection().await;
    app.redis(&["CONFIG", "SET", "hash-max-listpack-entries", "5000"]).await;
    app.redis(&["CONFIG", "SET", "set-max-intset-entries", "5000"]).await;
    let mut fill = redis::pipe();
    for at in 0..3_000 {
        fill.hset("hash", at, at).ignore().sadd("set", at).ignore();
    }
    let _: () = fill.query_async(&mut redis).await.unwrap();
    for (key, encoding) in [("hash", "listpack"), ("set", "intset")] {
        let (mut page, mut rows) = (admin.get(&key_url(key.as_bytes())).await.expect_status(200), Vec::new());
        assert!(page.text_of(".kv").contains(encoding), "{}", page.text_of(".kv"));
        loop {
            assert!(page.count("tbody tr") <= 200, "{key}: {} rows", page.count("tbody tr"));
            rows.extend(page.texts("tbody td:first-child"));
            match page.attributes("a[rel=next]", "href").first() {
                Some(next) => page = admin.get(next).await.expect_status(200),
                None => break,
            }
        }
        let mut numbers: Vec<u32> = rows.iter().map(|row| row.parse().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..3_000).collect::<Vec<_>>(), "{key}");
    }
    admin.get(&format!("{}&from=0.x", key_url(b"hash"))).await.expect_status(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn encoded_values_are_decoded_or_named() {
    let app = TestApp::start().await;
    let admin = app.sign_in(Role::Admin).await;
    let mut redis = app.redis_connection().await;
    let packed = b"\x81\xa4name\xa5M\xc3\xbc\xc3\xbc";
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(b"{\"a\":[1,2]}").unwrap();
    let gzipped = encoder.finish().unwrap();
    let java = b"\xac\xed\0\x05sr\0\x11java.util.HashMap\x05\x07\xda\xc1";
    let show = async |value: &[u8], rest: &str| {
        let name = own(&app, "encoded");
        let _: () = redis.clone().set(&name, value).await.unwrap();
        admin.get(&format!("{}{rest}", key_url(&name))).await.expect_status(200)
    };
    let page = show(packed, "").await;
    assert!(
        page.text_of("pre").contains("\"name\": \"M\u{fc}\u{fc}\"") && page.text_of(".kv").contains("MessagePack"),
        "{}",
        page.text_of("main")
    );
    assert!(show(packed, "&as=hex").await.text_of("pre").contains("81 a4 6e 61"));
    let page = show(&gzipped, "").await;
    assert!(page.text_of(".switch [aria-current]") == "Decoded" && page.text_of(".kv").contains("gzip"), "{}", page.text_of("main"));
    let page = show(java, "").await;
    assert!(page.text_of(".kv").contains("Java serialization, class java.util.HashMap") && page.text_of("pre").contains("ac ed 00 05"));
    assert!(show(b"a:1:{i:0;b:1;}", "").await.text_of(".kv").contains("PHP serialization, array of 1"));
    assert!(!show(b"plain", "").await.text_of(".kv").contains("Format"));

    let hash = own(&app, "hash");
    let _: () = redis
        .hset_multiple(&hash, &[("json", &b"{\"a\":{\"b\":1}}"[..]), ("packed", packed), ("java", java), ("text", b"x")])
        .await
        .unwrap();
    let errors = async || -> String { redis::cmd("INFO").arg("errorstats").query_async(&mut redis.clone()).await.unwrap() };
    let before = errors().await.matches("errorstat_ERR").count();
    let page = admin.get(&key_url(&hash)).await.expect_status(200);
    assert_eq!(errors().await.matches("errorstat_ERR").count(), before, "the server knows every command of the page");
    assert_eq!(page.count(".decoded"), 2, "{}", page.text_of("tbody"));
    assert!(page.texts(".decoded pre").iter().any(|text| text.contains("\"b\": 1")));
    assert!(page.text_of("tbody").contains("Java serialization"));
}

#[tokio::test(flavor = "multi_thread")]
async fn consumer_groups_are_shown_with_their_lag_and_pending_entries() {
    let app = TestApp::start().await;
    let admin = app.sign_in(Role::Admin).await;
    let mut redis = app.redis_connection().await;
    let key = own(&app, "stream");
    let mut fill = redis::pipe();
    for at in 1..=20 {
        fill.cmd("XADD").arg(&key).arg(format!("{at}-0")).arg("n").arg(at).ignore();
    }
    fill.cmd("XGROUP").arg("CREATE").arg(&key).arg("mailers").arg("0").ignore();
    fill.cmd("XGROUP").arg("CREATE").arg(&key).arg(&b"\xff"[..]).arg("$").ignore();
    fill.cmd("XREADGROUP").arg("GROUP").arg("mailers").arg("web-1").arg("COUNT").arg(12).arg("STREAMS").arg(&key).arg(">").ignore();
    fill.cmd("XACK").arg(&key).arg("mailers").arg("1-0").ignore();
    let _: () = fill.query_async(&mut redis).await.unwrap();
    let page = admin.get(&key_url(&key)).await.expect_status(200);
    let groups = page.texts("[aria-label='Consumer groups'] tbody tr");
    assert_eq!(groups, ["mailers 1 11 8 12-0".replace(' ', ""), r"\xff00020-0".to_owned()], "spaces between cells are not text");
    let pending = page.texts("[aria-label='Pending entries'] tbody tr");
    assert!(pending.len() == 10 && pending[0].starts_with("mailers2-0web-1"), "{pending:?}");
}

/// Redis 7.4 and Valkey 9.0 have TTLs of fields, Redis 8 has vector sets; the pages work on all servers.
#[tokio::test(flavor = "multi_thread")]
async fn field_ttls_and_vector_sets_are_shown_if_the_server_supports_them() {
    let app = TestApp::with_own_servers().await;
    let admin = app.sign_in(Role::Admin).await;
    let mut redis = app.redis_connection().await;
    let (hash, vectors) = (own(&app, "hash"), own(&app, "vectors"));
    let _: () = redis.hset_multiple(&hash, &[("kept", "1"), ("expires", "2")]).await.unwrap();
    let expires = redis::cmd("HEXPIRE").arg(&hash).arg(7_300).arg("FIELDS").arg(1).arg("expires").query_async::<Vec<i64>>(&mut redis).await;
    let page = admin.get(&key_url(&hash)).await.expect_status(200);
    let rows = page.texts("tbody tr");
    match expires {
        Ok(_) => assert!(rows.contains(&"expires22 hours".to_owned()) && rows.contains(&"kept1no expiry".to_owned()), "{rows:?}"),
        Err(_) => assert!(rows.contains(&"expires2".to_owned()) && page.count("th") == 2, "{rows:?}"),
    }
    let add = redis::cmd("VADD").arg(&vectors).arg("VALUES").arg(2).arg(1).arg(2).arg("element").query_async::<i64>(&mut redis).await;
    if add.is_ok() {
        let page = admin.get(&key_url(&vectors)).await.expect_status(200);
        assert!(page.text_of("main").contains("its Redis user may not read them"), "{}", page.text_of("main"));
        app.redis(&["ACL", "SETUSER", "larder-browse", "+vinfo"]).await;
        let page = admin.get(&key_url(&vectors)).await.expect_status(200);
        assert!(page.text_of("tbody").contains("vector-dim2") && page.text_of(".kv").contains("vector set"), "{}", page.text_of("main"));
    }
}
