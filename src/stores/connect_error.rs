//! Why a connection or a check failed, in a few classes that an operator can act on.

use std::borrow::Cow;
use std::error::Error;
use std::io;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The host name was not found.
    Dns,
    /// Nothing listens, or the connection broke.
    Connect,
    /// The certificate is not trusted, or the server does not use TLS.
    Tls,
    Timeout,
    /// The server rejected the credentials.
    Auth,
    /// The server responds, but not as expected of such a server.
    Protocol,
    /// The server responds, but reports that it cannot work now, for example starting, loading or overloaded; or a check found
    /// a problem.
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

/// Why a check failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    pub class: ErrorClass,
    /// A sentence without host names and secrets, where the class alone is not specific enough.
    pub message: Option<Cow<'static, str>>,
    /// The original error text, for logs.
    pub detail: String,
}

impl ConnectError {
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let detail = error.to_string();
        let class = class_of(error);
        let text = full_text(error);
        // "no such file" is the error of a missing Unix socket.
        let refused = class == ErrorClass::Connect && (text.contains("refused") || text.contains("no such file"));
        Self { class, message: refused.then_some("The connection was refused: nothing listens at this address.".into()), detail }
    }

    pub fn new(class: ErrorClass, message: &'static str) -> Self {
        Self { class, message: Some(message.into()), detail: message.to_owned() }
    }
}

/// The class of the innermost cause: by type if possible, otherwise by its text.
pub fn class_of(error: &(dyn Error + 'static)) -> ErrorClass {
    match causes(error).filter_map(typed).last() {
        Some(class @ (ErrorClass::Tls | ErrorClass::Timeout)) => class,
        by_type => class_of_text(&full_text(error)).or(by_type).unwrap_or(ErrorClass::Connect),
    }
}

/// From outermost to innermost.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |current| {
        let current: &'a (dyn Error + 'static) = *current;
        match current.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            // `source()` of an io::Error skips the error it wraps.
            Some(held) => Some(held),
            None => current.source(),
        }
    })
}

fn full_text(error: &(dyn Error + 'static)) -> String {
    causes(error).map(|cause| cause.to_string().to_ascii_lowercase() + "\n").collect()
}

fn typed(error: &(dyn Error + 'static)) -> Option<ErrorClass> {
    if error.is::<rustls::Error>() {
        return Some(ErrorClass::Tls);
    }
    match error.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::TimedOut => Some(ErrorClass::Timeout),
        io::ErrorKind::Other | io::ErrorKind::InvalidData => None,
        _ => Some(ErrorClass::Connect),
    }
}

/// `text` is lower case; `None` if it indicates no class.
fn class_of_text(text: &str) -> Option<ErrorClass> {
    let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    if has(&["lookup address", "name or service not known", "name resolution", "no address associated", "dns error"]) {
        Some(ErrorClass::Dns)
    } else if has(&["certificate", "handshake", "corrupt message", "tls"]) {
        Some(ErrorClass::Tls)
    } else if has(&["password", "authentication", "noauth", "wrongpass", "role \"", "pg_hba"]) {
        Some(ErrorClass::Auth)
    } else if has(&["timed out", "timeout", "deadline has elapsed"]) {
        Some(ErrorClass::Timeout)
    } else if has(&["refused", "no such file", "reset by peer", "broken pipe", "connection closed", "unreachable", "no route"]) {
        Some(ErrorClass::Connect)
    } else if has(&["invalid http", "message head is too large"]) {
        Some(ErrorClass::Protocol)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_cause_decides_the_class() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let certificate = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::NoCertificatesPresented);
        let unknown = io::Error::other("failed to lookup address information: Name or service not known");
        for (error, class) in [
            (refused, ErrorClass::Connect),
            (io::Error::from(io::ErrorKind::TimedOut), ErrorClass::Timeout),
            (io::Error::other(certificate), ErrorClass::Tls),
            (unknown, ErrorClass::Dns),
            (io::Error::other("FATAL: password authentication failed for user \"app\""), ErrorClass::Auth),
            (io::Error::other("invalid HTTP version parsed"), ErrorClass::Protocol),
            (io::Error::other("unknown"), ErrorClass::Connect),
        ] {
            assert_eq!(class_of(&error), class, "{error}");
        }
    }
}
