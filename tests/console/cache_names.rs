//! Keys with unusual names.

use larder::domain::actor::Role;
use redis::AsyncCommands;

use crate::cache::{ended, field, key_url, listed, own, search};
use crate::support::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn keys_with_arbitrary_bytes_are_found_shown_and_deleted_exactly() {
    let app = TestApp::start().await;
    let admin = app.sign_in(Role::Admin).await;
    let mut redis = app.redis_connection().await;
    let names: Vec<Vec<u8>> = [
        &b"x:\xff\r\n\0"[..],
        b"x:\xfe\r\n\0",
        b"x:<script>alert(1)</script>",
        b"x:a*b",
        b"x:aab",
        br"x:a\*b",
        b"x: end ",
        "x:\u{202e}gpj".as_bytes(),
    ]
    .iter()
    .map(|name| own(&app, name))
    .collect();
    for name in &names {
        let _: () = redis.set(name, "1").await.unwrap();
    }
    let found = search(&admin, &format!("{}x:*", app.ctx.redis.prefix())).await;
    let mut shown = listed(&found);
    shown.sort();
    let mut expected = names.clone();
    expected.sort();
    assert_eq!(shown, expected);
    assert!(!found.has("main script") && found.text_of("main").contains("8 matches"));
    for name in &names {
        let page = admin.get(&key_url(name)).await.expect_status(200);
        assert!(page.text_of("pre").contains('1'), "{:?}", page.text());
        // Searching for the displayed name finds exactly that key.
        let again = search(&admin, page.attribute("[data-copy]", "data-copy").replace('*', r"\*").as_str()).await;
        if !name.contains(&b'*') {
            assert_eq!(listed(&again), std::slice::from_ref(name), "{:?}", again.text_of("main"));
        }
    }
    let confirmation = admin.post("/cache/key/deletion", &[("k", &field(&names[3]))]).await.expect_status(200);
    assert!(confirmation.text_of("main").contains("cannot be undone"));
    assert!(redis.exists::<_, bool>(&names[3]).await.unwrap(), "nothing is deleted before the confirmation");
    admin.post("/cache/key/deletion", &[("k", &field(&names[3])), ("confirm", "1")]).await.expect_status(303);
    let left: Vec<bool> = redis::pipe().exists(&names[3]).exists(&names[4]).exists(&names[5]).query_async(&mut redis).await.unwrap();
    assert_eq!(left, [false, true, true], "an asterisk in a name is not a wildcard");
    admin.get(&key_url(&names[3])).await.expect_status(404);
    let events = admin.get("/audit?action=key.delete").await.text();
    assert!(events.contains("x:a*b"), "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_and_a_field_with_an_empty_name_are_shown_downloaded_changed_and_deleted() {
    let app = TestApp::with_own_servers().await;
    let admin = app.sign_in(Role::Admin).await;
    let mut redis = app.redis_connection().await;
    let _: () = redis.set("", "value of the empty key").await.unwrap();
    let found = admin.get("/cache/keys").await.expect_status(200);
    let link = found.attributes("tbody a", "href").into_iter().find(|url| url == "/cache/key?k=").unwrap();
    assert!(found.texts("tbody td:first-child").contains(&"(empty)".to_owned()), "{}", found.text_of("tbody"));
    let page = admin.get(&link).await.expect_status(200);
    assert!(page.text_of("h1") == "(empty)" && page.text_of("pre") == "value of the empty key");
    let url = page.attribute(".actions a[href*=download]", "href");
    assert_eq!(admin.get(&url).await.expect_status(200).text(), "value of the empty key");
    admin.post("/cache/key/expiry", &[("k", ""), ("ttl", "90"), ("unit", "seconds")]).await.expect_status(303);
    assert!(redis.ttl::<_, i64>("").await.unwrap() > 0);
    admin.post("/cache/key/expiry/removal", &[("k", "")]).await.expect_status(303);
    assert_eq!(redis.ttl::<_, i64>("").await.unwrap(), -1);
    assert!(admin.post("/cache/key/deletion", &[("k", "")]).await.expect_status(200).text_of(".confirm-list").contains("(empty)"));
    admin.post("/cache/key/deletion", &[("k", ""), ("confirm", "1")]).await.expect_status(303);
    assert!(!redis.exists::<_, bool>("").await.unwrap());
    assert!(admin.get("/audit?action=key.delete").await.text().contains("redis:(empty)"));

    let long = "x".repeat(10_000);
    let _: () = redis.hset_multiple("hash", &[("", long.as_str()), ("other", "")]).await.unwrap();
    let page = admin.get(&key_url(b"hash")).await.expect_status(200);
    assert!(page.texts("tbody td").iter().filter(|cell| *cell == "(empty)").count() == 2, "{}", page.text_of("tbody"));
    let url = page.attribute("tbody a", "href");
    assert_eq!(admin.get(&url).await.expect_status(200).text(), long);
    for bad in ["/cache/key", "/cache/key/download"] {
        admin.get(bad).await.expect_status(400);
    }
    admin.post("/cache/key/deletion", &[("confirm", "1")]).await.expect_status(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_name_looks_like_a_pattern_is_found_first_and_never_deleted_by_mistake() {
    let app = TestApp::with_own_servers().await;
    let admin = app.sign_in(Role::Admin).await;
    let mut redis = app.redis_connection().await;
    for (entered, key, matched) in [
        ("a:[1]", &b"a:[1]"[..], Some(&b"a:1"[..])),
        ("b:*", b"b:*", Some(b"b:1")),
        ("c:?", b"c:?", Some(b"c:1")),
        (r"d\1", br"d\1", Some(b"d1")),
        (r"e\\1", br"e\1", None),
        (r"f\x2a", b"f*", None),
        (r"g\[1]*", br"g\[1]*", Some(b"g[1]x")),
        ("h\u{fc}*", "h\u{fc}*".as_bytes(), Some("h\u{fc}1".as_bytes())),
    ] {
        let _: () = redis.set(key, "literal").await.unwrap();
        if let Some(matched) = matched {
            let _: () = redis.set(matched, "matched").await.unwrap();
        }
        let page = search(&admin, entered).await;
        let found = listed(&page);
        let expected: Vec<Vec<u8>> = std::iter::once(key).chain(matched).map(<[u8]>::to_vec).collect();
        let mut sorted = (found.clone(), expected.clone());
        sorted.0.sort();
        sorted.1.sort();
        assert_eq!(sorted.0, sorted.1, "{entered}: {}", page.text_of("main"));
        if page.text_of(".scan-head").contains("exact name") {
            assert_eq!(found[0], key, "{entered}: named first");
        }
    }
    let counting = admin.post("/cache/keys/deletions", &[("match", "a:[1]")]).await.expect_status(303).location().to_owned();
    let counted = ended(&admin, &counting).await;
    assert!(counted.text_of(".kv").contains("a:[1] the pattern does not match it: it is not deleted"), "{}", counted.text_of("main"));
    assert_eq!(counted.texts(".confirm-list li"), ["a:1"]);
    let form = [("counted", counting.rsplit('/').next().unwrap()), ("confirm", "a:[1]")];
    ended(&admin, admin.post("/cache/keys/deletions", &form).await.expect_status(303).location()).await;
    assert!(redis.exists::<_, bool>("a:[1]").await.unwrap() && !redis.exists::<_, bool>("a:1").await.unwrap());
    let counting = admin.post("/cache/keys/deletions", &[("match", "b:*")]).await.expect_status(303).location().to_owned();
    let counted = ended(&admin, &counting).await;
    assert!(counted.text_of(".kv").contains("b:* the pattern matches it too"), "{}", counted.text_of("main"));
    assert_eq!(counted.count(".confirm-list li"), 2);
}
