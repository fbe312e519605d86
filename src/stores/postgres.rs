//! Postgres: a pool that checks connections before use, client-side and server-side timeouts, and migrations under an
//! advisory lock.

mod connect;
mod migrate;
pub mod probe;
mod text_enum;

use std::sync::Arc;
use std::time::Duration;

use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::pooled_connection::deadpool;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, PoolError};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};

pub use migrate::{applied, known_migrations, may_migrate, migrate, revert};
pub(crate) use text_enum::text_enum;

use crate::config::Secret;
use crate::stores::pool_usage::PoolUsage;

/// Maximum number of connections; a page needs one for a few milliseconds.
pub const POOL_SIZE: usize = 20;
/// Total time that an action may wait for Postgres: a frozen server must result in a 503 within 5 s.
const DEADLINE: Duration = Duration::from_secs(4);
/// Timeout of each step of getting a connection: waiting, opening, checking.
const STEP_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a query failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No connection within the deadline, or the connection broke.
    #[error("Postgres is unreachable: {0}")]
    Unreachable(String),
    /// The statement exceeded its timeout.
    #[error("Postgres did not respond in time")]
    Timeout,
    #[error("Postgres rejected a statement: {0}")]
    Query(Arc<DieselError>),
}

impl Error {
    /// The name of the unique constraint that the statement violated.
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
            DieselError::BrokenTransactionManager => Self::Unreachable("the connection broke during a transaction".into()),
            DieselError::DatabaseError(_, info) if ["statement timeout", "lock timeout"].iter().any(|why| info.message().contains(why)) => {
                Self::Timeout
            }
            // SQLSTATE class 57P: the server is stopping or starting. Diesel exposes the message but not the code.
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
            deadpool::PoolError::Timeout(_) => Self::Unreachable("no connection became available in time".into()),
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
    /// Opens no connection yet. Connections run on `runtime`, whichever thread requests them first.
    pub fn new(url: &Secret, runtime: &tokio::runtime::Handle) -> Self {
        let mut config = ManagerConfig::default();
        let runtime = runtime.clone();
        config.custom_setup = Box::new(move |url| {
            let connecting = runtime.spawn(connect::open(url.to_owned(), connect::Purpose::Pool));
            let bad = diesel::ConnectionError::BadConnection;
            Box::pin(async move {
                let opened = connecting.await.map_err(|error| bad(format!("connecting was aborted: {error}")))?;
                opened.map_err(|failed| bad(failed.detail))
            })
        });
        let manager = AsyncDieselConnectionManager::new_with_config(url.reveal(), config);
        let builder = deadpool::Pool::builder(manager)
            .max_size(POOL_SIZE)
            .wait_timeout(Some(STEP_TIMEOUT))
            .create_timeout(Some(STEP_TIMEOUT))
            .recycle_timeout(Some(STEP_TIMEOUT))
            .runtime(::deadpool::Runtime::Tokio1);
        let pool = match builder.build() {
            Ok(pool) => pool,
            // Building fails only for a timeout without a runtime, and the runtime is set above.
            Err(error) => unreachable!("invalid pool settings: {error}"),
        };
        Self { pool, url: url.clone() }
    }

    /// Runs `work` on a connection that has just been checked. Fails after the deadline of an action.
    pub async fn run<T, E: From<Error>>(&self, work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, E>) -> Result<T, E> {
        let work = async {
            let mut connection = self.pool.get().await.map_err(Error::from)?;
            work(&mut connection).await
        };
        match tokio::time::timeout(DEADLINE, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Unreachable(format!("no response within {} s", DEADLINE.as_secs())).into()),
        }
    }

    /// Like [`Self::run`], in a transaction that is rolled back if `work` fails.
    pub async fn transaction<T>(&self, work: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>) -> Result<T, Error> {
        self.run(async |connection| {
            AnsiTransactionManager::begin_transaction(connection).await?;
            match work(connection).await {
                Ok(value) => {
                    AnsiTransactionManager::commit_transaction(connection).await?;
                    Ok(value)
                }
                Err(error) => match AnsiTransactionManager::rollback_transaction(connection).await {
                    // The first error is probably the cause of the second.
                    Ok(()) | Err(DieselError::BrokenTransactionManager) => Err(error.into()),
                    Err(rollback_error) => Err(rollback_error.into()),
                },
            }
        })
        .await
    }

    /// Fails if Postgres is unreachable. Called before a change elsewhere that must be recorded.
    pub async fn check_available(&self) -> Result<(), Error> {
        self.run(async |_| Ok(())).await
    }

    pub fn url(&self) -> &Secret {
        &self.url
    }

    pub fn usage(&self) -> PoolUsage {
        self.pool.status().into()
    }
}
