//! `/health`: the state of every service for everyone, details for signed-in users. It only reads memory, so it
//! opens even when all stores are down.

mod card;
mod document;
mod events;
mod process;
mod render_cache;
pub mod service;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use serde::Deserialize;

use crate::console::http::accept::{self, Representation};
use crate::console::http::error::{Error, Result};
use crate::console::http::query::{Form, Query};
use crate::console::http::session::{Viewer, Visitor};
use crate::console::view::filters;
use crate::console::view::flash::Flash;
use crate::console::view::fragment::Fragment;
use crate::console::view::layout::{Layout, Section};
use crate::domain::Context;
use crate::domain::health::{Board, Incident, ManualCheck, Service, Snapshot, State, Uptime};
use crate::meter::Meter;

pub use card::{Card, IncidentRow};
pub use events::{StreamSlots, events};
pub use process::ProcessStats;
use render_cache::ViewKey;
pub use render_cache::{LiveFragment, RenderCache};

/// Incidents on this page. The page of each service shows all of its incidents.
const INCIDENTS: usize = 10;

/// The part of the page that is updated live.
pub struct Live {
    pub down: Vec<Card>,
    pub others: Vec<Card>,
    pub not_configured: Vec<&'static str>,
    pub up: usize,
    pub configured: usize,
    pub incidents: Vec<IncidentRow>,
    pub checked_at: Option<DateTime<Utc>>,
    pub process: ProcessStats,
    pub signed_in: bool,
    /// Seconds between checks.
    pub period: u64,
    /// No one can sign in, because Postgres is down.
    pub sign_in_unavailable: bool,
}

impl Live {
    pub fn of(board: &Board, process: ProcessStats, signed_in: bool) -> Self {
        // Only signed-in users see these.
        let incidents = if signed_in { board.incidents() } else { Vec::new() };
        let cards = board.all().into_iter().map(|snapshot| {
            let uptime = if signed_in { board.uptime(snapshot.service) } else { Uptime::default() };
            Card::of(snapshot, uptime, &incidents)
        });
        Self::from_cards(cards.collect(), incidents, process, signed_in, board.period().as_secs())
    }

    pub fn from_cards(cards: Vec<Card>, incidents: Vec<Incident>, process: ProcessStats, signed_in: bool, period: u64) -> Self {
        let not_configured =
            cards.iter().filter(|card| card.status.state == State::NotConfigured).map(|card| card.status.service.name()).collect();
        let checked_at = cards.iter().filter_map(|card| card.snapshot.checked_at).max();
        let (down, others): (Vec<Card>, Vec<Card>) =
            cards.into_iter().filter(|card| card.status.state != State::NotConfigured).partition(Card::is_down);
        Self {
            sign_in_unavailable: !signed_in && down.iter().any(|card| card.status.service == Service::Postgres),
            up: others.iter().filter(|card| card.snapshot.healthy).count(),
            configured: down.len() + others.len(),
            down,
            others,
            not_configured,
            incidents: incidents.into_iter().take(INCIDENTS).map(IncidentRow::of).collect(),
            checked_at,
            process,
            signed_in,
            period,
        }
    }

    fn period(&self) -> String {
        crate::console::view::units::duration_words(i64::try_from(self.period).unwrap_or(0))
    }

    fn recoveries(&self) -> u32 {
        crate::domain::health::RECOVERIES
    }

    fn failures(&self) -> u32 {
        crate::domain::health::FAILURES
    }
}

#[derive(Template)]
#[template(path = "pages/health.html")]
pub struct ShowPage {
    pub layout: Layout,
    pub signed_in: bool,
    pub live: Fragment,
}

