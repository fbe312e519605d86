//! The pages, one file each.

pub mod audit;
pub mod batch;
pub mod bucket;
pub mod buckets;
pub mod cache;
pub mod deletions;
pub mod download;
pub mod health;
pub mod object;
pub mod overview;
pub mod receive;
pub mod resumable;
pub mod sessions;
pub mod settings;
pub mod setup;
pub mod theme;
pub mod unfinished;
pub mod uploads;
pub mod users;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use askama::Template;

use super::http::error::{RefusalReason, Result};

/// For chronological lists, whose cursor only leads to older entries: they have `First` but no `Previous`.
const NO_PREVIOUS: Option<String> = None;

/// The folder with a trailing slash, which users may omit.
fn folder(typed: String) -> String {
    if typed.is_empty() || typed.ends_with('/') { typed } else { typed + "/" }
}

/// A page with any status.
pub(super) fn with_status(status: StatusCode, page: &impl Template) -> Result<HttpResponse> {
    Ok(HttpResponse::build(status).insert_header((CONTENT_TYPE, "text/html; charset=utf-8")).body(page.render()?))
}

pub(super) fn ok(page: &impl Template) -> Result<HttpResponse> {
    with_status(StatusCode::OK, page)
}

/// A page that shows why the input was rejected.
pub(super) trait RefusedPage: Template {
    fn why(&self) -> &str;
}

/// For pages with a [`Refusal`] in the field `refusal`.
macro_rules! refused_page {
    ($page:ident) => {
        impl $crate::console::pages::RefusedPage for $page {
            fn why(&self) -> &str {
                &self.refusal.why
            }
        }
    };
}
use refused_page;

/// The same page again, with the user's input.
pub(super) fn refused(status: StatusCode, page: &impl RefusedPage) -> Result<HttpResponse> {
    let mut response = with_status(status, page)?;
    response.extensions_mut().insert(RefusalReason(page.why().to_owned()));
    Ok(response)
}

/// 422: the same page again, with the user's input.
pub(super) fn unprocessable(page: &impl RefusedPage) -> Result<HttpResponse> {
    refused(StatusCode::UNPROCESSABLE_ENTITY, page)
}

/// A rejected form field, with the reason shown next to it.
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    pub field: &'static str,
    pub why: String,
}

impl Refusal {
    /// The reason if it concerns `field`, else an empty string.
    pub fn of(&self, field: &str) -> &str {
        if self.field == field { &self.why } else { "" }
    }
}
