//! The Postgres connection pool.

use std::time::{Duration, Instant};

use diesel_async::RunQueryDsl;
use larder::config::Secret;
use larder::stores::postgres::{Error, POOL_SIZE, Pool};

use crate::support::{Set, eventually};

async fn ask(pool: &Pool, query: &str) -> Result<usize, Error> {
    pool.run(async |conn| Ok(diesel::sql_query(query).execute(conn).await?)).await
}

async fn pool(set: &Set) -> Pool {
    let database = set.new_database().await;
    Pool::new(&Secret::new(set.database_url(&database)), &tokio::runtime::Handle::current())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_share_a_few_connections() {
    let set = Set::shared().await;
    let pool = pool(&set).await;
    let callers = (0..200).map(|_| {
        let pool = pool.clone();
        async move { ask(&pool, "SELECT pg_sleep(0.005)").await }
    });
    for outcome in futures_util::future::join_all(callers).await {
        outcome.unwrap();
    }
    let usage = pool.usage();
    assert!(usage.in_use == 0 && usage.limit == POOL_SIZE && usage.waiting == 0, "{usage:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool_and_a_slow_statement_fail_in_time() {
    let set = Set::shared().await;
    let pool = pool(&set).await;
    futures_util::future::join_all((0..POOL_SIZE).map(|_| ask(&pool, "SELECT pg_sleep(0.2)"))).await;
    let mut held = tokio::task::JoinSet::new();
    for _ in 0..POOL_SIZE {
        let pool = pool.clone();
        held.spawn(async move { pool.run(async |_| std::future::pending::<Result<(), Error>>().await).await });
    }
    eventually("all connections are in use", async || pool.usage().in_use == POOL_SIZE).await;
    let started = Instant::now();
    assert!(matches!(ask(&pool, "SELECT 1").await, Err(Error::Unreachable(_))));
    assert!(started.elapsed() < Duration::from_secs(5));
    held.shutdown().await;
    ask(&pool, "SELECT 1").await.unwrap();
    let started = Instant::now();
    assert!(ask(&pool, "SELECT pg_sleep(30)").await.is_err());
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_transaction_is_rolled_back() {
    let set = Set::shared().await;
    let pool = pool(&set).await;
    let insert = "INSERT INTO signing_keys (name, secret) VALUES ('a', decode(repeat('00', 32), 'hex'))";
    let failed: Result<(), Error> = pool
        .transaction(async |conn| {
            diesel::sql_query(insert).execute(conn).await?;
            Err(diesel::result::Error::RollbackTransaction)
        })
        .await;
    assert!(matches!(failed, Err(Error::Query(_))), "{failed:?}");
    let inserted = pool.transaction(async |conn| diesel::sql_query(insert).execute(conn).await).await;
    assert_eq!(inserted.unwrap(), 1, "the first row was not kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_held_for_too_long_is_a_timeout() {
    let set = Set::shared().await;
    let database = set.new_database().await;
    let pool = Pool::new(&Secret::new(set.database_url(&database)), &tokio::runtime::Handle::current());
    let other = set.connect(&database).await;
    other.batch_execute("SELECT pg_advisory_lock(7)").await.unwrap();
    assert!(matches!(ask(&pool, "SELECT pg_advisory_lock(7)").await, Err(Error::Timeout)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pool_recovers_from_a_server_restart() {
    let set = Set::own().await;
    let pool = pool(&set).await;
    ask(&pool, "SELECT 1").await.unwrap();
    set.servers().postgres().kill();
    eventually("the pool works again", async || ask(&pool, "SELECT 1").await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_for_a_wrong_address_omits_the_password() {
    let url = Secret::new("postgres://larder:hunter2secret@127.0.0.1:1/larder");
    let pool = Pool::new(&url, &tokio::runtime::Handle::current());
    let error = ask(&pool, "SELECT 1").await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)));
    assert!(!error.to_string().contains("hunter2") && !format!("{url:?}").contains("hunter2"));
}
