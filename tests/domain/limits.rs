//! Sliding windows: exactly the allowed number of requests passes, however many arrive at the same time.

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
    let replica = app.replica().await;
    // So that none of the two hundred waits for a connection.
    for ctx in [&app.ctx, &replica.ctx] {
        eventually("the replica is connected", async || limits::peek(ctx, &MINUTE, "somebody").await.is_some()).await;
    }
    let asking = (0..200).map(|at| {
        let ctx = if at % 2 == 0 { &app.ctx } else { &replica.ctx };
        async move {
            loop {
                // Two hundred concurrent requests may exceed the timeout of one.
                if let Some(standing) = limits::take(ctx, &MINUTE, "somebody").await {
                    return standing;
                }
                tokio::task::yield_now().await;
            }
        }
    });
    let standings = join_all(asking).await;
    assert_eq!(standings.iter().filter(|standing| standing.allowed).count(), 50);
    let mut remaining: Vec<u64> = standings.iter().filter(|standing| standing.allowed).map(|standing| standing.remaining).collect();
    remaining.sort_unstable();
    assert_eq!(remaining, (0..50).collect::<Vec<_>>());
    for refused in standings.iter().filter(|standing| !standing.allowed) {
        assert!(refused.remaining == 0 && refused.next > Duration::from_secs(40) && refused.next <= MINUTE.window, "{refused:?}");
    }
    assert!(limits::take(&app.ctx, &MINUTE, "somebody else").await.unwrap().allowed);
    let key = "larder:rate:t-minute:somebody";
    assert!(app.ctx.redis.required().ttl(key).await.unwrap().is_some_and(|left| left <= MINUTE.window), "the key expires");
    limits::forget(&app.ctx, &MINUTE, "somebody").await;
    assert!(limits::take(&app.ctx, &MINUTE, "somebody").await.unwrap().allowed);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_slides_and_rejected_requests_are_not_counted() {
    let app = TestApp::start().await;
    let take = async || limits::take(&app.ctx, &SHORT, "x").await.is_some_and(|standing| standing.allowed);
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
        limits::peek(&app.ctx, &SHORT, "x").await.is_some_and(|standing| standing.remaining == 3 && standing.next.is_zero())
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
    eventually("Redis is used again", async || limits::peek(&app.ctx, &MINUTE, "x").await.is_some()).await;
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
