//! The outermost middleware: request id, access log, origin check of forms, security headers, body timeouts, and a response
//! if a handler panics.

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, StatusCode, Version};
use actix_web::middleware::Next;
use actix_web::{Error as ActixError, HttpMessage, web};
use futures_util::FutureExt;

use super::error::{Error, ErrorFormat};
use super::origin::OriginPolicy;
use super::request::{self, RequestId};
use crate::console::http::body;
use crate::console::view::assets;
use crate::domain::Context;
use crate::meter::Meter;

/// Allows resources, including media and previews, from our own origin only; no inline code, no framing.
const PAGE_CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; frame-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'";

/// For styles and scripts that are opened directly.
const ASSET_CSP: &str = "default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

pub async fn request_middleware(
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, ActixError> {
    let started = Instant::now();
    let id = RequestId::new();
    let ctx = req.app_data::<web::Data<Context>>().cloned();
    let (method, path, version) = (req.method().clone(), req.path().to_owned(), req.version());
    let trusted = ctx.as_ref().map(|ctx| ctx.config.trusted_proxies.as_slice()).unwrap_or_default();
    let address = request::client_address(req.request(), trusted);
    req.extensions_mut().insert(id.clone());
    let origin_policy = OriginPolicy {
        own: ctx.as_ref().and_then(|ctx| ctx.config.origin()),
        bind: ctx.as_ref().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |ctx| ctx.config.bind.ip()),
    };
    let origin_check = if method.is_safe() { Ok(()) } else { origin_policy.check(req.headers()) };
    let meter = req.app_data::<web::Data<Meter>>().cloned();
    let _in_flight = meter.as_ref().map(|meter| meter.begin());
    let format = ErrorFormat::of(req.request());
    let handling = async {
        match origin_check {
            Err(error) => Ok(req.into_response(format.answer(&error.into_error(format.is_json())))),
            Ok(()) => {
                let req = body::with_timeouts(req);
                match AssertUnwindSafe(async { next.call(req).await }).catch_unwind().await {
                    Ok(answer) => answer.map(ServiceResponse::map_into_boxed_body),
                    Err(panic) => {
                        let error = Error::Internal(format!("{method} {} panicked: {}", path.escape_debug(), panic_message(&*panic)));
                        Err(InternalError::from_response("a handler panicked", format.answer(&error)).into())
                    }
                }
            }
        }
    };
    // A panicking handler drops the request, so its response is passed on as an error.
    let mut answer = match request::CURRENT.scope(id.0.clone(), handling).await {
        Ok(response) => Ok(response),
        Err(error) => Err((error.error_response(), error)),
    };
    let hsts = ctx
        .as_ref()
        .filter(|ctx| ctx.config.is_https())
        .map(|ctx| if ctx.config.hsts_include_subdomains { "max-age=63072000; includeSubDomains" } else { "max-age=63072000" });
    let route = answer.as_ref().ok().and_then(|response| response.request().match_pattern());
    let (status, headers) = match &mut answer {
        Ok(response) => (response.status(), response.headers_mut()),
        Err((response, _)) => (response.status(), response.headers_mut()),
    };
    let is_html = headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
    let is_page = is_html && method == actix_web::http::Method::GET;
    if let Some(meter) = &meter {
        meter.answered(method.as_str(), route.as_deref().unwrap_or("none"), status.as_u16(), started.elapsed(), is_page);
    }
    set_security_headers(headers, &id.0, hsts, ResponseKind::of(&path, status));
    log::info!(
        target: "larder::access",
        "{method} {} {} {:.1} ms {} {}",
        path.escape_debug(),
        status.as_u16(),
        started.elapsed().as_secs_f64() * 1000.0,
        address.map_or_else(|| "-".to_owned(), |address| address.to_string()),
        id.0
    );
    if let Ok(response) = &mut answer
        && version < Version::HTTP_11
    {
        end_body_by_close(response);
    }
    answer.map_err(|(response, error)| InternalError::from_response(error, response).into())
}

