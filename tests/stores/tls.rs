//! TLS to Postgres and Redis, decided by the URL: a front of the tests' own speaks TLS and passes on to the server's socket.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use larder::config::{RedisConfig, Secret};
use larder::stores::postgres::{Error, Pool};
use larder::stores::redis::{self, Redis};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};

use crate::support::Set;

fn openssl(directory: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A private authority and a certificate of it for `localhost`.
pub fn certificates(directory: &Path) {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let authority = ["req", "-x509", "-subj", "/CN=Test authority", "-keyout", "ca.key", "-out", "ca.pem"];
    openssl(directory, &[&authority[..], &key[..]].concat());
    let request = ["req", "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"];
    openssl(directory, &[&request[..], &key[..5]].concat());
    std::fs::write(directory.join("names"), "subjectAltName=DNS:localhost").unwrap();
    let sign = "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem";
    openssl(directory, &sign.split(' ').collect::<Vec<_>>());
}

/// Speaks TLS and passes on to a server's socket; the port. `asked`: whether clients ask for TLS first, by the
/// SSLRequest of Postgres' protocol (8 bytes).
pub async fn front(directory: &Path, socket: String, asked: bool) -> u16 {
    let chain = vec![CertificateDer::from_pem_file(directory.join("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(directory.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (acceptor, socket) = (acceptor.clone(), socket.clone());
            tokio::spawn(async move {
                if asked {
                    let mut request = [0; 8];
                    client.read_exact(&mut request).await?;
                    assert_eq!(&request[4..], &80_877_103_u32.to_be_bytes(), "asks for TLS before anything else");
                    client.write_all(b"S").await?;
                }
                let mut client = acceptor.accept(client).await?;
                let mut server = UnixStream::connect(socket).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_reached_over_tls_and_only_with_a_certificate_that_is_trusted() {
    let set = Set::shared().await;
    let database = set.new_database().await;
    let settings: tokio_postgres::Config = set.database_url(&database).parse().unwrap();
    let directory = settings.get_hosts().iter().find_map(|host| match host {
        tokio_postgres::config::Host::Unix(path) => Some(path.clone()),
        tokio_postgres::config::Host::Tcp(_) => None,
    });
    let socket = directory.unwrap().join(format!(".s.PGSQL.{}", settings.get_ports().first().unwrap_or(&5432)));
    let certified = tempfile::tempdir().unwrap();
    certificates(certified.path());
    let port = front(certified.path(), socket.display().to_string(), true).await;
    let user = settings.get_user().unwrap();
    let password = settings.get_password().map(|bytes| format!(":{}", String::from_utf8_lossy(bytes))).unwrap_or_default();
    let authority = certified.path().join("ca.pem").display().to_string();
    let url = |host: &str, rest: &str| Secret::new(format!("postgres://{user}{password}@{host}:{port}/{database}?{rest}"));
    let ask = async |url: Secret| Pool::new(&url, &tokio::runtime::Handle::current()).get().await.map(|_| ());

    ask(url("localhost", &format!("sslmode=verify-full&sslrootcert={authority}"))).await.unwrap();
    let unknown = ask(url("localhost", "sslmode=require")).await.unwrap_err();
    assert!(matches!(&unknown, Error::Unreachable(why) if why.contains("certificate")), "{unknown}");
    let misnamed = ask(url("127.0.0.1", &format!("sslmode=require&sslrootcert={authority}"))).await.unwrap_err();
    assert!(matches!(&misnamed, Error::Unreachable(why) if why.contains("certificate")), "{misnamed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_reached_over_tls_and_only_with_a_certificate_of_the_authority_that_is_named() {
    let set = Set::shared().await;
    let plain = set.servers().urls().redis_url.trim_start_matches("unix://").to_owned();
    let (socket, password) = plain.split_once("?pass=").unwrap();
    let socket = percent_encoding::percent_decode_str(socket).decode_utf8().unwrap().into_owned();
    let certified = tempfile::tempdir().unwrap();
    certificates(certified.path());
    let port = front(certified.path(), socket, false).await;
    let authority = certified.path().join("ca.pem").display().to_string();
    let ask = async |host: &str, rest: &str| {
        let url = Secret::new(format!("rediss://:{password}@{host}:{port}/0{rest}"));
        let config = RedisConfig { url, browse_url: None, pool_size: 1, timeout: std::time::Duration::from_secs(5), prefix: String::new() };
        let redis = Redis::new(&config, &tokio::runtime::Handle::current())?;
        redis.patiently().exists("nothing").await
    };
    let named = format!("?ssl_ca_certs={authority}");
    assert_eq!(ask("localhost", &named).await, Ok(false));
    for (host, rest) in [("localhost", ""), ("127.0.0.1", named.as_str())] {
        let refused = ask(host, rest).await.unwrap_err();
        assert!(matches!(&refused, redis::Error::Unreachable(why) if why.contains("certificate")), "{host}: {refused}");
    }
    assert!(matches!(ask("localhost", "?ssl_ca_certs=/nowhere.pem").await, Err(redis::Error::Other(why)) if why.contains("/nowhere.pem")));
}
