//! The rate limit: which requests are counted, and the headers that report it.

use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest};

use super::error::{Error, Result};
use crate::domain::limits::{Policy, Standing};

/// Uploads have separate limits, and an upload of 5,000 files is 5,000 requests. The health pages are available to everyone,
/// and manual checks and streams have separate limits.
pub(super) fn is_counted(path: &str) -> bool {
    let is_upload = || {
        let mut segments = path.strip_prefix("/buckets/").unwrap_or_default().split('/');
        segments.nth(1) == Some("uploads")
    };
    let is_stream = || path.starts_with("/health/") && path.ends_with("/events");
    !matches!(path, "/health" | "/health/checks") && !is_stream() && !is_upload()
}

/// Pages that must open while no store responds.
pub(super) fn is_health(path: &str) -> bool {
    path == "/health" || path.starts_with("/health/")
}

/// The overview is opened often and only shows data, so it may notice up to a second late that a session was ended at another
/// instance.
pub(super) fn tolerates_stale_session(path: &str) -> bool {
    path == "/"
}

pub(super) fn check(standing: &Standing) -> Result<()> {
    if standing.allowed {
        return Ok(());
    }
    let Policy { limit, .. } = standing.policy;
    let seconds = standing.next.as_secs().max(1);
    let why = format!("You requested more than {limit} pages per minute. Try again in {seconds} seconds.");
    Err(Error::TooManyRequests { why, retry_after: Duration::from_secs(seconds) })
}

/// Sets the headers of draft-ietf-httpapi-ratelimit-headers if this request was counted.
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
