//! Why a command failed.

use deadpool::managed::PoolError;
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
    #[error("Redis is a replica and accepts no writes")]
    ReadOnly,
    #[error("Redis is a replica without a connection to its primary")]
    PrimaryDown,
    #[error("Redis runs in cluster mode, which Larder does not support")]
    ClusterMode,
    #[error("the address is that of a Redis Sentinel, which stores no data")]
    Sentinel,
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

    /// A sentence about the state of the server that users may see; `None` if the error has no more specific one.
    pub fn sentence(&self) -> Option<&'static str> {
        Some(match self {
            Self::Auth => "The server rejected Larder's user name or password.",
            Self::Loading => "The server is still loading its data.",
            Self::OutOfMemory => "The server is out of memory.",
            Self::ReadOnly => "The server is a replica and accepts no writes.",
            Self::PrimaryDown => "The server is a replica without a connection to its primary.",
            Self::ClusterMode => {
                "This Redis runs in cluster mode, which Larder does not support. Set REDIS_URL to a server without cluster mode."
            }
            Self::Sentinel => {
                "REDIS_URL is the address of a Redis Sentinel, which Larder does not support. Set it to an address that leads to the \
                 primary."
            }
            Self::Unreachable(_) | Self::Timeout | Self::WrongType | Self::NotPermitted | Self::Other(_) => return None,
        })
    }

    /// Whether the server refused the command because of its role or state. After a failover, a new connection to the same
    /// address may reach a server that accepts it.
    pub(super) fn is_refusal_of_role(&self) -> bool {
        matches!(self, Self::ReadOnly | Self::PrimaryDown | Self::Loading)
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
            ErrorKind::Server(ServerErrorKind::MasterDown) => Self::PrimaryDown,
            ErrorKind::Server(
                ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::CrossSlot | ServerErrorKind::ClusterDown,
            ) => Self::ClusterMode,
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

impl From<PoolError<Self>> for Error {
    fn from(error: PoolError<Self>) -> Self {
        match error {
            PoolError::Timeout(_) => Self::Timeout,
            PoolError::Backend(error) => error,
            other => Self::Unreachable(other.to_string()),
        }
    }
}
