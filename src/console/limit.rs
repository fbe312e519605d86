//! How often one person may ask: what is counted, and what every answer says of it.

use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest};

use super::error::{Error, Result};
use crate::domain::limits::{Policy, Standing};

/// Uploads have limits of their own, and one of 5,000 files is as many requests; the health page opens for everybody, and
/// what it asks for is limited by itself.
pub(super) fn is_counted(path: &str) -> bool {
    let is_upload = || {
        let mut segments = path.strip_prefix("/buckets/").unwrap_or_default().split('/');
        segments.nth(1) == Some("uploads")
    };
    let is_stream = || path.starts_with("/health/") && path.ends_with("/events");
    !matches!(path, "/health" | "/health/checks") && !is_stream() && !is_upload()
}

/// What has to open while no store answers.
pub(super) fn is_health(path: &str) -> bool {
    path == "/health" || path.starts_with("/health/")
}

/// Opened often, and shows only what is up and what has happened: it may hear a second late that somebody's session was
/// ended at another console.
pub(super) fn tolerates_stale_session(path: &str) -> bool {
    path == "/"
}

pub(super) fn check(standing: &Standing) -> Result<()> {
    if standing.allowed {
        return Ok(());
    }
    let Policy { limit, .. } = standing.policy;
    let seconds = standing.next.as_secs().max(1);
    let why = format!("That was more than {limit} pages in a minute. In {seconds} s it goes on.");
    Err(Error::TooManyRequests { why, retry_after: Duration::from_secs(seconds) })
}

/// The fields of draft-ietf-httpapi-ratelimit-headers, where this request was counted.
pub(super) fn set_headers(req: &HttpRequest, headers: &mut HeaderMap) {
    let Some(standing) = req.extensions().get::<Standing>().copied() else { return };
    let Policy { name, limit, window } = standing.policy;
    let policy = format!("\"{name}\";q={limit};w={}", window.as_secs());
    let state = format!("\"{name}\";r={};t={}", standing.remaining, standing.next.as_secs());
    for (field, value) in [("ratelimit-policy", policy), ("ratelimit", state)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(field), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_and_health_are_not_counted() {
        for path in
            ["/", "/session", "/uploads", "/uploads/new", "/buckets", "/buckets/uploads", "/buckets/b/download", "/buckets/b/unfinished"]
        {
            assert!(is_counted(path), "{path}");
        }
        for path in ["/health", "/buckets/b/uploads", "/buckets/b/uploads/resumable", "/buckets/uploads/uploads/1/parts"] {
            assert!(!is_counted(path), "{path}");
        }
    }
}
