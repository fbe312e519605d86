//! One cheap question to Postgres, on a connection of its own.

use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::Error;
use super::connect::{Purpose, open};
use crate::config::Secret;

/// Kept between checks, so that a busy pool does not read as a database that is down.
#[derive(Default)]
pub struct Probe {
    connection: Option<AsyncPgConnection>,
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Text)]
    version: String,
}

impl Probe {
    /// The server's version. The caller sets the deadline, and drops the probe where it passes.
    pub async fn check(&mut self, url: &Secret) -> Result<String, Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => open(url.reveal().to_owned(), Purpose::Pool).await.map_err(|error| Error::Unreachable(error.to_string()))?,
        };
        let query = diesel::sql_query("SELECT current_setting('server_version') AS version");
        let version = query.get_result::<Version>(&mut connection).await?.version;
        self.connection = Some(connection);
        Ok(version.split_whitespace().next().unwrap_or_default().to_owned())
    }
}
