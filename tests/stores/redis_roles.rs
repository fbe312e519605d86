//! Redis servers that are replicas, run in cluster mode, or are a Sentinel.

use std::time::Duration;

use larder::config::{RedisConfig, Secret};
use larder::stores::redis::{Error, Probe, Redis};

use crate::support::{RedisServer, TcpSwitch, eventually};

fn config(url: &str) -> RedisConfig {
    RedisConfig { url: Secret::new(url), browse_url: None, pool_size: 4, timeout: Duration::from_secs(5), prefix: String::new() }
}

fn pool(config: &RedisConfig) -> Redis {
    Redis::new(config, &tokio::runtime::Handle::current()).unwrap()
}

/// Writes through all kinds of requests and both pools.
async fn write(redis: &Redis) -> [Result<(), Error>; 4] {
    let ttl = Duration::from_secs(9);
    [
        redis.required().set("a", "1", None).await,
        redis.required().add_to_fields("h", &[("n".into(), 1)], ttl).await,
        redis.required().acquire("lock", "token", ttl).await.map(drop),
        redis.browse().unlink(&[b"b".to_vec()]).await.map(drop),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failover_writes_reach_the_new_primary() {
    let (old, new) = (RedisServer::start(&[]).await, RedisServer::start(&[]).await);
    let proxy = TcpSwitch::start(&old.address()).await;
    let config = config(&proxy.base.replace("http://", "redis://"));
    let redis = pool(&config);
    let mut probe = Probe::default();
    // Every connection of both pools leads to the old primary.
    let together = async || {
        let read = async || redis.required().get("a").await.is_ok();
        let ping = async || redis.browse().ping().await.is_ok();
        futures_util::future::join_all((0..20).map(|_| async { tokio::join!(read(), ping()) })).await;
    };
    together().await;
    for outcome in write(&redis).await {
        outcome.unwrap();
    }
    probe.check(&config).await.unwrap();
    assert!(!probe.is_replica());

    // The address still leads to the old primary, now a replica: writes fail, reads work.
    let _: () = old.run(&format!("REPLICAOF 127.0.0.1 {}", new.port)).await;
    for outcome in write(&redis).await {
        assert!(matches!(outcome, Err(Error::ReadOnly | Error::Loading | Error::PrimaryDown)), "{outcome:?}");
    }
    eventually("the probe reports the replica", async || probe.check(&config).await.is_ok() && probe.is_replica()).await;
    together().await;
    let opened = async || {
        let statistics: String = old.run("INFO stats").await;
        let field = statistics.lines().find_map(|line| line.strip_prefix("total_connections_received:")).map(str::to_owned);
        field.unwrap().parse::<u64>().unwrap()
    };
    let before = opened().await;
    for _ in 0..100 {
        let _ = redis.required().set("a", "1", None).await;
    }
    let more = opened().await - before;
    assert!(more < 50, "a server that stays a replica is not flooded with connections: {more}");

    // The address leads to the new primary; existing connections stay open.
    proxy.switch_to(&new.address());
    eventually("a write succeeds", async || redis.required().set("a", "2", None).await.is_ok()).await;
    for outcome in write(&redis).await {
        outcome.unwrap();
    }
    assert_eq!(new.run::<String>("GET a").await, "1");
    assert_eq!(new.run::<u64>("HGET h n").await, 1, "the increment took effect once");
    for _ in 0..8 {
        assert!(!redis.browse().info("replication").await.unwrap().is_replica(), "no connection to the old primary remains");
    }
    probe.check(&config).await.unwrap();
    assert!(!probe.is_replica() && probe.role_changed());
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_in_an_unsupported_mode_are_named() {
    let cluster = RedisServer::start(&["--cluster-enabled", "yes"]).await;
    let sentinel = RedisServer::start(&["--sentinel"]).await;
    for (server, error, words) in [(&cluster, Error::ClusterMode, "cluster mode"), (&sentinel, Error::Sentinel, "Redis Sentinel")] {
        let config = config(&server.url());
        let redis = pool(&config);
        assert_eq!(redis.required().get("a").await, Err(error.clone()));
        assert_eq!(redis.browse().count_keys().await, Err(error.clone()));
        let failed = Probe::default().check(&config).await.unwrap_err();
        let message = failed.message.unwrap();
        assert!(message.contains(words) && message.contains("does not support") && error.sentence() == Some(&*message), "{message}");
    }
}
