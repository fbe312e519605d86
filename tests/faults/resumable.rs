//! The sender's resumable uploads: in parts, resumed after any interruption.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Method;

use super::ledger::{Outcome, sha256};
use super::sender::{Answer, Sender};

/// One file in progress.
struct Journey<'a> {
    sender: &'a Sender,
    name: &'a str,
    body: &'a Bytes,
    overwrite: bool,
    id: Option<String>,
}

impl Sender {
    /// Resumes one file until it is stored or rejected, at most until `deadline`.
    pub async fn resumable(&self, name: &str, body: &Bytes, overwrite: bool, deadline: Instant) -> Outcome {
        let began = Instant::now();
        let mut journey = Journey { sender: self, name, body, overwrite, id: None };
        let mut outcome = None;
        while outcome.is_none() && Instant::now() < deadline {
            outcome = journey.go_on().await;
            if outcome.is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let outcome = outcome.unwrap_or(Outcome::Unknown);
        self.ledger.enter(name, body, overwrite, began, outcome);
        outcome
    }

    /// Creates an upload or finds an existing one; returns its state as reported by Larder.
    pub async fn open(&self, name: &str, body: &[u8], overwrite: bool) -> reqwest::Result<Answer> {
        let fields = [("name", name), ("length", &body.len().to_string()), ("fingerprint", &sha256(body))];
        self.fields(&format!("/buckets/{}/uploads/resumable", self.bucket), &fields, overwrite).await
    }

    pub async fn complete(&self, id: &str, overwrite: bool) -> reqwest::Result<Answer> {
        self.fields(&format!("/buckets/{}/uploads/{id}/completion", self.bucket), &[], overwrite).await
    }

    pub async fn part(&self, id: &str, number: u64, body: Bytes) -> reqwest::Result<Answer> {
        let path = format!("/buckets/{}/uploads/{id}/parts?number={number}", self.bucket);
        Self::send(self.request(Method::POST, &path).body(body)).await
    }

    async fn fields(&self, path: &str, fields: &[(&str, &str)], overwrite: bool) -> reqwest::Result<Answer> {
        let overwrite = overwrite.then_some(("overwrite", "1"));
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).extend_pairs(overwrite).finish();
        let request = self.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
        Self::send(request.body(body)).await
    }
}

impl Journey<'_> {
    /// Sends as much as possible; `None`: to be retried.
    async fn go_on(&mut self) -> Option<Outcome> {
        if let Some(id) = &self.id {
            let path = format!("/buckets/{}/uploads/{id}", self.sender.bucket);
            let state = Sender::send(self.sender.request(Method::GET, &path)).await.ok()?;
            match state.body["state"].as_str() {
                Some("pending") => {}
                Some("failed") => return Some(Outcome::Unknown),
                Some(_) => return Some(Outcome::Stored),
                None => return None,
            }
        }
        let opened = self.sender.open(self.name, self.body, self.overwrite).await.ok()?;
        if opened.status.is_client_error() {
            return Some(if self.id.is_some() { Outcome::Unknown } else { Outcome::Refused });
        }
        let id = opened.body["id"].as_str()?.to_owned();
        self.id = Some(id.clone());
        let size = usize::try_from(opened.body["part_size"].as_u64()?).unwrap();
        let done = opened.body["parts"].as_array().map_or(0, Vec::len);
        for (at, start) in (0..self.body.len()).step_by(size).enumerate().skip(done) {
            let part = self.body.slice(start..self.body.len().min(start + size));
            let answer = self.sender.part(&id, at as u64 + 1, part).await.ok()?;
            if !answer.status.is_success() {
                return None;
            }
        }
        let answer = self.sender.complete(&id, self.overwrite).await.ok()?;
        match answer.status.as_u16() {
            200 => Some(Outcome::Stored),
            409 if answer.detail().contains("already exists") => Some(Outcome::Refused),
            // It is currently being published, possibly by an instance that has crashed.
            _ => None,
        }
    }
}