/// HTTP/1.0 has no chunked framing, so the end of a body of unknown length is the end of the connection.
fn end_body_by_close(response: &mut ServiceResponse<BoxBody>) {
    if response.response().body().size() == BodySize::Stream {
        let head = response.response_mut().head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
}

/// The message of a panic.
fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// How a browser uses a response.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ResponseKind {
    /// A page, a download or an error.
    Page,
    /// An image of Larder, which can be opened directly.
    Image,
    /// A style or script of Larder. The policy of the page that uses it applies.
    Asset,
}

impl ResponseKind {
    fn of(path: &str, status: StatusCode) -> Self {
        if status != StatusCode::OK || !assets::is_current(path) {
            Self::Page
        } else if path.ends_with(".svg") {
            Self::Image
        } else {
            Self::Asset
        }
    }
}

/// Sets the headers of every response. Headers set by the handler take precedence.
fn set_security_headers(headers: &mut HeaderMap, id: &str, hsts: Option<&'static str>, kind: ResponseKind) {
    let mut set = |name: HeaderName, value: &str| {
        if !headers.contains_key(&name)
            && let Ok(value) = HeaderValue::from_str(value)
        {
            headers.insert(name, value);
        }
    };
    set(HeaderName::from_static("x-request-id"), id);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    // With `no-referrer`, browsers would send `Origin: null` with Larder's own forms.
    set(header::REFERRER_POLICY, "same-origin");
    if kind == ResponseKind::Asset {
        set(header::CONTENT_SECURITY_POLICY, ASSET_CSP);
    } else {
        set(header::CONTENT_SECURITY_POLICY, PAGE_CSP);
        set(header::X_FRAME_OPTIONS, "DENY");
        set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
        set(HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()");
    }
    if kind != ResponseKind::Page {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    } else if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Some(hsts) = hsts.filter(|_| !headers.contains_key(header::STRICT_TRANSPORT_SECURITY)) {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(hsts));
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::middleware::from_fn;
    use actix_web::{App, HttpResponse, test};

    use super::*;

    async fn panics() -> HttpResponse {
        panic!("an impossible row")
    }

    #[actix_web::test]
    async fn a_panic_is_answered_with_an_error_page_and_a_reference() {
        let app = test::init_service(App::new().wrap(from_fn(request_middleware)).route("/", web::get().to(panics))).await;
        for (accept, kind) in [("text/html", "text/html; charset=utf-8"), ("application/json", "application/problem+json")] {
            let request = test::TestRequest::get().uri("/").insert_header((header::ACCEPT, accept)).to_request();
            let answer = test::try_call_service(&app, request).await.unwrap_err().error_response();
            assert_eq!(
                (answer.status(), answer.headers().get(header::CONTENT_TYPE)),
                (StatusCode::INTERNAL_SERVER_ERROR, Some(&HeaderValue::from_static(kind)))
            );
            let reference = answer.headers().get("x-request-id").unwrap().to_str().unwrap().to_owned();
            assert!(answer.headers().contains_key(header::CONTENT_SECURITY_POLICY));
            let body = String::from_utf8(to_bytes(answer.into_body()).await.unwrap().to_vec()).unwrap();
            assert!(body.contains(&reference) && !body.contains("an impossible"), "{body}");
        }
    }

    #[actix_web::test]
    async fn requests_after_a_panic_are_handled() {
        let fine = web::get().to(HttpResponse::NoContent);
        let app =
            test::init_service(App::new().wrap(from_fn(request_middleware)).route("/", web::get().to(panics)).route("/fine", fine)).await;
        assert!(test::try_call_service(&app, test::TestRequest::get().uri("/").to_request()).await.is_err());
        let next = test::call_service(&app, test::TestRequest::get().uri("/fine").to_request()).await;
        assert_eq!(next.status(), StatusCode::NO_CONTENT);
    }
}
