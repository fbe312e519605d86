//! A user's client: a cookie jar, no redirects, and the Origin header of a browser.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN};
use reqwest::{Method, RequestBuilder, multipart, redirect};

use super::Page;

pub struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    pub fn new(base: &str) -> Self {
        let headers =
            HeaderMap::from_iter([(ORIGIN, HeaderValue::from_str(base).unwrap()), (ACCEPT, HeaderValue::from_static("text/html"))]);
        let http = reqwest::Client::builder()
            .cookie_store(true)
            .redirect(redirect::Policy::none())
            .default_headers(headers)
            .no_proxy()
            // Loading the system's certificates takes 20 ms per client, and nothing here uses TLS.
            .tls_certs_only([])
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        Self { http, base: base.to_owned() }
    }

    /// For requests that the other methods do not cover: custom headers, a streamed body.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub async fn get(&self, path: &str) -> Page {
        self.send(self.request(Method::GET, path)).await
    }

    /// Submits an HTML form.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send(self.request(Method::POST, path).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)).await
    }

    /// Submits an HTML form with files.
    pub async fn post_files(&self, path: &str, form: multipart::Form) -> Page {
        self.send(self.request(Method::POST, path).multipart(form)).await
    }

    /// Uploads one file through the form of `bucket`; 303 on success.
    pub async fn upload(&self, bucket: &str, name: &str, content: impl Into<Vec<u8>>) -> Page {
        let file = multipart::Part::bytes(content.into()).file_name(name.to_owned());
        self.post_files(&format!("/buckets/{bucket}/uploads"), multipart::Form::new().part("file", file)).await
    }

    pub async fn send(&self, request: RequestBuilder) -> Page {
        let response = request.send().await.unwrap();
        let (status, headers, url) = (response.status().as_u16(), response.headers().clone(), response.url().clone());
        Page { status, headers, path: url.path().to_owned(), body: response.bytes().await.unwrap().to_vec() }
    }
}
