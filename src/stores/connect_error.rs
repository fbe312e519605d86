//! Why a server could not be reached or asked, in the few kinds that a person can act on.

use std::error::Error;
use std::io;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Its name was not found.
    Dns,
    /// Nothing listens, or the connection broke.
    Connect,
    /// Its certificate is not one that we trust, or it speaks no TLS.
    Tls,
    Timeout,
    /// It refused who we say we are.
    Auth,
    /// It answers, but not as such a server does.
    Protocol,
    /// It answers that it cannot work now: starting, loading, overloaded.
    NotReady,
}

/// Why a probe has no good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    pub kind: ErrorKind,
    /// A sentence that names no host and no secret, where the kind alone says too little.
    pub say: Option<&'static str>,
    /// In the words of whoever found out, for logs.
    pub why: String,
}

impl ConnectError {
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let why = error.to_string();
        let kind = kind_of(error);
        let words = in_words(error);
        // The second is what a socket says.
        let refused = kind == ErrorKind::Connect && (words.contains("refused") || words.contains("no such file"));
        Self { kind, say: refused.then_some("Nothing listens there: the connection was refused."), why }
    }

    pub fn new(kind: ErrorKind, say: &'static str) -> Self {
        Self { kind, say: Some(say), why: say.to_owned() }
    }
}

/// What lies at the bottom of an error: by the types of its causes where they tell, else by their words.
pub fn kind_of(error: &(dyn Error + 'static)) -> ErrorKind {
    match causes(error).filter_map(typed).last() {
        Some(kind @ (ErrorKind::Tls | ErrorKind::Timeout)) => kind,
        told => kind_of_words(&in_words(error)).or(told).unwrap_or(ErrorKind::Connect),
    }
}

/// From the outermost to the innermost.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |current| {
        let current: &'a (dyn Error + 'static) = *current;
        match current.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            // An io::Error's source leaves out the error that it holds.
            Some(held) => Some(held),
            None => current.source(),
        }
    })
}

fn in_words(error: &(dyn Error + 'static)) -> String {
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

/// In small letters; `None` where the words name no kind.
fn kind_of_words(words: &str) -> Option<ErrorKind> {
    let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
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
    fn the_innermost_cause_tells_the_kind() {
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
            (io::Error::other("who knows"), ErrorKind::Connect),
        ] {
            assert_eq!(kind_of(&error), kind, "{error}");
        }
    }
}
