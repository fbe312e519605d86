//! The middleware of every route: applies the route's policy before the handler, and completes the response after it.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};

use super::error::{self, Error, RefusalReason};
use super::held_body::UntilSent;
use super::route::Route;
use super::{accept, compression, held_body, limit};
use crate::console::view::flash::Flash;
use crate::domain::Context;

/// `routes` are the rows of the route table for this URL pattern. Rejects changes on a read-only console; renders errors, sets
/// rate limit headers, removes a shown flash message and compresses.
pub async fn finish(
    routes: &'static [Route],
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let method = if req.method() == Method::HEAD { &Method::GET } else { req.method() };
    let route = routes.iter().find(|route| route.method == method.as_str());
    let is_change = route.is_some_and(|route| !method.is_safe() && !route.allowed_when_read_only);
    let (req, mut response) = if is_change && is_read_only(&req) {
        let why = "This console is read-only. Browsing and downloading still work.";
        let (req, _) = req.into_parts();
        let response = error::answer(&Error::Forbidden(why.to_owned()), &req);
        (req, response)
    } else {
        if let Some(route) = route {
            req.extensions_mut().insert(route);
        }
        let (req, response) = next.call(req).await?.map_into_boxed_body().into_parts();
        let response = with_error_page(&req, response);
        (req, response)
    };
    let why = response.extensions_mut().remove::<RefusalReason>();
    if let Some(RefusalReason(why)) = why.filter(|_| accept::prefers_json(req.headers())) {
        response = error::answer(&Error::from_refused_page(&response, why), &req);
    }
    limit::set_headers(&req, response.headers_mut());
    let is_page = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if is_page
        && let Some(ctx) = req.app_data::<web::Data<Context>>()
        && Flash::is_waiting(&req, &ctx.config)
    {
        // If the cookie cannot be written, the flash message is only shown once more.
        let _ = response.add_cookie(&Flash::removal(&ctx.config));
    }
    let held = response.extensions_mut().remove::<UntilSent>();
    let response = compression::compress(&req, response);
    let response = match held {
        Some(held) => held_body::hold(response, held),
        None => response,
    };
    Ok(ServiceResponse::new(req, response))
}

/// The page or document of the error that the handler returned, if it did.
fn with_error_page(req: &HttpRequest, response: HttpResponse<BoxBody>) -> HttpResponse<BoxBody> {
    let Some(error) = response.error() else { return response };
    match error.as_error::<Error>() {
        Some(error) => error::answer(error, req),
        None if response.status().is_client_error() => error::answer(&Error::BadRequest("This request is invalid.".to_owned()), req),
        None => error::answer(&Error::Internal(error.to_string()), req),
    }
}

fn is_read_only(req: &ServiceRequest) -> bool {
    req.app_data::<web::Data<Context>>().is_some_and(|ctx| ctx.config.read_only)
}
