//! A response, read completely but at most `LARGEST` bytes, and the meaning of an error response.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Error;
use super::error::of_transport;

/// The largest response body that is read, in bytes.
pub const LARGEST: usize = 8 << 20;

/// Longest excerpt of a server's message, in characters.
const MAX_MESSAGE: usize = 200;

pub struct Response {
    status: u16,
    retry_after: Option<Duration>,
    body: Vec<u8>,
    hidden: Arc<[String]>,
}

impl Response {
    pub(super) async fn read(mut response: reqwest::Response, hidden: Arc<[String]>) -> Result<Self, Error> {
        if response.content_length().is_some_and(|length| length > LARGEST as u64) {
            return Err(Error::TooLarge);
        }
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(of_transport)? {
            if body.len() + chunk.len() > LARGEST {
                return Err(Error::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Self { status, retry_after: retry_after.map(Duration::from_secs), body, hidden })
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.body).ok()
    }

    /// The body of a successful response; any other response becomes its error.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        if !self.is_success() {
            return Err(self.error());
        }
        serde_json::from_slice(&self.body).map_err(|_| Error::Protocol("the response is not the expected JSON"))
    }

    /// The field `error.type`, as in the OpenAI API.
    pub fn error_type(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        Some(body.pointer("/error/type")?.as_str()?.to_owned())
    }

    /// The first line of the server's message. Not for display: see [`Self::message`].
    pub fn raw_message(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        let fields = ["/status/error", "/error/message", "/error", "/detail/error", "/detail", "/message"];
        let raw_message = fields.iter().find_map(|field| body.pointer(field)?.as_str())?;
        Some(raw_message.lines().map(str::trim).find(|line| !line.is_empty())?.to_owned())
    }

    /// The server's message for display: shortened, without the address and the key.
    pub fn message(&self) -> Option<String> {
        let mut line = self.raw_message()?;
        for hidden in &*self.hidden {
            line = line.replace(hidden.as_str(), "…");
        }
        line.retain(|c| !c.is_control());
        if let Some((end, _)) = line.char_indices().nth(MAX_MESSAGE) {
            line.truncate(end);
            line.push('…');
        }
        Some(line)
    }

    /// The error that this status means.
    pub fn error(&self) -> Error {
        let message = self.message();
        let raw_message = || message.clone().unwrap_or_else(|| "no reason given".into());
        match self.status {
            300..400 => Error::Protocol("the server redirects to another address"),
            401 | 403 => Error::Auth,
            408 => Error::Timeout,
            429 => Error::Busy { retry_after: self.retry_after },
            502..=504 => Error::NotReady(raw_message()),
            500.. => Error::Failed(raw_message()),
            // Such servers describe errors in JSON.
            400..500 if message.is_none() => Error::Protocol("the server does not know this path"),
            404 => Error::NotFound(raw_message()),
            409 => Error::Conflict(raw_message()),
            400..500 => Error::Refused(raw_message()),
            _ => Error::Protocol("unexpected status code"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &str) -> Response {
        let hidden = ["sk-secret", "db.example"].map(str::to_owned);
        Response { status, retry_after: None, body: body.into(), hidden: hidden.into() }
    }

    #[test]
    fn error_messages_are_shortened_and_contain_no_secrets() {
        let message = |body: &str| response(400, body).message();
        assert_eq!(message(r#"{"status": {"error": "Wrong input: dim"}}"#).as_deref(), Some("Wrong input: dim"));
        assert_eq!(message(r#"{"error": {"message": "\n one\n two", "type": "x"}}"#).as_deref(), Some("one"));
        assert_eq!(message(r#"{"detail": {"error": "no"}}"#).as_deref(), Some("no"));
        assert_eq!(message(r#"{"error": "key sk-secret at db.example:80"}"#).as_deref(), Some("key … at …:80"));
        assert_eq!(message(&format!(r#"{{"message": "{}"}}"#, "é".repeat(900))).unwrap().chars().count(), 201);
        for nothing in ["<html>", "", "{}", "[1]", r#"{"error": null}"#, r#"{"error": {}}"#] {
            assert_eq!(message(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_status_means_the_same_for_both_servers() {
        let raw_message = r#"{"error": "so"}"#;
        for (status, body, error) in [
            (302, "", Error::Protocol("the server redirects to another address")),
            (401, "", Error::Auth),
            (403, raw_message, Error::Auth),
            (404, raw_message, Error::NotFound("so".into())),
            (404, "<html>", Error::Protocol("the server does not know this path")),
            (409, raw_message, Error::Conflict("so".into())),
            (422, raw_message, Error::Refused("so".into())),
            (429, raw_message, Error::Busy { retry_after: None }),
            (500, "<html>", Error::Failed("no reason given".into())),
            (503, raw_message, Error::NotReady("so".into())),
        ] {
            assert_eq!(response(status, body).error(), error, "{status}");
            assert_eq!(response(status, body).json::<Value>(), Err(error));
        }
    }
}
