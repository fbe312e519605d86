//! A revoked token is rejected in every state of Redis.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use larder::clock;
use larder::domain::actor::Actor;
use larder::domain::{Context, audit, deny};

use crate::support::{TestApp, eventually};

fn actor() -> Actor {
    Actor::system("Tests")
}

fn in_an_hour() -> DateTime<Utc> {
    clock::now() + TimeDelta::hours(1)
}

/// How many of these attempts were accepted.
async fn accepted(ctx: &Context, jtis: &[String], tries: usize) -> usize {
    let tries = futures_util::stream::iter((0..tries).map(|at| deny::is_revoked(ctx, &jtis[at % jtis.len()])));
    tries.buffer_unordered(32).filter(|revoked| std::future::ready(matches!(revoked, Ok(false)))).count().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_is_never_accepted_in_ten_thousand_attempts() {
    let app = TestApp::with_own_servers().await;
    let jtis: Vec<String> = (0..20).map(|at| format!("jti-{at}")).collect();
    for jti in &jtis {
        deny::revoke(&app.ctx, &actor(), jti, in_an_hour()).await.unwrap();
    }
    assert_eq!(accepted(&app.ctx, &jtis, 4_000).await, 0);
    assert_eq!(app.redis(&["FLUSHALL"]).await, "OK");
    assert_eq!(accepted(&app.ctx, &jtis, 2_000).await, 0);
    app.servers().redis().freeze();
    assert_eq!(accepted(&app.ctx, &jtis, 2_000).await, 0);
    // Revoked while the copy cannot be written.
    deny::revoke(&app.ctx, &actor(), "late", in_an_hour()).await.unwrap();
    assert_eq!(accepted(&app.ctx, &["late".to_owned()], 500).await, 0);
    app.servers().redis().thaw();
    assert_eq!(accepted(&app.ctx, &["late".to_owned(), jtis[0].clone()], 500).await, 0);
    app.servers().redis().stop();
    assert_eq!(accepted(&app.ctx, &jtis, 1_000).await, 0);
    assert!(!deny::is_revoked(&app.ctx, "another").await.unwrap(), "other tokens are accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_and_postgres_no_token_is_accepted() {
    let app = TestApp::with_own_servers().await;
    deny::revoke(&app.ctx, &actor(), "gone", in_an_hour()).await.unwrap();
    app.servers().postgres().freeze();
    assert!(deny::is_revoked(&app.ctx, "gone").await.unwrap(), "the copy is sufficient");
    let began = Instant::now();
    assert!(deny::is_revoked(&app.ctx, "another").await.is_err());
    assert!(deny::revoke(&app.ctx, &actor(), "more", in_an_hour()).await.is_err());
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    app.servers().postgres().thaw();
    eventually("Postgres is available again", async || matches!(deny::is_revoked(&app.ctx, "another").await, Ok(false))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_expires_with_its_token_and_is_restored_on_lookup() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    for jti in ["plain", "", "\0", "a\r\nDEL x", "*", "ä:ö", &"long".repeat(5_000)] {
        assert!(!deny::is_revoked(&replica.ctx, jti).await.unwrap(), "{jti:?}");
        deny::revoke(&app.ctx, &actor(), jti, in_an_hour()).await.unwrap();
        // Revoking twice has no further effect.
        deny::revoke(&replica.ctx, &actor(), jti, clock::now() + TimeDelta::minutes(1)).await.unwrap();
        assert!(deny::is_revoked(&replica.ctx, jti).await.unwrap(), "{jti:?}");
    }
    let redis = app.ctx.redis.required();
    assert_eq!(redis.delete("blacklist:token:plain").await, Ok(true));
    assert!(deny::is_revoked(&app.ctx, "plain").await.unwrap());
    let left = redis.ttl("blacklist:token:plain").await.unwrap().unwrap();
    assert!(left > Duration::from_secs(3500) && left <= Duration::from_secs(3600), "the later expiry counts: {left:?}");
    let events = audit::of_resource(&app.ctx, &actor(), "token", 100).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.action == "token.revoke").count(), 14);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_expired_tokens_are_deleted() {
    let app = TestApp::start().await;
    let sql = app.sql().await;
    for (jti, days) in [("old", -2), ("just-over", 0), ("alive", 1)] {
        deny::revoke(&app.ctx, &actor(), jti, clock::now() + TimeDelta::days(days)).await.unwrap();
    }
    deny::revoke(&app.ctx, &actor(), "another", in_an_hour()).await.unwrap();
    let rows = sql.query("SELECT jti FROM revoked_tokens ORDER BY 1", &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<String>>(), ["alive", "another", "just-over"]);
    assert!(deny::is_revoked(&app.ctx, "just-over").await.unwrap());
}
