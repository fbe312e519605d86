//! Redis: one lazy pool with every time-out set, and a breaker, so that a frozen server slows one request and
//! not all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool_redis::redis::{self, AsyncCommands, ErrorKind, FromRedisValue, RedisError, ServerErrorKind};
use deadpool_redis::{Manager, Pool, Runtime};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::RedisConfig;

const CONNECT: Duration = Duration::from_secs(5);
/// Connections that were idle for longer are checked before use.
const IDLE: Duration = Duration::from_secs(30);
/// After a time-out or a lost connection, how long callers that can do without Redis are told so at once.
const BREAK: Duration = Duration::from_secs(2);

/// Why a command did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("Redis does not answer: {0}")]
    Unreachable(String),
    #[error("Redis took too long")]
    Timeout,
    #[error("Redis refused the password")]
    Auth,
    #[error("Redis is still loading its data")]
    Loading,
    #[error("Redis has no memory left")]
    OutOfMemory,
    #[error("Redis is read-only")]
    ReadOnly,
    #[error("the key holds another type")]
    WrongType,
    #[error("Redis does not permit this command to our user")]
    NotPermitted,
    #[error("Redis answered with an error: {0}")]
    Other(String),
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::Auth,
            ErrorKind::Server(ServerErrorKind::BusyLoading) => Self::Loading,
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Self::ReadOnly,
            ErrorKind::Server(ServerErrorKind::NoPerm) => Self::NotPermitted,
            _ if error.is_io_error() || error.is_connection_dropped() => Self::Unreachable(error.to_string()),
            _ => match error.code() {
                Some("WRONGTYPE") => Self::WrongType,
                Some("OOM") => Self::OutOfMemory,
                Some("NOAUTH" | "WRONGPASS") => Self::Auth,
                _ => Self::Other(error.to_string()),
            },
        }
    }
}

impl From<deadpool_redis::PoolError> for Error {
    fn from(error: deadpool_redis::PoolError) -> Self {
        match error {
            deadpool_redis::PoolError::Timeout(_) => Self::Timeout,
            deadpool_redis::PoolError::Backend(error) => error.into(),
            other => Self::Unreachable(other.to_string()),
        }
    }
}

#[derive(Clone)]
pub struct Redis {
    pool: Pool,
    prefix: Arc<str>,
    runtime: tokio::runtime::Handle,
    breaker: Arc<Breaker>,
    timeout: Duration,
}

struct Breaker {
    started: Instant,
    /// Milliseconds after `started` until which callers are refused.
    open_until: AtomicU64,
}

impl Redis {
    /// Opens nothing yet. Fails only where the URL cannot be read.
    pub fn new(config: &RedisConfig, runtime: &tokio::runtime::Handle) -> Result<Self, Error> {
        let connection = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT.min(config.timeout)))
            .set_response_timeout(Some(config.timeout));
        let manager = Manager::new_with_config(config.url.reveal(), connection)?;
        let pool = Pool::builder(manager)
            .max_size(config.pool_size)
            .wait_timeout(Some(config.timeout))
            .create_timeout(Some(CONNECT))
            .recycle_timeout(Some(config.timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| Error::Other(error.to_string()))?;
        let breaker = Breaker { started: Instant::now(), open_until: AtomicU64::new(0) };
        Ok(Self {
            pool,
            prefix: config.prefix.as_str().into(),
            runtime: runtime.clone(),
            breaker: Arc::new(breaker),
            timeout: config.timeout,
        })
    }

    /// For callers that can do without Redis: they wait at most `limit` once, then not at all for two seconds.
    pub fn briefly(&self, limit: Duration) -> Commands<'_> {
        Commands { redis: self, limit, breaks: true }
    }

    /// For callers that need the answer: the time-out of the configuration.
    pub fn patiently(&self) -> Commands<'_> {
        Commands { redis: self, limit: self.timeout, breaks: false }
    }

    /// Connections in use, at most, and callers waiting for one.
    pub fn usage(&self) -> (usize, usize, usize) {
        let status = self.pool.status();
        (status.size.saturating_sub(status.available), status.max_size, status.waiting)
    }

    /// A connection made on the main runtime, so that it outlives the thread that asked for it.
    async fn connection(&self) -> Result<deadpool_redis::Connection, Error> {
        let pool = self.pool.clone();
        let getting = self.runtime.spawn(async move { pool.get().await });
        Ok(getting.await.map_err(|error| Error::Unreachable(error.to_string()))??)
    }

    /// Drops connections that have been idle for 30 s or more; called by the health check, so that the next
    /// caller opens a fresh one instead of finding a dead one.
    pub fn drop_idle(&self) {
        self.pool.retain(|_, metrics| metrics.last_used() < IDLE);
    }
}

