//! Postgres: a pool that checks connections before use, client-side and server-side timeouts, and migrations under an
//! advisory lock. It works through poolers in transaction mode, so no code may rely on the state of a session: settings,
//! session-level advisory locks, `LISTEN`.

mod coded_stream;
mod connect;
mod connection;
mod dial;
mod error;
mod manager;
mod migrate;
pub mod probe;
mod server;
mod session;
mod sqlstate;
mod text_enum;

use std::time::Duration;

use deadpool::managed::{self, PoolError};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;

pub use error::Error;
pub use migrate::{applied, known_migrations, may_migrate, migrate, revert};
pub use sqlstate::Reason;
pub(crate) use text_enum::text_enum;

use crate::config::Secret;
use crate::stores::availability::Availability;
use crate::stores::pool_usage::PoolUsage;
use manager::Manager;
use server::Server;

/// Maximum number of connections; a page needs one for a few milliseconds.
pub const POOL_SIZE: usize = 20;
/// Total time that an action may wait for Postgres: a frozen server must result in a 503 within 5 s.
const DEADLINE: Duration = Duration::from_secs(4);
/// Timeout of each step of getting a connection: waiting, opening, checking.
const STEP_TIMEOUT: Duration = Duration::from_secs(3);
/// For this time after a rejected change, changes that are not necessary are not attempted.
const READ_ONLY_FOR: Duration = Duration::from_secs(5);

impl From<PoolError<Error>> for Error {
    fn from(error: PoolError<Error>) -> Self {
        match error {
            PoolError::Timeout(_) => Self::Unreachable("no connection became available in time".into()),
            PoolError::Backend(error) => error,
            other => Self::Unreachable(other.to_string()),
        }
    }
}

#[derive(Clone)]
pub struct Pool {
    pool: managed::Pool<Manager>,
    server: Server,
    availability: Availability,
}

impl Pool {
    /// Opens no connection yet. Connections run on `runtime`, whichever thread requests them first.
    pub fn new(url: &Secret, runtime: &tokio::runtime::Handle) -> Self {
        let server = Server::new(url);
        let builder = managed::Pool::builder(Manager { server: server.clone(), runtime: runtime.clone() })
            .max_size(POOL_SIZE)
            .wait_timeout(Some(STEP_TIMEOUT))
            .create_timeout(Some(STEP_TIMEOUT))
            .recycle_timeout(Some(STEP_TIMEOUT))
            .runtime(deadpool::Runtime::Tokio1);
        let pool = match builder.build() {
            Ok(pool) => pool,
            // Building fails only for a timeout without a runtime, and the runtime is set above.
            Err(error) => unreachable!("invalid pool settings: {error}"),
        };
        Self { pool, server, availability: Availability::default() }
    }

    /// Runs `work` on a connection that has just been checked. Fails after the deadline of an action.
    ///
    /// Behind a pooler, the statements of `work` are one transaction: an error of a statement that `work` ignores undoes the
    /// changes before it.
    pub async fn run<T, E: From<Error>>(&self, work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, E>) -> Result<T, E> {
        within_deadline(async {
            let mut connection = self.connection().await?;
            connection.run(work).await
        })
        .await
    }

    /// Like [`Self::run`], in a transaction that is rolled back if `work` fails.
    pub async fn transaction<T>(&self, work: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>) -> Result<T, Error> {
        within_deadline(async {
            let mut connection = self.connection().await?;
            connection.transaction(work).await
        })
        .await
    }

    async fn connection(&self) -> Result<managed::Object<Manager>, Error> {
        self.availability.check_again().await.map_err(|why| Error::Unreachable(why.into()))?;
        Ok(self.pool.get().await?)
    }

    /// Fails if Postgres is unreachable or read-only. Called before a change elsewhere that must be recorded.
    pub async fn check_available(&self) -> Result<(), Error> {
        let is_read_only = self.run(manager::is_read_only).await?;
        if is_read_only {
            return Err(Error::Unavailable { reason: Reason::ReadOnly, detail: "transaction_read_only is on".into() });
        }
        Ok(())
    }

    /// Whether the server has just rejected a change because it is read-only.
    pub fn was_read_only(&self) -> bool {
        self.server.observed.read_only_at().is_some_and(|at| at.elapsed() < READ_ONLY_FOR)
    }

    pub fn availability(&self) -> &Availability {
        &self.availability
    }

    pub fn usage(&self) -> PoolUsage {
        self.pool.status().into()
    }
}

async fn within_deadline<T, E: From<Error>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::Unreachable(format!("no response within {} s", DEADLINE.as_secs())).into()),
    }
}
