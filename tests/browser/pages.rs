//! Every page in both themes and several widths: no accessibility violations, no console errors, and a screenshot of
//! each in `target/tmp/pictures`.

use bytes::Bytes;
use larder::console::view::paths;
use larder::domain::actor::Role;
use larder::stores::s3::{Part, PutOptions};

use crate::signed_in;
use crate::support::{Browser, Settings, TestApp, eventually};

/// Creates data for every page.
async fn create_data(app: &TestApp) {
    app.rules_known().await;
    let editor = app.sign_in(Role::Editor).await;
    for (name, content) in [
        ("rate-card.json", &b"{\"currency\":\"EUR\",\"rates\":[1,2,3]}"[..]),
        ("data_room_index.csv", b"name,size\nplan,1\nminutes,2\n"),
        ("framework-agreement-2026-v7-final-countersigned-by-both-parties-2026-11-03.txt", b"# Agreement\n\nWords.\n"),
        ("voice-note-0017.m4a", b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0"),
    ] {
        editor.upload(&app.bucket, name, content).await.expect_status(303);
    }
    editor.upload(&app.bucket, "rate-card.json", "again").await.expect_status(303);
    editor.post(&format!("/buckets/{}/folders", app.bucket), &[("name", "Annexes")]).await.expect_status(303);
    let options = PutOptions { content_type: "text/plain", metadata: &[], only_if_absent: false };
    app.ctx.s3.put(&app.bucket, "minutes\n2026-11-04.txt", Bytes::from_static(b"outside"), &options).await.unwrap();
    for key in ["backup-2026-11-03.tar", "archive/framework-agreement-2026-v7-final-countersigned-by-both-parties.zip"] {
        let upload = app.ctx.s3.create_multipart(&app.bucket, key, &options).await.unwrap();
        app.ctx.s3.put_part(&app.bucket, key, &upload, Part { number: 1, body: Bytes::from(vec![b'x'; 70_000]) }).await.unwrap();
    }
}

/// Creates keys like those of applications.
async fn fill_the_cache(app: &TestApp) {
    let own = |name: &str| [app.ctx.redis.prefix().as_bytes(), name.as_bytes()].concat();
    // A long command in the slow log.
    app.redis(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]).await;
    app.redis(&["SET", &format!("{}sessions:{}", app.ctx.redis.prefix(), "f".repeat(120)), "1"]).await;
    app.redis(&["CONFIG", "SET", "slowlog-log-slower-than", "10000"]).await;
    let mut fill = redis::pipe();
    for at in 0..40 {
        let listing = own(&format!("cache:listing:sme-files:contracts/2026/quarter-{at}/site-plan-hall-B.png"));
        fill.set(&listing, "{\"bytes\":6814720,\"tags\":{\"project\":\"hall-b\"}}").ignore().expire(&listing, 86_400 + at * 7_000).ignore();
        fill.hset(own("cache:object-meta:site-plan"), format!("field-{at}"), "7d793037a0760186574b0282f2f435e7").ignore();
        fill.zadd(own("cache:recent:sme-files"), format!("contracts/{at}.pdf"), at).ignore();
    }
    fill.set([own("cache:object-meta:scan").as_slice(), b"\xff\0 41.tif"].concat(), &b"\xff\0\x01\x02 raw bytes"[..]).ignore();
    fill.set(own("cache:thumb:empty"), "").ignore();
    fill.set(own("cache:profile:7"), &b"\x82\xa4name\xa3Ada\xa5roles\x92\xa5admin\xa6editor"[..]).ignore();
    fill.hset(own("cache:object-meta:encoded"), "json", "{\"project\":{\"name\":\"hall-b\"}}").ignore();
    fill.hset(own("cache:object-meta:encoded"), "java", &b"\xac\xed\0\x05sr\0\x11java.util.HashMap\x05\x07"[..]).ignore();
    let stream = own("events");
    for at in 1..=20 {
        fill.cmd("XADD").arg(&stream).arg(format!("1764115200{at:03}-0")).arg("object").arg("contracts/2026/plan.pdf").ignore();
    }
    fill.cmd("XGROUP").arg("CREATE").arg(&stream).arg("mailers").arg("0").ignore();
    fill.cmd("XREADGROUP").arg("GROUP").arg("mailers").arg("web-1").arg("COUNT").arg(12).arg("STREAMS").arg(&stream).arg(">").ignore();
    let _: () = fill.query_async(&mut app.redis_connection().await).await.unwrap();
}

