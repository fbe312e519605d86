//! How much of a connection pool is used.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUsage {
    /// Connections in use.
    pub in_use: usize,
    /// Open connections that are not in use.
    pub idle: usize,
    /// Callers waiting for a connection.
    pub waiting: usize,
    /// The maximum number of connections.
    pub limit: usize,
}

impl From<deadpool::Status> for PoolUsage {
    fn from(status: deadpool::Status) -> Self {
        let idle = status.available.min(status.size);
        Self { in_use: status.size - idle, idle, waiting: status.waiting, limit: status.max_size }
    }
}
