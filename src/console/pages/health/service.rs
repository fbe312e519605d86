//! `/health/services/{name}`: one service over an hour, a day or 30 days.

mod history;

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::render_cache::ViewKey;
use super::{Card, IncidentRow, RenderCache, StreamSlots};
use crate::console::http::error::{Error, Result};
use crate::console::http::query::Query;
use crate::console::http::session::{Admin, Viewer};
use crate::console::view::breadcrumbs::Crumb;
use crate::console::view::flash::Flash;
use crate::console::view::fragment::Fragment;
use crate::console::view::layout::{Layout, Section};
use crate::console::view::{filters, ranges};
use crate::domain::Context;
use crate::domain::actor::Role;
use crate::domain::health::ModelCheck;
use crate::domain::health::{self, Seconds, Service};
use crate::domain::redis_metrics::Range;
use crate::ready::Ready;

pub use history::{History, HistoryCache};

#[derive(Template)]
#[template(path = "pages/health/service.html")]
pub struct ShowPage {
    pub layout: Layout,
    /// The URL of the live updates.
    pub events: String,
    pub live: Fragment,
}

/// The part of the page that is updated live.
#[derive(Template)]
#[template(path = "pages/health/service_live.html")]
pub struct LiveFragment {
    pub card: Card,
    pub range: Range,
    /// `None` while Postgres, which stores the history, is unavailable.
    pub history: Option<Arc<History>>,
    pub incidents: Vec<IncidentRow>,
    /// The total number of incidents, of which these are the latest.
    pub known: usize,
    /// Whether to offer calling the models, which may cost money.
    pub may_call_models: bool,
    /// The number of services that are down.
    pub down: usize,
}

const INCIDENTS: usize = 50;

impl LiveFragment {
    /// For a day and for 30 days, the card has more recent data.
    fn uptime<'a>(&'a self, history: &'a History) -> &'a Seconds {
        match self.range {
            Range::Hour => &history.uptime,
            Range::Day => &self.card.uptime.day,
            Range::Month => &self.card.uptime.month,
        }
    }

    fn ranges(&self) -> [(&'static str, String, bool); 3] {
        let here = format!("/health/services/{}", self.card.status.service.slug());
        ranges::links(&here, self.range)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct ShowQuery {
    range: String,
}

/// The requested view.
struct ServiceView {
    ctx: web::Data<Context>,
    history_cache: web::Data<HistoryCache>,
    render_cache: web::Data<RenderCache>,
    service: Service,
    range: Range,
    may_call_models: bool,
}

impl ServiceView {
    /// Not found if the service does not exist or is not configured.
    fn of(viewer: &Viewer, data: Data, name: &str, query: &Query) -> Result<Self> {
        let query: ShowQuery = query.read()?;
        let (ctx, history_cache, render_cache) = data;
        let service = Service::of_slug(name).ok_or_else(|| Error::NotFound("Service not found.".to_owned()))?;
        if !ctx.health.is_configured(service) {
            return Err(Error::NotFound(format!("{} is not configured.", service.name())));
        }
        let may_call_models = service == Service::LiteLlm && viewer.session.role >= Role::Admin;
        Ok(Self { ctx, history_cache, render_cache, service, range: ranges::parse(&query.range), may_call_models })
    }

    /// Renders the current state.
    async fn render(&self) -> Result<Fragment> {
        let Self { ctx, service, range, may_call_models, .. } = self;
        let history = self.history_cache.get(ctx, *service, *range).await;
        self.render_cache.get(ctx, ViewKey::One { service: *service, range: *range, may_call_models: *may_call_models }, || {
            let all = ctx.health.incidents();
            let own = || all.iter().filter(|incident| incident.service == *service);
            Ok(Fragment::of(&LiveFragment {
                card: Card::of(ctx.health.one(*service), ctx.health.uptime(*service), &all),
                range: *range,
                history,
                incidents: own().take(INCIDENTS).cloned().map(IncidentRow::of).collect(),
                known: own().count(),
                may_call_models: *may_call_models,
                down: ctx.health.down().len(),
            })?)
        })
    }
}

type Data = (web::Data<Context>, web::Data<HistoryCache>, web::Data<RenderCache>);

pub async fn show(viewer: Viewer, data: Data, name: web::Path<String>, query: Query) -> Result<HttpResponse> {
    let view = ServiceView::of(&viewer, data, &name, &query)?;
    let live = view.render().await?;
    let ServiceView { service, range, .. } = view;
    super::super::ok(&ShowPage {
        layout: viewer.layout(service.name(), Section::Health).with_parents([Crumb::link("Health", "/health")]),
        events: format!("/health/services/{}/events?range={}", service.slug(), ranges::name(range)),
        live,
    })
}

/// Live updates of the page as server-sent events.
pub async fn events(
    viewer: Viewer,
    data: Data,
    ready: web::Data<Ready>,
    slots: web::Data<StreamSlots>,
    name: web::Path<String>,
    query: Query,
) -> Result<HttpResponse> {
    let view = ServiceView::of(&viewer, data, &name, &query)?;
    let slot = slots.acquire(&viewer)?;
    Ok(super::events::answer(slot, view.ctx.clone(), ready, async move || view.render().await))
}

/// Makes LiteLLM call every model and reports which responded.
pub async fn call_models(admin: Admin, ctx: web::Data<Context>) -> Result<HttpResponse> {
    let flash = match health::call_models(&ctx, &admin.actor).await? {
        Ok(ModelCheck { healthy, unhealthy }) if unhealthy.is_empty() => {
            let count = healthy.len();
            Flash::done(format!("All {count} models responded."))
        }
        Ok(ModelCheck { healthy, unhealthy }) => {
            let all = healthy.len() + unhealthy.len();
            Flash::warn(format!("{} of {all} models responded. Failed: {}.", healthy.len(), unhealthy.join(", ")))
        }
        Err(failure) => Flash::bad(format!("The models could not be called. {}", failure.why)),
    };
    Ok(admin.redirect("/health/services/litellm", flash))
}
