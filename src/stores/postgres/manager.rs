//! Opens the connections of the pool and checks them before they are used again.

use std::time::Duration;

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use diesel::QueryableByName;
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use super::Error;
use super::connect::{Purpose, open};
use super::connection::Connection;
use super::server::Server;

/// A connection to a read-only server is replaced after this time: after a failover, the name of the server leads to another.
const RENEW_READ_ONLY: Duration = Duration::from_secs(5);

pub(super) struct Manager {
    pub server: Server,
    /// Connections run on it, whichever thread requests them first.
    pub runtime: tokio::runtime::Handle,
}

#[derive(QueryableByName)]
struct Mode {
    #[diesel(sql_type = Bool)]
    read_only: bool,
}

/// Whether changes are rejected: on a standby, with `default_transaction_read_only`, and on managed servers whose disk is full.
pub(super) async fn is_read_only(connection: &mut AsyncPgConnection) -> Result<bool, Error> {
    let query = diesel::sql_query("SELECT current_setting('transaction_read_only')::bool AS read_only");
    Ok(query.get_result::<Mode>(connection).await?.read_only)
}

impl managed::Manager for Manager {
    type Type = Connection;
    type Error = Error;

    async fn create(&self) -> Result<Connection, Error> {
        let server = self.server.clone();
        let connecting = self.runtime.spawn(async move { open(&server, Purpose::Queries).await });
        match connecting.await {
            Ok(opened) => Ok(opened?),
            Err(error) => Err(Error::Unreachable(format!("connecting was aborted: {error}"))),
        }
    }

    async fn recycle(&self, connection: &mut Connection, metrics: &Metrics) -> RecycleResult<Error> {
        if std::thread::panicking() || connection.is_broken() {
            return Err(RecycleError::message("the connection is broken"));
        }
        // The answer was that of this connection or of another one that was opened at the same time.
        if self.server.observed.read_only_at().is_some_and(|at| metrics.created <= at) {
            return Err(RecycleError::message("the server of this connection was read-only"));
        }
        if connection.is_behind_pooler() {
            // The pooler renews the connections to its servers. Without preparation, because each statement may be run by another.
            connection.batch_execute("SELECT 1").await.map_err(Error::from)?;
        } else if is_read_only(connection).await? && metrics.age() > RENEW_READ_ONLY {
            return Err(RecycleError::message("the server of this connection is read-only"));
        }
        Ok(())
    }
}
