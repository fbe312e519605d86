//! Cheap questions to Redis, on a connection of their own.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError};

use super::pool::{self, ConnectionOptions};
use super::{Error, Info};
use crate::config::RedisConfig;
use crate::stores::connect_error::{ConnectError, ErrorKind};

/// Kept between checks, so that a busy pool does not read as a server that is down.
#[derive(Default)]
pub struct Probe {
    connection: Option<MultiplexedConnection>,
    /// Of this connection's server.
    version: String,
}

impl Probe {
    /// The server's version. The caller sets the deadline, and drops the probe where it passes.
    pub async fn check(&mut self, config: &RedisConfig) -> Result<String, ConnectError> {
        let (mut connection, is_new) = self.connection(config).await?;
        redis::cmd("PING").query_async::<()>(&mut connection).await.map_err(failed)?;
        if is_new {
            // Best effort: not every user may ask.
            let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await.unwrap_or_default();
            self.version = Info::parse(&info).text("redis_version").unwrap_or_default().to_owned();
        }
        self.connection = Some(connection);
        Ok(self.version.clone())
    }

    /// `None` where the server does not tell its user.
    pub async fn survey(&mut self, config: &RedisConfig) -> Result<Option<Info>, ConnectError> {
        let (mut connection, _) = self.connection(config).await?;
        let told = redis::cmd("INFO").query_async::<String>(&mut connection).await;
        self.connection = Some(connection);
        match told {
            Ok(text) => Ok(Some(Info::parse(&text))),
            Err(error) => match Error::from(error) {
                Error::NotPermitted => Ok(None),
                error => Err(of(&error)),
            },
        }
    }

    async fn connection(&mut self, config: &RedisConfig) -> Result<(MultiplexedConnection, bool), ConnectError> {
        if let Some(connection) = self.connection.take() {
            return Ok((connection, false));
        }
        let client = pool::client(&config.url).map_err(|error| of(&error))?;
        // The caller's deadline is the only one.
        let patient = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let mut connection = client.get_multiplexed_async_connection_with_config(&patient).await.map_err(failed)?;
        pool::introduce(&mut connection, ConnectionOptions { name: "larder-probe", no_touch: false }).await;
        Ok((connection, true))
    }
}

fn failed(error: RedisError) -> ConnectError {
    let reached = ConnectError::of(&error);
    match Error::from(error) {
        Error::Unreachable(_) => reached,
        error => of(&error),
    }
}

fn of(error: &Error) -> ConnectError {
    let (kind, say) = match error {
        Error::Unreachable(_) => (ErrorKind::Connect, None),
        Error::Timeout => (ErrorKind::Timeout, None),
        Error::Auth => (ErrorKind::Auth, Some("It refused Larder's user or password.")),
        Error::NotPermitted => (ErrorKind::Auth, Some("It does not permit Larder's user to ask.")),
        Error::Loading => (ErrorKind::NotReady, Some("It is still loading its data.")),
        Error::OutOfMemory => (ErrorKind::NotReady, Some("It has no memory left.")),
        Error::ReadOnly => (ErrorKind::NotReady, Some("It is a read-only replica.")),
        Error::Other(why) if why.contains("MASTERDOWN") => (ErrorKind::NotReady, Some("It is a replica that has lost its master.")),
        Error::WrongType | Error::Other(_) => (ErrorKind::Protocol, None),
    };
    ConnectError { kind, say, why: error.to_string() }
}
