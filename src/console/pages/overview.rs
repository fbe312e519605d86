//! `/`: what is up, what is stored, what happened.

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
use crate::console::session::Viewer;
use crate::domain::Context;
use crate::domain::health::State;
use crate::domain::overview::{Overview, overview};

#[derive(Template)]
#[template(path = "pages/overview.html")]
pub struct IndexPage {
    pub layout: Layout,
    pub now: DateTime<Utc>,
    pub services: Vec<ServiceLine>,
    /// None while the database does not answer: the rest of the page still stands.
    pub figures: Option<Figures>,
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

impl IndexPage {
    /// Services that are down, for the sentence under the strip.
    fn troubled(&self) -> impl Iterator<Item = &ServiceLine> {
        self.services.iter().filter(|line| line.state == State::Down)
    }
}

pub async fn index(viewer: Viewer, ctx: web::Data<Context>) -> Result<HttpResponse> {
    let mut services: Vec<ServiceLine> = ctx.health.all().iter().map(ServiceLine::of).collect();
    services.retain(|line| line.state != State::NotConfigured);
    services.sort_by_key(ServiceLine::rank);
    let (status, figures) = match overview(&ctx, &viewer.actor).await.map_err(Error::from) {
        Ok(overview) => (StatusCode::OK, Some(Figures::of(overview))),
        Err(fault @ Error::Unavailable { .. }) => {
            fault.log(&viewer.actor.request_id);
            (StatusCode::SERVICE_UNAVAILABLE, None)
        }
        Err(fault) => return Err(fault),
    };
    with_status(status, &IndexPage { layout: viewer.layout("Overview", Section::Overview), now: clock::now(), services, figures })
}