/// The operations, under one deadline.
pub struct Commands<'a> {
    redis: &'a Redis,
    limit: Duration,
    breaks: bool,
}

impl Commands<'_> {
    async fn run<T: FromRedisValue + Send + 'static>(&self, command: redis::Cmd) -> Result<T, Error> {
        let now = u64::try_from(self.redis.breaker.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if self.breaks && now < self.redis.breaker.open_until.load(Ordering::Relaxed) {
            return Err(Error::Unreachable("it did not answer a moment ago".into()));
        }
        let work = async {
            let mut connection = self.redis.connection().await?;
            Ok(command.query_async(&mut connection).await?)
        };
        let outcome = tokio::time::timeout(self.limit, work).await.unwrap_or(Err(Error::Timeout));
        if let Err(Error::Timeout | Error::Unreachable(_)) = outcome {
            let until = now.saturating_add(u64::try_from(BREAK.as_millis()).unwrap_or(2000));
            self.redis.breaker.open_until.store(until, Ordering::Relaxed);
        }
        outcome
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.redis.prefix)
    }

    pub async fn get(&self, key: &str) -> Result<Option<String>, Error> {
        self.run(redis::Cmd::get(self.key(key))).await
    }

    /// With a lifetime, or for ever.
    pub async fn set(&self, key: &str, value: &str, ttl: Option<Duration>) -> Result<(), Error> {
        let mut command = redis::Cmd::set(self.key(key), value);
        if let Some(ttl) = ttl {
            command.arg("PX").arg(milliseconds(ttl));
        }
        self.run(command).await
    }

    /// Whether the key was absent and is set now.
    pub async fn set_if_absent(&self, key: &str, value: &str, ttl: Duration) -> Result<bool, Error> {
        let mut command = redis::Cmd::set(self.key(key), value);
        command.arg("NX").arg("PX").arg(milliseconds(ttl));
        Ok(self.run::<Option<String>>(command).await?.is_some())
    }

    /// Whether there was a key.
    pub async fn delete(&self, key: &str) -> Result<bool, Error> {
        self.run(redis::Cmd::del(self.key(key))).await
    }

    pub async fn exists(&self, key: &str) -> Result<bool, Error> {
        self.run(redis::Cmd::exists(self.key(key))).await
    }

    /// Whether there was a key to give a lifetime to.
    pub async fn expire(&self, key: &str, ttl: Duration) -> Result<bool, Error> {
        self.run(redis::Cmd::pexpire(self.key(key), milliseconds(ttl))).await
    }

    /// What is left of the key's life; `None` where it has no end or does not exist.
    pub async fn ttl(&self, key: &str) -> Result<Option<Duration>, Error> {
        let left: i64 = self.run(redis::Cmd::pttl(self.key(key))).await?;
        Ok(u64::try_from(left).ok().map(Duration::from_millis))
    }

    /// Adds `by`; a key that did not exist counts from 0.
    pub async fn increment(&self, key: &str, by: i64) -> Result<i64, Error> {
        self.run(redis::Cmd::incr(self.key(key), by)).await
    }

    pub async fn get_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let Some(text) = self.get(key).await? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| Error::Other(format!("the value is not the JSON expected: {error}")))
    }

    pub async fn set_json<T: Serialize + Sync>(&self, key: &str, value: &T, ttl: Option<Duration>) -> Result<(), Error> {
        let text = serde_json::to_string(value).map_err(|error| Error::Other(error.to_string()))?;
        self.set(key, &text, ttl).await
    }
}

fn milliseconds(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX).max(1)
}

/// One cheap question, on a connection of its own.
#[derive(Default)]
pub struct Probe {
    connection: Option<redis::aio::MultiplexedConnection>,
}

impl Probe {
    /// The server's version. The caller sets the deadline, and drops the probe where it passes.
    pub async fn check(&mut self, config: &RedisConfig) -> Result<String, Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => redis::Client::open(config.url.reveal())?.get_multiplexed_async_connection().await?,
        };
        let _: String = connection.ping().await?;
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await.unwrap_or_default();
        self.connection = Some(connection);
        Ok(info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or_default().trim().to_owned())
    }
}
