//! What checks report about real servers in every kind of failure, and what is stored of it.

use std::time::Duration;

use larder::app;
use larder::config::{Config, Secret, Stores};
use larder::domain::health::{self, Detail, ErrorClass, Service, State};

use crate::support::{
    HttpStub, LinkState, LiteLlmServer, QDRANT_KEY, Reply, Set, SlowLink, TestApp, certificates, eventually, eventually_within, qdrant,
    tls_front,
};

fn config(set: &Set) -> Config {
    Config::from_lookup(&|_| None, Stores::Embedded(set.servers().urls())).unwrap()
}

/// The result of a check with a changed configuration.
async fn class_of(service: Service, set: &Set, change: impl FnOnce(&mut Config)) -> Result<String, ErrorClass> {
    let mut config = config(set);
    change(&mut config);
    let ctx = app::context(config).unwrap();
    let outcome = health::check_once(&ctx, service).await;
    if let Err(error) = &outcome {
        for secret in ["127.0.0.1", "localhost", "invalid", "wrong", "secret"] {
            assert!(!error.why.contains(secret), "{error:?}");
        }
    }
    outcome.map(|(_, version)| version).map_err(|error| error.class)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_postgres_failure_has_its_class() {
    let set = Set::shared().await;
    let url = |text: String| move |config: &mut Config| config.database_url = Secret::new(text);
    let class = async |text: String| class_of(Service::Postgres, &set, url(text)).await;
    assert!(class_of(Service::Postgres, &set, |_| {}).await.is_ok_and(|version| version.starts_with(char::is_numeric)));
    assert_eq!(class("postgres://larder@no-such-host.invalid/larder".into()).await, Err(ErrorClass::Dns));
    assert_eq!(class("postgres://larder@127.0.0.1:1/larder".into()).await, Err(ErrorClass::Connect));
    let socket = set.postgres_socket();
    let link = SlowLink::to(&socket).await;
    let here = |database: &str| set.database_url_through("127.0.0.1", link.port, database, "");
    assert!(class(here("larder")).await.is_ok());
    assert_eq!(class(here("no_such_database")).await, Err(ErrorClass::Protocol));
    assert_eq!(class(format!("postgres://no_such_user:wrong@127.0.0.1:{}/larder", link.port)).await, Err(ErrorClass::Auth));
    let certified = tempfile::tempdir().unwrap();
    certificates(certified.path());
    let port = tls_front(certified.path(), socket, true).await;
    assert_eq!(class(set.database_url_through("localhost", port, "larder", "?sslmode=require")).await, Err(ErrorClass::Tls));
    link.set(LinkState::Silent);
    assert_eq!(class(here("larder")).await, Err(ErrorClass::Timeout));
    link.set(LinkState::Cut);
    assert_eq!(class(here("larder")).await, Err(ErrorClass::Connect));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_redis_failure_has_its_class() {
    let set = Set::shared().await;
    let class = async |text: String| class_of(Service::Redis, &set, |config| config.redis.url = Secret::new(text)).await;
    assert!(class_of(Service::Redis, &set, |_| {}).await.is_ok_and(|version| version.starts_with(char::is_numeric)));
    assert_eq!(class("redis://no-such-host.invalid".into()).await, Err(ErrorClass::Dns));
    assert_eq!(class("redis://127.0.0.1:1".into()).await, Err(ErrorClass::Connect));
    let (socket, password) = set.redis_socket();
    let link = SlowLink::to(&socket).await;
    let here = |password: &str| format!("redis://:{password}@127.0.0.1:{}", link.port);
    assert!(class(here(&password)).await.is_ok());
    assert_eq!(class(here("wrong")).await, Err(ErrorClass::Auth));
    assert_eq!(class(format!("redis://127.0.0.1:{}", link.port)).await, Err(ErrorClass::Auth), "without a password");
    let certified = tempfile::tempdir().unwrap();
    certificates(certified.path());
    let port = tls_front(certified.path(), socket, false).await;
    assert_eq!(class(format!("rediss://:{password}@localhost:{port}")).await, Err(ErrorClass::Tls));
    link.set(LinkState::Silent);
    assert_eq!(class(here(&password)).await, Err(ErrorClass::Timeout));
    link.set(LinkState::Cut);
    assert_eq!(class(here(&password)).await, Err(ErrorClass::Connect));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_store_failure_has_its_class() {
    let set = Set::shared().await;
    let class = async |change: &dyn Fn(&mut Config)| class_of(Service::S3, &set, change).await;
    let at = async |endpoint: String| class(&|config| config.s3.endpoint = Some(endpoint.clone())).await;
    assert!(class(&|_| {}).await.is_ok());
    assert_eq!(at("http://no-such-host.invalid".into()).await, Err(ErrorClass::Dns));
    assert_eq!(at("http://127.0.0.1:1".into()).await, Err(ErrorClass::Connect));
    assert_eq!(class(&|config| config.s3.secret_access_key = Secret::new("wrong")).await, Err(ErrorClass::Auth));
    let certified = tempfile::tempdir().unwrap();
    certificates(certified.path());
    let port = tls_front(certified.path(), set.postgres_socket(), false).await;
    assert_eq!(at(format!("https://localhost:{port}")).await, Err(ErrorClass::Tls));
    let link = SlowLink::to(set.servers().urls().s3_endpoint.trim_start_matches("http://")).await;
    let here = format!("http://127.0.0.1:{}", link.port);
    assert!(at(here.clone()).await.is_ok());
    link.set(LinkState::Silent);
    assert_eq!(at(here.clone()).await, Err(ErrorClass::Timeout));
    link.set(LinkState::Cut);
    assert_eq!(at(here).await, Err(ErrorClass::Connect));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_qdrant_failure_has_its_class() {
    let set = Set::shared().await;
    let server = qdrant().await;
    let class = async |url: &str, key: &str| {
        let (url, key) = (url.to_owned(), Secret::new(key));
        class_of(Service::Qdrant, &set, move |config| (config.qdrant_url, config.qdrant_api_key) = (Some(url), Some(key))).await
    };
    assert!(class(&server.base, QDRANT_KEY).await.is_ok_and(|version| version.starts_with("1.")));
    assert_eq!(class("http://no-such-host.invalid", "wrong").await, Err(ErrorClass::Dns));
    assert_eq!(class("http://127.0.0.1:1", "wrong").await, Err(ErrorClass::Connect));
    let is_json = |status| HttpStub::always(Reply::Json(status, serde_json::json!({"status": {"error": "no"}, "version": "1.12.4"})));
    for (status, expected) in [(401, ErrorClass::Auth), (403, ErrorClass::Auth), (503, ErrorClass::Degraded), (500, ErrorClass::Protocol)] {
        assert_eq!(class(&is_json(status).base, "wrong").await, Err(expected), "{status}");
    }
    let html = HttpStub::always(Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>".to_vec()));
    assert_eq!(class(&html.base, "wrong").await, Err(ErrorClass::Protocol));
    assert_eq!(class(&HttpStub::always(Reply::Freeze("")).base, "wrong").await, Err(ErrorClass::Timeout));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_litellm_failure_has_its_class_and_missing_models_are_named() {
    let set = Set::shared().await;
    let server = LiteLlmServer::shared().await;
    let configured = |config: &mut Config, url: &str| {
        config.litellm_url = Some(url.to_owned());
        config.litellm_master_key = Some(Secret::new(LiteLlmServer::KEY));
    };
    let class = async |url: &str| class_of(Service::LiteLlm, &set, |config| configured(config, url)).await;
    // A Python server, which may be slow on a busy machine.
    eventually("the server responds in time", async || class(&server.base).await.is_ok_and(|version| version.starts_with("1."))).await;
    assert_eq!(class("http://no-such-host.invalid").await, Err(ErrorClass::Dns));
    assert_eq!(class("http://127.0.0.1:1").await, Err(ErrorClass::Connect));
    assert_eq!(class(&HttpStub::always(Reply::Freeze("")).base).await, Err(ErrorClass::Timeout));
    let unready = HttpStub::always(Reply::Json(503, serde_json::json!({"status": "unhealthy"})));
    assert_eq!(class(&unready.base).await, Err(ErrorClass::Degraded));
    let mut config = config(&set);
    configured(&mut config, &server.base);
    config.litellm_models = vec!["chat".into(), "no-such-alias".into()];
    let look = async |config: Config| health::inspect_once(&app::context(config).unwrap(), Service::LiteLlm).await;
    let detail = look(config.clone()).await.unwrap();
    assert_eq!(detail.problem().unwrap(), "LiteLLM does not offer no-such-alias.");
    assert!(matches!(&detail, Detail::LiteLlm { models, .. } if models.first.contains(&"chat".to_owned())));
    config.litellm_master_key = Some(Secret::new("sk-wrong"));
    assert_eq!(look(config).await.unwrap_err().class, ErrorClass::Auth, "readiness is public, the models need the key");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_five_services_are_checked_if_configured() {
    let (qdrant, litellm) = (qdrant().await, LiteLlmServer::shared().await);
    let app = TestApp::start_with(|config| {
        config.qdrant_url = Some(qdrant.base.clone());
        config.qdrant_api_key = Some(Secret::new(QDRANT_KEY));
        config.litellm_url = Some(litellm.base.clone());
        config.litellm_master_key = Some(Secret::new(LiteLlmServer::KEY));
        config.litellm_models = vec!["chat".into()];
    })
    .await;
    for service in Service::ALL {
        let shown = || app.ctx.health.one(service);
        eventually_within(Duration::from_secs(20), service.name(), async || shown().state == State::Up && shown().detail.is_some()).await;
    }
    for path in ["/health/qdrant", "/health/litellm"] {
        let page = app.visitor().get(path).await.expect_status(200).json();
        assert_eq!((page["healthy"].as_bool(), page["configured"].as_bool()), (Some(true), Some(true)), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inspections_describe_each_server_and_leave_nothing_behind() {
    let app = TestApp::start().await;
    let look = async |service| health::inspect_once(&app.ctx, service).await.unwrap();
    let Detail::Postgres(server) = look(Service::Postgres).await else { panic!() };
    assert!(
        server.connections > 0
            && server.connection_limit >= server.connections
            && server.size > 1_000_000
            && server.writes == health::Writes::Accepted
    );
    let Detail::Redis(redis) = look(Service::Redis).await else { panic!() };
    assert!(redis.memory > Some(100_000) && redis.clients > Some(0) && !redis.is_replica);
    let Detail::S3 { round_trip, bucket_is_missing, .. } = look(Service::S3).await else { panic!() };
    assert!(round_trip.is_some() && !bucket_is_missing);
    eventually("the store is unchanged", async || {
        app.ctx.s3.list(&app.bucket, "", false, None, 100).await.is_ok_and(|listing| listing.objects.is_empty())
    })
    .await;
    let mut config = Config::clone(&app.ctx.config);
    config.s3.health_writes = false;
    let ctx = app::context(config).unwrap();
    let Ok(Detail::S3 { round_trip: None, .. }) = health::inspect_once(&ctx, Service::S3).await else { panic!() };
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_recorded_as_an_incident_that_outlives_the_console() {
    let set = Set::shared().await;
    let (socket, password) = set.redis_socket();
    let link = SlowLink::to(&socket).await;
    let url = Secret::new(format!("redis://:{password}@127.0.0.1:{}", link.port));
    let app = TestApp::start_with(|config| {
        config.redis.url = url;
        config.redis.browse_url = None;
        config.probe_period = Duration::from_millis(200);
    })
    .await;
    let board = app.ctx.health.clone();
    let state = || board.one(Service::Redis).state;
    eventually("the service is up", async || state() == State::Up).await;
    link.set(LinkState::Slow(Duration::from_millis(150)));
    eventually("the service is slow", async || board.one(Service::Redis).latency_ms.is_some_and(|ms| ms >= 150.0)).await;
    assert_eq!(state(), State::Up, "still up");
    link.set(LinkState::Cut);
    eventually("the service is down", async || state() == State::Down).await;
    let down = board.one(Service::Redis);
    assert_eq!((down.healthy, down.latency_ms, down.failures >= health::FAILURES), (false, None, true));
    assert_eq!(down.last_failure.unwrap().1.class, ErrorClass::Connect);
    let read = async |what: &str| {
        let sql = app.sql().await;
        sql.query_one(&format!("SELECT {what} FROM health_incidents WHERE service = 'redis'"), &[]).await
    };
    eventually("the incident is written", async || read("class").await.is_ok_and(|row| row.get::<_, &str>(0) == "connect")).await;
    link.set(LinkState::Open);
    eventually("the service is up again", async || state() == State::Up).await;
    eventually("the end of the incident is written", async || read("ended_at IS NOT NULL").await.is_ok_and(|row| row.get(0))).await;
    let uptime = board.uptime(Service::Redis).day;
    assert!(uptime.up > 0.0 && uptime.down > 0.0 && uptime.down < 10.0, "{uptime:?}");

    // A second console has not seen the incident and reads it from the first, which writes its last minute when it
    // stops.
    let next = app.replica().await;
    app.stop().await;
    eventually("the next console has read the incident", async || {
        let incidents = next.ctx.health.incidents();
        incidents
            .iter()
            .any(|incident| incident.service == Service::Redis && incident.ended_at.is_some() && incident.class == ErrorClass::Connect)
    })
    .await;
    eventually_within(Duration::from_secs(75), "the downtime has been read", async || {
        next.ctx.health.uptime(Service::Redis).day.down > 0.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn incidents_during_a_postgres_outage_are_written_afterwards() {
    let app = TestApp::with_own_servers().await;
    let board = app.ctx.health.clone();
    let state = |service| board.one(service).state;
    eventually("both are up", async || state(Service::Postgres) == State::Up && state(Service::Redis) == State::Up).await;
    app.servers().postgres().stop();
    app.servers().redis().stop();
    let limit = Duration::from_secs(20);
    eventually_within(limit, "both are down", async || state(Service::Postgres) == State::Down && state(Service::Redis) == State::Down)
        .await;
    assert_eq!(board.incidents().len(), 2, "known immediately, and kept in memory");
    app.servers().redis().start().unwrap();
    eventually_within(limit, "Redis is available again", async || state(Service::Redis) == State::Up).await;
    app.servers().postgres().start().unwrap();
    eventually_within(limit, "both are written", async || {
        let connected = tokio_postgres::connect(app.ctx.config.database_url.reveal(), tokio_postgres::NoTls).await;
        let Ok((client, connection)) = connected else { return false };
        tokio::spawn(connection);
        let ended = "SELECT count(*) FROM health_incidents WHERE ended_at IS NOT NULL";
        client.query_one(ended, &[]).await.is_ok_and(|row| row.get::<_, i64>(0) == 2)
    })
    .await;
}
