//! The outermost middleware: request id, access log, the check of where a form came from, security headers,
//! and a body that may not fall silent.

use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error as ActixError, HttpMessage, web};

use super::body;
use super::error::Error;
use super::request::{self, RequestId};
use crate::domain::Context;

/// Everything from our own origin, nothing inline, nothing framed; media and previews come from us too.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; frame-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'";

/// Forms that a read-only console takes: they change nothing behind it.
const ALWAYS_OPEN: [&str; 5] = ["/session", "/session/end", "/theme", "/setup", "/counts"];

pub async fn gate(req: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<BoxBody>, ActixError> {
    let started = Instant::now();
    let id = RequestId::new();
    let ctx = req.app_data::<web::Data<Context>>().cloned();
    let (method, path) = (req.method().clone(), req.path().to_owned());
    let trusted = ctx.as_ref().map(|ctx| ctx.config.trusted_proxies.as_slice()).unwrap_or_default();
    let address = request::client_address(req.request(), trusted);
    req.extensions_mut().insert(id.clone());
    let own = ctx.as_ref().and_then(|ctx| ctx.config.origin());
    let welcome = method.is_safe() || comes_from_us(req.headers(), own);
    let read_only = ctx.as_ref().is_some_and(|ctx| ctx.config.read_only) && !method.is_safe() && !ALWAYS_OPEN.contains(&path.as_str());
    let answering = async {
        if welcome && read_only {
            Ok(req.error_response(Error::Forbidden("This console is read-only: it shows and downloads, and changes nothing.".into())))
        } else if welcome {
            let req = body::watched(req);
            next.call(req).await.map(ServiceResponse::map_into_boxed_body)
        } else {
            let refused =
                Error::Forbidden("This form was sent from another site, so Larder did nothing. Open the page here and try again.".into());
            Ok(req.error_response(refused))
        }
    };
    let mut response = request::CURRENT.scope(id.0.clone(), answering).await?;
    let https = ctx.as_ref().is_some_and(|ctx| ctx.config.is_https());
    let status = response.status();
    dress(response.headers_mut(), &id.0, https, path.starts_with("/static/") && status == StatusCode::OK);
    log::info!(
        target: "larder::access",
        "{method} {} {} {:.1} ms {} {}",
        path.escape_debug(),
        status.as_u16(),
        started.elapsed().as_secs_f64() * 1000.0,
        address.map_or_else(|| "-".to_owned(), |address| address.to_string()),
        id.0
    );
    Ok(response)
}

/// Whether an unsafe request was made by a page of ours: by `Sec-Fetch-Site`, which no page can forge, else by
/// `Origin`. Covers every form without reading it.
fn comes_from_us(headers: &HeaderMap, own: Option<&str>) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()) else { return false };
    match own {
        Some(own) => origin == own,
        None => {
            let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
            let named = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            host.is_some() && named == host
        }
    }
}

/// Headers that every answer has; a handler that set its own keeps it.
fn dress(headers: &mut HeaderMap, id: &str, https: bool, asset: bool) {
    let mut set = |name: HeaderName, value: &str| {
        if !headers.contains_key(&name)
            && let Ok(value) = HeaderValue::from_str(value)
        {
            headers.insert(name, value);
        }
    };
    set(HeaderName::from_static("x-request-id"), id);
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    // `no-referrer` would make browsers send `Origin: null` with our own forms.
    set(header::REFERRER_POLICY, "same-origin");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()");
    if asset {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    } else if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if https && !headers.contains_key(header::STRICT_TRANSPORT_SECURITY) {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=63072000; includeSubDomains"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn forms_come_from_our_own_pages_or_not_at_all() {
        let own = Some("https://larder.example.com");
        for (pairs, own, expected) in [
            (vec![("sec-fetch-site", "same-origin")], own, true),
            (vec![("sec-fetch-site", "none")], own, true),
            (vec![("sec-fetch-site", "same-site")], own, false),
            (vec![("sec-fetch-site", "cross-site"), ("origin", "https://larder.example.com")], own, false),
            (vec![("origin", "https://larder.example.com")], own, true),
            (vec![("origin", "https://evil.example.com")], own, false),
            (vec![("origin", "null")], own, false),
            (vec![], own, false),
            (vec![("origin", "http://127.0.0.1:8080"), ("host", "127.0.0.1:8080")], None, true),
            (vec![("origin", "http://127.0.0.1:8081"), ("host", "127.0.0.1:8080")], None, false),
        ] {
            assert_eq!(comes_from_us(&headers(&pairs), own), expected, "{pairs:?}");
        }
    }
}
