//! Why a command failed.

use deadpool_redis::PoolError;
use redis::{ErrorKind, RedisError, ServerErrorKind};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("Redis is unreachable: {0}")]
    Unreachable(String),
    #[error("Redis did not respond in time")]
    Timeout,
    #[error("Redis rejected the credentials")]
    Auth,
    #[error("Redis is still loading its data")]
    Loading,
    #[error("Redis is out of memory")]
    OutOfMemory,
    #[error("Redis is read-only")]
    ReadOnly,
    #[error("the key has a different type")]
    WrongType,
    /// The ACL forbids it, or a managed server has disabled the command.
    #[error("the Redis user may not run this command")]
    NotPermitted,
    #[error("Redis returned an error: {0}")]
    Other(String),
}

impl Error {
    /// Whether every other command would currently fail as well.
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

/// Managed servers remove or rename some commands.
fn is_unknown(detail: &str) -> bool {
    let detail = detail.trim_start_matches("ERR ").to_ascii_lowercase();
    detail.starts_with("unknown command") || detail.starts_with("unknown subcommand") || detail.contains("command not allowed")
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Timeout(_) => Self::Timeout,
            PoolError::Backend(error) => error.into(),
            other => Self::Unreachable(other.to_string()),
        }
    }
}
