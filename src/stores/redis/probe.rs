//! Health checks of Redis, on a dedicated connection.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};

use super::manager::{self, ConnectionOptions};
use super::{Error, Info};
use crate::config::RedisConfig;
use crate::stores::connect_error::{ConnectError, ErrorClass};

/// Kept between checks. It does not use the pool, so that a busy pool is not reported as an outage.
#[derive(Default)]
pub struct Probe {
    connection: Option<MultiplexedConnection>,
    /// Of the server behind this connection.
    version: String,
}

impl Probe {
    /// Returns the server's version. The caller sets the deadline and drops the probe when it passes.
    pub async fn check(&mut self, config: &RedisConfig) -> Result<String, ConnectError> {
        let (mut connection, is_new) = self.connection(config).await?;
        redis::cmd("PING").query_async::<()>(&mut connection).await.map_err(failed)?;
        if is_new {
            // Best effort: the ACL may forbid INFO.
            let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await.unwrap_or_default();
            self.version = Info::parse(&info).text("redis_version").unwrap_or_default().to_owned();
        }
        self.connection = Some(connection);
        Ok(self.version.clone())
    }

    /// `None` if the ACL forbids INFO.
    pub async fn info(&mut self, config: &RedisConfig) -> Result<Option<Info>, ConnectError> {
        let (mut connection, _) = self.connection(config).await?;
        let response = redis::cmd("INFO").query_async::<String>(&mut connection).await;
        self.connection = Some(connection);
        match response {
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
        let info = manager::connection_info(&config.url).map_err(|error| of(&error))?;
        let client = Client::open(info).map_err(failed)?;
        // Only the caller's deadline applies.
        let no_timeouts = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let mut connection = client.get_multiplexed_async_connection_with_config(&no_timeouts).await.map_err(failed)?;
        manager::introduce(&mut connection, ConnectionOptions { name: "larder-probe", no_touch: false }).await;
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
    let (class, message) = match error {
        Error::Unreachable(_) => (ErrorClass::Connect, None),
        Error::Timeout => (ErrorClass::Timeout, None),
        Error::Auth => (ErrorClass::Auth, Some("The server rejected Larder's user name or password.")),
        Error::NotPermitted => (ErrorClass::Auth, Some("The server's ACL forbids the check for Larder's user.")),
        Error::Loading => (ErrorClass::Degraded, Some("The server is still loading its data.")),
        Error::OutOfMemory => (ErrorClass::Degraded, Some("The server is out of memory.")),
        Error::ReadOnly => (ErrorClass::Degraded, Some("The server is a read-only replica.")),
        Error::Other(detail) if detail.contains("MASTERDOWN") => {
            (ErrorClass::Degraded, Some("The server is a replica without a connection to its primary."))
        }
        Error::WrongType | Error::Other(_) => (ErrorClass::Protocol, None),
    };
    ConnectError { class, message, detail: error.to_string() }
}
