//! The rate limit: the answer when it is exceeded, and the headers that report it.

use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest};

use super::error::{Error, Result};
use crate::domain::limits::{Policy, Standing};

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
