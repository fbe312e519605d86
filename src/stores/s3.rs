//! The object store: one client, time-outs, and errors that name what happened.

/// Why a request to the store did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("There is no bucket of this name")]
    NoSuchBucket,
    #[error("There is no object of this key")]
    NoSuchKey,
    #[error("The store refused: access denied for Larder's key")]
    AccessDenied,
    /// 409 or 412 on a conditional write: another object is there.
    #[error("The object is not as expected")]
    PreconditionFailed,
    #[error("The bucket is not empty")]
    BucketNotEmpty,
    #[error("A bucket of this name exists already")]
    BucketExists,
    #[error("The store has no space left")]
    NoSpace,
    #[error("The store does not take this key: {0}")]
    InvalidKey(String),
    #[error("The requested range is outside the object")]
    InvalidRange,
    /// What we sent did not match its checksum.
    #[error("The store received other bytes than Larder sent")]
    ChecksumMismatch,
    #[error("The store asks to slow down")]
    SlowDown,
    /// No answer within the deadline, or no connection.
    #[error("The store does not answer: {0}")]
    Unreachable(String),
    #[error("The store answered with an error: {0}")]
    Other(String),
}

#[derive(Clone)]
pub struct Store;
