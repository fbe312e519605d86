//! `/health/services/{name}`: one service over an hour, a day, thirty days.

mod history;

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{Card, Episode};
use crate::clock;
use crate::console::error::{Error, Result};
use crate::console::layout::{Flash, Layout, Section};
use crate::console::part::Part;
use crate::console::query::Query;
use crate::console::session::{Admin, SignedIn, Viewer};
use crate::console::{filters, ranges};
use crate::domain::Context;
use crate::domain::actor::Role;
use crate::domain::health::{self, Service, State};
use crate::domain::vitals::Range;
use crate::stores::litellm::Examined;

pub use history::History;

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
pub struct LivePart<'a> {
    pub card: Card,
    pub range: Range,
    /// `None`: Postgres, which keeps it, does not answer.
    pub history: Option<&'a History>,
    pub incidents: Vec<Episode>,
    /// Of which these are the latest.
    pub known: usize,
    /// Whether to offer what may cost money.
    pub may_call_models: bool,
    /// Services that do not answer, all of them counted.
    pub down: usize,
}

const INCIDENTS: usize = 50;

impl LivePart<'_> {
    fn ranges(&self) -> [(&'static str, String, bool); 3] {
        let here = format!("/health/services/{}", self.card.line.service.slug());
        ranges::choices(&here, self.range)
    }
}

/// Which page somebody looks at.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct WatchQuery {
    /// Empty: the page of all of them.
    pub service: String,
    pub range: String,
}

/// A service's page that somebody looks at.
pub struct Watch {
    service: Service,
    range: Range,
    is_admin: bool,
    /// What Postgres had in the minute of that number.
    kept: Option<(i64, History)>,
}

impl Watch {
    /// Not found where there is no such service, or none is configured.
    pub fn of(ctx: &Context, person: &SignedIn, name: &str, range: &str) -> Result<Self> {
        let service = Service::of_slug(name).ok_or_else(|| Error::NotFound("There is no service of this name.".to_owned()))?;
        if !ctx.health.is_configured(service) {
            return Err(Error::NotFound(format!("{} is not configured, so there is nothing to show.", service.name())));
        }
        Ok(Self { service, range: ranges::of(range), is_admin: person.session.role >= Role::Admin, kept: None })
    }

    /// The page as it is now.
    pub async fn look(&mut self, ctx: &Context) -> Result<Part> {
        self.read(ctx).await;
        let all = ctx.health.incidents();
        let own = || all.iter().filter(|incident| incident.service == self.service);
        Part::of(&LivePart {
            card: Card::of(ctx.health.one(self.service), ctx.health.uptime(self.service), &all),
            range: self.range,
            history: self.kept.as_ref().map(|(_, history)| history),
            incidents: own().take(INCIDENTS).cloned().map(Episode::of).collect(),
            known: own().count(),
            may_call_models: self.service == Service::LiteLlm && self.is_admin,
            down: ctx.health.down().len(),
        })
    }

    /// Postgres is asked once a minute, and nobody waits for what is known not to answer.
    async fn read(&mut self, ctx: &Context) {
        let (now, postgres) = (clock::now(), ctx.health.one(Service::Postgres));
        let minute = now.timestamp().div_euclid(60);
        if postgres.state == State::Down {
            self.kept = None;
        } else if postgres.failures == 0 && self.kept.as_ref().is_none_or(|(of, _)| *of != minute) {
            let steps = health::steps(ctx, self.service, self.range, now).await;
            self.kept = steps.ok().map(|steps| (minute, History::of(&steps, self.range)));
        }
    }
}

pub async fn show(viewer: Viewer, ctx: web::Data<Context>, name: web::Path<String>, query: Query) -> Result<HttpResponse> {
    let query: WatchQuery = query.read()?;
    let mut watch = Watch::of(&ctx, &viewer, &name, &query.range)?;
    let live = watch.look(&ctx).await?;
    let Watch { service, range, .. } = watch;
    super::super::ok(&ShowPage {
        layout: viewer.layout(service.name(), Section::Health).under([("Health".to_owned(), "/health".to_owned())]),
        events: format!("/health/events?service={}&range={}", service.slug(), ranges::name(range)),
        live,
    })
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
