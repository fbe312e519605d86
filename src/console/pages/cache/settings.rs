//! `/cache/settings`: the configuration of the server.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{Tab, Tabs, cost_text, tab_layout};
use crate::console::http::error::Result;
use crate::console::http::query::Query;
use crate::console::http::session::Admin;
use crate::console::pages::ok;
use crate::console::view::filters;
use crate::console::view::layout::Layout;
use crate::domain::Context;
use crate::domain::keyspace::{self, Cost, Permitted, Setting, SettingValue};

#[derive(Template)]
#[template(path = "pages/cache/settings.html")]
pub struct SettingsPage {
    pub layout: Layout,
    pub tabs: Tabs,
    pub result: Permitted<Vec<Setting>>,
    pub query: String,
    pub cost: Cost,
}

impl SettingsPage {
    fn cost(&self) -> String {
        cost_text(self.cost)
    }

    fn value(setting: &Setting) -> &str {
        match &setting.value {
            SettingValue::Empty => "–",
            SettingValue::Shown(value) => value,
            SettingValue::Hidden => "set (hidden)",
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct SettingsQuery {
    q: String,
}

pub async fn show(admin: Admin, ctx: web::Data<Context>, query: Query) -> Result<HttpResponse> {
    let query = query.read::<SettingsQuery>()?.q;
    let browse = ctx.redis.browse();
    let mut result = keyspace::settings(&ctx, &browse).await?;
    if let Ok(settings) = &mut result {
        let wanted = query.trim().to_lowercase();
        settings.retain(|setting| setting.name.contains(&wanted));
    }
    let (layout, tabs) = tab_layout(&admin, Tab::Settings);
    ok(&SettingsPage { layout, tabs, result, query, cost: browse.cost() })
}
