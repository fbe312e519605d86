//! Redis metrics, slow log, clients and namespaces; very large keys.

use larder::domain::actor::Role;
use redis::AsyncCommands;

use crate::cache::{ended, field, key_url, own};
use crate::support::{TestApp, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_reflect_the_traffic() {
    let app = TestApp::with_own_servers().await;
    let (viewer, admin) = (app.sign_in(Role::Viewer).await, app.sign_in(Role::Admin).await);
    let mut redis = app.redis_connection().await;
    let samples = format!("{}larder:samples", app.ctx.redis.prefix());
    let counting = redis.clone();
    let sampled = async |more: usize| {
        let mut redis = counting.clone();
        let before: usize = redis.zcard(&samples).await.unwrap();
        eventually("samples are taken", async || redis.clone().zcard::<_, usize>(&samples).await.unwrap() >= before + more).await;
    };
    sampled(1).await;
    let mut reads = redis::pipe();
    reads.set("existing", 1).ignore();
    for _ in 0..6_000 {
        reads.get("existing").ignore();
    }
    for at in 0..2_000 {
        reads.get(format!("missing {at}")).ignore();
    }
    let _: () = reads.query_async(&mut redis).await.unwrap();
    sampled(2).await;
    let page = viewer.get("/cache").await.expect_status(200);
    let ratio: f64 = page.texts(".figure")[0].split_whitespace().next().unwrap().parse().unwrap();
    assert!((73.0..77.0).contains(&ratio), "6,000 of 8,000: {ratio}");
    assert!(
        page.text_of("main").contains("This page sent Redis") && page.count(".tile") > 15 && page.count(".area") == 3,
        "{}",
        page.text_of("main")
    );
    for range in ["day", "month", "nonsense"] {
        viewer.get(&format!("/cache?range={range}")).await.expect_status(200);
    }
    assert!(!page.has("a[href='/cache/keys']") && admin.get("/cache").await.has("a[href='/cache/keys']"));
}

/// Every page that reads keys, against what the server counts.
#[tokio::test(flavor = "multi_thread")]
async fn lookups_by_pages_are_not_part_of_the_hit_ratio() {
    let app = TestApp::with_own_servers().await;
    let admin = app.sign_in(Role::Admin).await;
    let mut redis = app.redis_connection().await;
    let mut fill = redis::pipe();
    for at in 0..2_000 {
        fill.set(format!("many:{at}"), "x").ignore();
    }
    for at in 0..300 {
        fill.hset("hash", at, at).ignore().sadd("set", at).ignore().rpush("list", at).ignore().zadd("zset", at, at).ignore();
        fill.cmd("XADD").arg("stream").arg("*").arg("n").arg(at).ignore();
    }
    let _: () = fill.query_async(&mut redis).await.unwrap();
    let served = async || {
        let text = app.redis(&["INFO", "stats"]).await;
        let number = |name: &str| -> u64 { text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap() };
        (number("keyspace_hits:"), number("keyspace_misses:"))
    };
    let before = served().await;
    let browse = app.ctx.redis.browse();
    app.ctx.redis.take_page_lookups();
    let name = |key: &str| larder::domain::keyspace::Name::parse(key.into()).unwrap();
    larder::domain::keyspace::sample_again(&app.ctx, &browse).await.unwrap();
    for (pattern, kind) in [("", ""), ("many:*", "string"), ("many:1", ""), ("missing", ""), ("a:[1]", "")] {
        let search = larder::domain::keyspace::Search::new(pattern, kind, 0).unwrap();
        larder::domain::keyspace::search(&app.ctx, &browse, &search).await.unwrap();
    }
    for key in ["many:1", "hash", "set", "list", "zset", "stream"] {
        larder::domain::keyspace::view(&app.ctx, &browse, name(key), "").await.unwrap();
    }
    larder::domain::keyspace::view(&app.ctx, &browse, name("missing"), "").await.err().unwrap();
    let (pages, after) = (app.ctx.redis.take_page_lookups(), served().await);
    let others = (after.0 - before.0).checked_sub(pages.hits).zip((after.1 - before.1).checked_sub(pages.misses)).unwrap();
    // Larder's own lookups in the background.
    assert!(pages.hits > 4_000 && pages.misses >= 3 && others.0 < 100 && others.1 < 100, "{pages:?}, others {others:?}");

    app.ctx.redis.return_page_lookups(pages);
    let samples = format!("{}larder:samples", app.ctx.redis.prefix());
    let count: usize = redis.zcard(&samples).await.unwrap();
    eventually("samples are taken", async || redis.clone().zcard::<_, usize>(&samples).await.unwrap() >= count + 2).await;
    let page = admin.get("/cache").await.expect_status(200);
    let tile = page.texts(".tile-note").remove(0);
    let lookups: u64 = tile.split_whitespace().nth(1).unwrap().replace(',', "").parse().unwrap();
    assert!(lookups < 2_000 && tile.contains("excluding lookups by these pages"), "{tile}");
    let value = page.texts(".figure").remove(0).replace(' ', "");
    assert_eq!(page.texts(".chart-head b")[0].replace(|c: char| c.is_whitespace() || c == '\u{2009}', ""), format!("{value}in5minutes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_slow_commands_are_hidden_until_requested() {
    let app = TestApp::with_own_servers().await;
    let admin = app.sign_in(Role::Admin).await;
    assert!(admin.get("/cache/slowlog").await.expect_status(200).text_of("main").contains("No slow commands"));
    app.redis(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]).await;
    app.redis(&["SET", "customer:7", "customer secret"]).await;
    app.redis(&["SET", &format!("{}larder:session:abc", app.ctx.redis.prefix()), "session token"]).await;
    app.redis(&["CONFIG", "SET", "slowlog-log-slower-than", "1000000"]).await;
    let page = admin.get("/cache/slowlog").await.expect_status(200);
    let text = page.text_of("main");
    assert!(text.contains("customer:7") && text.contains("1 argument hidden"), "{text}");
    assert!(!text.contains("customer secret") && !text.contains("session token") && !text.contains("larder:session"));
    assert_eq!(admin.get("/audit?action=cache.slowlog").await.texts("tbody code").len(), 0);
    let with_values = admin.get("/cache/slowlog?values=1").await.expect_status(200).text_of("main");
    assert!(
        with_values.contains("customer secret") && !with_values.contains("session token") && !with_values.contains("larder:session"),
        "{with_values}"
    );
    assert!(admin.get("/audit?action=cache.slowlog").await.text().contains("cache.slowlog"));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_and_settings_are_shown_without_passwords() {
    let app = TestApp::with_own_servers().await;
    let admin = app.sign_in(Role::Admin).await;
    let clients = admin.get("/cache/clients").await.expect_status(200).text_of("main");
    assert!(clients.contains("larder-browse"), "{clients}");
    let settings = admin.get("/cache/settings").await.expect_status(200).text_of("main");
    let url = &app.servers().urls().redis_url;
    let password = url.split("pass=").nth(1).unwrap();
    assert!(settings.contains("set (hidden)") && settings.contains("maxmemory-policy") && !settings.contains(password));
    let filtered = admin.get("/cache/settings?q=Slowlog").await.expect_status(200);
    assert_eq!(filtered.count("tbody tr"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_names_the_redis_user() {
    let app = TestApp::with_own_servers().await;
    let admin = app.sign_in(Role::Admin).await;
    app.redis(&["ACL", "SETUSER", "larder-browse", "-slowlog|get", "-client|list", "-config|get", "-memory|usage", "-slowlog|len"]).await;
    for path in ["/cache/slowlog", "/cache/clients", "/cache/settings"] {
        let page = admin.get(path).await.expect_status(200).text_of("main");
        assert!(page.contains("Not permitted for the Redis user larder-browse"), "{path}: {page}");
    }
    app.redis(&["SET", "seen", "1"]).await;
    assert!(admin.get("/cache/keys?match=seen").await.expect_status(200).text_of("tbody").contains("not permitted"));
    assert!(admin.get("/cache").await.expect_status(200).text_of("main").contains("not permitted"));
    app.redis(&["ACL", "SETUSER", "larder-browse", "-info", "-scan"]).await;
    assert!(admin.get("/cache").await.expect_status(403).text().contains("does not permit"));
    admin.get("/cache/keys").await.expect_status(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unresponsive_redis_is_reported_within_the_timeout() {
    let app = TestApp::with_own_servers().await;
    let admin = app.sign_in(Role::Admin).await;
    admin.get("/cache/keys").await.expect_status(200);
    app.servers().redis().freeze();
    for path in ["/cache", "/cache/keys", "/cache/slowlog", "/cache/biggest"] {
        let started = std::time::Instant::now();
        admin.get(path).await.expect_status(503);
        assert!(started.elapsed() < std::time::Duration::from_secs(8), "{path}: {:?}", started.elapsed());
    }
    app.servers().redis().thaw();
    eventually("the keys are shown again", async || admin.get("/cache/keys").await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn very_large_keys_do_not_block_other_clients() {
    let app = TestApp::with_own_servers().await;
    let admin = app.sign_in(Role::Admin).await;
    let mut redis = app.redis_connection().await;
    let fill = "for i = 1, 2000000 do redis.call('HSET', KEYS[1], 'f' .. i, 'v' .. i) end
                redis.call('SET', KEYS[2], string.rep('x', 200 * 1024 * 1024))
                redis.call('RPUSH', KEYS[3], string.rep('y', 20 * 1024 * 1024), string.rep('y', 20 * 1024 * 1024))";
    let _: () = redis::Script::new(fill).key("hash").key("large").key("wide").invoke_async(&mut redis).await.unwrap();
    // The script has blocked Redis for so long that it may be known to be down.
    eventually("the page opens", async || admin.get(&key_url(b"hash")).await.status == 200).await;
    let hash = admin.get(&key_url(b"hash")).await.expect_status(200);
    assert!(hash.count("tbody tr") >= 90 && hash.text_of(".kv").contains("2,000,000 fields") && hash.has("a[rel=next]"));
    let large = admin.get(&key_url(b"large")).await.expect_status(200);
    assert_eq!(large.text_of("pre").len(), 64 << 10);
    assert!(large.text_of("main").contains("209,715,200 bytes"));
    assert!(admin.get(&key_url(b"wide")).await.expect_status(200).text_of("main").contains("does not read elements"));
    let downloaded = admin.get(&format!("/cache/key/download?k={}", field(b"large"))).await.expect_status(200);
    assert_eq!(downloaded.body.len(), 200 << 20);
    let scan = admin.post("/cache/biggest", &[]).await.expect_status(303).location().to_owned();
    let found = ended(&admin, &scan).await;
    assert!(found.texts("tbody tr")[0].contains("large"), "{:?}", found.texts("tbody tr"));
    for key in [&b"hash"[..], b"large", b"wide"] {
        admin.post("/cache/key/deletion", &[("k", &field(key)), ("confirm", "1")]).await.expect_status(303);
    }
    let statistics = app.redis(&["INFO", "commandstats"]).await;
    for forbidden in
        ["cmdstat_keys:", "cmdstat_monitor:", "cmdstat_flush", "cmdstat_debug", "cmdstat_sort", "cmdstat_save:", "cmdstat_hgetall:"]
    {
        assert!(!statistics.contains(forbidden), "{forbidden}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_are_counted_and_cleared_separately() {
    let app = TestApp::with_own_servers().await;
    let (admin, viewer) = (app.sign_in(Role::Admin).await, app.sign_in(Role::Viewer).await);
    let mut redis = app.redis_connection().await;
    let mut fill = redis::pipe();
    for at in 0..40 {
        fill.set(own(&app, format!("cache:a:{at}")), "12345").ignore().set_ex(own(&app, format!("cache:ab:{at}")), "1", 3_000).ignore();
    }
    let _: () = fill.query_async(&mut redis).await.unwrap();
    admin.get("/").await.expect_status(200);
    viewer.post("/cache/namespaces/samples", &[]).await.expect_status(303);
    let first: String = redis.get(own(&app, "larder:key-sample")).await.unwrap();
    viewer.post("/cache/namespaces/samples", &[]).await.expect_status(303);
    assert_eq!(redis.get::<_, String>(own(&app, "larder:key-sample")).await.unwrap(), first, "not sampled twice within seconds");
    let page = viewer.get("/cache/namespaces").await.expect_status(200);
    let names = page.texts("tbody tr td:first-child");
    assert!(
        names.len() == app.ctx.cache.namespaces().len() && names.iter().all(|name| name.contains("Larder")),
        "no other names: {names:?}"
    );
    assert!(page.has("tbody tr") && !page.has("form[action$=clearings]") && !page.has(".groups"));
    let page = admin.get("/cache/namespaces").await.expect_status(200);
    let row = |name: &str| page.texts("tbody tr").into_iter().find(|row| row.starts_with(name)).unwrap_or_default();
    assert!(row("a another").is_empty() && row("a ").contains("40") && row("ab").contains("under an hour"), "{:?}", page.texts("tbody tr"));
    assert!(row("overview-today").contains("Larder") && page.has(".groups"), "{}", row("overview-today"));
    assert!(page.text_of("main").contains("all keys sampled") && page.text_of("main").contains("keys of Larder itself"));
    let counting = admin.post("/cache/namespaces/clearings", &[("namespace", "a")]).await.expect_status(303).location().to_owned();
    let counted = ended(&admin, &counting).await;
    assert!(counted.text_of(".kv").contains("40"), "{}", counted.text_of("main"));
    let pattern = format!("{}cache:a:*", app.ctx.redis.prefix());
    let form = [("counted", counting.rsplit('/').next().unwrap()), ("confirm", pattern.as_str())];
    let deleting = admin.post("/cache/keys/deletions", &form).await.expect_status(303).location().to_owned();
    ended(&admin, &deleting).await;
    assert!(
        !redis.exists::<_, bool>(own(&app, "cache:a:7")).await.unwrap() && redis.exists::<_, bool>(own(&app, "cache:ab:7")).await.unwrap()
    );
    let confirmation = admin.post("/cache/namespaces/clearings", &[("namespace", "overview-today")]).await.expect_status(200);
    assert!(confirmation.text_of("h1").contains("Clear overview-today?"));
    admin.post("/cache/namespaces/clearings", &[("namespace", "overview-today"), ("confirm", "1")]).await.expect_status(303);
    assert!(admin.get("/audit?action=cache.clear").await.text().contains("overview"));
    let refused = admin.post("/cache/namespaces/clearings", &[("namespace", "sessions")]).await.expect_status(303);
    assert!(admin.get(refused.location()).await.text_of("main").contains("expire after a few seconds"));
}
