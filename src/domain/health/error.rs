//! Why a check failed: a class to act on, and a sentence that any signed-in user may see.

use std::time::Duration;

use crate::stores::connect_error::{ConnectError, ErrorKind};
use crate::stores::http;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    Dns,
    Connect,
    Tls,
    Timeout,
    Auth,
    Protocol,
    /// The service responds, but reports a problem.
    Degraded,
}

impl ErrorClass {
    pub const ALL: [Self; 7] = [Self::Dns, Self::Connect, Self::Tls, Self::Timeout, Self::Auth, Self::Protocol, Self::Degraded];

    /// In metrics, JSON and the database.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Auth => "auth",
            Self::Protocol => "protocol",
            Self::Degraded => "degraded",
        }
    }

    pub fn of_slug(slug: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.slug() == slug)
    }

    /// A short label for lists.
    pub fn label(self) -> &'static str {
        match self {
            Self::Dns => "name not found",
            Self::Connect => "no connection",
            Self::Tls => "certificate or TLS",
            Self::Timeout => "no response in time",
            Self::Auth => "access denied",
            Self::Protocol => "unexpected response",
            Self::Degraded => "degraded",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckError {
    pub class: ErrorClass,
    /// Contains no host, password or statement.
    pub why: String,
    /// For the log only.
    pub raw: String,
}

impl CheckError {
    pub fn new(class: ErrorClass, why: impl Into<String>) -> Self {
        Self { class, why: why.into(), raw: String::new() }
    }

    pub fn timeout(limit: Duration) -> Self {
        Self::new(ErrorClass::Timeout, format!("No response within {} ms.", limit.as_millis()))
    }

    pub fn degraded(why: impl Into<String>) -> Self {
        Self::new(ErrorClass::Degraded, why)
    }
}

impl From<ConnectError> for CheckError {
    fn from(failed: ConnectError) -> Self {
        let (class, why) = match failed.kind {
            ErrorKind::Dns => (ErrorClass::Dns, "The host name was not found."),
            ErrorKind::Connect => (ErrorClass::Connect, "No connection: nothing listens at this address, or the connection broke."),
            ErrorKind::Tls => (ErrorClass::Tls, "The certificate is not trusted, or the server does not use TLS."),
            ErrorKind::Timeout => (ErrorClass::Timeout, "The server did not respond in time."),
            ErrorKind::Auth => (ErrorClass::Auth, "The server rejected Larder's key or password."),
            ErrorKind::Protocol => (ErrorClass::Protocol, "The server returned an error or an unexpected response."),
            ErrorKind::NotReady => (ErrorClass::Degraded, "The server reports that it is not ready."),
        };
        Self { raw: failed.detail, ..Self::new(class, failed.message.unwrap_or(why)) }
    }
}

impl From<http::Error> for CheckError {
    fn from(error: http::Error) -> Self {
        ConnectError { kind: error.kind(), message: None, detail: error.to_string() }.into()
    }
}
