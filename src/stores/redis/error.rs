//! Why a command did not succeed.

use deadpool::managed::PoolError;
use redis::{ErrorKind, RedisError, ServerErrorKind};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("Redis does not answer: {0}")]
    Unreachable(String),
    #[error("Redis took too long")]
    Timeout,
    #[error("Redis refused the password")]
    Auth,
    #[error("Redis is still loading its data")]
    Loading,
    #[error("Redis has no memory left")]
    OutOfMemory,
    #[error("Redis is read-only")]
    ReadOnly,
    #[error("the key holds another type")]
    WrongType,
    /// By its access list, or because a managed server does not know the command.
    #[error("Redis does not permit this command to our user")]
    NotPermitted,
    #[error("Redis answered with an error: {0}")]
    Other(String),
}

impl Error {
    /// Whether another command would meet the same fate now.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Timeout)
    }
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::Auth,
            ErrorKind::Server(ServerErrorKind::BusyLoading) => Self::Loading,
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Self::ReadOnly,
            ErrorKind::Server(ServerErrorKind::NoPerm) => Self::NotPermitted,
            _ if error.is_io_error() || error.is_connection_dropped() => Self::Unreachable(error.to_string()),
            _ => match error.code() {
                Some("WRONGTYPE") => Self::WrongType,
                Some("OOM") => Self::OutOfMemory,
                Some("NOAUTH" | "WRONGPASS") => Self::Auth,
                _ if is_unknown(error.detail().unwrap_or_default()) => Self::NotPermitted,
                _ => Self::Other(error.to_string()),
            },
        }
    }
}

/// Managed servers leave commands out, or give them another name.
fn is_unknown(detail: &str) -> bool {
    let detail = detail.trim_start_matches("ERR ").to_ascii_lowercase();
    detail.starts_with("unknown command") || detail.starts_with("unknown subcommand") || detail.contains("command not allowed")
}

impl From<PoolError<RedisError>> for Error {
    fn from(error: PoolError<RedisError>) -> Self {
        match error {
            PoolError::Timeout(_) => Self::Timeout,
            PoolError::Backend(error) => error.into(),
            other => Self::Unreachable(other.to_string()),
        }
    }
}
