//! What the floors below say, as the answer it becomes.

use super::Error;
use crate::domain;
use crate::domain::health::Service;
use crate::stores::{postgres, redis, s3};

impl From<domain::Error> for Error {
    fn from(error: domain::Error) -> Self {
        match error {
            domain::Error::NotFound(why) => Self::NotFound(why),
            domain::Error::Refused { why, .. } => Self::Unprocessable(why),
            domain::Error::Conflict(why) | domain::Error::Cancelled(why) => Self::Conflict(why),
            domain::Error::Forbidden(why) => Self::Forbidden(why),
            domain::Error::TooLarge(why) => Self::TooLarge(why),
            domain::Error::Busy { why, retry_after } => Self::Busy { why, retry_after },
            domain::Error::Internal(why) => Self::Internal(why),
            domain::Error::Postgres(error) => error.into(),
            domain::Error::S3(error) => error.into(),
            domain::Error::Redis(error) => error.into(),
        }
    }
}

impl From<postgres::Error> for Error {
    fn from(error: postgres::Error) -> Self {
        match error {
            postgres::Error::Unreachable(_) | postgres::Error::Timeout => {
                Self::Unavailable { service: Service::Postgres, cause: error.to_string() }
            }
            error => Self::Internal(error.to_string()),
        }
    }
}

impl From<s3::Error> for Error {
    fn from(error: s3::Error) -> Self {
        match error {
            s3::Error::NoSuchBucket => Self::NotFound("There is no bucket of this name. It may have been deleted.".to_owned()),
            s3::Error::NoSuchKey => Self::NotFound("There is no object of this key. It may have been deleted.".to_owned()),
            s3::Error::AccessDenied => Self::Forbidden(
                "The object store refused Larder's own access key. Whoever runs the store can give the key this right.".to_owned(),
            ),
            s3::Error::PreconditionFailed => Self::Conflict("The object has changed since you looked. Nothing was done.".to_owned()),
            s3::Error::BucketNotEmpty => Self::Conflict("The bucket is not empty. Delete its objects first.".to_owned()),
            s3::Error::BucketExists => Self::Conflict("A bucket of this name exists already.".to_owned()),
            s3::Error::InvalidKey(why) => Self::Unprocessable(why),
            s3::Error::InvalidRequest(_) => {
                Self::BadRequest("The store cannot read this address. It may be old: go back and open the page anew.".to_owned())
            }
            s3::Error::NotSupported => Self::Unprocessable("This store does not offer what was asked for.".to_owned()),
            s3::Error::NoSpace => Self::NoSpace,
            // A error of the store's, whatever it says: it may be over in a moment.
            s3::Error::SlowDown | s3::Error::Unreachable(_) | s3::Error::ChecksumMismatch | s3::Error::Other(_) => {
                Self::Unavailable { service: Service::S3, cause: error.to_string() }
            }
            error => Self::Internal(error.to_string()),
        }
    }
}

impl From<askama::Error> for Error {
    fn from(error: askama::Error) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<redis::Error> for Error {
    fn from(error: redis::Error) -> Self {
        match error {
            redis::Error::NotPermitted => Self::Forbidden(
                "Redis does not permit this to the user that Larder looks at it with. Whoever runs Redis can give it this right."
                    .to_owned(),
            ),
            redis::Error::WrongType => Self::Conflict("The key has been replaced by one of another type. Look again.".to_owned()),
            redis::Error::OutOfMemory => Self::Conflict(
                "Redis has no memory left, not even for this. Delete single keys, clear a namespace or raise maxmemory first.".to_owned(),
            ),
            redis::Error::ReadOnly => Self::Conflict("This Redis is a replica, which takes no changes. Nothing was done.".to_owned()),
            error => Self::Unavailable { service: Service::Redis, cause: error.to_string() },
        }
    }
}
