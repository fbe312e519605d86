//! The pool of connections to Redis and its operations.

use std::time::{Duration, Instant};

use larder::config::{RedisConfig, Secret};
use larder::stores::redis::{Error, Redis};

use crate::support::{Set, eventually};

fn redis(set: &Set, size: usize, timeout: Duration) -> Redis {
    let prefix = format!("t-{}:", uuid::Uuid::now_v7().simple());
    let config = RedisConfig { url: Secret::new(&set.servers().urls().redis_url), pool_size: size, timeout, prefix };
    Redis::new(&config, &tokio::runtime::Handle::current()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operations_do_what_their_names_say() {
    let set = Set::shared().await;
    let redis = redis(&set, 10, Duration::from_secs(5));
    let commands = redis.patiently();
    assert_eq!(commands.get("a").await, Ok(None));
    commands.set("a", "1", None).await.unwrap();
    assert_eq!(commands.get("a").await.unwrap().as_deref(), Some("1"));
    assert_eq!(commands.increment("a", 41).await, Ok(42));
    assert_eq!(commands.exists("a").await, Ok(true));
    assert_eq!(commands.ttl("a").await, Ok(None));
    assert_eq!(commands.expire("a", Duration::from_secs(100)).await, Ok(true));
    assert!(commands.ttl("a").await.unwrap().is_some_and(|left| left > Duration::from_secs(90)));
    assert_eq!(commands.delete("a").await, Ok(true));
    assert_eq!(commands.delete("a").await, Ok(false));
    assert_eq!(commands.expire("a", Duration::from_secs(1)).await, Ok(false));
    commands.set("short", "x", Some(Duration::from_millis(30))).await.unwrap();
    eventually("it expires", async || commands.get("short").await == Ok(None)).await;
    assert_eq!(commands.set_if_absent("once", "1", Duration::from_secs(10)).await, Ok(true));
    assert_eq!(commands.set_if_absent("once", "2", Duration::from_secs(10)).await, Ok(false));
    commands.set_json("json", &vec![1, 2], None).await.unwrap();
    assert_eq!(commands.get_json::<Vec<i32>>("json").await, Ok(Some(vec![1, 2])));
    assert!(matches!(commands.get_json::<bool>("json").await, Err(Error::Other(_))));
    assert!(commands.increment("json", 1).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_callers_count_right_over_ten_connections() {
    let set = Set::shared().await;
    let redis = redis(&set, 10, Duration::from_secs(5));
    let callers = (0..200).map(|_| {
        let redis = redis.clone();
        async move { redis.patiently().increment("count", 1).await }
    });
    for outcome in futures_util::future::join_all(callers).await {
        outcome.unwrap();
    }
    assert_eq!(redis.patiently().get("count").await.unwrap().as_deref(), Some("200"));
    assert!(redis.usage().1 == 10 && redis.usage().0 == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_costs_one_short_wait_and_is_used_again_when_it_wakes() {
    let set = Set::own().await;
    let redis = redis(&set, 4, Duration::from_secs(1));
    redis.patiently().set("kept", "1", None).await.unwrap();
    set.servers().redis().freeze();
    let limit = Duration::from_millis(200);
    let started = Instant::now();
    assert_eq!(redis.briefly(limit).get("kept").await, Err(Error::Timeout));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let started = Instant::now();
    for _ in 0..100 {
        assert!(matches!(redis.briefly(limit).get("kept").await, Err(Error::Unreachable(_))));
    }
    // Waiting each time would take twenty seconds.
    assert!(started.elapsed() < Duration::from_secs(5), "the breaker waits: {:?}", started.elapsed());
    set.servers().redis().thaw();
    eventually("it is used again", async || redis.briefly(limit).get("kept").await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_outlive_a_restart_and_a_kill_of_the_server() {
    let set = Set::own().await;
    let redis = redis(&set, 4, Duration::from_secs(1));
    redis.patiently().set("kept", "1", None).await.unwrap();
    set.servers().redis().restart().unwrap();
    eventually("it is there", async || redis.patiently().get("kept").await == Ok(Some("1".into()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_its_own_error() {
    let set = Set::shared().await;
    let url = set.servers().urls().redis_url.clone();
    let wrong = url.split("pass=").next().unwrap().to_owned() + "pass=hunter2secret";
    let config = RedisConfig { url: Secret::new(wrong), pool_size: 1, timeout: Duration::from_secs(1), prefix: String::new() };
    let redis = Redis::new(&config, &tokio::runtime::Handle::current()).unwrap();
    let error = redis.patiently().get("x").await.unwrap_err();
    assert!(error == Error::Auth && !error.to_string().contains("hunter2"), "{error:?}");
}
