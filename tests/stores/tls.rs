//! TLS to Postgres and Redis, configured by the URL.

use larder::config::{RedisConfig, Secret};
use larder::stores::postgres::{Error, Pool};
use larder::stores::redis::{self, Redis};

use crate::support::{Set, SlowLink, certificates, tls_front};

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_reached_over_tls_only_with_a_trusted_certificate() {
    let set = Set::shared().await;
    let database = set.new_database().await;
    let certified = tempfile::tempdir().unwrap();
    certificates(certified.path());
    let port = tls_front(certified.path(), set.postgres_socket(), true).await;
    let authority = certified.path().join("ca.pem").display().to_string();
    let url = |host: &str, rest: &str| Secret::new(set.database_url_through(host, port, &database, &format!("?{rest}")));
    let ask = async |url: Secret| Pool::new(&url, &tokio::runtime::Handle::current()).check_available().await;

    ask(url("localhost", &format!("sslmode=verify-full&sslrootcert={authority}"))).await.unwrap();
    let unknown = ask(url("localhost", "sslmode=require")).await.unwrap_err();
    assert!(matches!(&unknown, Error::Unreachable(why) if why.contains("certificate")), "{unknown}");
    let misnamed = ask(url("127.0.0.1", &format!("sslmode=require&sslrootcert={authority}"))).await.unwrap_err();
    assert!(matches!(&misnamed, Error::Unreachable(why) if why.contains("certificate")), "{misnamed}");
    let port = tls_front(certified.path(), set.postgres_socket(), false).await;
    let direct = format!("?sslmode=require&sslnegotiation=direct&sslrootcert={authority}");
    ask(Secret::new(set.database_url_through("localhost", port, &database, &direct))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_server_without_tls_is_used_only_if_the_url_permits_it() {
    let set = Set::shared().await;
    let database = set.new_database().await;
    let link = SlowLink::to(&set.postgres_socket()).await;
    let ask = async |query: &str| {
        let url = Secret::new(set.database_url_through("127.0.0.1", link.port, &database, query));
        Pool::new(&url, &tokio::runtime::Handle::current()).check_available().await
    };
    ask("?sslmode=prefer").await.unwrap();
    let refused = ask("?sslmode=require").await.unwrap_err();
    assert!(matches!(&refused, Error::Unreachable(why) if why.contains("does not support TLS")), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_reached_over_tls_only_with_a_certificate_of_the_named_authority() {
    let set = Set::shared().await;
    let (socket, password) = set.redis_socket();
    let certified = tempfile::tempdir().unwrap();
    certificates(certified.path());
    let port = tls_front(certified.path(), socket, false).await;
    let authority = certified.path().join("ca.pem").display().to_string();
    let ask = async |host: &str, rest: &str| {
        let url = Secret::new(format!("rediss://:{password}@{host}:{port}/0{rest}"));
        let config = RedisConfig { url, browse_url: None, pool_size: 1, timeout: std::time::Duration::from_secs(5), prefix: String::new() };
        let redis = Redis::new(&config, &tokio::runtime::Handle::current())?;
        redis.required().exists("nothing").await
    };
    let named = format!("?ssl_ca_certs={authority}");
    assert_eq!(ask("localhost", &named).await, Ok(false));
    for (host, rest) in [("localhost", ""), ("127.0.0.1", named.as_str())] {
        let refused = ask(host, rest).await.unwrap_err();
        assert!(matches!(&refused, redis::Error::Unreachable(why) if why.contains("certificate")), "{host}: {refused}");
    }
    assert!(matches!(ask("localhost", "?ssl_ca_certs=/nowhere.pem").await, Err(redis::Error::Other(why)) if why.contains("/nowhere.pem")));
}
