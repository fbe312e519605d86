//! The HTML console, and the table of all its routes.

pub mod assets;
mod body;
mod charts;
mod compression;
mod cursor_history;
pub mod error;
mod events;
mod fields;
mod filetype;
mod filters;
pub mod fragment;
mod icons;
pub mod layout;
mod limit;
mod multipart;
mod name_markup;
mod origin;
pub mod pages;
pub mod paths;
pub mod query;
mod ranges;
pub mod request;
pub mod request_middleware;
pub mod routes;
#[cfg(test)]
mod samples;
pub mod session;
mod units;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::CONTENT_TYPE;
use actix_web::middleware::Next;
use actix_web::web;

use crate::domain::Context;
use error::Error;
use layout::Flash;
use pages::{
    audit, batch, bucket, buckets, cache, deletions, download, folders, health, links, object, overview, receive, resumable, sessions,
    settings, setup, theme, unfinished, uploads, users,
};
pub(crate) use routes::routes;
pub use routes::{Access, Route};

routes! {
    "/" { GET Viewer overview::index; }
    "/setup" { GET Public setup::new; POST Public setup::create; }
    "/session" { GET Public sessions::new; POST Public sessions::create; }
    "/session/end" { POST Public sessions::end; }
    "/theme" { POST Public theme::update; }
    "/buckets" { GET Viewer buckets::index; POST Admin buckets::create; }
    "/counts" { POST Viewer buckets::count; }
    "/buckets/{bucket}" { GET Viewer bucket::show; }
    "/buckets/{bucket}/settings" { GET Viewer settings::show; }
    "/buckets/{bucket}/abilities" { POST Editor settings::probe; }
    "/buckets/{bucket}/unfinished" { GET Viewer unfinished::index; }
    "/buckets/{bucket}/unfinished/deletion" { POST Editor unfinished::delete; }
    "/buckets/{bucket}/deletion" { POST Admin settings::delete; }
    "/buckets/{bucket}/folders" { POST Editor folders::create; }
    "/buckets/{bucket}/object" { GET Viewer object::show; }
    "/buckets/{bucket}/download" { GET Viewer download::show; }
    "/buckets/{bucket}/preview" { GET Viewer download::preview; }
    "/buckets/{bucket}/links" { POST Editor links::create; }
    "/buckets/{bucket}/deletions" { GET Editor deletions::show; POST Editor deletions::create; }
    "/buckets/{bucket}/uploads" { POST Editor receive::create; }
    "/buckets/{bucket}/uploads/resumable" { POST Editor resumable::create; }
    "/buckets/{bucket}/uploads/{id}" { GET Editor resumable::show; }
    "/buckets/{bucket}/uploads/{id}/parts" { POST Editor resumable::receive; }
    "/buckets/{bucket}/uploads/{id}/completion" { POST Editor resumable::complete; }
    "/buckets/{bucket}/uploads/{id}/deletion" { POST Editor resumable::delete; }
    "/uploads" { GET Viewer uploads::index; }
    "/uploads/new" { GET Editor uploads::new; }
    "/uploads/{batch}" { GET Viewer batch::show; }
    "/cache" { GET Viewer cache::metrics::show; }
    "/cache/namespaces" { GET Viewer cache::namespaces::index; }
    "/cache/namespaces/samples" { POST Viewer cache::namespaces::sample; }
    "/cache/namespaces/clearings" { POST Admin cache::namespaces::clear; }
    "/cache/slowlog" { GET Admin cache::server::slowlog; }
    "/cache/clients" { GET Admin cache::server::clients; }
    "/cache/settings" { GET Admin cache::server::settings; }
    "/cache/keys" { GET Admin cache::keys::index; }
    "/cache/keys/deletions" { POST Admin cache::scans::delete; }
    "/cache/key" { GET Admin cache::key::show; }
    "/cache/key/download" { GET Admin cache::download::show; }
    "/cache/key/expiry" { POST Admin cache::key::expire; }
    "/cache/key/deletion" { POST Admin cache::key::delete; }
    "/cache/biggest" { GET Admin cache::scans::index; POST Admin cache::scans::create; }
    "/cache/walks/{id}" { GET Admin cache::scans::show; }
    "/cache/walks/{id}/stop" { POST Admin cache::scans::stop; }
    "/health/events" { GET Viewer health::events; }
    "/health/checks" { POST Viewer health::check; }
    "/health/models" { POST Admin health::service::call_models; }
    "/health/services/{name}/events" { GET Viewer health::service::events; }
    "/health/services/{name}" { GET Viewer health::service::show; }
    "/audit" { GET Admin audit::index; }
    "/users" { GET Admin users::index; POST Admin users::create; }
    "/users/{id}/role" { POST Admin users::set_role; }
    "/users/{id}/status" { POST Admin users::set_status; }
    "/users/{id}/password" { POST Admin users::set_password; }
}

/// The last step of every response: renders errors, sets rate limit headers, removes a shown flash message and compresses.
pub async fn finish(req: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let (req, response) = next.call(req).await?.map_into_boxed_body().into_parts();
    let mut response = match response.error() {
        Some(error) => match error.as_error::<Error>() {
            Some(error) => error::answer(error, &req),
            None if response.status().is_client_error() => error::answer(&Error::BadRequest("This request is invalid.".to_owned()), &req),
            None => error::answer(&Error::Internal(error.to_string()), &req),
        },
        None => response,
    };
    let why = response.extensions_mut().remove::<pages::RefusalReason>();
    if let Some(pages::RefusalReason(why)) = why.filter(|_| request::prefers_json(req.headers())) {
        response = error::answer(&Error::from_refused_page(&response, why), &req);
    }
    limit::set_headers(&req, response.headers_mut());
    let is_page = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let https = req.app_data::<web::Data<Context>>().is_some_and(|ctx| ctx.config.is_https());
    if is_page && Flash::is_waiting(&req, https) {
        // If the cookie cannot be written, the flash message is only shown once more.
        let _ = response.add_cookie(&Flash::removal(https));
    }
    let response = compression::compress(&req, response);
    Ok(ServiceResponse::new(req, response))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_fixed_word_follows_buckets_directly() {
        for route in ROUTES.iter().filter(|route| route.pattern.starts_with("/buckets/")) {
            assert!(route.pattern.starts_with("/buckets/{bucket}"), "{}", route.pattern);
        }
    }

    #[test]
    fn every_route_is_listed_once() {
        for (at, route) in ROUTES.iter().enumerate() {
            assert!(!ROUTES[..at].iter().any(|other| (other.method, other.pattern) == (route.method, route.pattern)), "{route:?}");
        }
    }
}
