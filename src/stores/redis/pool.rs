//! A lazy pool with every timeout set, and a circuit breaker, so that a frozen server delays one request rather than
//! all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, Object, RecycleResult};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, IntoConnectionInfo, RedisError, TlsCertificates};
use tokio::runtime::Handle;

use super::Error;
use crate::config::Secret;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that were idle for longer receive a PING before they are used.
const IDLE_CHECK_AFTER: Duration = Duration::from_secs(30);
/// How long best-effort calls fail immediately after a timeout or a lost connection.
const BREAKER_OPEN: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// The name shown by `CLIENT LIST`, and whether reads leave a key's last access time unchanged.
#[derive(Clone, Copy)]
pub(super) struct ConnectionOptions {
    pub name: &'static str,
    pub no_touch: bool,
}

#[derive(Clone)]
pub(super) struct Pool {
    pool: managed::Pool<Manager>,
    breaker: Arc<Breaker>,
}

struct Breaker {
    started: Instant,
    /// Milliseconds after `started` until which calls are refused.
    open_until: AtomicU64,
}

impl Breaker {
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// When the open period ends, one caller tries Redis; the others are refused until it has a result.
    fn refuses(&self) -> bool {
        let until = self.open_until.load(Ordering::Relaxed);
        until != 0 && (self.now() < until || !self.is_first_to_try(until))
    }

    fn is_first_to_try(&self, until: u64) -> bool {
        self.open_until.compare_exchange(until, self.later(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn later(&self) -> u64 {
        self.now().saturating_add(u64::try_from(BREAKER_OPEN.as_millis()).unwrap_or(2000))
    }

    fn open(&self) {
        self.open_until.store(self.later(), Ordering::Relaxed);
    }

    fn close(&self) {
        self.open_until.store(0, Ordering::Relaxed);
    }
}

/// Something to send over one connection: a command, a pipeline or a script.
pub(super) trait Request {
    type Response: Send + 'static;
    /// Whether it is safe to send again if the connection breaks before a response arrives.
    fn is_retryable(&self) -> bool;
    fn execute(&self, connection: &mut MultiplexedConnection) -> impl Future<Output = Result<Self::Response, RedisError>> + Send;
}

impl Pool {
    pub fn new(url: &Secret, size: usize, timeout: Duration, options: ConnectionOptions, runtime: &Handle) -> Result<Self, Error> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_TIMEOUT.min(timeout))).set_response_timeout(Some(timeout));
        let manager = Manager { client: client(url)?, config, options, runtime: runtime.clone() };
        let pool = managed::Pool::builder(manager)
            .max_size(size)
            .wait_timeout(Some(timeout))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| Error::Other(error.to_string()))?;
        Ok(Self { pool, breaker: Arc::new(Breaker { started: Instant::now(), open_until: AtomicU64::new(0) }) })
    }

    /// Waits at most `limit`. With `breaks`, fails immediately while the circuit breaker is open.
    pub async fn execute<Q: Request + Sync>(&self, request: &Q, limit: Duration, breaks: bool) -> Result<Q::Response, Error> {
        if breaks && self.breaker.refuses() {
            return Err(Error::Unreachable("the last request timed out or lost its connection".into()));
        }
        let mut used = None;
        let outcome = tokio::time::timeout(limit, self.execute_with_retry(request, &mut used)).await.unwrap_or(Err(Error::Timeout));
        if let (Err(Error::Timeout), Some(silent)) = (&outcome, used) {
            // The peer may have disappeared silently, for example after a failover; TCP would take about 15 minutes
            // to notice.
            drop(Object::take(silent));
        }
        match &outcome {
            Err(error) if error.is_outage() => self.breaker.open(),
            _ => self.breaker.close(),
        }
        outcome
    }

    /// After a restart of the server every pooled connection is dead: the first caller that notices drops them all
    /// and retries.
    async fn execute_with_retry<Q: Request + Sync>(&self, request: &Q, used: &mut Option<Object<Manager>>) -> Result<Q::Response, Error> {
        let connection = used.insert(self.pool.get().await?);
        let was_used = Object::metrics(connection).recycle_count > 0;
        match request.execute(connection).await {
            Err(error) if error.is_connection_dropped() || error.is_io_error() && !error.is_timeout() => {
                drop(used.take().map(Object::take));
                self.pool.retain(|_, _| false);
                if !was_used || !request.is_retryable() {
                    return Err(error.into());
                }
                Ok(request.execute(used.insert(self.pool.get().await?)).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    pub fn usage(&self) -> Usage {
        let status = self.pool.status();
        let idle = status.available.min(status.size);
        Usage { in_use: status.size - idle, idle, waiting: status.waiting, limit: status.max_size }
    }
}

/// Connections of a pool, and callers waiting for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub in_use: usize,
    pub idle: usize,
    pub waiting: usize,
    pub limit: usize,
}

/// `?ssl_ca_certs=FILE`, as in redis-py, names the certificate authority of a private server's certificate.
pub(super) fn client(url: &Secret) -> Result<Client, Error> {
    let (url, authority) = split_authority(url.reveal());
    let keep_alive = socket2::TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE / 6);
    let mut info = url.as_str().into_connection_info()?;
    let settings = info.tcp_settings().clone().set_nodelay(true).set_keepalive(keep_alive);
    info = info.set_tcp_settings(settings);
    let Some(path) = authority else { return Ok(Client::open(info)?) };
    let root_cert = std::fs::read(&path).map_err(|error| Error::Other(format!("ssl_ca_certs={path} cannot be read: {error}")))?;
    Ok(Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(root_cert) })?)
}

