//! An answer, read whole but never more than `LARGEST` of it, and what it says where it is a refusal.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Error;
use super::error::of_transport;

/// The largest answer that is read, in bytes.
pub const LARGEST: usize = 8 << 20;

/// Of a server's own words, in characters.
const WORDS: usize = 200;

pub struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    body: Vec<u8>,
    hidden: Arc<[String]>,
}

impl Answer {
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

    /// What a successful answer says; any other answer is its error.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        if !self.is_success() {
            return Err(self.error());
        }
        serde_json::from_slice(&self.body).map_err(|_| Error::Protocol("it is not the JSON that such a server sends"))
    }

    /// The field `error.type`, as OpenAI and those who follow it name the kind of an error.
    pub fn error_type(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        Some(body.pointer("/error/type")?.as_str()?.to_owned())
    }

    /// The first line of the server's own message, to be looked into, not to be shown.
    pub fn said(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        let places = ["/status/error", "/error/message", "/error", "/detail/error", "/detail", "/message"];
        let said = places.iter().find_map(|place| body.pointer(place)?.as_str())?;
        Some(said.lines().map(str::trim).find(|line| !line.is_empty())?.to_owned())
    }

    /// The same for people: short, without the address and the key that it may repeat.
    pub fn words(&self) -> Option<String> {
        let mut line = self.said()?;
        for hidden in &*self.hidden {
            line = line.replace(hidden.as_str(), "…");
        }
        line.retain(|c| !c.is_control());
        if let Some((end, _)) = line.char_indices().nth(WORDS) {
            line.truncate(end);
            line.push('…');
        }
        Some(line)
    }

    /// What it means that this is no success.
    pub fn error(&self) -> Error {
        let words = self.words();
        let said = || words.clone().unwrap_or_else(|| "it gives no reason".into());
        match self.status {
            300..400 => Error::Protocol("it sends us to another address, which we do not follow"),
            401 | 403 => Error::Auth,
            408 => Error::Timeout,
            429 => Error::Busy { retry_after: self.retry_after },
            502..=504 => Error::NotReady(said()),
            500.. => Error::Failed(said()),
            // Such servers say in JSON what is wrong.
            400..500 if words.is_none() => Error::Protocol("it does not know what it is asked"),
            404 => Error::NotFound(said()),
            409 => Error::Conflict(said()),
            400..500 => Error::Refused(said()),
            _ => Error::Protocol("its status is not one that such a server sends"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let hidden = ["sk-secret", "db.example"].map(str::to_owned);
        Answer { status, retry_after: None, body: body.into(), hidden: hidden.into() }
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words_but_shortly_and_without_secrets() {
        let words = |body: &str| answer(400, body).words();
        assert_eq!(words(r#"{"status": {"error": "Wrong input: dim"}}"#).as_deref(), Some("Wrong input: dim"));
        assert_eq!(words(r#"{"error": {"message": "\n one\n two", "type": "x"}}"#).as_deref(), Some("one"));
        assert_eq!(words(r#"{"detail": {"error": "no"}}"#).as_deref(), Some("no"));
        assert_eq!(words(r#"{"error": "key sk-secret at db.example:80"}"#).as_deref(), Some("key … at …:80"));
        assert_eq!(words(&format!(r#"{{"message": "{}"}}"#, "é".repeat(900))).unwrap().chars().count(), 201);
        for nothing in ["<html>", "", "{}", "[1]", r#"{"error": null}"#, r#"{"error": {}}"#] {
            assert_eq!(words(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_status_means_the_same_from_either_server() {
        let said = r#"{"error": "so"}"#;
        for (status, body, error) in [
            (302, "", Error::Protocol("it sends us to another address, which we do not follow")),
            (401, "", Error::Auth),
            (403, said, Error::Auth),
            (404, said, Error::NotFound("so".into())),
            (404, "<html>", Error::Protocol("it does not know what it is asked")),
            (409, said, Error::Conflict("so".into())),
            (422, said, Error::Refused("so".into())),
            (429, said, Error::Busy { retry_after: None }),
            (500, "<html>", Error::Failed("it gives no reason".into())),
            (503, said, Error::NotReady("so".into())),
        ] {
            assert_eq!(answer(status, body).error(), error, "{status}");
            assert_eq!(answer(status, body).json::<Value>(), Err(error));
        }
    }
}
