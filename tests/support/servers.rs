//! One set of PostgreSQL, Redis and S3 for a whole test binary, and separate sets for tests that break them.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use larder::config::Secret;
use larder::embedded::{Options, S3Kind, Servers};
use tokio_postgres::NoTls;

use super::cleanup::{self, Cleanup};

/// Migrated once; every test's database is a copy.
const TEMPLATE: &str = "larder_template";

pub struct Set {
    servers: Servers,
    _cleanup: Cleanup,
}

impl Set {
    /// The shared servers of this test binary. Do not stop or break them.
    pub async fn shared() -> Arc<Self> {
        static SHARED: OnceLock<Arc<Set>> = OnceLock::new();
        tokio::task::spawn_blocking(|| SHARED.get_or_init(|| Arc::new(Self::start(cleanup::directory("servers")))).clone()).await.unwrap()
    }

    /// Servers for a single test, which may stop and break them.
    pub async fn own() -> Arc<Self> {
        Self::own_in(cleanup::directory("servers")).await
    }

    /// Like `own`, with their data in this directory.
    pub async fn own_in(directory: PathBuf) -> Arc<Self> {
        tokio::task::spawn_blocking(|| Arc::new(Self::start(directory))).await.unwrap()
    }

    /// `LARDER_TEST_S3=minio` tests with MinIO instead of SeaweedFS.
    fn kind() -> S3Kind {
        match std::env::var_os("LARDER_TEST_S3").as_deref().and_then(|kind| kind.to_str()) {
            None | Some("" | "weed") => S3Kind::SeaweedFs,
            Some("minio") => S3Kind::MinIo,
            Some(other) => panic!("LARDER_TEST_S3 is {other:?}: write minio or weed"),
        }
    }

    pub fn is_seaweedfs() -> bool {
        matches!(Self::kind(), S3Kind::SeaweedFs)
    }

    fn start(directory: PathBuf) -> Self {
        let s3 = Self::kind();
        let servers = Servers::start(&directory, Options { durable: false, s3 }).unwrap();
        let cleanup = Cleanup::start(None, left_behind(&servers, directory));
        let set = Self { servers, _cleanup: cleanup };
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            set.admin(&format!("CREATE DATABASE {TEMPLATE}")).await.unwrap();
            larder::stores::postgres::migrate(&Secret::new(set.database_url(TEMPLATE))).await.unwrap();
        });
        set
    }

    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    pub fn database_url(&self, database: &str) -> String {
        self.servers.urls().database_url.replace(":///larder?", &format!(":///{database}?"))
    }

    /// The socket of Postgres.
    pub fn postgres_socket(&self) -> String {
        let settings: tokio_postgres::Config = self.servers.urls().database_url.parse().unwrap();
        let directory = settings.get_hosts().iter().find_map(|host| match host {
            tokio_postgres::config::Host::Unix(path) => Some(path.clone()),
            tokio_postgres::config::Host::Tcp(_) => None,
        });
        let port = settings.get_ports().first().copied().unwrap_or(5432);
        directory.unwrap().join(format!(".s.PGSQL.{port}")).display().to_string()
    }

    /// The socket and the password of Redis.
    pub fn redis_socket(&self) -> (String, String) {
        let plain = self.servers.urls().redis_url.trim_start_matches("unix://").to_owned();
        let (socket, password) = plain.split_once("?pass=").unwrap();
        (percent_encoding::percent_decode_str(socket).decode_utf8().unwrap().into_owned(), password.to_owned())
    }

    /// The URL of a database through a port that forwards to the socket.
    pub fn database_url_through(&self, host: &str, port: u16, database: &str, query: &str) -> String {
        let settings: tokio_postgres::Config = self.servers.urls().database_url.parse().unwrap();
        let password = settings.get_password().map(|bytes| format!(":{}", String::from_utf8_lossy(bytes))).unwrap_or_default();
        format!("postgres://{}{password}@{host}:{port}/{database}{query}", settings.get_user().unwrap())
    }

    /// Creates a migrated database; returns its name.
    pub async fn new_database(&self) -> String {
        let name = format!("t_{}", uuid::Uuid::now_v7().simple());
        // The connection that migrated the template may take a moment to end.
        super::eventually("the template can be copied", async || {
            self.admin(&format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")).await.is_ok()
        })
        .await;
        name
    }

    /// Creates a database without tables; returns its name.
    pub async fn empty_database(&self) -> String {
        let name = format!("t_{}", uuid::Uuid::now_v7().simple());
        self.admin(&format!("CREATE DATABASE {name}")).await.unwrap();
        name
    }

    /// A connection to one database, for statements that Larder itself never executes.
    pub async fn connect(&self, database: &str) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(&self.database_url(database), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    async fn admin(&self, statement: &str) -> Result<(), tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.servers.urls().database_url, NoTls).await?;
        let connection = tokio::spawn(connection);
        let outcome = client.batch_execute(statement).await;
        drop(client);
        drop(connection.await);
        outcome
    }
}

/// Files that servers leave on disk if they are killed with the test process.
fn left_behind(servers: &Servers, directory: PathBuf) -> Vec<PathBuf> {
    let port: u16 = servers.urls().s3_endpoint.rsplit(':').next().unwrap().parse().unwrap();
    let parts = ["s3", "master", "volume", "filer", "admin"].into_iter().zip(port..);
    let mut paths: Vec<PathBuf> = parts.map(|(part, port)| format!("/tmp/seaweedfs-{part}-grpc-{}.sock", port + 10_000).into()).collect();
    let redis = servers.urls().redis_url.trim_start_matches("unix://");
    // If the directory's path is too long for sockets.
    if let Some((sockets, _)) = redis.split_once("/redis.sock").filter(|(sockets, _)| sockets.starts_with("/tmp/larder-")) {
        paths.push(sockets.into());
    }
    paths.push(directory);
    paths
}
