//! `Config::from_env` reads the environment once. All errors are reported together, and secrets cannot be printed.

pub mod bucket_rules;
pub mod env_file;
mod local_host;
mod network;
pub mod postgres_url;
mod read;
mod redis_url;
mod services;
mod warnings;

use aws_lc_rs::digest;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use local_host::local_host;
pub use network::Network;
use read::Reader;

/// With the deadline of up to two seconds, a check detects within six seconds that a server is frozen.
const PROBE_PERIOD: Duration = Duration::from_secs(4);

/// A value that neither `Debug` nor `Display` shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Call it only where the value is sent to the server it belongs to.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    Development,
    Production,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Where the object store is and how to sign requests to it.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// `None` means AWS.
    pub endpoint: Option<String>,
    /// Used in presigned links instead of `endpoint`, if browsers reach the store by another name.
    pub public_url: Option<String>,
    /// Created at startup if missing, and listed when the key may not list buckets. Never empty.
    pub buckets: Vec<String>,
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: Secret,
    pub session_token: Option<Secret>,
    /// Signs temporary links instead of the key above: links show it, so it should only be able to read.
    pub link_key: Option<LinkKey>,
    /// Certificate authorities of the store in PEM format, trusted in addition to those of the system.
    pub ca_pem: Option<Vec<u8>>,
    /// Whether the health checks write, read and remove 16 bytes once a minute.
    pub health_writes: bool,
}

#[derive(Clone, Debug)]
pub struct LinkKey {
    pub access_key_id: String,
    pub secret_access_key: Secret,
}

#[derive(Clone, Debug)]
pub struct RedisConfig {
    pub url: Secret,
    /// For the pages that show keys: a user that may only read keys, change their expiry and delete them. `None`:
    /// `url` is used.
    pub browse_url: Option<Secret>,
    pub pool_size: usize,
    /// The deadline of one command.
    pub timeout: Duration,
    /// Prefixed to every key. Empty except in tests.
    pub prefix: String,
}

/// Uploads: memory in bytes for the whole process, sizes in bytes.
#[derive(Clone, Debug)]
pub struct UploadConfig {
    pub memory: usize,
    pub max_size: u64,
    /// The maximum number of simultaneous uploads in this process, and per person.
    pub at_once: usize,
    pub at_once_each: usize,
    pub lease: Duration,
    pub keep: Duration,
}

#[derive(Clone, Debug)]
pub struct FirstAdmin {
    pub email: String,
    pub password: Secret,
}

#[derive(Clone, Debug)]
pub struct Config {
    pub environment: Environment,
    pub bind: SocketAddr,
    /// Scheme, host and port by which browsers reach Larder, without a trailing slash.
    pub public_url: Option<String>,
    /// Whether browsers may use only https for all subdomains of the host as well, which affects other services of the domain.
    pub hsts_include_subdomains: bool,
    /// Peers whose `X-Forwarded-For` or `Forwarded` header is trusted.
    pub trusted_proxies: Vec<Network>,
    pub data_dir: PathBuf,
    pub database_url: Secret,
    /// For changes of the schema: a direct connection if `database_url` leads to a pooler, and the owner of the tables.
    pub database_migration_url: Option<Secret>,
    pub redis: RedisConfig,
    pub s3: S3Config,
    pub upload: UploadConfig,
    pub first_admin: Option<FirstAdmin>,
    pub migrate_on_start: bool,
    pub metrics_token: Option<Secret>,
    pub read_only: bool,
    /// The number of pages that one person may request per minute. 0: unlimited.
    pub rate_limit_per_minute: u64,
    /// The maximum number of simultaneous downloads and previews, in total and per person.
    pub download_limit: usize,
    pub download_limit_per_person: usize,
    pub qdrant_url: Option<String>,
    pub qdrant_api_key: Option<Secret>,
    pub litellm_url: Option<String>,
    pub litellm_master_key: Option<Secret>,
    /// The model aliases that the applications expect LiteLLM to provide.
    pub litellm_models: Vec<String>,
    pub log_format: LogFormat,
    /// The time between two checks of one service. Shorter in tests.
    pub probe_period: Duration,
}

/// All errors in the environment variables, one line each.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "The configuration has errors:")?;
        for error in &self.0 {
            writeln!(f, "  - {error}")?;
        }
        f.write_str("See .env.example for every variable.")
    }
}

impl std::error::Error for ConfigErrors {}

/// Where the three stores come from: the environment, or servers that Larder starts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stores<'a> {
    FromEnvironment,
    Embedded(&'a EmbeddedUrls),
}

/// The addresses and credentials of the embedded servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedUrls {
    pub database_url: String,
    pub redis_url: String,
    pub s3_endpoint: String,
    pub s3_access_key_id: String,
    pub s3_secret_access_key: String,
}

impl EmbeddedUrls {
    /// The user of `deploy/redis/browse.acl`, who has the same password here.
    pub fn redis_browse_url(&self) -> String {
        self.redis_url.replacen("?pass=", "?user=larder-browse&pass=", 1)
    }
}

/// Whether `LOG_FORMAT` is `json`, for the log of errors in the configuration itself.
pub fn logs_json() -> bool {
    std::env::var_os("LOG_FORMAT").is_some_and(|format| format == "json")
}

