//! Why an upload did not end as a stored file: for people a sentence, for programs a word, for the audit its kind.

use super::publish::sentence;
use crate::domain::Error;
use crate::domain::audit::Outcome;
use crate::domain::transfer_counters::UploadOutcome;
use crate::stores::s3;

/// What a row says that its own sender ended. Such a row counts as cancelled, not as failed.
pub(in crate::domain) const CANCELLED: [&str; 2] = ["It was cancelled.", "It was started anew with another file."];

/// As it is recorded.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub why: String,
    pub action: &'static str,
    pub outcome: Outcome,
}

impl Failure {
    /// What Larder would not take was refused; what it could not store has failed.
    pub fn of(error: &Error) -> Self {
        let refused = matches!(code(error), "exists" | "name" | "too_large");
        let outcome = if refused { Outcome::Refused } else { Outcome::Failed };
        Self { why: sentence(error), action: "upload.fail", outcome }
    }

    /// By its own sender; `why` is one of [`CANCELLED`].
    pub fn cancelled(why: &'static str) -> Self {
        Self { why: why.to_owned(), action: "upload.abort", outcome: Outcome::Ok }
    }

    pub fn outcome(&self) -> UploadOutcome {
        match self.outcome {
            Outcome::Ok => UploadOutcome::Cancelled,
            Outcome::Refused => UploadOutcome::Refused,
            Outcome::Failed => UploadOutcome::Failed,
        }
    }
}

/// The bytes ended before the file did.
pub fn cut(why: &str) -> Error {
    Error::refused("body", why)
}

/// Why a file is not stored, in a word that stays the same.
pub fn code(error: &Error) -> &'static str {
    match error {
        Error::Conflict(_) | Error::S3(s3::Error::PreconditionFailed) => "exists",
        Error::Refused { field: "body", .. } => "cut",
        Error::Refused { .. } | Error::S3(s3::Error::InvalidKey(_)) => "name",
        Error::TooLarge(_) => "too_large",
        Error::Cancelled(_) => "given_up",
        Error::Busy { .. } => "busy",
        Error::S3(s3::Error::NoSpace) => "no_space",
        Error::S3(_) => "store",
        Error::Postgres(_) => "database",
        Error::NotFound(_) | Error::Forbidden(_) | Error::Redis(_) | Error::Internal(_) => "internal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_taken_is_refused_and_what_broke_has_failed() {
        for (error, word, outcome) in [
            (super::super::publish::exists("a"), "exists", Outcome::Refused),
            (Error::S3(s3::Error::PreconditionFailed), "exists", Outcome::Refused),
            (Error::refused("file", "A file needs a name."), "name", Outcome::Refused),
            (Error::TooLarge("Too large.".into()), "too_large", Outcome::Refused),
            (cut("The connection broke."), "cut", Outcome::Failed),
            (super::super::row::given_up(), "given_up", Outcome::Failed),
            (Error::S3(s3::Error::NoSpace), "no_space", Outcome::Failed),
            (Error::S3(s3::Error::Unreachable(String::new())), "store", Outcome::Failed),
            (Error::Internal(String::new()), "internal", Outcome::Failed),
        ] {
            assert_eq!((code(&error), Failure::of(&error).outcome), (word, outcome), "{error}");
        }
    }
}
