//! `/audit`: the audit log, also as CSV.

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use askama::Template;
use bytes::Bytes;
use chrono::{Datelike, NaiveDate};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;

use super::{Refusal, with_status};
use crate::clock;
use crate::console::http::error::Result;
use crate::console::http::query::Query;
use crate::console::http::session::Admin;
use crate::console::pages::refused_page;
use crate::console::view::layout::{Layout, Section};
use crate::console::view::{filters, paths};
use crate::domain::Context;
use crate::domain::audit::{self, Action, Event, Filter, Page};

const ROWS: i64 = 100;

#[derive(Template)]
#[template(path = "pages/audit.html")]
pub struct IndexPage {
    pub layout: Layout,
    pub rows: Vec<Row>,
    pub query: IndexQuery,
    pub next_url: Option<String>,
    pub first_url: Option<String>,
    pub csv_url: String,
    pub refusal: Refusal,
}

refused_page!(IndexPage);

impl IndexPage {
    fn is_filtered(&self) -> bool {
        let query = &self.query;
        [&query.actor, &query.action, &query.resource, &query.from, &query.to].iter().any(|field| !field.is_empty())
    }

    /// The actions, grouped by noun.
    fn actions(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        let by_noun = Action::ALL.chunk_by(|a, b| a.noun() == b.noun());
        by_noun.map(|actions| (actions[0].noun(), actions.iter().map(|action| action.as_str()).collect())).collect()
    }
}

pub struct Row {
    pub event: Event,
    pub failure: Option<&'static str>,
    pub resource_url: Option<String>,
    /// Further details of the event, as JSON.
    pub detail: Option<String>,
}

impl Row {
    fn of(event: Event) -> Self {
        let summary = crate::console::view::events::EventSummary::of(&event);
        let detail = match &event.detail {
            serde_json::Value::Null => None,
            serde_json::Value::Object(fields) if fields.is_empty() => None,
            detail => serde_json::to_string(detail).ok(),
        };
        Self { failure: summary.failure, resource_url: summary.subject.and_then(|subject| subject.url), detail, event }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct IndexQuery {
    pub actor: String,
    pub action: String,
    pub resource: String,
    pub from: String,
    pub to: String,
    pub cursor: String,
    pub format: String,
}

impl IndexQuery {
    fn filter(&self) -> std::result::Result<Filter, Refusal> {
        let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let action = some(&self.action);
        if action.as_deref().is_some_and(|action| !is_known(action)) {
            return Err(Refusal { field: "action", why: "Unknown action. Choose one from the list.".to_owned() });
        }
        Ok(Filter {
            actor: some(&self.actor),
            action,
            resource: some(&self.resource),
            from: day(&self.from, "from")?,
            to: day(&self.to, "to")?,
            cursor: self.cursor.parse().ok(),
        })
    }

    fn url(&self, cursor: &str, format: &str) -> String {
        let Self { actor, action, resource, from, to, .. } = self;
        paths::audit(&[
            ("actor", actor),
            ("action", action),
            ("resource", resource),
            ("from", from),
            ("to", to),
            ("cursor", cursor),
            ("format", format),
        ])
    }
}

/// Whether this is an action or a noun of actions.
fn is_known(action: &str) -> bool {
    Action::ALL.iter().any(|known| known.as_str() == action || known.noun() == action)
}

/// Parses a date that Postgres can store.
fn day(text: &str, field: &'static str) -> std::result::Result<Option<NaiveDate>, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<NaiveDate>() {
        Ok(day) if (1970..=9999).contains(&day.year()) => Ok(Some(day)),
        Ok(_) => Err(Refusal { field, why: "Enter a year from 1970 to 9999.".to_owned() }),
        Err(_) => Err(Refusal { field, why: "Enter a date as YYYY-MM-DD, for example 2026-11-20.".to_owned() }),
    }
}

pub async fn index(admin: Admin, ctx: web::Data<Context>, query: Query) -> Result<HttpResponse> {
    let query: IndexQuery = query.read()?;
    let layout = admin.layout("Audit", Section::Audit);
    let filter = match query.filter() {
        Ok(filter) => filter,
        Err(refusal) => {
            let nothing = Page { events: Vec::new(), next: None };
            return super::unprocessable(&IndexPage { refusal, ..index_page(layout, query, nothing) });
        }
    };
    if query.format == "csv" {
        let name = format!("attachment; filename=\"larder-audit-{}.csv\"", clock::now().format("%Y-%m-%d"));
        let csv = audit::csv(&ctx, &admin.actor, &filter).await?;
        return Ok(HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, "text/csv; charset=utf-8"))
            .insert_header((CONTENT_DISPOSITION, name))
            .streaming(with_byte_order_mark(csv)));
    }
    let page = audit::list(&ctx, &admin.actor, &filter, ROWS).await?;
    with_status(StatusCode::OK, &index_page(layout, query, page))
}

/// Without this mark, Excel reads the file in the code page of the system instead of UTF-8.
fn with_byte_order_mark(csv: impl Stream<Item = std::io::Result<Bytes>>) -> impl Stream<Item = std::io::Result<Bytes>> {
    stream::once(async { Ok(Bytes::from_static("\u{feff}".as_bytes())) }).chain(csv)
}

pub fn index_page(layout: Layout, query: IndexQuery, page: Page) -> IndexPage {
    IndexPage {
        layout,
        rows: page.events.into_iter().map(Row::of).collect(),
        next_url: page.next.map(|cursor| query.url(&cursor.to_string(), "")),
        first_url: (!query.cursor.is_empty()).then(|| query.url("", "")),
        csv_url: query.url("", "csv"),
        refusal: Refusal::default(),
        query,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(query: IndexQuery) -> Option<&'static str> {
        query.filter().err().map(|refusal| refusal.field)
    }

    #[test]
    fn a_date_out_of_range_is_rejected() {
        for (text, expected) in [
            ("", None),
            ("2026-11-20", None),
            ("1970-01-01", None),
            ("9999-12-31", None),
            ("1969-12-31", Some("from")),
            ("0000-01-01", Some("from")),
            ("-0001-01-01", Some("from")),
            ("+10000-01-01", Some("from")),
            ("+262142-12-31", Some("from")),
            ("yesterday", Some("from")),
        ] {
            assert_eq!(refused(IndexQuery { from: text.into(), ..IndexQuery::default() }), expected, "{text}");
        }
        assert_eq!(refused(IndexQuery { to: "+262142-12-31".into(), ..IndexQuery::default() }), Some("to"));
    }

    #[test]
    fn the_action_filter_accepts_actions_and_nouns() {
        for (action, expected) in [
            ("", None),
            ("object", None),
            ("object.upload", None),
            ("obj", Some("action")),
            ("object.", Some("action")),
            ("x.y", Some("action")),
        ] {
            assert_eq!(refused(IndexQuery { action: action.into(), ..IndexQuery::default() }), expected, "{action}");
        }
    }
}
