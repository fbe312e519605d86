//! Why an upload failed: a sentence for users, a code for programs, and an outcome for the audit log.

use crate::domain::Error;
use crate::domain::audit::{Action, Outcome};
use crate::domain::files::FileState;
use crate::domain::s3_sentences;
use crate::domain::transfer_counters::UploadOutcome;
use crate::stores::{postgres, s3};

/// As recorded on the row.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub why: String,
    pub state: FileState,
    pub action: Action,
    pub outcome: Outcome,
}

impl Failure {
    /// Files that Larder rejects are `Refused`; files that could not be stored are `Failed`.
    pub fn of(error: &Error) -> Self {
        let refused = matches!(code(error), "exists" | "name" | "too_large");
        let outcome = if refused { Outcome::Refused } else { Outcome::Failed };
        Self { why: sentence(error), state: FileState::Failed, action: Action::UploadFail, outcome }
    }

    /// Cancelled by its sender.
    pub fn cancelled(why: &str) -> Self {
        Self { why: why.to_owned(), state: FileState::Cancelled, action: Action::UploadAbort, outcome: Outcome::Ok }
    }

    pub fn outcome(&self) -> UploadOutcome {
        match self.outcome {
            Outcome::Ok => UploadOutcome::Cancelled,
            Outcome::Refused => UploadOutcome::Refused,
            Outcome::Failed => UploadOutcome::Failed,
        }
    }
}

/// The reason for users, on the row and in the response.
pub(super) fn sentence(error: &Error) -> String {
    match error {
        Error::S3(error) => s3_sentences::of_upload(error),
        Error::Postgres(postgres::Error::Unavailable { reason, .. }) => format!("{} Try again later.", reason.sentence()),
        Error::Postgres(_) => "The database did not respond in time. Try again.".into(),
        other => other.to_string(),
    }
}

/// The body ended before the file was complete.
pub fn incomplete(why: &str) -> Error {
    Error::refused("body", why)
}

/// The reason as a stable code.
pub fn code(error: &Error) -> &'static str {
    match error {
        Error::Conflict(_) | Error::S3(s3::Error::PreconditionFailed) => "exists",
        Error::Refused { field: "body", .. } => "incomplete",
        Error::Refused { .. } | Error::S3(s3::Error::InvalidKey(_)) => "name",
        Error::TooLarge(_) => "too_large",
        Error::Cancelled(_) => "cancelled",
        Error::Busy { .. } | Error::TooMany { .. } => "busy",
        Error::S3(s3::Error::NoSpace | s3::Error::QuotaExceeded(_)) => "no_space",
        Error::S3(_) => "store",
        Error::Postgres(_) => "database",
        Error::NotFound(_) | Error::Forbidden(_) | Error::Redis(_) | Error::Internal(_) => "internal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_files_are_refused_and_broken_uploads_have_failed() {
        for (error, expected, outcome) in [
            (super::super::publishing::already_exists("a"), "exists", Outcome::Refused),
            (Error::S3(s3::Error::PreconditionFailed), "exists", Outcome::Refused),
            (Error::refused("file", "The file has no name."), "name", Outcome::Refused),
            (Error::TooLarge("Too large.".into()), "too_large", Outcome::Refused),
            (incomplete("The connection broke."), "incomplete", Outcome::Failed),
            (super::super::row::lease_lost(), "cancelled", Outcome::Failed),
            (Error::S3(s3::Error::NoSpace), "no_space", Outcome::Failed),
            (Error::S3(s3::Error::QuotaExceeded(String::new())), "no_space", Outcome::Failed),
            (Error::S3(s3::Error::Unreachable(String::new())), "store", Outcome::Failed),
            (Error::Internal(String::new()), "internal", Outcome::Failed),
        ] {
            assert_eq!((code(&error), Failure::of(&error).outcome), (expected, outcome), "{error}");
        }
    }
}
