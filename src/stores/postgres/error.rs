//! Why a query failed.

use std::sync::Arc;

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use super::Reason;
use super::sqlstate::{self, Meaning};

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No connection within the deadline, or the connection broke.
    #[error("Postgres is unreachable: {0}")]
    Unreachable(String),
    /// The statement exceeded its timeout.
    #[error("Postgres did not respond in time")]
    Timeout,
    /// The server responds, but cannot do this now. Nothing was done.
    #[error("{} ({detail})", reason.sentence())]
    Unavailable { reason: Reason, detail: String },
    /// The schema cannot be changed. The message is a sentence for the operator.
    #[error("{0}")]
    Migration(String),
    #[error("Postgres rejected a statement: {0}")]
    Query(Arc<DieselError>),
}

impl Error {
    /// The name of the unique constraint that the statement violated.
    pub fn unique_violation(&self) -> Option<&str> {
        let Self::Query(error) = self else { return None };
        match error.as_ref() {
            DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, info) => Some(info.constraint_name().unwrap_or("")),
            _ => None,
        }
    }

    /// Whether the server rejects all changes, while reading works.
    pub fn rejects_writes(&self) -> bool {
        matches!(self, Self::Unavailable { reason: Reason::ReadOnly | Reason::DiskFull, .. })
    }
}

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        match &error {
            DieselError::DatabaseError(DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection, info) => {
                Self::Unreachable(info.message().to_owned())
            }
            DieselError::BrokenTransactionManager => Self::Unreachable("the connection broke during a transaction".into()),
            DieselError::DatabaseError(_, info) => match sqlstate::code_in(info.message()).map(sqlstate::meaning) {
                Some(Meaning::Unavailable(reason)) => Self::Unavailable { reason, detail: info.message().to_owned() },
                Some(Meaning::Unreachable) => Self::Unreachable(info.message().to_owned()),
                Some(Meaning::Timeout) => Self::Timeout,
                // Without a code, the error is not from the server.
                None if info.message() == "connection closed" => Self::Unreachable(info.message().to_owned()),
                Some(Meaning::Rejected) | None => Self::Query(Arc::new(error)),
            },
            _ => Self::Query(Arc::new(error)),
        }
    }
}
