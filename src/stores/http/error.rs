//! Why a request failed. Messages contain no address and no key, so pages may show them to everyone.

use std::time::Duration;

use crate::stores::connect_error::{self, ErrorClass};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing was sent.
    #[error("the configuration is invalid: {0}")]
    Settings(&'static str),
    #[error("{}", unreachable(*.0))]
    Unreachable(ErrorClass),
    #[error("no response in time")]
    Timeout,
    #[error("the key was rejected")]
    Auth,
    #[error("not found: {0}")]
    NotFound(String),
    #[error("it already exists: {0}")]
    Conflict(String),
    /// The request is invalid; a retry does not help.
    #[error("the request was rejected: {0}")]
    Refused(String),
    #[error("there is no model with this name")]
    NoSuchModel,
    /// The server depends on another server, which failed or refused.
    #[error("the model provider failed: {0}")]
    Upstream(String),
    #[error("too many requests")]
    Busy { retry_after: Option<Duration> },
    #[error("the server is not ready: {0}")]
    NotReady(String),
    #[error("the server failed: {0}")]
    Failed(String),
    #[error("the response is too large")]
    TooLarge,
    /// The server responds, but not as expected of such a server.
    #[error("unexpected response: {0}")]
    Protocol(&'static str),
}

impl Error {
    /// All other error responses are `Protocol`: check the variant first.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unreachable(class) => *class,
            Self::Timeout => ErrorClass::Timeout,
            Self::Auth => ErrorClass::Auth,
            Self::NotReady(_) | Self::Busy { .. } => ErrorClass::Degraded,
            _ => ErrorClass::Protocol,
        }
    }
}

fn unreachable(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Dns => "the host name was not found",
        ErrorClass::Tls => "the certificate is not trusted, or the server does not use TLS",
        _ => "nothing listens at this address, or the connection broke",
    }
}

pub(super) fn of_transport(error: reqwest::Error) -> Error {
    if error.is_timeout() {
        return Error::Timeout;
    }
    // The host name must not influence the class.
    match connect_error::class_of(&error.without_url()) {
        ErrorClass::Timeout => Error::Timeout,
        ErrorClass::Protocol => Error::Protocol("the server does not speak HTTP"),
        class @ (ErrorClass::Dns | ErrorClass::Tls) => Error::Unreachable(class),
        ErrorClass::Connect | ErrorClass::Auth | ErrorClass::Degraded => Error::Unreachable(ErrorClass::Connect),
    }
}
