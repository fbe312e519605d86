//! With a frozen, empty, full, restarted or misconfigured Redis, pages wait once and are served.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use larder::config::Secret;
use larder::domain::cache::{self, Key, Namespace};

use super::{NUMBERS, Work, stats};
use crate::support::{Set, TestApp, eventually};

async fn config(app: &TestApp, name: &str, value: &str) {
    assert_eq!(app.redis(&["CONFIG", "SET", name, value]).await, "OK");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_redis_causes_one_short_wait_and_one_computation() {
    let app = TestApp::with_own_servers().await;
    app.rules_known().await;
    app.servers().redis().freeze();
    let began = Instant::now();
    assert!(matches!(Work::free().get(&app.ctx, &NUMBERS, &Key::only()).await, Ok(1)));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let began = Instant::now();
    for at in 0..1000 {
        assert!(Work::free().get(&app.ctx, &NUMBERS, &Key::of(&[&at])).await.is_ok());
    }
    // Waiting every time would take four minutes; every two seconds one caller tries.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());

    let work = Work::new();
    let key = Key::of(&[&"together"]);
    let callers = join_all((0..300).map(|_| work.get(&app.ctx, &NUMBERS, &key)));
    let (answers, ()) = tokio::join!(callers, async {
        eventually("one has started", async || work.started() > 0).await;
        work.release();
    });
    assert!(answers.iter().all(|answer| matches!(answer, Ok(1))) && work.started() == 1);
    assert!(stats(&app.ctx, "t-numbers").errors() >= 1300);

    // Values invalidated in the meantime are deleted when Redis responds again.
    app.servers().redis().thaw();
    eventually("Redis is used again", async || cache::set(&app.ctx, &NUMBERS, &key, &7).await).await;
    app.servers().redis().freeze();
    cache::invalidate(&app.ctx, &NUMBERS, &key).await;
    app.servers().redis().thaw();
    eventually("the invalidation is retried", async || app.ctx.redis.required().exists("cache:t-numbers:together").await == Ok(false))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flushing_during_a_computation_only_costs_speed() {
    let app = TestApp::with_own_servers().await;
    let (work, key) = (Work::new(), Key::only());
    let callers = join_all((0..100).map(|_| work.get(&app.ctx, &NUMBERS, &key)));
    let (answers, ()) = tokio::join!(callers, async {
        eventually("one has started", async || work.started() > 0).await;
        assert_eq!(app.redis(&["FLUSHALL"]).await, "OK");
        work.release();
    });
    assert!(answers.iter().all(|answer| matches!(answer, Ok(1))) && work.started() == 1);
    // Its lock was lost, so the value was not cached; the next one is.
    assert!(matches!(work.get(&app.ctx, &NUMBERS, &key).await, Ok(2)));
    let is_kept = async || {
        let started = work.started();
        work.get(&app.ctx, &NUMBERS, &key).await.is_ok() && work.started() == started
    };
    eventually("the value is cached", is_kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_full_server_values_are_computed_but_not_cached() {
    static LARGE: Namespace<String> = Namespace::new("t-large", Duration::from_secs(600)).waiting(Duration::from_millis(50));
    let app = TestApp::with_own_servers().await;
    let text = "x".repeat(50_000);
    config(&app, "maxmemory-policy", "noeviction").await;
    config(&app, "maxmemory", "1mb").await;
    let mut refused = 0;
    for at in 0..100 {
        let (key, text) = (Key::of(&[&at]), text.clone());
        assert_eq!(cache::get_or_compute(&app.ctx, &LARGE, &key, move || async move { Ok(text) }).await.unwrap().len(), 50_000);
        refused += u64::from(!cache::set(&app.ctx, &LARGE, &key, &"y".repeat(50_000)).await);
    }
    assert!(refused > 50, "{refused}");
    assert!(stats(&app.ctx, "t-large").unkept() > 0);
    cache::invalidate(&app.ctx, &LARGE, &Key::of(&[&1])).await;

    // Operators clear the cache in this situation.
    let cleared = cache::clear(&app.ctx, &LARGE.spec, |_| true).await.unwrap();
    assert!(cleared.is_complete && cache::count(&app.ctx, &LARGE.spec, |_| true).await.unwrap().values == 0);

    // A server with eviction may delete values and locks at any time.
    config(&app, "maxmemory-policy", "allkeys-lru").await;
    config(&app, "maxmemory", "3mb").await;
    for at in 0..300 {
        let (key, text) = (Key::of(&[&at]), text.clone());
        assert_eq!(cache::get_or_compute(&app.ctx, &LARGE, &key, move || async move { Ok(text) }).await.unwrap().len(), 50_000);
    }
    config(&app, "maxmemory", "0").await;
    assert!(cache::set(&app.ctx, &LARGE, &Key::only(), &text).await, "the value is cached again");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_wrong_password_every_value_is_computed() {
    let app = TestApp::on(Set::shared().await, |config| {
        let url = config.redis.url.reveal().split("pass=").next().unwrap().to_owned();
        config.redis.url = Secret::new(url + "pass=wrong");
    });
    let app = app.await;
    let work = Work::free();
    for at in 1..=20 {
        assert_eq!(work.get(&app.ctx, &NUMBERS, &Key::only()).await.unwrap(), at);
    }
    let counted = stats(&app.ctx, "t-numbers");
    assert_eq!((counted.errors(), counted.computations()), (20, 20));
    assert!(!cache::set(&app.ctx, &NUMBERS, &Key::only(), &1).await);
    assert!(cache::clear(&app.ctx, &NUMBERS.spec, |_| true).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_server_restart_values_are_cached_again() {
    let app = TestApp::with_own_servers().await;
    let (work, key) = (Work::free(), Key::only());
    assert!(matches!(work.get(&app.ctx, &NUMBERS, &key).await, Ok(1)));
    app.servers().redis().stop();
    assert!(matches!(work.get(&app.ctx, &NUMBERS, &key).await, Ok(2)), "computed while Redis is down");
    app.servers().redis().start().unwrap();
    // It has its previous values from its append-only file.
    eventually("Redis is used again", async || work.get(&app.ctx, &NUMBERS, &key).await.unwrap() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_a_crashed_process_is_awaited_once_and_taken_over() {
    static LEFT: Namespace<u64> = Namespace::new("t-left", Duration::from_secs(600)).waiting(Duration::from_millis(200));
    let app = TestApp::start().await;
    let (work, key) = (Work::free(), Key::only());
    let lock = format!("{}larder:lock:cache:t-left:{}", app.ctx.config.redis.prefix, key.as_str());
    app.redis(&["SET", &lock, "somebody", "PX", "600000"]).await;
    let began = Instant::now();
    assert!(matches!(work.get(&app.ctx, &LEFT, &key).await, Ok(1)));
    assert!(began.elapsed() >= Duration::from_millis(200) && began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(cache::get(&app.ctx, &LEFT, &key).await.unwrap().value, 1, "the value is cached");
    assert_eq!(app.redis(&["EXISTS", &lock]).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_first_visitor_needs_is_computed_at_the_start_and_nobody_waits_for_it() {
    let app = TestApp::with_own_servers().await;
    let known = async |name: &str| {
        let spec = app.ctx.cache.namespaces().iter().find(|spec| spec.name == name).unwrap();
        cache::count(&app.ctx, spec, |_| true).await.is_ok_and(|counted| counted.values == 1)
    };
    for name in ["store-abilities", "overview-today", "bucket-figures"] {
        eventually(name, async || known(name).await).await;
    }
    app.servers().s3().stop();
    // Ready all the same.
    app.replica().await.stop().await;
}
