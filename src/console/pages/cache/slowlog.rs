//! `/cache/slowlog`: commands that blocked the server.

use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Tab, Tabs, address, cost_text, tab_layout};
use crate::console::http::error::Result;
use crate::console::http::query::Query;
use crate::console::http::session::Admin;
use crate::console::pages::ok;
use crate::console::view::layout::Layout;
use crate::console::view::{filters, units};
use crate::domain::Context;
use crate::domain::keyspace::Cost;
use crate::domain::keyspace::Permitted;
use crate::domain::keyspace::slowlog::{self, Entry};

/// Rows; Redis keeps 128 entries by default.
const MAX_SLOW_COMMANDS: usize = 128;

#[derive(Template)]
#[template(path = "pages/cache/slowlog.html")]
pub struct SlowPage {
    pub layout: Layout,
    pub tabs: Tabs,
    pub result: Permitted<Vec<SlowRow>>,
    pub values: bool,
    pub cost: Cost,
}

pub struct SlowRow {
    pub entry: Entry,
    /// Relative to the slowest command, in percent.
    pub share: f64,
}

impl SlowRow {
    pub fn all(entries: Vec<Entry>) -> Vec<Self> {
        let slowest = entries.iter().map(|entry| entry.microseconds).max().unwrap_or(1).max(1);
        entries.into_iter().map(|entry| Self { share: 100.0 * entry.microseconds as f64 / slowest as f64, entry }).collect()
    }

    fn duration(&self) -> String {
        if self.entry.microseconds < 1000 {
            return format!("{}{}µs", self.entry.microseconds, units::THIN_SPACE);
        }
        format!("{:.1}{}ms", self.entry.microseconds as f64 / 1000.0, units::THIN_SPACE)
    }

    fn at(&self) -> DateTime<Utc> {
        self.entry.at
    }

    fn client(&self) -> &str {
        address(&self.entry.client)
    }
}

impl SlowPage {
    fn cost(&self) -> String {
        cost_text(self.cost)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct SlowQuery {
    values: String,
}

/// Viewing the values is recorded in the audit log before they are shown.
pub async fn show(admin: Admin, ctx: web::Data<Context>, query: Query) -> Result<HttpResponse> {
    let values = query.read::<SlowQuery>()?.values == "1";
    let browse = ctx.redis.browse();
    let entries = slowlog::read(&ctx, &browse, &admin.actor, MAX_SLOW_COMMANDS, values).await?;
    let (layout, tabs) = tab_layout(&admin, Tab::Slow);
    let result = entries.map(SlowRow::all);
    ok(&SlowPage { layout, tabs, result, values, cost: browse.cost() })
}
