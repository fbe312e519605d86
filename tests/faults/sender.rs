//! A client that uploads and records in the ledger what it sent and received.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{ACCEPT, COOKIE, HeaderMap, HeaderValue, ORIGIN};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, StatusCode, redirect};
use serde_json::Value;

use super::ledger::{Ledger, Outcome};
use crate::support::PASSWORD;

#[derive(Clone)]
pub struct Sender {
    http: reqwest::Client,
    pub base: String,
    pub bucket: String,
    pub cookie: String,
    pub ledger: Ledger,
}

/// A complete response.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub retry_after: Option<String>,
    pub body: Value,
}

impl Answer {
    pub fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or_default()
    }
}

impl Sender {
    /// With the tests' password.
    pub async fn sign_in(base: &str, bucket: &str, email: &str, ledger: Ledger) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).append_pair("email", email).append_pair("password", PASSWORD).finish();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).redirect(redirect::Policy::none()).build().unwrap();
        let request = http.post(format!("{base}/session")).header(ORIGIN, base);
        let answer = request.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.unwrap();
        assert_eq!(answer.status(), 303, "signing in");
        let cookies = answer.headers().get_all("set-cookie").iter().filter_map(|cookie| cookie.to_str().ok());
        let cookie = cookies
            .filter_map(|cookie| cookie.split(';').next())
            .find(|cookie| cookie.starts_with("larder-") && !cookie.starts_with("larder-flash"))
            .unwrap();
        Self::with(base, bucket, cookie, ledger)
    }

    fn with(base: &str, bucket: &str, cookie: &str, ledger: Ledger) -> Self {
        let headers = HeaderMap::from_iter([
            (ORIGIN, HeaderValue::from_str(base).unwrap()),
            (COOKIE, HeaderValue::from_str(cookie).unwrap()),
            (ACCEPT, HeaderValue::from_static("application/json")),
        ]);
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).redirect(redirect::Policy::none()).default_headers(headers);
        // Longer than Larder may take for a transfer.
        let http = http.timeout(Duration::from_secs(200)).build().unwrap();
        Self { http, base: base.to_owned(), bucket: bucket.to_owned(), cookie: cookie.to_owned(), ledger }
    }

    /// The same user on another replica.
    pub fn at(&self, base: &str) -> Self {
        Self::with(base, &self.bucket, &self.cookie, self.ledger.clone())
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// `Err` if the connection broke before the response was complete.
    pub async fn send(request: RequestBuilder) -> reqwest::Result<Answer> {
        let answer = request.send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let retry_after = headers.get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = serde_json::from_slice(&answer.bytes().await?).unwrap_or(Value::Null);
        Ok(Answer { status, retry_after, body })
    }

    /// A page for browsers; its status and duration.
    pub async fn look(&self, path: &str) -> (u16, Duration) {
        let began = Instant::now();
        let answer = self.request(Method::GET, path).header(ACCEPT, "text/html").send().await;
        (answer.map_or(0, |answer| answer.status().as_u16()), began.elapsed())
    }

    /// Sends one form; nothing is recorded if no process listened.
    pub async fn form(&self, files: &[(String, Bytes)], overwrite: bool) -> reqwest::Result<Answer> {
        let began = Instant::now();
        let parts = files.iter().map(|(name, body)| Part::stream(body.clone()).file_name(name.clone()));
        let form = parts.fold(Form::new(), |form, part| form.part("file", part));
        let path = format!("/buckets/{}/uploads?overwrite={}", self.bucket, u8::from(overwrite));
        let answer = Self::send(self.request(Method::POST, &path).multipart(form)).await;
        if answer.as_ref().is_err_and(reqwest::Error::is_connect) {
            return answer;
        }
        for (at, (name, body)) in files.iter().enumerate() {
            let outcome = match &answer {
                Ok(answer) if answer.body["files"][at]["status"] == "stored" => Outcome::Stored,
                Ok(answer) if answer.status.is_client_error() => Outcome::Refused,
                _ => Outcome::Unknown,
            };
            self.ledger.enter(name, body, overwrite, began, outcome);
        }
        answer
    }

    pub async fn file(&self, name: &str, body: &Bytes, overwrite: bool) -> reqwest::Result<Answer> {
        self.form(&[(name.to_owned(), body.clone())], overwrite).await
    }

    pub fn download(&self, key: &str) -> RequestBuilder {
        self.request(Method::GET, &format!("/buckets/{}/download?key={key}", self.bucket))
    }
}