fn key_page(app: &TestApp, name: &str) -> String {
    format!("/cache/key?k={}", paths::bytes_field(format!("{}{name}", app.ctx.redis.prefix()).as_bytes()))
}

async fn pages(app: &TestApp, admin: &crate::support::Client) -> Vec<(&'static str, String)> {
    let bucket = &app.bucket;
    fill_the_cache(app).await;
    let prefix = app.ctx.redis.prefix();
    let scan = admin.post("/cache/keys/deletions", &[("match", &format!("{prefix}cache:*"))]).await.location().to_owned();
    eventually("the keys are counted", async || admin.get(&scan).await.text_of("main .badge").contains("Done")).await;
    let batch = admin.upload(bucket, "rate-card.json", "third").await.location().to_owned();
    vec![
        ("overview", "/".into()),
        ("buckets", "/buckets".into()),
        ("bucket", format!("/buckets/{bucket}")),
        ("bucket-paged", format!("/buckets/{bucket}?limit=2")),
        ("empty", format!("/buckets/{bucket}?prefix=Annexes%2F")),
        ("no-match", format!("/buckets/{bucket}?starts=zzz")),
        ("object-json", format!("/buckets/{bucket}/object?key=rate-card.json")),
        ("object-csv", format!("/buckets/{bucket}/object?key=data_room_index.csv")),
        ("object-outside", format!("/buckets/{bucket}/object?key=minutes%0A2026-11-04.txt")),
        ("object-audio", format!("/buckets/{bucket}/object?key=voice-note-0017.m4a")),
        ("settings", format!("/buckets/{bucket}/settings")),
        ("unfinished", format!("/buckets/{bucket}/unfinished")),
        ("unfinished-none", format!("/buckets/{}/unfinished", app.ctx.config.s3.buckets[1])),
        ("upload", format!("/uploads/new?bucket={bucket}")),
        ("result", batch),
        ("uploads", "/uploads".into()),
        ("cache", "/cache".into()),
        ("cache-day", "/cache?range=day".into()),
        ("cache-namespaces", "/cache/namespaces".into()),
        ("cache-slowlog", "/cache/slowlog".into()),
        ("cache-clients", "/cache/clients".into()),
        ("cache-settings", "/cache/settings".into()),
        ("cache-keys", format!("/cache/keys?match={prefix}cache:*")),
        ("cache-keys-none", "/cache/keys?match=nothing-like-this".into()),
        ("cache-key-hash", key_page(app, "cache:object-meta:site-plan")),
        ("cache-key-json", key_page(app, "cache:listing:sme-files:contracts/2026/quarter-1/site-plan-hall-B.png")),
        ("cache-key-decoded", key_page(app, "cache:profile:7")),
        ("cache-key-encoded-fields", key_page(app, "cache:object-meta:encoded")),
        ("cache-key-stream", key_page(app, "events")),
        ("cache-biggest", "/cache/biggest".into()),
        ("cache-scan", scan),
        ("audit", "/audit".into()),
        ("users", "/users".into()),
        ("health", "/health".into()),
        ("health-service", "/health/services/redis".into()),
        ("health-service-month", "/health/services/s3?range=month".into()),
        ("health-service-down", "/health/services/qdrant?range=day".into()),
        ("not-found", "/nope".into()),
    ]
}

