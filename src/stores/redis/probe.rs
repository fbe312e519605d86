//! Health checks of Redis, on a dedicated connection.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, Value};

use super::greeting::{self, ConnectionOptions};
use super::manager;
use super::{Error, Info};
use crate::config::RedisConfig;
use crate::stores::connect_error::{ConnectError, ErrorClass};

/// Kept between checks. It does not use the pool, so that a busy pool is not reported as an outage.
#[derive(Default)]
pub struct Probe {
    connection: Option<MultiplexedConnection>,
    /// Of the server behind this connection.
    version: String,
    /// At the last check; `None`: the server does not report it.
    is_replica: Option<bool>,
    /// `is_replica` at the last inspection.
    inspected: Option<bool>,
}

impl Probe {
    /// Returns the server's version. The caller sets the deadline and drops the probe when it passes.
    pub async fn check(&mut self, config: &RedisConfig) -> Result<String, ConnectError> {
        let (mut connection, is_new) = self.connection(config).await?;
        let mut request = redis::pipe();
        request.ignore_errors().cmd("PING").cmd("HELLO");
        let (ping, hello): (Value, Value) = request.query_async(&mut connection).await.map_err(failed)?;
        if let Value::ServerError(error) = ping {
            return Err(failed(error.into()));
        }
        self.is_replica = greeting::is_replica(hello);
        if is_new {
            // Best effort: the ACL may forbid INFO.
            let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await.unwrap_or_default();
            self.version = match Info::parse(&info).program() {
                ("Redis", version) => version.unwrap_or_default().to_owned(),
                (name, version) => format!("{name} {}", version.unwrap_or_default()),
            };
        }
        // After a failover, a new connection reaches the new primary.
        self.connection = Some(connection).filter(|_| self.is_replica != Some(true));
        Ok(self.version.clone())
    }

    /// `None` if the ACL forbids INFO.
    pub async fn info(&mut self, config: &RedisConfig) -> Result<Option<Info>, ConnectError> {
        let (mut connection, _) = self.connection(config).await?;
        let response = redis::cmd("INFO").query_async::<String>(&mut connection).await;
        self.inspected = self.is_replica;
        match response {
            Ok(text) => {
                let info = Info::parse(&text);
                self.connection = Some(connection).filter(|_| !info.is_replica());
                Ok(Some(info))
            }
            Err(error) => match Error::from(error) {
                Error::NotPermitted => {
                    self.connection = Some(connection);
                    Ok(None)
                }
                error => Err(of(&error)),
            },
        }
    }

    pub fn is_replica(&self) -> bool {
        self.is_replica == Some(true)
    }

    /// Whether the server's role has changed since the last inspection.
    pub fn role_changed(&self) -> bool {
        self.is_replica != self.inspected
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
        let options = ConnectionOptions { name: "larder-probe", no_touch: false };
        greeting::exchange(&mut connection, options).await.map_err(|error| of(&error))?;
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
    let class = match error {
        Error::Unreachable(_) => ErrorClass::Connect,
        Error::Timeout => ErrorClass::Timeout,
        Error::Auth | Error::NotPermitted => ErrorClass::Auth,
        Error::Loading | Error::OutOfMemory | Error::ReadOnly | Error::PrimaryDown => ErrorClass::Degraded,
        Error::ClusterMode | Error::Sentinel | Error::WrongType | Error::Other(_) => ErrorClass::Protocol,
    };
    let message = match error {
        Error::NotPermitted => Some("The server's ACL forbids the check for Larder's user."),
        error => error.sentence(),
    };
    ConnectError { class, message: message.map(Into::into), detail: error.to_string() }
}
