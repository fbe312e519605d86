//! What an error page says, in plain message.

use chrono::{DateTime, Utc};

use super::Error;
use crate::clock;
use crate::console::units;
use crate::domain::health::Service;

/// What the page says.
pub struct Message {
    pub status: &'static str,
    pub headline: String,
    pub sentence: String,
    /// Icon and sentence: what is safe, what happens by itself.
    pub notes: Vec<(&'static str, String)>,
}

impl Error {
    /// `since`: when the service that failed stopped answering. `may_retry`: the page asks again by itself.
    pub(super) fn message(&self, since: Option<DateTime<Utc>>, may_retry: bool) -> Message {
        let say = |status, headline: &str, sentence: &str| Message {
            status,
            headline: headline.to_owned(),
            sentence: sentence.to_owned(),
            notes: Vec::new(),
        };
        match self {
            Self::SignIn { .. } => say("Not signed in", "Sign in first", "This page is only for people who are signed in."),
            Self::BadRequest(why) => say("Bad request", "That request cannot be read", why),
            Self::Forbidden(why) => say("Not allowed", "You may not do this", why),
            Self::NotFound(why) => say("Not found", "There is nothing here", why),
            Self::MethodNotAllowed { .. } => say(
                "Method not allowed",
                "This address does not take that",
                "The page exists, but not for this kind of request. Nothing was done.",
            ),
            Self::Conflict(why) => say("Conflict", "Something else is there now", why),
            Self::TooLarge(why) => say("Too large", "That is more than fits", why),
            Self::Unprocessable(why) => say("Not accepted", "That cannot be done as asked", why),
            Self::TooManyRequests { why, .. } => say("Too many requests", "Please wait a little", why),
            Self::Busy { why, .. } => say("Service unavailable", "Larder is busy at this moment", why),
            Self::Unavailable { service, .. } => unavailable(*service, since, may_retry),
            Self::NoSpace => say(
                "Service unavailable",
                "The object store is full",
                "Nothing more can be stored until space is made. What is stored already can be opened and downloaded.",
            ),
            Self::Internal(_) => say(
                "Internal error",
                "Something went wrong here",
                "Larder made a mistake and has written it to its log. Try may_retry; if it stays, pass on the reference below.",
            ),
        }
    }
}

fn unavailable(service: Service, since: Option<DateTime<Utc>>, may_retry: bool) -> Message {
    let (subject, what) = match service {
        Service::Postgres => ("The database", "the database is back"),
        Service::S3 => ("The object store", "the store is back"),
        other => (other.name(), "it is back"),
    };
    let how_long = match since {
        Some(since) => format!("has not answered since {}, {}", since.format("%H:%M"), units::ago_text(since, clock::now())),
        None => "did not answer in time".to_owned(),
    };
    Message {
        status: "Service unavailable",
        headline: format!("{subject} is not answering"),
        sentence: format!("Larder could not open this page because {} {how_long}.", service.name()),
        notes: vec![
            ("check", "Your files are safe. Everything that was confirmed as uploaded is in the store.".to_owned()),
            if may_retry {
                ("retry", format!("Larder tries may_retry every 5 seconds. This page opens by itself when {what}."))
            } else {
                ("retry", format!("What you sent may have been done, or not. When {what}, look before you send it again."))
            },
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_that_nothing_was_done_where_it_may_have_been() {
        let error = Error::Unavailable { service: Service::Postgres, cause: String::new() };
        let sent: String = error.message(None, false).notes.into_iter().map(|(_, note)| note).collect();
        assert!(sent.contains("may have been done, or not") && sent.contains("look before you send it again"), "{sent}");
        assert!(!error.message(None, true).notes.iter().any(|(_, note)| note.contains("sent")));
    }
}
