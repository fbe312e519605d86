//! Why a question was not answered. No message shows an address or a key: pages for everybody may show them.

use std::time::Duration;

use crate::stores::connect_error::{self, ErrorKind};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing was sent.
    #[error("it cannot be used as it is configured: {0}")]
    Settings(&'static str),
    #[error("{}", lost(*.0))]
    Unreachable(ErrorKind),
    #[error("it took too long")]
    Timeout,
    #[error("it refused the key")]
    Auth,
    #[error("it does not have that: {0}")]
    NotFound(String),
    #[error("that is there already: {0}")]
    Conflict(String),
    /// What was asked is wrong; asking again will not help.
    #[error("it refused what was asked: {0}")]
    Refused(String),
    #[error("it knows no model of this name")]
    NoSuchModel,
    /// It has to ask another server, which failed or refused.
    #[error("the provider of the model failed: {0}")]
    Upstream(String),
    #[error("it asks to slow down")]
    Busy { retry_after: Option<Duration> },
    #[error("it is not ready: {0}")]
    NotReady(String),
    #[error("it failed: {0}")]
    Failed(String),
    #[error("its answer is too large")]
    TooLarge,
    /// It answers, but not as such a server does.
    #[error("its answer makes no sense: {0}")]
    Protocol(&'static str),
}

impl Error {
    /// Other answers that are errors themselves are `Protocol`: look at the variant first.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable(kind) => *kind,
            Self::Timeout => ErrorKind::Timeout,
            Self::Auth => ErrorKind::Auth,
            Self::NotReady(_) | Self::Busy { .. } => ErrorKind::NotReady,
            _ => ErrorKind::Protocol,
        }
    }
}

fn lost(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Dns => "its name was not found",
        ErrorKind::Tls => "its certificate is not one that we trust, or it speaks no TLS",
        _ => "nothing listens there, or the connection broke",
    }
}

pub(super) fn of_transport(error: reqwest::Error) -> Error {
    if error.is_timeout() {
        return Error::Timeout;
    }
    // A host's name must not decide what kind of failure it is.
    match connect_error::kind_of(&error.without_url()) {
        ErrorKind::Timeout => Error::Timeout,
        ErrorKind::Protocol => Error::Protocol("it does not speak HTTP"),
        kind @ (ErrorKind::Dns | ErrorKind::Tls) => Error::Unreachable(kind),
        ErrorKind::Connect | ErrorKind::Auth | ErrorKind::NotReady => Error::Unreachable(ErrorKind::Connect),
    }
}
