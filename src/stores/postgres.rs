//! Postgres: a pool whose connections are checked before use, deadlines on the client's side as well as the
//! server's, and migrations under an advisory lock.

mod connect;
mod migrate;
pub mod probe;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::deadpool::{self, Object};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, PoolError};

pub use connect::check_url;
pub use migrate::{applied, known_migrations, may_migrate, migrate, revert};

use crate::config::Secret;

/// Connections at most; a page needs one for a few milliseconds.
pub const POOL_SIZE: usize = 20;
/// How long an action may wait for Postgres in all: a frozen server must become a 503 within 5 s.
const DEADLINE: Duration = Duration::from_secs(4);
/// How long one step of getting a connection may take: waiting, opening, checking.
const STEP: Duration = Duration::from_secs(3);

/// Why a query did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No connection within the deadline, or it broke.
    #[error("Postgres does not answer: {0}")]
    Unreachable(String),
    /// The statement took longer than it may.
    #[error("Postgres took too long")]
    Timeout,
    #[error("Postgres refused a statement: {0}")]
    Query(Arc<DieselError>),
}

impl Error {
    /// The name of the unique constraint that a statement would have broken.
    pub fn unique_violation(&self) -> Option<&str> {
        let Self::Query(error) = self else { return None };
        match error.as_ref() {
            DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, info) => Some(info.constraint_name().unwrap_or("")),
            _ => None,
        }
    }
}

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        match &error {
            DieselError::DatabaseError(DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection, info) => {
                Self::Unreachable(info.message().to_owned())
            }
            DieselError::BrokenTransactionManager => Self::Unreachable("the connection broke inside a transaction".into()),
            DieselError::DatabaseError(_, info) if ["statement timeout", "lock timeout"].iter().any(|why| info.message().contains(why)) => {
                Self::Timeout
            }
            // Class 57P: the server is stopping or starting. Diesel keeps the message, not the code.
            DieselError::DatabaseError(_, info)
                if ["terminating connection", "the database system is", "connection closed"]
                    .iter()
                    .any(|part| info.message().contains(part)) =>
            {
                Self::Unreachable(info.message().to_owned())
            }
            _ => Self::Query(Arc::new(error)),
        }
    }
}

impl From<deadpool::PoolError> for Error {
    fn from(error: deadpool::PoolError) -> Self {
        match error {
            deadpool::PoolError::Timeout(_) => Self::Unreachable("no connection in time".into()),
            deadpool::PoolError::Backend(PoolError::ConnectionError(error)) => Self::Unreachable(error.to_string()),
            deadpool::PoolError::Backend(PoolError::QueryError(error)) => Self::from(error),
            other => Self::Unreachable(other.to_string()),
        }
    }
}

#[derive(Clone)]
pub struct Pool {
    pool: deadpool::Pool<AsyncPgConnection>,
    url: Secret,
}

impl Pool {
    /// Opens nothing yet. Connections live on `runtime`, whichever thread asks for them first.
    pub fn new(url: &Secret, runtime: &tokio::runtime::Handle) -> Self {
        let mut config = ManagerConfig::default();
        let runtime = runtime.clone();
        config.custom_setup = Box::new(move |url| {
            let connecting = runtime.spawn(connect::open(url.to_owned(), connect::Purpose::Pool));
            let bad = diesel::ConnectionError::BadConnection;
            Box::pin(async move {
                let opened = connecting.await.map_err(|error| bad(format!("connecting was cut off: {error}")))?;
                opened.map_err(|failed| bad(failed.why))
            })
        });
        let manager = AsyncDieselConnectionManager::new_with_config(url.reveal(), config);
        let builder = deadpool::Pool::builder(manager)
            .max_size(POOL_SIZE)
            .wait_timeout(Some(STEP))
            .create_timeout(Some(STEP))
            .recycle_timeout(Some(STEP))
            .runtime(::deadpool::Runtime::Tokio1);
        let pool = match builder.build() {
            Ok(pool) => pool,
            // Only a time-out without a runtime is refused, and the runtime is set above.
            Err(error) => unreachable!("pool of fixed settings: {error}"),
        };
        Self { pool, url: url.clone() }
    }

    /// A connection that answered just now.
    pub async fn get(&self) -> Result<Object<AsyncPgConnection>, Error> {
        Ok(self.pool.get().await?)
    }

    /// Runs `work`, which asks for its connections itself, within the deadline of every action.
    pub async fn within<T, E: From<Error>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        match tokio::time::timeout(DEADLINE, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Unreachable(format!("no answer within {} s", DEADLINE.as_secs())).into()),
        }
    }

    /// Whether there is a connection to be had at all: asked before a change elsewhere that must be recorded.
    pub async fn answers(&self) -> Result<(), Error> {
        self.within(async { self.get().await.map(|_| ()) }).await
    }

    pub fn url(&self) -> &Secret {
        &self.url
    }

    /// Connections in use, at most, and callers waiting for one.
    pub fn usage(&self) -> (usize, usize, usize) {
        let status = self.pool.status();
        (status.size.saturating_sub(status.available), status.max_size, status.waiting)
    }
}
