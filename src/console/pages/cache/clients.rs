//! `/cache/clients`: the connected clients, those with the most memory first.

use actix_web::{HttpResponse, web};
use askama::Template;

use super::{Tab, Tabs, address, cost_text, tab_layout};
use crate::console::http::error::Result;
use crate::console::http::session::Admin;
use crate::console::pages::ok;
use crate::console::view::layout::Layout;
use crate::console::view::{filters, units};
use crate::domain::Context;
use crate::domain::keyspace::{self, Cost, Permitted};
use crate::domain::redis_metrics::Client;

const MAX_CLIENTS: usize = 500;

#[derive(Template)]
#[template(path = "pages/cache/clients.html")]
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

pub async fn index(admin: Admin, ctx: web::Data<Context>) -> Result<HttpResponse> {
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