/// `default` if the URL names no user.
pub(super) fn user(url: &Secret) -> Result<String, Error> {
    let info = split_authority(url.reveal()).0.as_str().into_connection_info()?;
    Ok(info.redis_settings().username().unwrap_or("default").to_owned())
}

fn split_authority(url: &str) -> (String, Option<String>) {
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let (mut rest, mut authority) = (Vec::new(), None);
    for pair in query.split('&') {
        match pair.strip_prefix("ssl_ca_certs=") {
            Some(path) => authority = Some(percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned()),
            None => rest.push(pair),
        }
    }
    let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    (url, authority)
}

struct Manager {
    client: Client,
    config: AsyncConnectionConfig,
    options: ConnectionOptions,
    runtime: Handle,
}

impl managed::Manager for Manager {
    type Type = MultiplexedConnection;
    type Error = RedisError;

    /// Runs on the main runtime, so that a connection outlives the thread that requested it.
    async fn create(&self) -> Result<MultiplexedConnection, RedisError> {
        let (client, config, options) = (self.client.clone(), self.config.clone(), self.options);
        let connecting = self.runtime.spawn(async move {
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            introduce(&mut connection, options).await;
            Ok(connection)
        });
        connecting.await.unwrap_or_else(|error| Err(RedisError::from(std::io::Error::other(error))))
    }

    async fn recycle(&self, connection: &mut MultiplexedConnection, metrics: &Metrics) -> RecycleResult<RedisError> {
        if metrics.last_used() > IDLE_CHECK_AFTER {
            redis::cmd("PING").query_async::<()>(connection).await?;
        }
        Ok(())
    }
}

// Best effort: older servers lack these commands, and the ACL may forbid them.
pub(super) async fn introduce(connection: &mut MultiplexedConnection, options: ConnectionOptions) {
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors().cmd("CLIENT").arg("SETNAME").arg(options.name);
    if options.no_touch {
        // Redis 7.2 and later: reading a key does not protect it from eviction.
        pipeline.cmd("CLIENT").arg("NO-TOUCH").arg("ON");
    }
    let _: Result<redis::Value, RedisError> = pipeline.query_async(connection).await;
}

impl<T: FromRedisValue + Send + 'static> Request for CommandRequest<redis::Cmd, T> {
    type Response = T;

    fn is_retryable(&self) -> bool {
        self.retryable
    }

    async fn execute(&self, connection: &mut MultiplexedConnection) -> Result<T, RedisError> {
        self.what.query_async(connection).await
    }
}

impl<T: FromRedisValue + Send + 'static> Request for CommandRequest<redis::Pipeline, T> {
    type Response = T;

    fn is_retryable(&self) -> bool {
        self.retryable
    }

    async fn execute(&self, connection: &mut MultiplexedConnection) -> Result<T, RedisError> {
        self.what.query_async(connection).await
    }
}

/// One command or a pipeline, and the type of the response.
pub(super) struct CommandRequest<C, T> {
    what: C,
    retryable: bool,
    answer: std::marker::PhantomData<fn() -> T>,
}

impl<C, T> CommandRequest<C, T> {
    pub fn retryable(what: C) -> Self {
        Self { what, retryable: true, answer: std::marker::PhantomData }
    }

    pub fn once(what: C) -> Self {
        Self { what, retryable: false, answer: std::marker::PhantomData }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_authority_is_removed_from_the_url() {
        let split = |url| split_authority(url);
        assert_eq!(split("rediss://h/0"), ("rediss://h/0".into(), None));
        assert_eq!(split("rediss://h/0?ssl_ca_certs=/etc/my%20ca.pem"), ("rediss://h/0".into(), Some("/etc/my ca.pem".into())));
        assert_eq!(split("unix:///s?db=1&ssl_ca_certs=a&pass=x"), ("unix:///s?db=1&pass=x".into(), Some("a".into())));
    }
}
