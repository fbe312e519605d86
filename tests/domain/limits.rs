//! Sliding windows: exactly the allowed number of requests passes, however many arrive at the same time, and whatever
//! someone writes to Redis.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use larder::domain::actor::{Actor, Role};
use larder::domain::limits::{self, Policy};
use larder::domain::sign_in::{self, SignIn};

use crate::support::{PASSWORD, TestApp, eventually};

const MINUTE: Policy = Policy { name: "t-minute", limit: 50, window: Duration::from_secs(60) };
const SHORT: Policy = Policy { name: "t-short", limit: 3, window: Duration::from_millis(400) };

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_concurrent_requests_exactly_fifty_pass() {
    let app = TestApp::start().await;
    let standings = join_all((0..200).map(|_| limits::take(&app.ctx, &MINUTE, "somebody"))).await;
    assert_eq!(standings.iter().filter(|standing| standing.allowed).count(), 50);
    for refused in standings.iter().filter(|standing| !standing.allowed) {
        assert!(refused.remaining == 0 && refused.next > Duration::from_secs(40) && refused.next <= MINUTE.window, "{refused:?}");
    }
    assert!(limits::take(&app.ctx, &MINUTE, "somebody else").await.allowed);
    let key = counts_key("somebody");
    eventually("the count is published", async || app.ctx.redis.required().exists(&key).await == Ok(true)).await;
    assert!(app.ctx.redis.required().ttl(&key).await.unwrap().is_some_and(|left| left <= MINUTE.window), "the key expires");
}

fn counts_key(subject: &str) -> String {
    format!("larder:rate-counts:t-minute:{subject}")
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_a_limit() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let mut remaining = Vec::new();
    for at in 0..60 {
        let ctx = if at % 3 == 0 { &app.ctx } else { &replica.ctx };
        let standing = limits::take(ctx, &MINUTE, "x").await;
        if standing.allowed {
            remaining.push(standing.remaining);
        }
    }
    assert_eq!(remaining, (0..50).rev().collect::<Vec<_>>());
    for ctx in [&app.ctx, &replica.ctx] {
        let standing = limits::peek(ctx, &MINUTE, "x").await;
        assert!(!standing.allowed && standing.remaining == 0 && standing.next <= MINUTE.window, "{standing:?}");
    }
    // Simultaneous requests exceed the limit by those in progress, which are at most the connections to Redis. Near the limit,
    // requests of two replicas may refuse each other, but each subject has its whole limit.
    let asking = (0..200).map(|at| limits::take(if at % 2 == 0 { &app.ctx } else { &replica.ctx }, &MINUTE, "y"));
    let mut allowed = join_all(asking).await.iter().filter(|standing| standing.allowed).count();
    assert!(allowed >= 45, "{allowed}");
    eventually("the whole limit was allowed", async || {
        if allowed < 50 {
            allowed += usize::from(limits::take(&app.ctx, &MINUTE, "y").await.allowed);
        }
        allowed >= 50
    })
    .await;
    assert!((50..=50 + 2 * app.ctx.config.redis.pool_size).contains(&allowed), "{allowed}");
}

/// All fields of the counts of a subject.
async fn fields(app: &TestApp, key: &str) -> Vec<(String, String)> {
    let mut connection = app.redis_connection().await;
    let key = format!("{}{key}", app.ctx.redis.prefix());
    redis::cmd("HGETALL").arg(key).query_async(&mut connection).await.unwrap()
}

