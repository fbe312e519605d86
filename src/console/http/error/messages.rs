//! The text of error pages.

use chrono::{DateTime, Utc};

use super::Error;
use crate::clock;
use crate::console::view::units;
use crate::domain::health::Service;

/// The text of one error page.
pub struct Message {
    pub status: &'static str,
    pub headline: String,
    pub sentence: String,
    /// Icon and sentence for each note, for example that stored files are safe.
    pub notes: Vec<(&'static str, String)>,
}

impl Error {
    /// `since`: when the failed service stopped responding. `may_retry`: the page reloads automatically.
    pub(super) fn message(&self, since: Option<DateTime<Utc>>, may_retry: bool) -> Message {
        let message = |status, headline: &str, sentence: &str| Message {
            status,
            headline: headline.to_owned(),
            sentence: sentence.to_owned(),
            notes: Vec::new(),
        };
        match self {
            Self::SignIn { .. } => message("Not signed in", "Sign in first", "You must be signed in to view this page."),
            Self::BadRequest(why) => message("Bad request", "Invalid request", why),
            Self::Forbidden(why) => message("Not allowed", "You are not allowed to do this", why),
            Self::NotFound(why) => message("Not found", "Not found", why),
            Self::MethodNotAllowed { .. } => {
                message("Method not allowed", "Method not allowed", "This address does not support this HTTP method. Nothing was done.")
            }
            Self::Conflict(why) => message("Conflict", "Conflict with the current state", why),
            Self::TooLarge(why) => message("Too large", "Request too large", why),
            Self::Unprocessable(why) => message("Not accepted", "Request not accepted", why),
            Self::TooManyRequests { why, .. } => message("Too many requests", "Too many requests", why),
            Self::Busy { why, .. } => message("Service unavailable", "Larder is busy", why),
            Self::Unavailable { service, reason: Some(reason), .. } => rejected(*service, reason, may_retry),
            Self::Unavailable { service, .. } => unavailable(*service, since, may_retry),
            Self::NotUsable { service, why, .. } => {
                message("Service unavailable", &format!("{} cannot process this request", service.name()), why)
            }
            Self::NoSpace => message(
                "Service unavailable",
                "The object store is full",
                "No files can be stored until space is freed. Existing files can still be opened and downloaded.",
            ),
            Self::Internal(_) => message(
                "Internal error",
                "Something went wrong",
                "An unexpected error occurred and was logged. Try again. If the error persists, report the reference below.",
            ),
        }
    }
}

/// The service responds, but did not do what the request needs.
fn rejected(service: Service, reason: &str, may_retry: bool) -> Message {
    let retry = if may_retry {
        "Larder retries every 5 seconds and opens this page when the problem is solved."
    } else {
        "Nothing was saved. Try again later; the health page shows when the problem is solved."
    };
    Message {
        status: "Service unavailable",
        headline: format!("{} cannot be used now", subject(service).0),
        sentence: reason.to_owned(),
        notes: vec![("check", FILES_ARE_SAFE.to_owned()), ("retry", retry.to_owned())],
    }
}

const FILES_ARE_SAFE: &str = "Your files are safe. Every file that was confirmed as uploaded is stored.";

/// At the beginning and inside of a sentence.
fn subject(service: Service) -> (&'static str, &'static str) {
    match service {
        Service::Postgres => ("The database", "the database"),
        Service::S3 => ("The object store", "the object store"),
        other => (other.name(), "it"),
    }
}

fn unavailable(service: Service, since: Option<DateTime<Utc>>, may_retry: bool) -> Message {
    let (subject, name) = subject(service);
    let since_text = match since {
        Some(since) => format!("has not responded since {}, {}", since.format("%H:%M"), units::ago_text(since, clock::now())),
        None => "did not respond in time".to_owned(),
    };
    Message {
        status: "Service unavailable",
        headline: format!("{subject} is not responding"),
        sentence: format!("Larder could not open this page because {} {since_text}.", service.name()),
        notes: vec![
            ("check", FILES_ARE_SAFE.to_owned()),
            if may_retry {
                ("retry", format!("Larder retries every 5 seconds. This page opens automatically when {name} responds."))
            } else {
                ("retry", format!("Your change may or may not have been saved. When {name} responds, check before you send it again."))
            },
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_is_reported_as_possibly_done() {
        let error = Error::Unavailable { service: Service::Postgres, reason: None, cause: String::new() };
        let sent: String = error.message(None, false).notes.into_iter().map(|(_, note)| note).collect();
        assert!(sent.contains("may or may not have been saved") && sent.contains("check before you send it again"), "{sent}");
        assert!(!error.message(None, true).notes.iter().any(|(_, note)| note.contains("send")));
        let rejected = Error::Unavailable { service: Service::Postgres, reason: Some("Postgres is read-only."), cause: String::new() };
        let message = rejected.message(None, false);
        assert_eq!(message.sentence, "Postgres is read-only.");
        assert!(message.notes.iter().any(|(_, note)| note.starts_with("Nothing was saved.")));
    }
}
