//! `/`: service status, storage, uploads and recent events.

mod render_cache;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{DateTime, Utc};

use super::with_status;
use crate::clock;
use crate::console::http::error::{Error, Result};
use crate::console::http::session::Viewer;
use crate::console::view::charts::{self, Bar};
use crate::console::view::events::EventSummary;
use crate::console::view::filters;
use crate::console::view::fragment::Fragment;
use crate::console::view::layout::{Layout, Section};
use crate::console::view::service_status::ServiceStatus;
use crate::domain::Context;
use crate::domain::actor::Role;
use crate::domain::health::{Service, State};
use crate::domain::overview::{Overview, overview};

pub use render_cache::RenderCache;

#[derive(Template)]
#[template(path = "pages/overview.html")]
pub struct IndexPage {
    pub layout: Layout,
    pub now: DateTime<Utc>,
    pub live: Fragment,
}

#[derive(Template)]
#[template(path = "pages/overview_live.html")]
pub struct LiveFragment {
    pub services: Vec<ServiceStatus>,
    /// `None` while Postgres is unavailable; the rest of the page still renders.
    pub figures: Option<Figures>,
    pub is_admin: bool,
}

pub struct Figures {
    pub overview: Overview,
    pub bars: Vec<Bar>,
    pub events: Vec<EventSummary>,
}

impl Figures {
    pub fn of(overview: Overview) -> Self {
        Self { bars: charts::bars(&overview.by_hour), events: EventSummary::all(&overview.events), overview }
    }
}

impl LiveFragment {
    /// Services that are down, listed below the strip.
    fn down_services(&self) -> impl Iterator<Item = &ServiceStatus> {
        self.services.iter().filter(|line| line.state == State::Down)
    }

    /// The unavailable service, if any, that the storage tile needs: S3, or Redis, which stores the counts.
    fn unavailable_source(&self) -> Option<&'static str> {
        self.down_services().map(|line| line.service).find(|service| matches!(service, Service::S3 | Service::Redis)).map(Service::name)
    }
}

pub async fn index(viewer: Viewer, ctx: web::Data<Context>, render_cache: web::Data<RenderCache>) -> Result<HttpResponse> {
    let page =
        |status, live| with_status(status, &IndexPage { layout: viewer.layout("Overview", Section::Overview), now: clock::now(), live });
    let version = match render_cache.get(&ctx, &viewer.actor) {
        Ok(live) => return page(StatusCode::OK, live),
        Err(version) => version,
    };
    let mut services: Vec<ServiceStatus> = ctx.health.all().iter().map(ServiceStatus::of).collect();
    services.retain(|line| line.state != State::NotConfigured);
    services.sort_by_key(ServiceStatus::rank);
    let figures = match overview(&ctx, &viewer.actor).await.map_err(Error::from) {
        Ok(overview) => Some(Figures::of(overview)),
        Err(error @ Error::Unavailable { .. }) => {
            error.log(&viewer.actor.request_id);
            None
        }
        Err(error) => return Err(error),
    };
    let is_whole = figures.is_some();
    let live = Fragment::of(&LiveFragment { services, figures, is_admin: viewer.actor.role == Role::Admin })?;
    if !is_whole {
        return page(StatusCode::SERVICE_UNAVAILABLE, live);
    }
    render_cache.keep(&viewer.actor, version, &live);
    page(StatusCode::OK, live)
}
