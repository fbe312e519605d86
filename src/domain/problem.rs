//! What an error means for the person or program that asked: one sentence and one kind, whichever layer it comes from.

use std::time::Duration;

use super::Error;
use super::health::Service;
use super::s3_sentences;
use crate::stores::{postgres, redis, s3};

/// An error without the types of the stores. Layer 3 turns each kind into a status.
#[derive(Debug)]
pub enum Problem {
    NotFound(String),
    BadRequest(String),
    /// The input was understood and refused.
    Unprocessable(String),
    Conflict(String),
    Forbidden(String),
    TooLarge(String),
    Busy {
        why: String,
        retry_after: Duration,
    },
    TooMany {
        why: String,
        retry_after: Duration,
    },
    /// The store has no space left.
    NoSpace,
    /// `reason` is a sentence for the user, if the service responds and reports one; nothing was saved then. `cause` is for the
    /// log.
    Unavailable {
        service: Service,
        reason: Option<&'static str>,
        cause: String,
    },
    /// The service responds, but cannot process requests now; `why` says the reason. `cause` is for the log.
    NotUsable {
        service: Service,
        why: String,
        cause: String,
    },
    /// For the log.
    Internal(String),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound(why) => Self::NotFound(why),
            Error::Refused { why, .. } => Self::Unprocessable(why),
            Error::Conflict(why) | Error::Cancelled(why) => Self::Conflict(why),
            Error::Forbidden(why) => Self::Forbidden(why),
            Error::TooLarge(why) => Self::TooLarge(why),
            Error::Busy { why, retry_after } => Self::Busy { why, retry_after },
            Error::TooMany { why, retry_after } => Self::TooMany { why, retry_after },
            Error::Internal(why) => Self::Internal(why),
            Error::Postgres(error) => error.into(),
            Error::S3(error) => error.into(),
            Error::Redis(error) => error.into(),
        }
    }
}

impl From<postgres::Error> for Problem {
    fn from(error: postgres::Error) -> Self {
        match error {
            postgres::Error::Unreachable(_) | postgres::Error::Timeout => {
                Self::Unavailable { service: Service::Postgres, reason: None, cause: error.to_string() }
            }
            postgres::Error::Unavailable { reason, .. } => {
                Self::Unavailable { service: Service::Postgres, reason: Some(reason.sentence()), cause: error.to_string() }
            }
            error => Self::Internal(error.to_string()),
        }
    }
}

impl From<s3::Error> for Problem {
    fn from(error: s3::Error) -> Self {
        match error {
            s3::Error::NoSuchBucket => Self::NotFound("Bucket not found. It may have been deleted.".to_owned()),
            s3::Error::NoSuchKey => Self::NotFound("Object not found. It may have been deleted.".to_owned()),
            s3::Error::AccessDenied => Self::Forbidden(
                "The object store denied access to Larder's access key. The operator of the store can grant the key this permission."
                    .to_owned(),
            ),
            s3::Error::PreconditionFailed => {
                Self::Conflict("The object was changed after you opened it, so nothing was done. Reload and try again.".to_owned())
            }
            s3::Error::BucketNotEmpty => Self::Conflict("The bucket is not empty. Delete its objects first.".to_owned()),
            s3::Error::BucketExists => Self::Conflict("A bucket with this name already exists.".to_owned()),
            s3::Error::Archived(_) | s3::Error::CustomerKey | s3::Error::NotDecrypted(_) => {
                Self::Conflict(s3_sentences::of_reading(&error).unwrap_or_else(|| error.to_string()))
            }
            s3::Error::InvalidKey(why) => Self::Unprocessable(why),
            s3::Error::InvalidRequest(_) => {
                Self::BadRequest("The store rejected this request. The link may be outdated: go back and open the page again.".to_owned())
            }
            s3::Error::QuotaExceeded(_) => {
                Self::NotUsable { service: Service::S3, why: format!("{error}."), cause: "the quota is used up".to_owned() }
            }
            s3::Error::WrongRegion(_) => {
                Self::NotUsable { service: Service::S3, why: error.to_string(), cause: "the region is wrong".to_owned() }
            }
            s3::Error::NotSupported => Self::Unprocessable("This store does not support this operation.".to_owned()),
            s3::Error::NoSpace => Self::NoSpace,
            // Errors of the store, which may be temporary.
            s3::Error::SlowDown | s3::Error::Unreachable(_) | s3::Error::ChecksumMismatch | s3::Error::Other(_) => {
                Self::Unavailable { service: Service::S3, reason: None, cause: error.to_string() }
            }
            error => Self::Internal(error.to_string()),
        }
    }
}

impl From<redis::Error> for Problem {
    fn from(error: redis::Error) -> Self {
        match error {
            redis::Error::NotPermitted => Self::Forbidden(
                "Redis does not permit this for the user that Larder reads with. The operator of Redis can grant this permission."
                    .to_owned(),
            ),
            redis::Error::WrongType => Self::Conflict("The key was replaced by a key of another type. Reload the page.".to_owned()),
            redis::Error::OutOfMemory => {
                Self::Conflict("Redis is out of memory. Delete single keys, clear a namespace or raise maxmemory first.".to_owned())
            }
            redis::Error::Unreachable(_) | redis::Error::Timeout => {
                Self::Unavailable { service: Service::Redis, reason: None, cause: error.to_string() }
            }
            redis::Error::ReadOnly => not_usable(
                "The server is a replica and accepts no writes, so nothing was changed. After a failover, try again: Larder connects to \
                 the new primary.",
                &error,
            ),
            error => not_usable(error.sentence().unwrap_or("The server returned an unexpected error, which was logged."), &error),
        }
    }
}

fn not_usable(why: &str, error: &redis::Error) -> Problem {
    Problem::NotUsable { service: Service::Redis, why: why.to_owned(), cause: error.to_string() }
}
