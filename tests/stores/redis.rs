//! The Redis connection pool and its operations.

use std::time::{Duration, Instant};

use larder::config::{RedisConfig, Secret};
use larder::stores::redis::{Error, Redis, Ttl};

use crate::support::{Set, eventually};

fn redis(set: &Set, size: usize, timeout: Duration) -> Redis {
    let prefix = format!("t-{}:", uuid::Uuid::now_v7().simple());
    let urls = set.servers().urls();
    let config = RedisConfig {
        url: Secret::new(&urls.redis_url),
        browse_url: Some(Secret::new(urls.redis_browse_url())),
        pool_size: size,
        timeout,
        prefix,
    };
    Redis::new(&config, &tokio::runtime::Handle::current()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operations_work() {
    let set = Set::shared().await;
    let redis = redis(&set, 10, Duration::from_secs(5));
    let commands = redis.required();
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
async fn two_hundred_callers_count_correctly_over_ten_connections() {
    let set = Set::shared().await;
    let redis = redis(&set, 10, Duration::from_secs(5));
    let callers = (0..200).map(|_| {
        let redis = redis.clone();
        async move { redis.required().increment("count", 1).await }
    });
    for outcome in futures_util::future::join_all(callers).await {
        outcome.unwrap();
    }
    assert_eq!(redis.required().get("count").await.unwrap().as_deref(), Some("200"));
    assert!(redis.usage().limit == 10 && redis.usage().in_use == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_causes_one_short_wait_and_is_used_again_afterwards() {
    let set = Set::own().await;
    let redis = redis(&set, 4, Duration::from_secs(1));
    redis.required().set("kept", "1", None).await.unwrap();
    set.servers().redis().freeze();
    let limit = Duration::from_millis(200);
    let started = Instant::now();
    assert_eq!(redis.best_effort(limit).get("kept").await, Err(Error::Timeout));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let started = Instant::now();
    for _ in 0..100 {
        assert!(matches!(redis.best_effort(limit).get("kept").await, Err(Error::Unreachable(_))));
    }
    // Waiting every time would take twenty seconds.
    assert!(started.elapsed() < Duration::from_secs(5), "the breaker is open: {:?}", started.elapsed());
    set.servers().redis().thaw();
    eventually("Redis is used again", async || redis.best_effort(limit).get("kept").await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_survive_a_restart_and_a_kill_of_the_server() {
    let set = Set::own().await;
    let redis = redis(&set, 4, Duration::from_secs(1));
    redis.required().set("kept", "1", None).await.unwrap();
    set.servers().redis().restart().unwrap();
    eventually("the value exists", async || redis.required().get("kept").await == Ok(Some("1".into()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_an_auth_error() {
    let set = Set::shared().await;
    let url = set.servers().urls().redis_url.clone();
    let wrong = url.split("pass=").next().unwrap().to_owned() + "pass=hunter2secret";
    let without = RedisConfig {
        url: Secret::new(url.split('?').next().unwrap()),
        browse_url: None,
        pool_size: 1,
        timeout: Duration::from_secs(1),
        prefix: String::new(),
    };
    let without = Redis::new(&without, &tokio::runtime::Handle::current()).unwrap();
    assert_eq!(without.required().get("a").await, Err(Error::Auth), "no password");
    let config =
        RedisConfig { url: Secret::new(wrong), browse_url: None, pool_size: 1, timeout: Duration::from_secs(1), prefix: String::new() };
    let redis = Redis::new(&config, &tokio::runtime::Handle::current()).unwrap();
    let error = redis.required().get("x").await.unwrap_err();
    assert!(error == Error::Auth && !error.to_string().contains("hunter2"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_connections_after_a_restart_cause_no_errors() {
    let set = Set::own().await;
    let redis = redis(&set, 8, Duration::from_secs(5));
    redis.required().set("kept", "1", None).await.unwrap();
    let ask = async || redis.required().get("kept").await;
    let together = async || futures_util::future::join_all((0..40).map(|_| ask())).await;
    together().await;
    set.servers().redis().restart().unwrap();
    eventually("Redis responds", async || redis.browse().ping().await.is_ok()).await;
    for answer in together().await {
        assert_eq!(answer.unwrap().as_deref(), Some("1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silently_dead_connections_are_not_reused() {
    let set = Set::shared().await;
    let url = set.servers().urls().redis_url.clone();
    let (path, rest) = url.trim_start_matches("unix://").split_once('?').unwrap();
    let server = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
    let directory = tempfile::tempdir().unwrap();
    let between = directory.path().join("between.sock");
    let listener = tokio::net::UnixListener::bind(&between).unwrap();
    let (silence, silent) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = tokio::net::UnixStream::connect(&server).await.unwrap();
            let was_before = !*silent.borrow();
            let mut silenced = was_before.then(|| silent.clone());
            tokio::spawn(async move {
                let falls_silent = async {
                    match &mut silenced {
                        Some(silenced) => drop(silenced.changed().await),
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    () = falls_silent => std::future::pending().await,
                }
            });
        }
    });
    let config = RedisConfig {
        url: Secret::new(format!("unix://{}?{rest}", between.display())),
        browse_url: None,
        pool_size: 3,
        timeout: Duration::from_secs(5),
        prefix: format!("t-{}:", uuid::Uuid::now_v7().simple()),
    };
    let redis = Redis::new(&config, &tokio::runtime::Handle::current()).unwrap();
    let ask = async || redis.required().set("a", "1", None).await;
    for answer in futures_util::future::join_all((0..20).map(|_| ask())).await {
        answer.unwrap();
    }
    silence.send(true).unwrap();
    let began = Instant::now();
    eventually("new connections replace them", async || redis.best_effort(Duration::from_millis(100)).get("a").await.is_ok()).await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    for _ in 0..10 {
        let began = Instant::now();
        redis.required().get("a").await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_acquired_and_released_by_its_token_even_on_a_full_server() {
    let set = Set::own().await;
    let redis = redis(&set, 2, Duration::from_secs(5));
    let (ours, ttl) = (redis.required(), Duration::from_secs(20));
    assert_eq!((ours.acquire("lock", "a", ttl).await, ours.acquire("lock", "b", ttl).await), (Ok(true), Ok(false)));
    assert_eq!((ours.release("lock", "b").await, ours.exists("lock").await), (Ok(false), Ok(true)));
    let mut connection =
        redis::Client::open(set.servers().urls().redis_url.as_str()).unwrap().get_multiplexed_async_connection().await.unwrap();
    for (name, value) in [("maxmemory-policy", "noeviction"), ("maxmemory", "1")] {
        let _: () = redis::cmd("CONFIG").arg("SET").arg(name).arg(value).query_async(&mut connection).await.unwrap();
    }
    assert_eq!(ours.set("x", "y", None).await, Err(Error::OutOfMemory));
    assert_eq!((ours.acquire("lock", "a", ttl * 2).await, ours.acquire("lock", "b", ttl).await), (Ok(true), Ok(false)));
    assert!(ours.ttl("lock").await.unwrap().is_some_and(|left| left > ttl));
    assert_eq!((ours.release("lock", "a").await, ours.acquire("lock", "b", ttl).await), (Ok(true), Err(Error::OutOfMemory)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_browse_user_can_read_and_delete_but_do_no_harm() {
    let set = Set::shared().await;
    let redis = redis(&set, 2, Duration::from_secs(5));
    let name = |name: &str| format!("{}{name}", redis.prefix()).into_bytes();
    redis.required().set("text", "hello", Some(Duration::from_secs(100))).await.unwrap();
    let browse = redis.browse();
    let described = browse.describe(&[name("text"), name("gone")]).await.unwrap();
    assert_eq!((described[0].kind.as_deref(), described[1].kind.as_deref()), (Some("string"), None));
    assert!(
        described[0].bytes.is_some_and(|bytes| bytes > 5)
            && matches!(described[0].ttl, Ttl::Remaining(_))
            && described[1].ttl == Ttl::Missing
    );
    assert_eq!(browse.lengths(&[(name("text"), "string".into())]).await, Ok(vec![Some(5)]));
    assert!(browse.info("everything").await.unwrap().number("used_memory").is_some());
    assert!(browse.clients().await.unwrap().iter().any(|client| client.name == "larder-browse" && client.user == "larder-browse"));
    assert!(browse.slow_count().await.is_ok() && browse.slow(5).await.is_ok() && !browse.settings("max*").await.unwrap().is_empty());
    assert!(browse.set_ttl(&name("text"), None).await.unwrap() && browse.count_keys().await.unwrap() > 0);
    assert_eq!(redis.required().ttl("text").await, Ok(None));
    assert_eq!(browse.unlink(&[name("text"), name("gone")]).await, Ok(1));
    assert!(browse.cost().commands > 10 && browse.cost().time > Duration::ZERO);
    for forbidden in [
        "KEYS *",
        "MONITOR",
        "FLUSHALL",
        "FLUSHDB",
        "CONFIG SET maxmemory 0",
        "DEBUG SLEEP 0",
        "SORT a",
        "SAVE",
        "BGSAVE",
        "SHUTDOWN",
        "SET a b",
        "EVAL 1 0",
        "CLIENT KILL ID 1",
        "ACL LIST",
        "SWAPDB 0 1",
        "REPLICAOF NO ONE",
    ] {
        let client = ::redis::Client::open(set.servers().urls().redis_browse_url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut words = forbidden.split(' ');
        let mut command = ::redis::cmd(words.next().unwrap());
        command.arg(words.collect::<Vec<_>>());
        let refused = command.query_async::<()>(&mut connection).await.unwrap_err();
        // DEBUG is also disabled.
        assert!(refused.code() == Some("NOPERM") || refused.to_string().contains("not allowed"), "{forbidden}: {refused}");
    }
}