/// Creates 30 days of health history in 15-minute rows with occasional failures.
async fn create_history(app: &TestApp) {
    let sql = app.sql().await;
    sql.batch_execute(
        "INSERT INTO health_minutes
         SELECT service, at, '00000000-0000-7000-8000-000000000000', 225, 225 - bad, (225 - bad) * 4, bad * 4, (225 - bad) * (2 + random()), 9 + 20 * random()
         FROM generate_series(date_trunc('minute', now()) - interval '30 days', now() - interval '15 minutes', '15 minutes') AS at,
              unnest(ARRAY['postgres', 'redis', 's3', 'qdrant']) AS service,
              LATERAL (SELECT CASE WHEN extract(day FROM at)::int % 11 = length(service) % 11 AND extract(hour FROM at) = 3 THEN 60
                                   WHEN extract(day FROM at)::int % 7 = 3 AND extract(hour FROM at) = 5 THEN 1 ELSE 0 END AS bad) AS bads;
         INSERT INTO health_incidents
         SELECT gen_random_uuid(), 'console:8080', service, 'timeout', 'No response within 1000 ms.',
                'The connection was refused: nothing listens at this address.', now() - interval '6 days', now() - interval '6 days' + interval '4 minutes', now()
         FROM unnest(ARRAY['redis', 's3']) AS service",
    )
    .await
    .unwrap();
}

async fn check_page(browser: &Browser, app: &TestApp, name: &str, path: &str, settings: Settings) {
    browser.goto(&format!("{}{path}", app.base)).await;
    let theme = if settings.dark { "dark" } else { "light" };
    browser.picture(&format!("{name}-{theme}-{}", settings.width)).await;
    let violations = browser.axe_violations().await;
    assert_eq!(violations, Vec::<String>::new(), "{name}, {theme}, {}", settings.width);
    let overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
    assert_eq!(browser.client.execute(overflow, Vec::new()).await.unwrap(), 0, "{name} is wider than {}", settings.width);
    // Controls that the reader can see, without those that stay in place while the page scrolls.
    let overlaps = "
        const fixed = element => element && (['sticky', 'fixed'].includes(getComputedStyle(element).position) || fixed(element.parentElement));
        const controls = [...document.querySelectorAll('main :is(a.button, button, select, .switch, .icon-button, input:not([type=hidden]))')]
            .filter(control => control.checkVisibility() && control.getBoundingClientRect().width > 1 && !fixed(control));
        const found = [];
        for (const [at, one] of controls.entries()) for (const other of controls.slice(at + 1)) {
            if (one.contains(other) || other.contains(one)) continue;
            const [a, b] = [one.getBoundingClientRect(), other.getBoundingClientRect()];
            const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            if (width > 1 && height > 1) found.push(`${one.outerHTML.slice(0, 90)} and ${other.outerHTML.slice(0, 90)}`);
        }
        return found";
    assert_eq!(browser.client.execute(overlaps, Vec::new()).await.unwrap(), serde_json::json!([]), "{name}, {}", settings.width);
    assert_eq!(browser.unexpected_errors().await, Vec::<String>::new(), "{name}");
}

async fn every_page(dark: bool, width: u32) {
    let first = TestApp::start_with(|config| {
        config.s3.buckets.push(format!("{}-two", config.s3.buckets[0]));
        // No server listens on this port.
        config.qdrant_url = Some("http://127.0.0.1:1".into());
    })
    .await;
    create_data(&first).await;
    create_history(&first).await;
    // A replica reads the whole history at startup.
    let app = first.replica().await;
    app.rules_known().await;
    let settings = Settings { dark, width, ..Settings::default() };
    let visitor = Browser::open(settings).await;
    for (name, path) in [("sign-in", "/session"), ("health-public", "/health")] {
        check_page(&visitor, &app, name, path, settings).await;
    }
    visitor.close().await;
    let admin = app.sign_in(Role::Admin).await;
    let browser = signed_in(&app, Role::Admin, settings).await;
    for (name, path) in pages(&app, &admin).await {
        check_page(&browser, &app, name, &path, settings).await;
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn light_theme_on_a_desktop() {
    every_page(false, 1280).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dark_theme_on_a_desktop() {
    every_page(true, 1280).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn light_theme_on_a_phone() {
    every_page(false, 390).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dark_theme_on_a_phone() {
    every_page(true, 390).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn narrow_viewport_as_with_400_percent_zoom() {
    every_page(false, 320).await;
}
