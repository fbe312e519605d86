//! Why a connection or a check failed, in a few kinds that an operator can act on.

use std::error::Error;
use std::io;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
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
    /// The server reports that it cannot work now: starting, loading, overloaded.
    NotReady,
}

/// Why a check failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    pub kind: ErrorKind,
    /// A sentence without host names and secrets, where the kind alone is not specific enough.
    pub message: Option<&'static str>,
    /// The original error text, for logs.
    pub detail: String,
}

impl ConnectError {
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let detail = error.to_string();
        let kind = kind_of(error);
        let text = full_text(error);
        // "no such file" is the error of a missing Unix socket.
        let refused = kind == ErrorKind::Connect && (text.contains("refused") || text.contains("no such file"));
        Self { kind, message: refused.then_some("The connection was refused: nothing listens at this address."), detail }
    }

    pub fn new(kind: ErrorKind, message: &'static str) -> Self {
        Self { kind, message: Some(message), detail: message.to_owned() }
    }
}

/// The kind of the innermost cause: by type if possible, otherwise by its text.
pub fn kind_of(error: &(dyn Error + 'static)) -> ErrorKind {
    match causes(error).filter_map(typed).last() {
        Some(kind @ (ErrorKind::Tls | ErrorKind::Timeout)) => kind,
        by_type => kind_of_text(&full_text(error)).or(by_type).unwrap_or(ErrorKind::Connect),
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

fn typed(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    if error.is::<rustls::Error>() {
        return Some(ErrorKind::Tls);
    }
    match error.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::TimedOut => Some(ErrorKind::Timeout),
        io::ErrorKind::Other | io::ErrorKind::InvalidData => None,
        _ => Some(ErrorKind::Connect),
    }
}

/// `text` is lower case; `None` if it indicates no kind.
fn kind_of_text(text: &str) -> Option<ErrorKind> {
    let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    if has(&["lookup address", "name or service not known", "name resolution", "no address associated", "dns error"]) {
        Some(ErrorKind::Dns)
    } else if has(&["certificate", "handshake", "corrupt message", "tls"]) {
        Some(ErrorKind::Tls)
    } else if has(&["password", "authentication", "noauth", "wrongpass", "role \"", "pg_hba"]) {
        Some(ErrorKind::Auth)
    } else if has(&["timed out", "timeout", "deadline has elapsed"]) {
        Some(ErrorKind::Timeout)
    } else if has(&["refused", "no such file", "reset by peer", "broken pipe", "connection closed", "unreachable", "no route"]) {
        Some(ErrorKind::Connect)
    } else if has(&["invalid http", "message head is too large"]) {
        Some(ErrorKind::Protocol)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_cause_decides_the_kind() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let certificate = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::NoCertificatesPresented);
        let unknown = io::Error::other("failed to lookup address information: Name or service not known");
        for (error, kind) in [
            (refused, ErrorKind::Connect),
            (io::Error::from(io::ErrorKind::TimedOut), ErrorKind::Timeout),
            (io::Error::other(certificate), ErrorKind::Tls),
            (unknown, ErrorKind::Dns),
            (io::Error::other("FATAL: password authentication failed for user \"app\""), ErrorKind::Auth),
            (io::Error::other("invalid HTTP version parsed"), ErrorKind::Protocol),
            (io::Error::other("unknown"), ErrorKind::Connect),
        ] {
            assert_eq!(kind_of(&error), kind, "{error}");
        }
    }
}
