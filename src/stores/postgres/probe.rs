//! Health checks of Postgres, on a dedicated connection.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Double, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::Error;
use super::connect::{Purpose, open};
use crate::config::Secret;
use crate::stores::connect_error::{ConnectError, ErrorClass};

/// Kept between checks. It does not use the pool, so that a busy pool is not reported as an outage.
#[derive(Default)]
pub struct Probe {
    connection: Option<AsyncPgConnection>,
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Text)]
    version: String,
}

/// The state of the server.
#[derive(Clone, Debug, PartialEq, QueryableByName)]
pub struct ServerState {
    /// A standby, which accepts no writes.
    #[diesel(sql_type = Bool)]
    pub in_recovery: bool,
    /// Of all databases.
    #[diesel(sql_type = BigInt)]
    pub connections: i64,
    #[diesel(sql_type = BigInt)]
    pub connection_limit: i64,
    /// In seconds; only transactions visible to Larder's user.
    #[diesel(sql_type = Nullable<Double>)]
    pub oldest_transaction: Option<f64>,
    /// Size of Larder's database in bytes.
    #[diesel(sql_type = BigInt)]
    pub size: i64,
}

impl Probe {
    /// Returns the server's version. The caller sets the deadline and drops the probe when it passes.
    pub async fn check(&mut self, url: &Secret) -> Result<String, ConnectError> {
        let query = diesel::sql_query("SELECT current_setting('server_version') AS version");
        let mut connection = self.connection(url).await?;
        let version = query.get_result::<Version>(&mut connection).await.map_err(failed)?.version;
        self.connection = Some(connection);
        Ok(version.split_whitespace().next().unwrap_or_default().to_owned())
    }

    /// Values that change slowly.
    pub async fn server_state(&mut self, url: &Secret) -> Result<ServerState, ConnectError> {
        let query = diesel::sql_query(
            "SELECT pg_is_in_recovery() AS in_recovery,
                    (SELECT sum(numbackends)::bigint FROM pg_stat_database) AS connections,
                    current_setting('max_connections')::bigint AS connection_limit,
                    (SELECT extract(epoch FROM now() - min(xact_start))::float8 FROM pg_stat_activity
                     WHERE state <> 'idle' AND pid <> pg_backend_pid()) AS oldest_transaction,
                    pg_database_size(current_database()) AS size",
        );
        let mut connection = self.connection(url).await?;
        let server_state = query.get_result(&mut connection).await.map_err(failed)?;
        self.connection = Some(connection);
        Ok(server_state)
    }

    async fn connection(&mut self, url: &Secret) -> Result<AsyncPgConnection, ConnectError> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => open(url.reveal().to_owned(), Purpose::Pool).await,
        }
    }
}

fn failed(error: diesel::result::Error) -> ConnectError {
    let detail = error.to_string();
    match Error::from(error) {
        Error::Unreachable(_) => ConnectError { class: ErrorClass::Connect, message: None, detail },
        Error::Timeout => ConnectError { class: ErrorClass::Timeout, message: None, detail },
        Error::Query(_) => ConnectError { class: ErrorClass::Protocol, message: None, detail },
    }
}