async fn set_field(app: &TestApp, key: &str, field: &str, value: &str) {
    let mut connection = app.redis_connection().await;
    let key = format!("{}{key}", app.ctx.redis.prefix());
    redis::cmd("HSET").arg(key).arg(field).arg(value).query_async::<()>(&mut connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_high_counts_lock_no_one_out() {
    let app = TestApp::start().await;
    let (key, other_key) = (counts_key("x"), counts_key("other"));
    for _ in 0..50 {
        assert!(limits::take(&app.ctx, &MINUTE, "other").await.allowed);
    }
    assert!(limits::take(&app.ctx, &MINUTE, "x").await.allowed);
    let (replica, own) = fields(&app, &key).await.remove(0);
    let (_, signed_for_another) = fields(&app, &other_key).await.remove(0);
    let text = own.split_once('.').unwrap().1;
    let now = larder::clock::now().timestamp_millis();
    let forged = [
        signed_for_another,
        format!("AAAA.{}", text.replace(":1", ":99999")),
        own.replace(":1", ":99999"),
        own.replace(&replica, "0123"),
        format!("{}.0123 {now}:99999", own.split_once('.').unwrap().0),
        "99999".to_owned(),
        String::new(),
    ];
    for (at, value) in forged.iter().enumerate() {
        set_field(&app, &key, &format!("forged-{at}"), value).await;
        set_field(&app, &key, &replica, value).await;
        let standing = limits::take(&app.ctx, &MINUTE, "x").await;
        assert!(standing.allowed && standing.remaining == 48 - at as u64, "{value}: {standing:?}");
    }
    // The signed count of another replica, repeated in other fields, counts once.
    let other = app.replica().await;
    let before = limits::take(&other.ctx, &MINUTE, "x").await.remaining;
    for at in 0..20 {
        set_field(&app, &key, &format!("copy-{at}"), &fields(&app, &key).await.into_iter().find(|(field, _)| *field == replica).unwrap().1)
            .await;
    }
    assert_eq!(limits::take(&other.ctx, &MINUTE, "x").await.remaining, before - 1);
    assert_eq!(limits::peek(&app.ctx, &MINUTE, "x").await.remaining, before - 1);
    for at in 0..100 {
        set_field(&app, &key, &format!("many-{at}"), "x").await;
    }
    assert_eq!(limits::take(&app.ctx, &MINUTE, "x").await.remaining, before - 2, "too many fields are removed, known counts are kept");
    assert_eq!(fields(&app, &key).await.len(), 1);
    let whole = format!("{}{key}", app.ctx.redis.prefix());
    app.redis(&["DEL", &whole]).await;
    app.redis(&["SET", &whole, "another type"]).await;
    assert!(limits::take(&app.ctx, &MINUTE, "x").await.allowed);
    assert_eq!(fields(&app, &key).await.len(), 1, "the count is published again");
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_low_and_deleted_counts_do_not_lift_the_limit() {
    let app = TestApp::start().await;
    let key = counts_key("x");
    let whole = format!("{}{key}", app.ctx.redis.prefix());
    assert!(limits::take(&app.ctx, &MINUTE, "x").await.allowed);
    let (replica, low) = fields(&app, &key).await.remove(0);
    let mut allowed = 1;
    for at in 0..100 {
        match at % 3 {
            0 => set_field(&app, &key, &replica, &low).await,
            1 => set_field(&app, &key, &replica, "").await,
            _ => drop(app.redis(&["DEL", &whole]).await),
        }
        allowed += usize::from(limits::take(&app.ctx, &MINUTE, "x").await.allowed);
    }
    assert_eq!(allowed, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_holds_while_redis_is_down() {
    let app = TestApp::with_own_servers().await;
    for _ in 0..20 {
        assert!(limits::take(&app.ctx, &MINUTE, "x").await.allowed);
    }
    app.servers().redis().freeze();
    let standings = join_all((0..50).map(|_| limits::take(&app.ctx, &MINUTE, "x"))).await;
    assert_eq!(standings.iter().filter(|standing| standing.allowed).count(), 30);
    app.servers().redis().thaw();
    let replica = app.replica().await;
    eventually("the count is published again", async || {
        // Only a request publishes it.
        limits::take(&app.ctx, &MINUTE, "x").await;
        !limits::peek(&replica.ctx, &MINUTE, "x").await.allowed
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_slides_and_rejected_requests_are_not_counted() {
    let app = TestApp::start().await;
    let take = async || limits::take(&app.ctx, &SHORT, "x").await.allowed;
    let mut allowed = 0;
    for _ in 0..2 {
        // Requests arrive all the time: if rejected ones were counted, none would ever pass again.
        eventually("a request passes", async || take().await).await;
        let began = std::time::Instant::now();
        allowed += 1;
        while began.elapsed() < SHORT.window {
            allowed += u64::from(take().await);
        }
    }
    assert!((6..=12).contains(&allowed), "{allowed}");
    eventually("the window has passed", async || {
        let standing = limits::peek(&app.ctx, &SHORT, "x").await;
        standing.remaining == 3 && standing.next.is_zero()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn increments_and_ttls_are_correct_under_concurrency() {
    let app = TestApp::start().await;
    let key = "larder:t-count";
    let redis = &app.ctx.redis;
    let counting = (0..300).map(|_| async {
        redis.required().increment(key, 1).await.unwrap();
        redis.required().expire(key, Duration::from_secs(100)).await.unwrap()
    });
    assert!(join_all(counting).await.into_iter().all(|was_there| was_there));
    assert_eq!(redis.required().get(key).await.unwrap().as_deref(), Some("300"));
    assert!(redis.required().ttl(key).await.unwrap().is_some_and(|left| left > Duration::from_secs(90)));
    let once =
        join_all((0..100).map(|_| async { redis.required().set_if_absent("larder:t-once", "1", Duration::from_millis(300)).await })).await;
    assert_eq!(once.into_iter().filter(|outcome| *outcome == Ok(true)).count(), 1);
    eventually("it expires", async || redis.required().get("larder:t-once").await == Ok(None)).await;
}

async fn try_in(app: &TestApp, address: &str, email: &str, password: &str) -> SignIn {
    let visitor = Actor::anonymous("visitor", Some(address.parse::<IpAddr>().unwrap()), "test");
    sign_in::sign_in(&app.ctx, &visitor, email, password, None).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_times_survive_in_redis_or_in_postgres() {
    let app = TestApp::with_own_servers().await;
    let email = app.new_user(Role::Editor).await;
    for _ in 0..sign_in::TRIES {
        assert!(matches!(try_in(&app, "198.51.100.7", &email, "wrong").await, SignIn::WrongCredentials));
    }
    let waits = async || match try_in(&app, "198.51.100.7", &email, PASSWORD).await {
        SignIn::Blocked(wait) => wait <= sign_in::WINDOW && wait > sign_in::WINDOW / 2,
        _ => false,
    };
    assert!(waits().await);
    app.servers().redis().freeze();
    assert!(waits().await, "Postgres counts as well");
    app.servers().redis().thaw();
    app.sql().await.execute("DELETE FROM sign_in_failures", &[]).await.unwrap();
    eventually("Redis is used again", async || app.ctx.redis.best_effort(Duration::from_millis(250)).get("larder:t-any").await.is_ok())
        .await;
    assert!(waits().await, "Redis rejects without Postgres");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_under_attack_accepts_its_owner_from_a_known_address() {
    let app = TestApp::start().await;
    let email = app.new_user(Role::Editor).await;
    assert!(matches!(try_in(&app, "192.0.2.1", &email, PASSWORD).await, SignIn::Success { .. }));
    for at in 0..sign_in::TRIES_FROM_ANYWHERE {
        let address = format!("198.51.{}.{}", at / 10, at % 10 + 1);
        assert!(matches!(try_in(&app, &address, &email, "wrong").await, SignIn::WrongCredentials), "{at}");
    }
    assert!(matches!(try_in(&app, "203.0.113.9", &email, PASSWORD).await, SignIn::Blocked(_)), "an unknown address");
    app.sql().await.execute("DELETE FROM sign_in_failures", &[]).await.unwrap();
    assert!(matches!(try_in(&app, "203.0.113.9", &email, PASSWORD).await, SignIn::Blocked(_)), "with Redis only");
    assert!(matches!(try_in(&app, "192.0.2.1", &email, PASSWORD).await, SignIn::Success { .. }), "the owner");
}
