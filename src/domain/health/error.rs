//! Why a check failed: a class to act on, and a sentence that any signed-in user may see.

use std::time::Duration;

use crate::stores::connect_error::ConnectError;
pub use crate::stores::connect_error::ErrorClass;
use crate::stores::http;

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
        let why = match failed.class {
            ErrorClass::Dns => "The host name was not found.",
            ErrorClass::Connect => "No connection: nothing listens at this address, or the connection broke.",
            ErrorClass::Tls => "The certificate is not trusted, or the server does not use TLS.",
            ErrorClass::Timeout => "The server did not respond in time.",
            ErrorClass::Auth => "The server rejected Larder's key or password.",
            ErrorClass::Protocol => "The server returned an error or an unexpected response.",
            ErrorClass::Degraded => "The server reports that it is not ready.",
        };
        Self { raw: failed.detail, ..Self::new(failed.class, failed.message.unwrap_or(why.into())) }
    }
}

impl From<http::Error> for CheckError {
    fn from(error: http::Error) -> Self {
        ConnectError { class: error.class(), message: None, detail: error.to_string() }.into()
    }
}
