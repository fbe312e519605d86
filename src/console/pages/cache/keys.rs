//! `/cache/keys`: a key search, one partial scan per page.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{Tab, Tabs, cost_text, tab_layout};
use crate::console::http::error::Result;
use crate::console::http::query::Query;
use crate::console::http::session::Admin;
use crate::console::pages::refused_page;
use crate::console::pages::{Refusal, ok, unprocessable};
use crate::console::view::layout::Layout;
use crate::console::view::{filters, paths, units};
use crate::domain::keyspace::{self, KINDS, Row, Search, SearchPage};
use crate::domain::keyspace::{Cost, Ttl};
use crate::domain::{self, Context, limits};

#[derive(Template)]
#[template(path = "pages/cache/keys.html")]
pub struct IndexPage {
    pub layout: Layout,
    pub tabs: Tabs,
    pub query: IndexQuery,
    pub refusal: Refusal,
    pub found: Option<SearchPage>,
    pub cost: Cost,
}

refused_page!(IndexPage);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct IndexQuery {
    #[serde(rename = "match")]
    pub pattern: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// The cursor of SCAN, up to 64 bits.
    pub cursor: String,
    /// The number of keys scanned by the previous pages.
    pub seen: String,
}

impl IndexPage {
    fn kinds(&self) -> [&'static str; 6] {
        KINDS
    }

    /// Keys scanned since the search started.
    fn scanned(&self) -> u64 {
        let before: u64 = self.query.seen.parse().unwrap_or(0);
        let Some(found) = &self.found else { return before };
        if found.next.is_none() && !found.exact { found.total } else { before.saturating_add(found.progress.examined).min(found.total) }
    }

    fn share(&self) -> f64 {
        let total = self.found.as_ref().map_or(0, |found| found.total).max(1);
        self.scanned() as f64 / total as f64 * 100.0
    }

    fn share_text(&self) -> String {
        let share = self.share();
        if share >= 10.0 { format!("{share:.0}") } else { format!("{share:.1}") }
    }

    fn next_url(&self) -> Option<String> {
        let cursor = self.found.as_ref()?.next?.to_string();
        let seen = self.scanned().to_string();
        Some(paths::cache_keys(&[("match", &self.query.pattern), ("type", &self.query.kind), ("cursor", &cursor), ("seen", &seen)]))
    }

    fn first_url(&self) -> Option<String> {
        let further = !self.query.cursor.is_empty() && self.query.cursor != "0";
        further.then(|| paths::cache_keys(&[("match", &self.query.pattern), ("type", &self.query.kind)]))
    }

    /// Each row, and whether the key has exactly the name that was entered, although it contains wildcards.
    fn rows(found: &SearchPage) -> impl Iterator<Item = (&Row, bool)> {
        found.literal.iter().map(|row| (row, !found.exact)).chain(found.rows.iter().map(|row| (row, false)))
    }

    fn is_empty(found: &SearchPage) -> bool {
        found.literal.is_empty() && found.rows.is_empty()
    }

    fn key_url(row: &Row) -> Option<String> {
        row.name.fits_in_url().then(|| paths::cache_key(row.name.as_bytes(), &[]))
    }

    fn ttl(row: &Row) -> String {
        ttl_text(row.described.ttl)
    }

    fn cost(&self) -> String {
        cost_text(self.cost)
    }

    /// Deletion requires a pattern, so that an empty field does not delete everything.
    fn may_delete(&self) -> bool {
        self.found.as_ref().is_some_and(|found| !found.exact) && !self.query.pattern.is_empty() && self.query.kind.is_empty()
    }
}

pub(super) fn ttl_text(ttl: Ttl) -> String {
    match ttl {
        Ttl::None => "no expiry".to_owned(),
        Ttl::Remaining(left) if left.as_secs() == 0 => "under 1 second".to_owned(),
        Ttl::Remaining(left) => units::duration_words(i64::try_from(left.as_secs()).unwrap_or(i64::MAX)),
        Ttl::Missing => "expired".to_owned(),
    }
}

pub async fn index(admin: Admin, ctx: web::Data<Context>, query: Query) -> Result<HttpResponse> {
    let query: IndexQuery = query.read()?;
    let (layout, tabs) = tab_layout(&admin, Tab::Keys);
    let browse = ctx.redis.browse();
    let _slot = limits::admit_scan(&ctx, &admin.actor).await?;
    let searched = async {
        let cursor = if query.cursor.is_empty() { 0 } else { query.cursor.parse().map_err(|_| bad_cursor())? };
        keyspace::search(&ctx, &browse, &Search::new(query.pattern.trim(), &query.kind, cursor)?).await
    };
    match searched.await {
        Ok(found) => ok(&IndexPage { layout, tabs, query, refusal: Refusal::default(), found: Some(found), cost: browse.cost() }),
        Err(domain::Error::Refused { field, why }) => {
            unprocessable(&IndexPage { layout, tabs, query, refusal: Refusal { field, why }, found: None, cost: browse.cost() })
        }
        Err(error) => Err(error.into()),
    }
}

fn bad_cursor() -> domain::Error {
    domain::Error::refused("match", "The address of this page contains an invalid cursor. Start the search again.")
}
