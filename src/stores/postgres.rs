//! Postgres: a pool whose connections are checked before use, and migrations under an advisory lock.

/// Why a query did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection within the deadline, or it broke.
    #[error("Postgres does not answer: {0}")]
    Unreachable(String),
    /// The statement took longer than it may.
    #[error("Postgres took too long")]
    Timeout,
    #[error("Postgres refused a statement: {0}")]
    Query(diesel::result::Error),
}

#[derive(Clone)]
pub struct Pool;
