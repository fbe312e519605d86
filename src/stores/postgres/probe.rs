//! Health checks of Postgres, on a dedicated connection.

use std::time::Instant;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Double, Nullable, Text};
use diesel_async::RunQueryDsl;

use super::connect::{Purpose, open};
use super::connection::Connection;
use super::{Error, Pool};
use crate::stores::connect_error::{ConnectError, ErrorClass};

/// Kept between checks. It does not use the pool, so that a busy pool is not reported as an outage.
#[derive(Default)]
pub struct Probe {
    connection: Option<(Connection, Instant)>,
    /// At the last check, and when the state was last read.
    writes: Option<Writes>,
    reported: Option<Writes>,
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(embed)]
    mode: Mode,
}

#[derive(QueryableByName)]
struct Mode {
    #[diesel(sql_type = Bool)]
    in_recovery: bool,
    #[diesel(sql_type = Bool)]
    read_only: bool,
}

/// Whether the server accepts changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    Accepted,
    /// A standby.
    InRecovery,
    /// `default_transaction_read_only` is on.
    ReadOnly,
    /// A change failed for this reason within the last minute.
    DiskFull,
}

#[derive(QueryableByName)]
struct StateRow {
    #[diesel(embed)]
    mode: Mode,
    #[diesel(sql_type = BigInt)]
    connections: i64,
    #[diesel(sql_type = BigInt)]
    connection_limit: i64,
    #[diesel(sql_type = Nullable<Double>)]
    oldest_transaction: Option<f64>,
    #[diesel(sql_type = BigInt)]
    size: i64,
}

/// The state of the server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerState {
    pub writes: Writes,
    /// Of all databases.
    pub connections: i64,
    pub connection_limit: i64,
    /// In seconds; only transactions visible to Larder's user.
    pub oldest_transaction: Option<f64>,
    /// Size of Larder's database in bytes.
    pub size: i64,
}

impl Probe {
    /// Returns the server's version. The caller sets the deadline and drops the probe when it passes.
    pub async fn check(&mut self, db: &Pool) -> Result<String, ConnectError> {
        let query = diesel::sql_query(
            "SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS in_recovery,
                    current_setting('transaction_read_only')::bool AS read_only",
        );
        let (mut connection, opened) = self.connection(db).await?;
        let answer = connection.run(async |connection| query.get_result::<Answer>(connection).await.map_err(Error::from)).await;
        let answer = answer.map_err(failed)?;
        self.keep(connection, opened, writes(&answer.mode, db));
        Ok(answer.version.split_whitespace().next().unwrap_or_default().to_owned())
    }

    /// Whether the server accepts changes differs from the state that was last read.
    pub fn has_changed(&self) -> bool {
        self.reported.is_some() && self.reported != self.writes
    }

    /// Values that change slowly.
    pub async fn server_state(&mut self, db: &Pool) -> Result<ServerState, ConnectError> {
        let query = diesel::sql_query(
            "SELECT pg_is_in_recovery() AS in_recovery, current_setting('transaction_read_only')::bool AS read_only,
                    (SELECT sum(numbackends)::bigint FROM pg_stat_database) AS connections,
                    current_setting('max_connections')::bigint AS connection_limit,
                    (SELECT extract(epoch FROM now() - min(xact_start))::float8 FROM pg_stat_activity
                     WHERE state <> 'idle' AND pid <> pg_backend_pid()) AS oldest_transaction,
                    pg_database_size(current_database()) AS size",
        );
        let (mut connection, opened) = self.connection(db).await?;
        let row = connection.run(async |connection| query.get_result::<StateRow>(connection).await.map_err(Error::from)).await;
        let StateRow { mode, connections, connection_limit, oldest_transaction, size } = row.map_err(failed)?;
        let writes = writes(&mode, db);
        self.keep(connection, opened, writes);
        self.reported = Some(writes);
        Ok(ServerState { writes, connections, connection_limit, oldest_transaction, size })
    }

    async fn connection(&mut self, db: &Pool) -> Result<(Connection, Instant), ConnectError> {
        match self.connection.take() {
            // Later connections may have other settings, or another server behind the same name.
            Some((_, opened)) if db.server.observed.read_only_at().is_some_and(|at| opened <= at) => {}
            Some(kept) => return Ok(kept),
            None => {}
        }
        let opened = Instant::now();
        let connection = open(&db.server, Purpose::Queries).await.map_err(|failure| failure.shown)?;
        Ok((connection, opened))
    }

    fn keep(&mut self, connection: Connection, opened: Instant, writes: Writes) {
        self.writes = Some(writes);
        // After a failover, a new connection may reach another server.
        self.connection = (!matches!(writes, Writes::InRecovery | Writes::ReadOnly)).then_some((connection, opened));
    }
}

fn writes(mode: &Mode, db: &Pool) -> Writes {
    match mode {
        Mode { in_recovery: true, .. } => Writes::InRecovery,
        Mode { read_only: true, .. } => Writes::ReadOnly,
        _ if db.server.observed.is_disk_full() => Writes::DiskFull,
        _ => Writes::Accepted,
    }
}

fn failed(error: Error) -> ConnectError {
    let detail = error.to_string();
    let (class, message) = match error {
        Error::Unreachable(_) => (ErrorClass::Connect, None),
        Error::Timeout => (ErrorClass::Timeout, None),
        Error::Unavailable { reason, .. } => (ErrorClass::Degraded, Some(reason.sentence())),
        Error::Query(_) | Error::Migration(_) => (ErrorClass::Protocol, None),
    };
    ConnectError { class, message: message.map(Into::into), detail }
}
