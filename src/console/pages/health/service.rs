//! `/health/services/{name}`: one service over an hour, a day, thirty days.

mod history;

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::rendered::Of;
use super::{Card, Episode, Feed, Rendered};
use crate::console::error::{Error, Result};
use crate::console::layout::{Flash, Layout, Section};
use crate::console::part::Part;
use crate::console::query::Query;
use crate::console::session::{Admin, Viewer};
use crate::console::{filters, ranges};
use crate::domain::Context;
use crate::domain::actor::Role;
use crate::domain::health::{self, Seconds, Service};
use crate::domain::vitals::Range;
use crate::ready::Ready;
use crate::stores::litellm::Examined;

pub use history::{Histories, History};

#[derive(Template)]
#[template(path = "pages/health_service.html")]
pub struct ShowPage {
    pub layout: Layout,
    /// The stream of what changes.
    pub events: String,
    pub live: Part,
}

/// What changes while somebody looks.
#[derive(Template)]
#[template(path = "parts/health_service_live.html")]
pub struct LivePart {
    pub card: Card,
    pub range: Range,
    /// `None`: Postgres, which keeps it, does not answer.
    pub history: Option<Arc<History>>,
    pub incidents: Vec<Episode>,
    /// Of which these are the latest.
    pub known: usize,
    /// Whether to offer what may cost money.
    pub may_call_models: bool,
    /// Services that do not answer, all of them counted.
    pub down: usize,
}

const INCIDENTS: usize = 50;

impl LivePart {
    /// Of a day and of thirty the card knows more, up to this moment.
    fn uptime<'a>(&'a self, history: &'a History) -> &'a Seconds {
        match self.range {
            Range::Hour => &history.uptime,
            Range::Day => &self.card.uptime.day,
            Range::Month => &self.card.uptime.month,
        }
    }

    fn ranges(&self) -> [(&'static str, String, bool); 3] {
        let here = format!("/health/services/{}", self.card.line.service.slug());
        ranges::choices(&here, self.range)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct ShowQuery {
    range: String,
}

/// Which page somebody looks at.
struct Looking {
    ctx: web::Data<Context>,
    histories: web::Data<Histories>,
    rendered: web::Data<Rendered>,
    service: Service,
    range: Range,
    may_call_models: bool,
}

impl Looking {
    /// Not found where there is no such service, or none is configured.
    fn of(viewer: &Viewer, data: Data, name: &str, query: &Query) -> Result<Self> {
        let query: ShowQuery = query.read()?;
        let (ctx, histories, rendered) = data;
        let service = Service::of_slug(name).ok_or_else(|| Error::NotFound("There is no service of this name.".to_owned()))?;
        if !ctx.health.is_configured(service) {
            return Err(Error::NotFound(format!("{} is not configured, so there is nothing to show.", service.name())));
        }
        let may_call_models = service == Service::LiteLlm && viewer.session.role >= Role::Admin;
        Ok(Self { ctx, histories, rendered, service, range: ranges::of(&query.range), may_call_models })
    }

    /// The page as it is now.
    async fn look(&self) -> Result<Part> {
        let Self { ctx, service, range, may_call_models, .. } = self;
        let history = self.histories.get(ctx, *service, *range).await;
        self.rendered.get(ctx, Of::One { service: *service, range: *range, may_call_models: *may_call_models }, || {
            let all = ctx.health.incidents();
            let own = || all.iter().filter(|incident| incident.service == *service);
            Part::of(&LivePart {
                card: Card::of(ctx.health.one(*service), ctx.health.uptime(*service), &all),
                range: *range,
                history,
                incidents: own().take(INCIDENTS).cloned().map(Episode::of).collect(),
                known: own().count(),
                may_call_models: *may_call_models,
                down: ctx.health.down().len(),
            })
        })
    }
}

type Data = (web::Data<Context>, web::Data<Histories>, web::Data<Rendered>);

pub async fn show(viewer: Viewer, data: Data, name: web::Path<String>, query: Query) -> Result<HttpResponse> {
    let looking = Looking::of(&viewer, data, &name, &query)?;
    let live = looking.look().await?;
    let Looking { service, range, .. } = looking;
    super::super::ok(&ShowPage {
        layout: viewer.layout(service.name(), Section::Health).under([("Health".to_owned(), "/health".to_owned())]),
        events: format!("/health/services/{}/events?range={}", service.slug(), ranges::name(range)),
        live,
    })
}

/// What changes on the page, as server-sent events.
pub async fn events(
    viewer: Viewer,
    data: Data,
    ready: web::Data<Ready>,
    feed: web::Data<Feed>,
    name: web::Path<String>,
    query: Query,
) -> Result<HttpResponse> {
    let looking = Looking::of(&viewer, data, &name, &query)?;
    let place = feed.enter(viewer.session.id)?;
    Ok(super::events::answer(place, looking.ctx.clone(), ready, async move || looking.look().await))
}

/// Has LiteLLM call every model, and says which answered.
pub async fn call_models(admin: Admin, ctx: web::Data<Context>) -> Result<HttpResponse> {
    let flash = match health::call_models(&ctx, &admin.actor).await? {
        Ok(Examined { answering, failing }) if failing.is_empty() => {
            let count = answering.len();
            Flash::done(format!("{count} of {count} models answered."))
        }
        Ok(Examined { answering, failing }) => {
            let all = answering.len() + failing.len();
            Flash::warn(format!("{} of {all} models answered. Not: {}.", answering.len(), failing.join(", ")))
        }
        Err(fault) => Flash::bad(format!("The models could not be called. {}", fault.why)),
    };
    Ok(admin.redirect("/health/services/litellm", flash))
}
