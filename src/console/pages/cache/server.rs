//! `/cache/slowlog`, `/cache/clients`, `/cache/settings`: information that the Redis server reports about itself.

use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Tab, Tabs, cost_text, tab_layout};
use crate::console::http::error::Result;
use crate::console::http::query::Query;
use crate::console::http::session::Admin;
use crate::console::pages::ok;
use crate::console::view::layout::Layout;
use crate::console::view::{filters, units};
use crate::domain::Context;
use crate::domain::keyspace::slowlog::{self, Entry};
use crate::domain::keyspace::{self, Cost, Permitted};
use crate::domain::redis_metrics::Client;

/// Rows of the slow log; Redis keeps 128 entries by default.
const MAX_SLOW_COMMANDS: usize = 128;
const MAX_CLIENTS: usize = 500;

#[derive(Template)]
#[template(path = "pages/cache_slowlog.html")]
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

/// For Unix sockets, Redis reports a truncated path that is the same for all clients.
fn address(result: &str) -> &str {
    if result.starts_with('/') { "Unix socket" } else { result }
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
pub async fn slowlog(admin: Admin, ctx: web::Data<Context>, query: Query) -> Result<HttpResponse> {
    let values = query.read::<SlowQuery>()?.values == "1";
    let browse = ctx.redis.browse();
    let entries = slowlog::read(&ctx, &browse, &admin.actor, MAX_SLOW_COMMANDS, values).await?;
    let (layout, tabs) = tab_layout(&admin, Tab::Slow);
    let result = entries.map(SlowRow::all);
    ok(&SlowPage { layout, tabs, result, values, cost: browse.cost() })
}

#[derive(Template)]
#[template(path = "pages/cache_clients.html")]
pub struct ClientsPage {
    pub layout: Layout,
    pub tabs: Tabs,
    pub result: Permitted<Vec<Client>>,
    /// The total; the table may show fewer.
    pub count: usize,
    pub cost: Cost,
}

impl ClientsPage {
    fn cost(&self) -> String {
        cost_text(self.cost)
    }

    fn address(client: &Client) -> &str {
        address(&client.address)
    }

    fn is_blocked(client: &Client) -> bool {
        client.flags.contains('b')
    }

    fn duration_text(seconds: &u64) -> String {
        units::duration_text(i64::try_from(*seconds).unwrap_or(i64::MAX))
    }
}

pub async fn clients(admin: Admin, ctx: web::Data<Context>) -> Result<HttpResponse> {
    let browse = ctx.redis.browse();
    let mut result = keyspace::clients(&ctx, &browse).await?;
    let mut count = 0;
    if let Ok(clients) = &mut result {
        count = clients.len();
        clients.sort_by_key(|client| (std::cmp::Reverse(client.memory), client.id));
        clients.truncate(MAX_CLIENTS);
    }
    let (layout, tabs) = tab_layout(&admin, Tab::Clients);
    ok(&ClientsPage { layout, tabs, result, count, cost: browse.cost() })
}

#[derive(Template)]
#[template(path = "pages/cache_settings.html")]
pub struct SettingsPage {
    pub layout: Layout,
    pub tabs: Tabs,
    pub result: Permitted<Vec<(String, String)>>,
    pub query: String,
    pub cost: Cost,
}

impl SettingsPage {
    fn cost(&self) -> String {
        cost_text(self.cost)
    }

    /// Hides passwords.
    fn value(&self, name: &str, value: &str) -> String {
        let secret = ["pass", "masterauth", "masteruser"].iter().any(|part| name.contains(part));
        match (secret, value) {
            (_, "") => "–".to_owned(),
            (true, _) => "set (hidden)".to_owned(),
            (false, value) => value.to_owned(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct SettingsQuery {
    q: String,
}

pub async fn settings(admin: Admin, ctx: web::Data<Context>, query: Query) -> Result<HttpResponse> {
    let query = query.read::<SettingsQuery>()?.q;
    let browse = ctx.redis.browse();
    let mut result = keyspace::settings(&ctx, &browse).await?;
    if let Ok(settings) = &mut result {
        let wanted = query.trim().to_lowercase();
        settings.retain(|(name, _)| name.contains(&wanted));
    }
    let (layout, tabs) = tab_layout(&admin, Tab::Settings);
    ok(&SettingsPage { layout, tabs, result, query, cost: browse.cost() })
}
