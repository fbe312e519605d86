//! One open connection: runs statements as they are, or behind a pooler in transactions with the settings of the session.

use std::ops::{Deref, DerefMut};

use diesel::QueryResult;
use diesel::result::Error as DieselError;
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};
use tokio::task::AbortHandle;

use super::Error;
use super::session::Session;

/// The task that transfers the data of a connection. It ends with this value, so that a server that does not respond does
/// not keep the socket open.
pub(super) struct Driver(pub AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) struct Connection {
    // Dropped before its driver.
    inner: AsyncPgConnection,
    driver: Driver,
    /// Set behind a pooler, where each transaction may use another connection of the server: settings are applied to each
    /// transaction, and a prepared statement is used only in the transaction that prepared it.
    per_transaction: Option<Session>,
    /// A transaction may be open of which Diesel does not know.
    is_broken: bool,
}

impl Connection {
    pub fn new(inner: AsyncPgConnection, driver: Driver, per_transaction: Option<Session>) -> Self {
        Self { inner, driver, per_transaction, is_broken: false }
    }

    pub fn is_behind_pooler(&self) -> bool {
        self.per_transaction.is_some()
    }

    /// Whether it is closed, or a transaction is open that its caller abandoned.
    pub fn is_broken(&mut self) -> bool {
        self.is_broken || self.driver.0.is_finished() || AnsiTransactionManager::is_broken_transaction_manager(&mut self.inner)
    }

    /// For Diesel's migrations, which own their connection. The driver must outlive it.
    pub fn into_parts(self) -> (AsyncPgConnection, Driver) {
        (self.inner, self.driver)
    }

    pub async fn begin(&mut self) -> Result<(), DieselError> {
        let started = match &self.per_transaction {
            Some(session) => AnsiTransactionManager::begin_transaction_sql(&mut self.inner, &session.begin()).await,
            None => AnsiTransactionManager::begin_transaction(&mut self.inner).await,
        };
        self.is_broken |= started.is_err();
        started
    }

    pub async fn commit(&mut self) -> Result<(), DieselError> {
        AnsiTransactionManager::commit_transaction(&mut self.inner).await
    }

    pub async fn rollback(&mut self) -> Result<(), DieselError> {
        AnsiTransactionManager::rollback_transaction(&mut self.inner).await
    }

    /// Behind a pooler, all statements of `work` are one transaction, which is committed even if `work` fails: without a
    /// pooler, the statements before the failure would also be kept. An error of the server rolls it back.
    pub async fn run<T, E: From<Error>>(&mut self, work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, E>) -> Result<T, E> {
        if self.per_transaction.is_none() {
            return work(&mut self.inner).await;
        }
        self.begin().await.map_err(Error::from)?;
        let outcome = work(&mut self.inner).await;
        let committed = self.commit().await.map_err(Error::from);
        let value = outcome?;
        committed?;
        Ok(value)
    }

    /// In a transaction that is rolled back if `work` fails.
    pub async fn transaction<T>(&mut self, work: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>) -> Result<T, Error> {
        self.begin().await?;
        match work(&mut self.inner).await {
            Ok(value) => {
                self.commit().await?;
                Ok(value)
            }
            Err(error) => match self.rollback().await {
                // The first error is probably the cause of the second.
                Ok(()) | Err(DieselError::BrokenTransactionManager) => Err(error.into()),
                Err(rollback_error) => Err(rollback_error.into()),
            },
        }
    }
}

impl Deref for Connection {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.inner
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        &mut self.inner
    }
}
