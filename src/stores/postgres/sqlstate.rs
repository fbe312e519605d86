//! What a SQLSTATE means for Larder. Texts of errors are never compared, because they are in the language of the server
//! (`lc_messages`), which only a superuser may change.
//!
//! Neither Diesel nor diesel-async exposes the code of an error, except as the kind of a few constraint violations. Therefore
//! [`super::coded_stream`] puts the code in front of the message as it arrives, and [`code_in`] reads it there.
//!
//! Source of the codes: PostgreSQL documentation, appendix A, "PostgreSQL Error Codes".

/// Why a server that responds cannot do this now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A standby, `default_transaction_read_only`, or a managed server whose disk is full.
    ReadOnly,
    DiskFull,
    OutOfMemory,
    TooManyConnections,
    StartingOrStopping,
    /// A deadlock or a serialization failure.
    Conflict,
}

impl Reason {
    /// A sentence for users and operators.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::ReadOnly => "Postgres is read-only, so nothing can be saved.",
            Self::DiskFull => "The disk of the Postgres server is full, so nothing can be saved.",
            Self::OutOfMemory => "The Postgres server is out of memory.",
            Self::TooManyConnections => "The Postgres server has reached its connection limit.",
            Self::StartingOrStopping => "The Postgres server is starting or shutting down.",
            Self::Conflict => "Postgres cancelled this change because it conflicted with a simultaneous change.",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Unavailable(Reason),
    /// The connection ended or is not possible.
    Unreachable,
    Timeout,
    /// The statement itself was rejected.
    Rejected,
}

pub(super) const READ_ONLY_SQL_TRANSACTION: &str = "25006";
pub(super) const DISK_FULL: &str = "53100";
pub(super) const INSUFFICIENT_PRIVILEGE: &str = "42501";

pub(super) fn meaning(code: &str) -> Meaning {
    match code {
        READ_ONLY_SQL_TRANSACTION => Meaning::Unavailable(Reason::ReadOnly),
        DISK_FULL => Meaning::Unavailable(Reason::DiskFull),
        // insufficient_resources, out_of_memory
        "53000" | "53200" => Meaning::Unavailable(Reason::OutOfMemory),
        "53300" => Meaning::Unavailable(Reason::TooManyConnections),
        // cannot_connect_now
        "57P03" => Meaning::Unavailable(Reason::StartingOrStopping),
        // serialization_failure, deadlock_detected
        "40001" | "40P01" => Meaning::Unavailable(Reason::Conflict),
        // query_canceled, of which a statement timeout is one; lock_not_available; idle and transaction timeouts
        "57014" | "55P03" | "25P03" | "25P04" => Meaning::Timeout,
        // 08: connection exceptions. 57P: shutdown, crash, dropped database, idle session.
        code if code.starts_with("08") || code.starts_with("57P") => Meaning::Unreachable,
        _ => Meaning::Rejected,
    }
}

/// Between the code and the message.
pub(super) const SEPARATOR: &str = ": ";

/// The code in front of a message. `None`: the message is not from the server.
pub(super) fn code_in(message: &str) -> Option<&str> {
    let (code, _) = message.split_once(SEPARATOR)?;
    is_code(code.as_bytes()).then_some(code)
}

/// The code in the text of an error that contains that of the server.
pub(super) fn code_within(text: &str) -> Option<&str> {
    text.split(SEPARATOR).find(|part| is_code(part.as_bytes()))
}

pub(super) fn is_code(bytes: &[u8]) -> bool {
    bytes.len() == 5 && bytes.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_of_the_server_have_a_code() {
        assert_eq!(code_in("57014: Abfrage abgebrochen: Zeitüberschreitung"), Some("57014"));
        assert_eq!(code_in("error: connection closed"), None);
        assert_eq!(code_in("connection closed"), None);
        assert_eq!(code_within("Failed to run 1 with: 42501: keine Berechtigung"), Some("42501"));
        assert_eq!(code_within("Failed to run 1 with: an unknown type"), None);
    }
}