/// The live part of the page of all services.
fn all(ctx: &Context, meter: &Meter, render_cache: &RenderCache, signed_in: bool) -> Result<Fragment> {
    render_cache.get(ctx, ViewKey::All { signed_in }, || {
        Ok(Fragment::of(&LiveFragment { live: Live::of(&ctx.health, ProcessStats::of(ctx, meter, signed_in), signed_in) })?)
    })
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct ShowQuery {
    /// `json` for clients that cannot set `Accept`.
    format: String,
}

/// The page for browsers, always 200. `application/health+json` for programs: 503 if a required service is down.
pub async fn show(
    visitor: Visitor,
    ctx: web::Data<Context>,
    meter: web::Data<Meter>,
    render_cache: web::Data<RenderCache>,
    req: HttpRequest,
) -> Result<HttpResponse> {
    let ShowQuery { format } = Query::of(&req).read()?;
    let as_page = format != "json" && accept::preferred(req.headers(), Representation::Json) == Representation::Page;
    let mut response =
        if as_page { page(&visitor, &ctx, &meter, &render_cache)? } else { document::document(&ctx, visitor.is_signed_in()) };
    response.headers_mut().insert(header::VARY, header::HeaderValue::from_static("Accept, Cookie"));
    Ok(response)
}

fn page(visitor: &Visitor, ctx: &Context, meter: &Meter, render_cache: &RenderCache) -> Result<HttpResponse> {
    let signed_in = visitor.is_signed_in();
    let live = all(ctx, meter, render_cache, signed_in)?;
    super::ok(&ShowPage { layout: visitor.layout("Health", Section::Health), signed_in, live })
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct CheckFields {
    service: String,
    /// Not empty on the page of a service, to redirect back to it.
    here: String,
}

/// Checks one service now, or all if none is named, and redirects back with the result.
pub async fn check(viewer: Viewer, ctx: web::Data<Context>, form: Form<CheckFields>) -> Result<HttpResponse> {
    let fields = form.read().await?;
    let named = Service::of_slug(&fields.service).filter(|service| ctx.health.is_configured(*service));
    if named.is_none() && !fields.service.is_empty() {
        return Err(Error::Unprocessable("Unknown service.".to_owned()));
    }
    let services: Vec<Service> = Service::ALL
        .into_iter()
        .filter(|service| ctx.health.is_configured(*service) && named.is_none_or(|named| named == *service))
        .collect();
    let outcome = join_all(services.iter().map(|service| ctx.health.check_now(*service))).await;
    let checked = services.into_iter().zip(outcome).map(|(service, outcome)| (ctx.health.one(service), outcome));
    let back = named
        .filter(|_| !fields.here.is_empty())
        .map_or_else(|| "/health".to_owned(), |service| format!("/health/services/{}", service.slug()));
    Ok(viewer.redirect(&back, check_summary(checked.collect())))
}

/// A summary of the checks that names each service once.
fn check_summary(checked: Vec<(Snapshot, ManualCheck)>) -> Flash {
    let names = |found: &dyn Fn(&Snapshot, ManualCheck) -> bool| {
        let found: Vec<&str> = checked.iter().filter(|(one, outcome)| found(one, *outcome)).map(|(one, _)| one.service.name()).collect();
        (found.join(", "), found.len())
    };
    let (up, up_count) = names(&|one, outcome| outcome == ManualCheck::Finished && one.failures == 0);
    let (unhealthy, unhealthy_count) = names(&|one, outcome| outcome == ManualCheck::Finished && one.failures > 0);
    let (late, late_count) = names(&|_, outcome| outcome == ManualCheck::Running);
    let mut sentences = Vec::new();
    if up_count > 0 {
        sentences.push(format!("{up} {} up.", if up_count == 1 { "is" } else { "are" }));
    }
    if unhealthy_count > 0 {
        sentences.push(format!("{unhealthy} {} unhealthy.", if unhealthy_count == 1 { "is" } else { "are" }));
    }
    if late_count > 0 {
        sentences.push(format!("{late} {} not responded within two seconds.", if late_count == 1 { "has" } else { "have" }));
    }
    match (sentences.is_empty(), unhealthy_count + late_count) {
        (true, _) => Flash::warn("The last manual check was less than 5 seconds ago. Try again in 5 seconds."),
        (false, 0) => Flash::done(format!("Checked: {}", sentences.join(" "))),
        (false, _) => Flash::bad(format!("Checked: {}", sentences.join(" "))),
    }
}
