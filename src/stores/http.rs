//! JSON over HTTP to one server. The key is sent only to the configured address: redirects are not followed and proxy
//! variables are ignored. Duration and response size are limited.

mod error;
mod response;

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url, redirect};
use serde::Serialize;

use super::tls;
use crate::config::Secret;

pub use error::Error;
pub use response::{LARGEST, Response};

/// How the key is sent.
#[derive(Clone, Copy)]
pub enum Key<'a> {
    Bearer(&'a Secret),
    Header(&'static str, &'a Secret),
}

#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    base: Url,
    /// Strings that no message may contain.
    hidden: Arc<[String]>,
}

/// One request. Path segments may contain any characters; they are encoded.
pub struct Request<'a> {
    method: Method,
    path: &'a [&'a str],
    query: Option<(&'static str, &'static str)>,
    body: Option<serde_json::Result<Vec<u8>>>,
    limit: Duration,
}

impl Http {
    /// Opens no connection. Fails if the address or the key is unusable.
    pub fn new(address: &str, key: Option<Key<'_>>, connect: Duration) -> Result<Self, Error> {
        let base = Url::parse(address).map_err(|_| Error::Settings("the address is not a URL"))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(Error::Settings("the address is not an http:// or https:// URL"));
        }
        // The HTTP client would send them as a second Authorization header.
        if !base.username().is_empty() || base.password().is_some() {
            return Err(Error::Settings("the address contains a user name or a password"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(Error::Settings("the address contains a query or a fragment"));
        }
        let mut headers = HeaderMap::new();
        let mut hidden = Vec::new();
        if let Some(key) = key {
            let (name, text, secret) = match key {
                Key::Bearer(secret) => (AUTHORIZATION, format!("Bearer {}", secret.reveal()), secret),
                Key::Header(name, secret) => (HeaderName::from_static(name), secret.reveal().to_owned(), secret),
            };
            let mut value = HeaderValue::from_str(&text)
                .map_err(|_| Error::Settings("the key contains characters that are not allowed in a header"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
            hidden.push(secret.reveal().to_owned());
        }
        hidden.extend(base.host_str().map(str::to_owned));
        hidden.retain(|part| !part.is_empty());
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client(None).map_err(|_| Error::Settings("TLS setup failed"))?)
            .default_headers(headers)
            .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(connect)
            .pool_max_idle_per_host(4)
            // Both servers close connections after 5 s of inactivity, possibly while a request is being sent.
            .pool_idle_timeout(Duration::from_secs(4))
            .build()
            .map_err(|_| Error::Settings("the HTTP client setup failed"))?;
        Ok(Self { client, base, hidden: hidden.into() })
    }

    /// Returns the response for every status, including errors: see `Response`.
    pub async fn send(&self, request: Request<'_>) -> Result<Response, Error> {
        let mut url = self.url(request.path)?;
        if let Some((name, value)) = request.query {
            url.query_pairs_mut().append_pair(name, value);
        }
        let mut builder = self.client.request(request.method, url).timeout(request.limit);
        if let Some(body) = request.body {
            let body = body.map_err(|_| Error::Settings("the request cannot be serialized as JSON"))?;
            builder = builder.header(CONTENT_TYPE, "application/json").body(body);
        }
        let response = builder.send().await.map_err(error::of_transport)?;
        Response::read(response, self.hidden.clone()).await
    }

    fn url(&self, path: &[&str]) -> Result<Url, Error> {
        // These segments would name a different path, or none.
        if path.iter().any(|segment| matches!(*segment, "" | "." | "..")) {
            return Err(Error::Refused("the name is empty or consists of dots".into()));
        }
        let mut url = self.base.clone();
        let segments = url.path_segments_mut().map(|mut segments| {
            segments.pop_if_empty().extend(path);
        });
        segments.map_err(|()| Error::Settings("the address is not a URL"))?;
        Ok(url)
    }
}

impl<'a> Request<'a> {
    pub fn get(path: &'a [&'a str], limit: Duration) -> Self {
        Self { method: Method::GET, path, query: None, body: None, limit }
    }

    pub fn post(path: &'a [&'a str], body: &impl Serialize, limit: Duration) -> Self {
        Self { method: Method::POST, body: Some(serde_json::to_vec(body)), ..Self::get(path, limit) }
    }

    pub fn put(path: &'a [&'a str], body: &impl Serialize, limit: Duration) -> Self {
        Self { method: Method::PUT, ..Self::post(path, body, limit) }
    }

    pub fn delete(path: &'a [&'a str], limit: Duration) -> Self {
        Self { method: Method::DELETE, ..Self::get(path, limit) }
    }

    pub fn query(self, name: &'static str, value: &'static str) -> Self {
        Self { query: Some((name, value)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(address: &str) -> Result<Http, Error> {
        Http::new(address, None, Duration::from_secs(1))
    }

    #[test]
    fn names_stay_one_segment_of_the_path() {
        let url = |base: &str, path: &[&str]| http(base).and_then(|http| http.url(path)).map(|url| url.to_string());
        assert_eq!(url("http://a:1", &["collections"]).unwrap(), "http://a:1/collections");
        assert_eq!(url("http://a:1/behind/", &["x"]).unwrap(), "http://a:1/behind/x");
        assert_eq!(url("http://a:1/behind", &["x", "y"]).unwrap(), "http://a:1/behind/x/y");
        assert_eq!(url("http://a", &["../b?c#d/é%2e"]).unwrap(), "http://a/..%2Fb%3Fc%23d%2F%C3%A9%252e");
        assert_eq!(url("http://a", &["http://b"]).unwrap(), "http://a/http:%2F%2Fb");
        for bad in ["", ".", ".."] {
            assert!(matches!(url("http://a", &["collections", bad]), Err(Error::Refused(_))), "{bad:?}");
        }
    }

    #[test]
    fn an_unusable_address_is_rejected_at_startup() {
        for bad in ["a:6333", "ftp://a", "", "http://", "http://me:word@a", "http://me@a", "http://a/?b=c", "http://a#b"] {
            assert!(matches!(http(bad), Err(Error::Settings(_))), "{bad:?}");
        }
        let key = Secret::new("line\nbreak");
        assert!(matches!(Http::new("http://a", Some(Key::Bearer(&key)), Duration::from_secs(1)), Err(Error::Settings(_))));
    }
}
