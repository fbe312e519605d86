//! Why a check failed: a class to act on, and a sentence that may be shown to all who are signed in.

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
    /// It answers, but does not work as it should.
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

    /// For whoever looks at a list of them.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dns => "name not found",
            Self::Connect => "no connection",
            Self::Tls => "certificate or TLS",
            Self::Timeout => "no answer in time",
            Self::Auth => "refused",
            Self::Protocol => "wrong answer",
            Self::Degraded => "degraded",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckError {
    pub class: ErrorClass,
    /// Names no host, no password and no statement.
    pub why: String,
    /// For the log alone.
    pub raw: String,
}

impl CheckError {
    pub fn new(class: ErrorClass, why: impl Into<String>) -> Self {
        Self { class, why: why.into(), raw: String::new() }
    }

    pub fn late(limit: Duration) -> Self {
        Self::new(ErrorClass::Timeout, format!("No answer within {} ms.", limit.as_millis()))
    }

    pub fn degraded(why: impl Into<String>) -> Self {
        Self::new(ErrorClass::Degraded, why)
    }
}

impl From<ConnectError> for CheckError {
    fn from(failed: ConnectError) -> Self {
        let (class, why) = match failed.kind {
            ErrorKind::Dns => (ErrorClass::Dns, "Its name was not found."),
            ErrorKind::Connect => (ErrorClass::Connect, "There is no connection: nothing listens there, or it broke off."),
            ErrorKind::Tls => (ErrorClass::Tls, "Its certificate is not one that Larder trusts, or it speaks no TLS."),
            ErrorKind::Timeout => (ErrorClass::Timeout, "It took too long to answer."),
            ErrorKind::Auth => (ErrorClass::Auth, "It refused Larder's key or password."),
            ErrorKind::Protocol => (ErrorClass::Protocol, "It answered with an error, or not as such a server does."),
            ErrorKind::NotReady => (ErrorClass::Degraded, "It answers that it cannot work now."),
        };
        Self { raw: failed.detail, ..Self::new(class, failed.message.unwrap_or(why)) }
    }
}

impl From<http::Error> for CheckError {
    fn from(error: http::Error) -> Self {
        ConnectError { kind: error.kind(), message: None, detail: error.to_string() }.into()
    }
}
