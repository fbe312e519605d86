//! Conversion of the errors of the lower layers into console errors.

use super::Error;
use crate::domain;
use crate::domain::problem::Problem;

impl From<domain::Error> for Error {
    fn from(error: domain::Error) -> Self {
        Problem::from(error).into()
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::NotFound(why) => Self::NotFound(why),
            Problem::BadRequest(why) => Self::BadRequest(why),
            Problem::Unprocessable(why) => Self::Unprocessable(why),
            Problem::Conflict(why) => Self::Conflict(why),
            Problem::Forbidden(why) => Self::Forbidden(why),
            Problem::TooLarge(why) => Self::TooLarge(why),
            Problem::Busy { why, retry_after } => Self::Busy { why, retry_after },
            Problem::TooMany { why, retry_after } => {
                let seconds = retry_after.as_secs().max(1);
                Self::TooManyRequests { why: format!("{why} Try again in {seconds} seconds."), retry_after }
            }
            Problem::NoSpace => Self::NoSpace,
            Problem::Unavailable { service, reason, cause } => Self::Unavailable { service, reason, cause },
            Problem::NotUsable { service, why, cause } => Self::NotUsable { service, why, cause },
            Problem::Internal(why) => Self::Internal(why),
        }
    }
}

impl From<askama::Error> for Error {
    fn from(error: askama::Error) -> Self {
        Self::Internal(error.to_string())
    }
}
