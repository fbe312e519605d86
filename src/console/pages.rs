//! One file a page.

pub mod audit;
pub mod batch;
pub mod bucket;
pub mod buckets;
pub mod cache;
pub mod deletions;
pub mod download;
pub mod folders;
pub mod health;
pub mod links;
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

use super::error::Result;
use crate::domain::uploads::Activity;

/// For lists in order of time, whose cursor leads only to what is older: `First` leads back.
const NO_PREVIOUS: Option<String> = None;

/// A folder ends with a slash, whether or not it was typed.
fn folder(typed: String) -> String {
    if typed.is_empty() || typed.ends_with('/') { typed } else { typed + "/" }
}

/// A page with another status than 200.
pub(super) fn with_status(status: StatusCode, page: &impl Template) -> Result<HttpResponse> {
    Ok(HttpResponse::build(status).insert_header((CONTENT_TYPE, "text/html; charset=utf-8")).body(page.render()?))
}

pub(super) fn ok(page: &impl Template) -> Result<HttpResponse> {
    with_status(StatusCode::OK, page)
}

/// A page that says why what was typed is refused.
pub(super) trait RefusedPage: Template {
    fn why(&self) -> &str;
}

macro_rules! refused_pages {
    ($($page:path)*) => {$(
        impl RefusedPage for $page {
            fn why(&self) -> &str {
                &self.refusal.why
            }
        }
    )*};
}

refused_pages! {
    audit::IndexPage bucket::ShowPage buckets::IndexPage cache::key::ShowPage cache::keys::IndexPage cache::scans::ShowPage
    deletions::ConfirmPage object::ShowPage settings::ShowPage setup::NewPage uploads::IndexPage
}

/// Why, for a program, which is answered with a problem instead of the page.
pub(super) struct RefusalReason(pub String);

/// The same page again, with what was typed.
pub(super) fn refused(status: StatusCode, page: &impl RefusedPage) -> Result<HttpResponse> {
    let mut response = with_status(status, page)?;
    response.extensions_mut().insert(RefusalReason(page.why().to_owned()));
    Ok(response)
}

/// 422: the same page again, with what was typed.
pub(super) fn unprocessable(page: &impl RefusedPage) -> Result<HttpResponse> {
    refused(StatusCode::UNPROCESSABLE_ENTITY, page)
}

/// Tone, icon and words for what an unfinished upload does, the same on every page.
fn activity_badge(activity: Activity) -> (&'static str, &'static str, &'static str) {
    match activity {
        Activity::Arriving => ("off", "upload", "Uploading"),
        Activity::Waiting => ("off", "pause", "Waiting to be resumed"),
        Activity::Arrived => ("off", "check", "Waiting for completion"),
        Activity::Publishing => ("ok", "check", "Being stored"),
        Activity::Stopped => ("warn", "pause", "Stopped"),
    }
}

/// The sentence beside the field it belongs to.
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    pub field: &'static str,
    pub why: String,
}

impl Refusal {
    /// The sentence where it is about `field`, else nothing.
    pub fn of(&self, field: &str) -> &str {
        if self.field == field { &self.why } else { "" }
    }
}
