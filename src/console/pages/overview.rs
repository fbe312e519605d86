//! `/`: what is up, what is stored, what happened.

mod rendered;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{DateTime, Utc};

use super::health::Line as ServiceLine;
use super::with_status;
use crate::clock;
use crate::console::charts::{self, Bar};
use crate::console::error::{Error, Result};
use crate::console::events::Line;
use crate::console::filters;
use crate::console::layout::{Layout, Section};
use crate::console::part::Part;
use crate::console::session::Viewer;
use crate::domain::Context;
use crate::domain::actor::Role;
use crate::domain::health::{Service, State};
use crate::domain::overview::{Overview, overview};

pub use rendered::Rendered;

#[derive(Template)]
#[template(path = "pages/overview.html")]
pub struct IndexPage {
    pub layout: Layout,
    pub now: DateTime<Utc>,
    pub live: Part,
}

#[derive(Template)]
#[template(path = "parts/overview_live.html")]
pub struct LivePart {
    pub services: Vec<ServiceLine>,
    /// None while the database does not answer: the rest of the page still stands.
    pub figures: Option<Figures>,
    pub is_admin: bool,
}

pub struct Figures {
    pub overview: Overview,
    pub bars: Vec<Bar>,
    pub events: Vec<Line>,
}

impl Figures {
    pub fn of(overview: Overview) -> Self {
        Self { bars: charts::bars(&overview.by_hour), events: Line::all(&overview.events), overview }
    }
}

impl LivePart {
    /// Services that are down, for the sentence under the strip.
    fn troubled(&self) -> impl Iterator<Item = &ServiceLine> {
        self.services.iter().filter(|line| line.state == State::Down)
    }

    /// What is down of that which knows how much is stored: the store, and Redis, which keeps what was counted.
    fn uncountable(&self) -> Option<&'static str> {
        self.troubled().map(|line| line.service).find(|service| matches!(service, Service::S3 | Service::Redis)).map(Service::name)
    }
}

pub async fn index(viewer: Viewer, ctx: web::Data<Context>, rendered: web::Data<Rendered>) -> Result<HttpResponse> {
    let page =
        |status, live| with_status(status, &IndexPage { layout: viewer.layout("Overview", Section::Overview), now: clock::now(), live });
    let stamp = match rendered.get(&ctx, &viewer.actor) {
        Ok(live) => return page(StatusCode::OK, live),
        Err(stamp) => stamp,
    };
    let mut services: Vec<ServiceLine> = ctx.health.all().iter().map(ServiceLine::of).collect();
    services.retain(|line| line.state != State::NotConfigured);
    services.sort_by_key(ServiceLine::rank);
    let figures = match overview(&ctx, &viewer.actor).await.map_err(Error::from) {
        Ok(overview) => Some(Figures::of(overview)),
        Err(fault @ Error::Unavailable { .. }) => {
            fault.log(&viewer.actor.request_id);
            None
        }
        Err(fault) => return Err(fault),
    };
    let is_whole = figures.is_some();
    let live = Part::of(&LivePart { services, figures, is_admin: viewer.actor.role == Role::Admin })?;
    if !is_whole {
        return page(StatusCode::SERVICE_UNAVAILABLE, live);
    }
    rendered.keep(&viewer.actor, stamp, &live);
    page(StatusCode::OK, live)
}
