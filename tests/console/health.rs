//! The page of health, live and by hand, and the word that other pages have for what is down.

use std::time::{Duration, Instant};

use larder::domain::actor::Role;
use larder::domain::health::{Service, State};
use reqwest::Method;

use crate::streams::streamed;
use crate::support::{HttpStub, Reply, TestApp, eventually, eventually_within};

pub async fn all_up(app: &TestApp) {
    eventually("all services are up", async || {
        [Service::Postgres, Service::Redis, Service::S3].iter().all(|service| app.ctx.health.one(*service).state == State::Up)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_signed_in_sees_the_details_and_others_the_state() {
    let app = TestApp::start().await;
    all_up(&app).await;
    let viewer = app.sign_in(Role::Viewer).await;
    let words = ["3 of 3 services answer", "p95", "Uptime", "of 20 in use", "Consoles at work", "all 10", "16 bytes", "Incidents"];
    // A closer look that fails on a busy machine is taken again 15 checks later.
    eventually_within(Duration::from_secs(40), "the closer look is told of", async || {
        let text = viewer.get("/health").await.expect_status(200).text_of("main");
        words.iter().all(|words| text.contains(words))
    })
    .await;
    let page = viewer.get("/health").await.expect_status(200);
    assert!(page.has("[data-live]") && page.has("form[action='/health/checks'] button"));
    let public = app.visitor().get("/health").await.expect_status(200);
    let text = public.text_of("main");
    assert!(text.contains("Postgres") && text.contains("Up") && text.contains("Needed for"), "{text}");
    for kept_back in ["ms", "Pool", "Uptime", "p95", "Memory", "Incidents", "connections", &app.bucket] {
        assert!(!text.contains(kept_back), "{kept_back}: {text}");
    }
    assert!(!public.has("[data-live]") && !public.has("form[action='/health/checks']") && !public.has("script[src*=live]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_has_a_page_of_its_own() {
    let app = TestApp::start().await;
    all_up(&app).await;
    let viewer = app.sign_in(Role::Viewer).await;
    for range in ["", "?range=day", "?range=month", "?range=nonsense"] {
        for name in ["postgres", "redis", "s3"] {
            let page = viewer.get(&format!("/health/services/{name}{range}")).await.expect_status(200);
            assert!(page.text_of("main").contains("Time to answer") && page.text_of("h1").contains("Up"), "{name}");
        }
    }
    for missing in ["qdrant", "nothing", "redis%00"] {
        viewer.get(&format!("/health/services/{missing}")).await.expect_status(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_by_hand_is_made_at_once_and_not_twice_in_five_seconds() {
    let app = TestApp::start_with(|config| config.probe_period = Duration::from_secs(3600)).await;
    // The one look may have been before there was a bucket.
    eventually("all answer", async || app.ctx.health.all().iter().filter(|one| one.healthy).count() == 3).await;
    let viewer = app.sign_in(Role::Viewer).await;
    let checked_at = || app.ctx.health.one(Service::Redis).checked_at;
    let before = checked_at();
    let answer = viewer.post("/health/checks", &[("service", "redis"), ("here", "1")]).await.expect_status(303);
    assert_eq!(answer.location(), "/health/services/redis");
    assert!(checked_at() > before);
    let flash = |page: crate::support::Page| page.text_of(".flash");
    assert_eq!(flash(viewer.get("/health").await), "Checked just now: Redis answers.");
    let once = checked_at();
    viewer.post("/health/checks", &[("service", "redis")]).await.expect_status(303);
    assert_eq!(checked_at(), once);
    assert!(flash(viewer.get("/health").await).contains("a moment ago"));
    viewer.post("/health/checks", &[("service", "nothing")]).await.expect_status(422);
    let answer = viewer.post("/health/checks", &[]).await.expect_status(303);
    assert_eq!(answer.location(), "/health");
    assert_eq!(checked_at(), once, "of all, only those that may be");
    assert_eq!(flash(viewer.get("/health").await), "Checked just now: Postgres, S3 answer.", "and names no other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_by_hand_waits_no_longer_than_two_seconds() {
    let app = TestApp::with_own_servers().await;
    all_up(&app).await;
    let viewer = app.sign_in(Role::Viewer).await;
    app.servers().s3().freeze();
    let began = Instant::now();
    viewer.post("/health/checks", &[("service", "s3")]).await.expect_status(303);
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    let told = viewer.get("/health").await.text_of(".flash");
    assert!(told.contains("S3 does not answer as it should") || told.contains("S3 has not answered within two seconds"), "{told}");
    app.servers().s3().thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_that_only_shows_checks_all_the_same() {
    let app = TestApp::start_with(|config| config.read_only = true).await;
    all_up(&app).await;
    app.sign_in(Role::Viewer).await.post("/health/checks", &[("service", "postgres")]).await.expect_status(303);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_been_seen_is_known_while_every_store_is_frozen() {
    let app = TestApp::with_own_servers().await;
    all_up(&app).await;
    let viewer = app.sign_in(Role::Viewer).await;
    viewer.get("/buckets").await.expect_status(200);
    let leaver = app.visitor();
    let email = app.new_user(Role::Viewer).await;
    let entered = leaver.post("/session", &[("email", &email), ("password", crate::support::PASSWORD)]).await.expect_status(303);
    let cookie = entered.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let as_before = async || {
        let visitor = app.visitor();
        visitor.send(visitor.request(Method::GET, "/health").header("cookie", &cookie)).await.text_of("main")
    };
    assert!(as_before().await.contains("p95"));
    leaver.post("/session/end", &[]).await.expect_status(303);
    assert!(!as_before().await.contains("p95"), "whoever has left is not known any more");
    let servers = [app.servers().postgres(), app.servers().redis(), app.servers().s3()];
    servers.iter().for_each(|server| server.freeze());
    let detailed = async || {
        let began = Instant::now();
        let page = viewer.get("/health").await.expect_status(200);
        assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
        assert!(page.text_of("main").contains("p95"), "details");
    };
    detailed().await;
    for service in [Service::Postgres, Service::Redis, Service::S3] {
        eventually_within(Duration::from_secs(10), "it is down", async || app.ctx.health.one(service).state == State::Down).await;
    }
    detailed().await;
    servers.iter().for_each(|server| server.thaw());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_needs_what_is_down_says_so() {
    let app = TestApp::with_own_servers().await;
    all_up(&app).await;
    let viewer = app.sign_in(Role::Viewer).await;
    assert!(!viewer.get("/uploads").await.expect_status(200).has(".banner"));
    app.servers().s3().stop();
    eventually_within(Duration::from_secs(20), "the store is down", async || app.ctx.health.one(Service::S3).state == State::Down).await;
    let page = viewer.get("/uploads").await.expect_status(200);
    let banner = page.text_of(".banner");
    assert!(banner.contains("S3 is down since") && banner.contains("Uploads, downloads and browsing wait for it."), "{banner}");
    assert!(!viewer.get("/cache").await.expect_status(200).has(".banner"), "the cache does not need it");
    let health = viewer.get("/health").await.expect_status(200);
    let text = health.text_of("main");
    for words in [
        "2 of 3 services answer",
        "The connection was refused: nothing listens at this address.",
        "Not affected",
        "What to do",
        "S3_ENDPOINT_URL",
        "Lasts",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(health.text_of(".sidebar").contains("1 down"));
    let detail = viewer.get("/health/services/s3").await.expect_status(200);
    assert!(detail.text_of("h1").contains("Down") && detail.text_of("main").contains("Lasts"));
    app.servers().s3().start().unwrap();
    eventually_within(Duration::from_secs(20), "the store is back", async || app.ctx.health.one(Service::S3).state == State::Up).await;
    assert!(!viewer.get("/uploads").await.expect_status(200).has(".banner"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_may_have_every_model_called() {
    let gateway = HttpStub::new(|asked| match asked.path.as_str() {
        "/health" => Reply::Json(
            200,
            serde_json::json!({"healthy_endpoints": [{"model": "openai/a"}], "unhealthy_endpoints": [{"model": "openai/<b>", "error": "sk-secret"}],
                               "healthy_count": 1, "unhealthy_count": 1}),
        ),
        "/v1/models" => Reply::Json(200, serde_json::json!({"data": [{"id": "a"}]})),
        _ => Reply::Json(200, serde_json::json!({"status": "healthy", "litellm_version": "1.2.3"})),
    });
    let app = TestApp::start_with(|config| config.litellm_url = Some(gateway.base.clone())).await;
    eventually("the gateway is up", async || app.ctx.health.one(Service::LiteLlm).state == State::Up).await;
    let admin = app.sign_in(Role::Admin).await;
    let page = admin.get("/health/services/litellm").await.expect_status(200);
    let text = page.text_of("main");
    assert!(text.contains("may cost money") && text.contains("1.2.3"), "{text}");
    admin.post("/health/models", &[]).await.expect_status(303);
    let page = admin.get("/health/services/litellm").await;
    assert_eq!(page.text_of(".flash"), "1 of 2 models answered. Not: openai/<b>.");
    let audit = admin.get("/audit").await.text_of("main");
    assert!(audit.contains("models.call litellm"), "{audit}");
    let viewer = app.sign_in(Role::Viewer).await;
    assert!(!viewer.get("/health/services/litellm").await.has("form[action='/health/models']"));
    for (person, may) in [(&admin, true), (&viewer, false)] {
        let text = streamed(person, "/health/services/litellm/events", |text| text.matches("\n\n").count() >= 2).await;
        assert!(text.contains("LiteLLM: Up") && text.contains("/health/models") == may, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hostile_server_says_of_itself_stays_short_and_in_its_place() {
    let gateway = HttpStub::new(|asked| {
        let word = "\r\rretry: 1\rid: evil\u{202e}<script>alert(1)</script>";
        match asked.path.as_str() {
            "/v1/models" => {
                let models: Vec<_> = (0..20_000).map(|at| serde_json::json!({"id": format!("{at}{word}{}", "x".repeat(100))})).collect();
                Reply::Json(200, serde_json::json!({"data": models}))
            }
            _ => Reply::Json(200, serde_json::json!({"status": "healthy", "litellm_version": word.repeat(1000)})),
        }
    });
    let app = TestApp::start_with(|config| config.litellm_url = Some(gateway.base.clone())).await;
    eventually_within(Duration::from_secs(20), "its models are known", async || app.ctx.health.one(Service::LiteLlm).detail.is_some())
        .await;
    let viewer = app.sign_in(Role::Viewer).await;
    let page = viewer.get("/health").await.expect_status(200);
    let text = page.text_of("main");
    assert!(text.contains("and 19,988 more") || text.contains("and 19988 more"), "{text}");
    assert!(page.body.len() < 60_000 && !page.text().contains("<script>alert") && !page.text().contains('\u{202e}'), "{}", page.body.len());
    let events = streamed(&viewer, "/health/events", |text| text.matches("\n\n").count() >= 2).await;
    assert!(!events.contains('\r') && events.matches("retry:").count() == 1 + events.matches("retry: 1id: evil").count(), "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_away_whoever_was_seen_sees_why_and_may_check() {
    let app = TestApp::with_own_servers().await;
    all_up(&app).await;
    let viewer = app.sign_in(Role::Viewer).await;
    viewer.get("/health").await.expect_status(200);
    app.servers().postgres().stop();
    eventually_within(Duration::from_secs(20), "it is down", async || app.ctx.health.one(Service::Postgres).state == State::Down).await;
    // For longer than Redis remembers the session.
    let remembered = app.redis(&["DBSIZE"]).await;
    assert_eq!(app.redis(&["FLUSHALL"]).await, "OK", "{remembered}");
    let text = viewer.get("/health").await.expect_status(200).text_of("main");
    assert!(text.contains("Nothing listens there") && text.contains("DATABASE_URL"), "{text}");
    let text = viewer.get("/health/services/postgres").await.expect_status(200).text_of("main");
    assert!(text.contains("Postgres, which keeps the history, does not answer"), "{text}");
    assert_eq!(viewer.post("/health/checks", &[("service", "postgres")]).await.expect_status(303).location(), "/health");
    let events = streamed(&viewer, "/health/events", |text| text.contains("Nothing listens there")).await;
    assert!(events.contains("data-key=\"postgres\""));
    let stranger = app.visitor().get("/health").await.expect_status(200).text_of("main");
    assert!(stranger.contains("Nobody can sign in until Postgres is back") && !stranger.contains("DATABASE_URL"), "{stranger}");
}
