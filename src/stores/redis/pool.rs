//! A lazy pool with every timeout set, and a circuit breaker, so that a frozen server delays one request rather than
//! all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool::managed::{self, Object};
use deadpool_redis::Runtime;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue, RedisError, Value};
use tokio::runtime::Handle;

use super::Error;
use super::greeting::ConnectionOptions;
use super::manager::Manager;
use super::replaced::ReplacedConnections;
use crate::config::Secret;
use crate::stores::availability::Availability;
use crate::stores::pool_usage::PoolUsage;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long best-effort calls fail immediately after a timeout or a lost connection.
const BREAKER_OPEN: Duration = Duration::from_secs(2);

/// What a caller does while Redis does not respond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutagePolicy {
    /// Fails immediately after a timeout, and while the server is known to be down: the caller works without Redis.
    Skip,
    /// Fails immediately after a timeout, but waits briefly for a server that may just have returned: for pages.
    Browse,
    /// Waits up to its limit.
    Wait,
}

#[derive(Clone)]
pub(super) struct Pool {
    pool: managed::Pool<Manager>,
    breaker: Arc<Breaker>,
    replaced: ReplacedConnections,
    availability: Availability,
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
    /// Whether a refusal by the server means that nothing was executed, as for a single command.
    fn is_single(&self) -> bool;
    fn execute(&self, connection: &mut MultiplexedConnection) -> impl Future<Output = Result<Self::Response, RedisError>> + Send;
}

impl Pool {
    pub fn new(
        url: &Secret,
        size: usize,
        timeout: Duration,
        options: ConnectionOptions,
        runtime: &Handle,
        replaced: &ReplacedConnections,
        availability: &Availability,
    ) -> Result<Self, Error> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_TIMEOUT.min(timeout))).set_response_timeout(Some(timeout));
        let manager = Manager::new(url, config, options, runtime, replaced.clone())?;
        let pool = managed::Pool::builder(manager)
            .max_size(size)
            .wait_timeout(Some(timeout))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| Error::Other(error.to_string()))?;
        let breaker = Arc::new(Breaker { started: Instant::now(), open_until: AtomicU64::new(0) });
        Ok(Self { pool, breaker, replaced: replaced.clone(), availability: availability.clone() })
    }

    /// Waits at most `limit`.
    pub async fn execute<Q: Request + Sync>(&self, request: &Q, limit: Duration, policy: OutagePolicy) -> Result<Q::Response, Error> {
        let checked = match policy {
            OutagePolicy::Skip => self.availability.check(),
            OutagePolicy::Browse | OutagePolicy::Wait => self.availability.check_again().await,
        };
        checked.map_err(|why| Error::Unreachable(why.into()))?;
        if policy != OutagePolicy::Wait && self.breaker.refuses() {
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

    /// After a restart of the server every pooled connection is dead, and after a failover it may lead to a replica: the
    /// first caller that notices drops them all and retries.
    async fn execute_with_retry<Q: Request + Sync>(&self, request: &Q, used: &mut Option<Object<Manager>>) -> Result<Q::Response, Error> {
        let connection = used.insert(self.pool.get().await?);
        let metrics = *Object::metrics(connection);
        let error = match request.execute(connection).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        if error.is_connection_dropped() || error.is_io_error() && !error.is_timeout() {
            drop(used.take().map(Object::take));
            self.pool.retain(|_, _| false);
            if metrics.recycle_count == 0 || !request.is_retryable() {
                return Err(error.into());
            }
        } else {
            let error = Error::from(error);
            if !error.is_refusal_of_role() || !self.replaced.replace(metrics.created) {
                return Err(error);
            }
            drop(used.take().map(Object::take));
            if !request.is_single() && !request.is_retryable() {
                return Err(error);
            }
        }
        Ok(request.execute(used.insert(self.pool.get().await?)).await?)
    }

    /// For pipelines that return the error of each command as part of their response.
    pub fn examine(&self, answers: &[Value]) {
        let refused = |answer: &Value| match answer {
            Value::ServerError(error) => Error::from(RedisError::from(error.clone())).is_refusal_of_role(),
            _ => false,
        };
        if answers.iter().any(refused) {
            self.replaced.replace(Instant::now());
        }
    }

    pub fn usage(&self) -> PoolUsage {
        self.pool.status().into()
    }
}

impl<T: FromRedisValue + Send + 'static> Request for CommandRequest<redis::Cmd, T> {
    type Response = T;

    fn is_retryable(&self) -> bool {
        self.retryable
    }

    fn is_single(&self) -> bool {
        true
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

    fn is_single(&self) -> bool {
        false
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
