//! The key browser: search, view, change and delete keys; protected keys stay hidden.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use larder::domain::actor::Role;
use redis::AsyncCommands;

use crate::support::{Client, Page, TestApp, eventually_within};

/// A key with the prefix of this test, as bytes.
pub fn own(app: &TestApp, name: impl AsRef<[u8]>) -> Vec<u8> {
    [app.ctx.redis.prefix().as_bytes(), name.as_ref()].concat()
}

pub fn field(name: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(name)
}

pub fn key_url(name: &[u8]) -> String {
    format!("/cache/key?k={}", field(name))
}

pub async fn search(admin: &Client, pattern: &str) -> Page {
    admin.get(&format!("/cache/keys?match={}", larder::console::view::paths::encode(pattern))).await.expect_status(200)
}

/// The key names in a table, from their links.
pub fn listed(page: &Page) -> Vec<Vec<u8>> {
    let names = page.attributes("tbody a", "href").into_iter();
    names.filter_map(|url| URL_SAFE_NO_PAD.decode(url.strip_prefix("/cache/key?k=")?).ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_keys_of_larder_are_neither_shown_nor_changed() {
    let app = TestApp::start().await;
    let admin = app.sign_in(Role::Admin).await;
    let mut redis = app.redis_connection().await;
    let _: () = redis.set(own(&app, "seen"), "1").await.unwrap();
    for secret in ["larder:session:abc", "larder:lock:x", "blacklist:token:jti"] {
        let name = own(&app, secret);
        let _: () = redis.set(&name, "secret").await.unwrap();
        admin.get(&key_url(&name)).await.expect_status(404);
        admin.get(&format!("/cache/key/download?k={}", field(&name))).await.expect_status(404);
        admin.post("/cache/key/expiry", &[("k", &field(&name)), ("ttl", "1")]).await.expect_status(404);
        admin.post("/cache/key/deletion", &[("k", &field(&name)), ("confirm", "1")]).await.expect_status(404);
        assert!(listed(&search(&admin, &String::from_utf8(name.clone()).unwrap()).await).is_empty());
        assert_eq!(redis.get::<_, String>(&name).await.unwrap(), "secret");
    }
    let all = search(&admin, &format!("{}*", app.ctx.redis.prefix())).await;
    assert!(
        listed(&all).iter().all(|name| !String::from_utf8_lossy(name).contains("larder:"))
            && all.text_of("main").contains("Larder's own keys")
    );
    let note = async |name: &str| {
        let page = search(&admin, &format!("{}blacklist:token:{name}*", app.ctx.redis.prefix())).await;
        page.text_of(".scan-note").split_once(" ms").map(|(_, words)| words.to_owned())
    };
    assert!(note("j").await.is_some_and(|words| words.contains("Larder's own keys")));
    assert_eq!(note("j").await, note("x").await, "the note does not reveal whether hidden keys match");
    delete_matching(&app, &admin, &format!("{}*", app.ctx.redis.prefix())).await;
    assert!(!redis.exists::<_, bool>(own(&app, "seen")).await.unwrap());
    assert!(redis.exists::<_, bool>(own(&app, "larder:session:abc")).await.unwrap(), "deletions by pattern skip protected keys");
}

/// Counts, confirms with the pattern, deletes and waits for the end. Returns the last page.
async fn delete_matching(app: &TestApp, admin: &Client, pattern: &str) -> Page {
    let counting = admin.post("/cache/keys/deletions", &[("match", pattern)]).await.expect_status(303).location().to_owned();
    ended(admin, &counting).await;
    let id = counting.rsplit('/').next().unwrap();
    let refused = admin.post("/cache/keys/deletions", &[("match", pattern), ("counted", id), ("confirm", "x")]).await.expect_status(422);
    assert!(refused.text_of("#confirm-why").contains("Type"), "{}", app.base);
    let form = [("counted", id), ("confirm", pattern)];
    let deleting = admin.post("/cache/keys/deletions", &form).await.expect_status(303).location().to_owned();
    admin.post("/cache/keys/deletions", &form).await.expect_status(404);
    ended(admin, &deleting).await
}

pub async fn ended(admin: &Client, scan: &str) -> Page {
    // Hundreds of thousands of keys on a busy machine.
    eventually_within(Duration::from_secs(120), "the scan ends", async || {
        !admin.get(scan).await.text_of("main .badge").contains("Running")
    })
    .await;
    admin.get(scan).await.expect_status(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_is_counted_first_and_deletes_only_matching_keys() {
    let app = TestApp::start().await;
    let admin = app.sign_in(Role::Admin).await;
    let mut redis = app.redis_connection().await;
    let mut fill = redis::pipe();
    for at in 0..3_000 {
        fill.set(own(&app, format!("a:{at}")), 1).ignore().set(own(&app, format!("ab:{at}")), 1).ignore();
    }
    let _: () = fill.query_async(&mut redis).await.unwrap();
    let pattern = format!("{}a:*", app.ctx.redis.prefix());
    let page = delete_matching(&app, &admin, &pattern).await;
    assert!(page.text_of("main .badge").contains("Done") && page.text_of(".kv").contains("3,000"), "{}", page.text_of("main"));
    assert!(listed(&search(&admin, &pattern).await).is_empty());
    let left = search(&admin, &format!("{}ab:*", app.ctx.redis.prefix())).await;
    assert!(!listed(&left).is_empty());
    let _: () = redis.set(own(&app, "line\nbreak "), 1).await.unwrap();
    let page = delete_matching(&app, &admin, &format!(r"{}line\x0a*k\x20", app.ctx.redis.prefix())).await;
    assert!(page.text_of(".kv b") == "1" && !redis.exists::<_, bool>(own(&app, "line\nbreak ")).await.unwrap());
    assert_eq!(admin.get("/audit?action=key.delete_matching").await.count("tbody tr"), 4, "start and end of both");
    let empty = admin.post("/cache/keys/deletions", &[("match", "")]).await.expect_status(303);
    assert!(admin.get(empty.location()).await.text_of("main").contains("Enter a pattern"));
    let uncounted = uuid::Uuid::now_v7().to_string();
    admin.post("/cache/keys/deletions", &[("match", &pattern), ("counted", &uncounted), ("confirm", &pattern)]).await.expect_status(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_deletion_keeps_the_rest_and_only_one_scan_runs() {
    let app = TestApp::with_own_servers().await;
    let admin = app.sign_in(Role::Admin).await;
    let fill = "for i = 1, 400000 do redis.call('SET', 'many:' .. i, i) end";
    let _: () = redis::Script::new(fill).invoke_async(&mut app.redis_connection().await).await.unwrap();
    let counting = admin.post("/cache/keys/deletions", &[("match", "many:*")]).await.expect_status(303).location().to_owned();
    let again = admin.post("/cache/biggest", &[]).await.expect_status(303);
    assert_eq!(again.location(), "/cache/biggest", "only one scan at a time");
    assert!(admin.get("/cache/biggest").await.text_of("main").contains("View the running scan"));
    ended(&admin, &counting).await;
    let form = [("match", "many:*"), ("counted", counting.rsplit('/').next().unwrap()), ("confirm", "many:*")];
    let deleting = admin.post("/cache/keys/deletions", &form).await.expect_status(303).location().to_owned();
    admin.post(&format!("{deleting}/stop"), &[]).await.expect_status(303);
    let stopped = ended(&admin, &deleting).await;
    assert!(stopped.text_of("main .badge").contains("Stopped"), "{}", stopped.text_of("main"));
    let left: u64 = redis::cmd("DBSIZE").query_async(&mut app.redis_connection().await).await.unwrap();
    assert!(left > 10_000, "{left}");
    assert!(admin.get("/audit?action=key.delete_matching").await.text().contains("stopped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_lost_its_lock_ends_without_releasing_it() {
    let app = TestApp::with_own_servers().await;
    let admin = app.sign_in(Role::Admin).await;
    let fill = "for i = 1, 400000 do redis.call('SET', 'many:' .. i, i) end";
    let _: () = redis::Script::new(fill).invoke_async(&mut app.redis_connection().await).await.unwrap();
    let scan = admin.post("/cache/biggest", &[]).await.expect_status(303).location().to_owned();
    let lock = format!("{}larder:lock:scan", app.ctx.redis.prefix());
    app.redis(&["SET", &lock, "another", "PX", "600000"]).await;
    let page = ended(&admin, &scan).await;
    assert!(page.text_of("main").contains("Another scan started"), "{}", page.text_of("main"));
    assert_eq!(app.redis(&["GET", &lock]).await, "another");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_searches_are_explained() {
    let app = TestApp::start().await;
    let admin = app.sign_in(Role::Admin).await;
    assert!(admin.get("/cache/keys?match=a&type=zebra").await.expect_status(422).text_of("#type-why").contains("list"));
    assert!(admin.get("/cache/keys?match=a*&cursor=x").await.expect_status(422).text_of("#match-why").contains("Start the search again"));
    let long = "a".repeat(9_000);
    assert!(admin.get(&format!("/cache/keys?match={long}")).await.expect_status(422).text_of("#match-why").contains("8 KiB"));
    let far = u64::MAX.to_string();
    admin.get(&format!("/cache/keys?match=a*&cursor={far}&seen={far}")).await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_stops_within_its_limits_and_continues_to_the_end() {
    let app = TestApp::with_own_servers().await;
    let admin = app.sign_in(Role::Admin).await;
    let mut redis = app.redis_connection().await;
    let fill = "for i = 1, 60000 do redis.call('SET', 'many:' .. i, i) end; redis.call('SET', 'needle', 1)";
    let _: () = redis::Script::new(fill).invoke_async(&mut redis).await.unwrap();
    let (mut page, mut pages, mut found) = (search(&admin, "need*").await, 1, Vec::new());
    loop {
        found.extend(listed(&page));
        match page.attributes(".scan-head a[rel=next]", "href").first() {
            Some(next) => page = admin.get(next).await.expect_status(200),
            None => break,
        }
        pages += 1;
    }
    // 20,000 keys per page, or fewer if 250 ms pass sooner.
    assert!(found == [b"needle".to_vec()] && pages >= 3, "{pages} pages, {}", page.text_of(".scan-head"));
    let exact = search(&admin, "needle").await.text_of(".scan-head");
    assert!(exact.contains("1 key has this name"), "{exact}");
    for (pattern, kind) in [("*", ""), ("many:*", ""), ("many:*", "string"), ("*7*", ""), ("", "string")] {
        let mut url = format!("/cache/keys?match={}&type={kind}", larder::console::view::paths::encode(pattern));
        for _ in 0..4 {
            let page = admin.get(&url).await.expect_status(200);
            let (rows, head) = (page.count("tbody tr"), page.text_of(".scan-head"));
            assert!((1..=120).contains(&rows) && head.contains(&format!("{rows} matches")), "{pattern} {kind}: {rows} rows, {head}");
            let scanned: usize = head.split_whitespace().nth(1).unwrap().replace(',', "").parse().unwrap();
            assert!(scanned >= rows, "{pattern}: {head}");
            url = page.attributes(".scan-head a[rel=next]", "href").remove(0);
        }
    }
    assert!(search_kind(&admin, "hash").await.contains("0 matches"));
}

async fn search_kind(admin: &Client, kind: &str) -> String {
    admin.get(&format!("/cache/keys?type={kind}")).await.expect_status(200).text_of(".scan-head")
}
