//! The health page, manual checks, and the banners of other pages during an outage.

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
async fn signed_in_users_see_details_and_others_only_the_state() {
    let app = TestApp::start().await;
    all_up(&app).await;
    let viewer = app.sign_in(Role::Viewer).await;
    let words = ["3 of 3 services are up", "p95", "Uptime", "of 20 in use", "Instances", "16 bytes", "Incidents"];
    // A detailed probe that fails on a busy machine is repeated 15 checks later.
    eventually_within(Duration::from_secs(40), "the details are shown", async || {
        let text = viewer.get("/health").await.expect_status(200).text_of("main");
        words.iter().all(|words| text.contains(words))
    })
    .await;
    let page = viewer.get("/health").await.expect_status(200);
    assert!(page.has("[data-live]") && page.has("form[action='/health/checks'] button"));
    let public = app.visitor().get("/health").await.expect_status(200);
    let text = public.text_of("main");
    assert!(text.contains("Postgres") && text.contains("Up") && text.contains("Required for"), "{text}");
    for hidden in ["ms", "Pool", "Uptime", "p95", "Memory", "Incidents", "connections", &app.bucket] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
    assert!(!public.has("[data-live]") && !public.has("form[action='/health/checks']") && !public.has("script[src*=live]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_has_its_own_page() {
    let app = TestApp::start().await;
    all_up(&app).await;
    let viewer = app.sign_in(Role::Viewer).await;
    for range in ["", "?range=day", "?range=month", "?range=nonsense"] {
        for name in ["postgres", "redis", "s3"] {
            let page = viewer.get(&format!("/health/services/{name}{range}")).await.expect_status(200);
            assert!(page.text_of("main").contains("Response time") && page.text_of("h1").contains("Up"), "{name}");
        }
    }
    for missing in ["qdrant", "nothing", "redis%00"] {
        viewer.get(&format!("/health/services/{missing}")).await.expect_status(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_check_runs_immediately_and_at_most_every_five_seconds() {
    let app = TestApp::start_with(|config| config.probe_period = Duration::from_secs(3600)).await;
    // The first check may have run before the bucket existed.
    eventually("all services are healthy", async || app.ctx.health.all().iter().filter(|one| one.healthy).count() == 3).await;
    let viewer = app.sign_in(Role::Viewer).await;
    let checked_at = || app.ctx.health.one(Service::Redis).checked_at;
    let before = checked_at();
    let answer = viewer.post("/health/checks", &[("service", "redis"), ("here", "1")]).await.expect_status(303);
    assert_eq!(answer.location(), "/health/services/redis");
    assert!(checked_at() > before);
    let flash = |page: crate::support::Page| page.text_of(".flash");
    assert_eq!(flash(viewer.get("/health").await), "Checked: Redis is up.");
    let once = checked_at();
    viewer.post("/health/checks", &[("service", "redis")]).await.expect_status(303);
    assert_eq!(checked_at(), once);
    assert!(flash(viewer.get("/health").await).contains("less than 5 seconds ago"));
    viewer.post("/health/checks", &[("service", "nothing")]).await.expect_status(422);
    let answer = viewer.post("/health/checks", &[]).await.expect_status(303);
    assert_eq!(answer.location(), "/health");
    assert_eq!(checked_at(), once, "a check of all services skips those checked recently");
    assert_eq!(flash(viewer.get("/health").await), "Checked: Postgres, S3 are up.", "the message names only the checked services");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_check_waits_at_most_two_seconds() {
    let app = TestApp::with_own_servers().await;
    all_up(&app).await;
    let viewer = app.sign_in(Role::Viewer).await;
    app.servers().s3().freeze();
    let started = Instant::now();
    viewer.post("/health/checks", &[("service", "s3")]).await.expect_status(303);
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    let flash = viewer.get("/health").await.text_of(".flash");
    assert!(flash.contains("S3 is unhealthy") || flash.contains("S3 has not responded within two seconds"), "{flash}");
    app.servers().s3().thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_console_allows_manual_checks() {
    let app = TestApp::start_with(|config| config.read_only = true).await;
    all_up(&app).await;
    app.sign_in(Role::Viewer).await.post("/health/checks", &[("service", "postgres")]).await.expect_status(303);
}

#[tokio::test(flavor = "multi_thread")]
async fn recent_sessions_stay_signed_in_while_every_store_is_frozen() {
    let app = TestApp::with_own_servers().await;
    all_up(&app).await;
    let viewer = app.sign_in(Role::Viewer).await;
    viewer.get("/buckets").await.expect_status(200);
    let signed_out = app.visitor();
    let email = app.new_user(Role::Viewer).await;
    let entered = signed_out.post("/session", &[("email", &email), ("password", crate::support::PASSWORD)]).await.expect_status(303);
    let cookie = entered.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let as_before = async || {
        let visitor = app.visitor();
        visitor.send(visitor.request(Method::GET, "/health").header("cookie", &cookie)).await.text_of("main")
    };
    assert!(as_before().await.contains("p95"));
    signed_out.post("/session/end", &[]).await.expect_status(303);
    assert!(!as_before().await.contains("p95"), "the ended session is no longer accepted");
    let servers = [app.servers().postgres(), app.servers().redis(), app.servers().s3()];
    servers.iter().for_each(|server| server.freeze());
    let detailed = async || {
        let started = Instant::now();
        let page = viewer.get("/health").await.expect_status(200);
        assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
        assert!(page.text_of("main").contains("p95"), "details");
    };
    detailed().await;
    for service in [Service::Postgres, Service::Redis, Service::S3] {
        eventually_within(Duration::from_secs(10), "the service is down", async || app.ctx.health.one(service).state == State::Down).await;
    }
    detailed().await;
    servers.iter().for_each(|server| server.thaw());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_needs_an_unavailable_service_shows_a_banner() {
    let app = TestApp::with_own_servers().await;
    all_up(&app).await;
    let viewer = app.sign_in(Role::Viewer).await;
    assert!(!viewer.get("/uploads").await.expect_status(200).has(".banner"));
    app.servers().s3().stop();
    eventually_within(Duration::from_secs(20), "the store is down", async || app.ctx.health.one(Service::S3).state == State::Down).await;
    let page = viewer.get("/uploads").await.expect_status(200);
    let banner = page.text_of(".banner");
    assert!(banner.contains("S3 is down since") && banner.contains("Uploads, downloads and browsing are unavailable."), "{banner}");
    assert!(!viewer.get("/cache").await.expect_status(200).has(".banner"), "the cache does not need it");
    for accept in ["text/html,*/*", "*/*", "application/json, text/html;q=0.9"] {
        let monitor = viewer.send(viewer.request(Method::GET, "/health").header("accept", accept)).await.expect_status(503);
        assert_eq!(monitor.header("content-type"), Some("application/health+json"), "{accept}");
    }
    viewer.get("/health?format=json").await.expect_status(503);
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let health = viewer.send(viewer.request(Method::GET, "/health").header("accept", browser)).await.expect_status(200);
    let text = health.text_of("main");
    for words in [
        "2 of 3 services are up",
        "No connection: nothing listens at this address, or the connection broke.",
        "Not affected",
        "What to do",
        "S3_ENDPOINT_URL",
        "Ongoing",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(health.text_of(".sidebar").contains("1 down"));
    let detail = viewer.get("/health/services/s3").await.expect_status(200);
    assert!(detail.text_of("h1").contains("Down") && detail.text_of("main").contains("Ongoing"));
    app.servers().s3().start().unwrap();
    eventually_within(Duration::from_secs(20), "the store is back", async || app.ctx.health.one(Service::S3).state == State::Up).await;
    assert!(!viewer.get("/uploads").await.expect_status(200).has(".banner"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_can_call_every_model() {
    let gateway = HttpStub::new(|request| match request.path.as_str() {
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
    assert_eq!(page.text_of(".flash"), "1 of 2 models responded. Failed: openai/<b>.");
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
async fn hostile_server_responses_are_truncated_and_escaped() {
    let gateway = HttpStub::new(|request| {
        let word = "\r\rretry: 1\rid: evil\u{202e}<script>alert(1)</script>";
        match request.path.as_str() {
            "/v1/models" => {
                let models: Vec<_> = (0..20_000).map(|at| serde_json::json!({"id": format!("{at}{word}{}", "x".repeat(100))})).collect();
                Reply::Json(200, serde_json::json!({"data": models}))
            }
            _ => Reply::Json(200, serde_json::json!({"status": "healthy", "litellm_version": word.repeat(1000)})),
        }
    });
    let app = TestApp::start_with(|config| config.litellm_url = Some(gateway.base.clone())).await;
    eventually_within(Duration::from_secs(20), "its models are listed", async || app.ctx.health.one(Service::LiteLlm).detail.is_some())
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
async fn without_postgres_recent_sessions_see_the_reason_and_can_check() {
    let app = TestApp::with_own_servers().await;
    all_up(&app).await;
    let viewer = app.sign_in(Role::Viewer).await;
    viewer.get("/health").await.expect_status(200);
    app.servers().postgres().stop();
    eventually_within(Duration::from_secs(20), "the service is down", async || app.ctx.health.one(Service::Postgres).state == State::Down)
        .await;
    // Longer than Redis caches the session.
    let keys = app.redis(&["DBSIZE"]).await;
    assert_eq!(app.redis(&["FLUSHALL"]).await, "OK", "{keys}");
    let text = viewer.get("/health").await.expect_status(200).text_of("main");
    assert!(text.contains("nothing listens at this address") && text.contains("DATABASE_URL"), "{text}");
    let text = viewer.get("/health/services/postgres").await.expect_status(200).text_of("main");
    assert!(text.contains("History is unavailable because Postgres is not responding"), "{text}");
    assert_eq!(viewer.post("/health/checks", &[("service", "postgres")]).await.expect_status(303).location(), "/health");
    let events = streamed(&viewer, "/health/events", |text| text.contains("nothing listens at this address")).await;
    assert!(events.contains("data-key=\"postgres\""));
    let visitor = app.visitor().get("/health").await.expect_status(200).text_of("main");
    assert!(visitor.contains("Sign-in is unavailable until Postgres responds") && !visitor.contains("DATABASE_URL"), "{visitor}");
}