impl Config {
    /// Reads the process environment, including `.env` if `dotenvy` has loaded it before.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn from_env(stores: Stores<'_>) -> Result<Self, ConfigErrors> {
        Self::from_lookup(&|name| std::env::var(name).ok(), stores)
    }

    /// The directory of the embedded servers. It is read before the rest, because they must run first.
    pub fn data_dir_from_env() -> PathBuf {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        let value = std::env::var("DATA_DIR").ok();
        PathBuf::from(value.filter(|v| !v.is_empty()).unwrap_or_else(|| "./data".into()))
    }

    /// The address that Larder listens on, for commands that send requests to it.
    pub fn bind_from_env() -> Result<SocketAddr, ConfigErrors> {
        let mut read = Reader::new(&|name| {
            #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
            let value = std::env::var(name).ok();
            value
        });
        let bind = read.bind();
        read.finish(bind)
    }

    /// Like `from_env`, with a given environment.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>, stores: Stores<'_>) -> Result<Self, ConfigErrors> {
        let mut read = Reader::new(lookup);
        let environment = match read.text(&["APP_ENV"]).as_deref() {
            None | Some("development") => Environment::Development,
            Some("production") => Environment::Production,
            Some(other) => {
                read.error("APP_ENV", &format!("is {other:?}"), "APP_ENV=production (or development)");
                Environment::Development
            }
        };
        let embedded = match stores {
            Stores::Embedded(urls) => Some(urls),
            Stores::FromEnvironment => None,
        };
        let database_url = read.database_url(embedded);
        let database_migration_url = read.database_migration_url(embedded);
        let redis = read.redis(embedded);
        let s3 = read.s3(embedded);
        let public_url = read.public_url(environment);
        let first_admin = read.first_admin();
        let config = Self {
            environment,
            bind: read.bind(),
            public_url,
            hsts_include_subdomains: read.flag("HSTS_INCLUDE_SUBDOMAINS", false),
            trusted_proxies: read.addresses("TRUSTED_PROXIES"),
            data_dir: PathBuf::from(read.text(&["DATA_DIR"]).unwrap_or_else(|| "./data".into())),
            database_url,
            database_migration_url,
            redis,
            s3,
            upload: read.upload(),
            first_admin,
            migrate_on_start: read.flag("MIGRATE_ON_START", true),
            metrics_token: read.text(&["METRICS_TOKEN"]).map(Secret),
            read_only: read.flag("READ_ONLY", false),
            download_limit: read.count("DOWNLOAD_LIMIT", 512),
            download_limit_per_person: read.count("DOWNLOAD_LIMIT_PER_PERSON", 128),
            rate_limit_per_minute: read.bounded(&["RATE_LIMIT_PER_MINUTE"], 600, 0..=100_000, "RATE_LIMIT_PER_MINUTE=600"),
            qdrant_url: read.keyed_url("QDRANT_URL", "QDRANT_URL=http://127.0.0.1:6333"),
            qdrant_api_key: read.text(&["QDRANT_API_KEY"]).map(Secret),
            litellm_url: read.keyed_url("LITELLM_URL", "LITELLM_URL=http://127.0.0.1:4000"),
            litellm_master_key: read.text(&["LITELLM_MASTER_KEY"]).map(Secret),
            litellm_models: read.names("LITELLM_MODELS"),
            log_format: match read.text(&["LOG_FORMAT"]).as_deref() {
                None | Some("text") => LogFormat::Text,
                Some("json") => LogFormat::Json,
                Some(other) => {
                    read.error("LOG_FORMAT", &format!("is {other:?}"), "LOG_FORMAT=json (or text)");
                    LogFormat::Text
                }
            },
            probe_period: PROBE_PERIOD,
        };
        read.finish(config)
    }

    /// The connection that migrates the database.
    pub fn migration_url(&self) -> &Secret {
        self.database_migration_url.as_ref().unwrap_or(&self.database_url)
    }

    /// Whether browsers use https to reach Larder, according to `PUBLIC_URL`.
    pub fn is_https(&self) -> bool {
        self.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
    }

    /// The name of a cookie, different for each installation on a host, because browsers send the cookies of a host to all of its
    /// ports: with the port of `PUBLIC_URL`, or without `PUBLIC_URL` with a digest of the database, which replicas share. With
    /// `__Host-`, browsers refuse the cookie from other hosts and without https.
    pub fn cookie_name(&self, base: &str) -> String {
        let Some((_, authority)) = self.public_url.as_deref().and_then(|url| url.split_once("://")) else {
            let digest = digest::digest(&digest::SHA256, self.database_url.reveal().as_bytes());
            return format!("{base}-{}", digest.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        };
        let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        match (self.is_https(), port) {
            (true, None | Some(443)) => format!("__Host-{base}"),
            (true, Some(port)) => format!("__Host-{base}-{port}"),
            (false, port) => format!("{base}-{}", port.unwrap_or(80)),
        }
    }

    /// The origin that forms must come from, if `PUBLIC_URL` is set.
    pub fn origin(&self) -> Option<&str> {
        self.public_url.as_deref()
    }
}

#[cfg(test)]
mod tests;
