//! `/health/services/{name}`: one service over an hour, a day, thirty days.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{Card, Episode};
use crate::clock;
use crate::console::charts::{self, Area};
use crate::console::error::{Error, Result};
use crate::console::layout::{Flash, Layout, Section};
use crate::console::query::Query;
use crate::console::session::{Admin, Viewer};
use crate::console::{filters, ranges, units};
use crate::domain::Context;
use crate::domain::health::{self, Seconds, Service, State, Step};
use crate::domain::vitals::Range;
use crate::stores::litellm::Examined;

#[derive(Template)]
#[template(path = "pages/health_service.html")]
pub struct ShowPage {
    pub layout: Layout,
    pub card: Card,
    pub range: Range,
    /// `None`: Postgres, which keeps it, does not answer.
    pub history: Option<History>,
    pub incidents: Vec<Episode>,
    /// Of which these are the latest.
    pub known: usize,
}

const INCIDENTS: usize = 50;

/// A range of time in equal steps.
pub struct History {
    pub area: Option<Area>,
    /// At the top, in the middle, at the bottom.
    pub levels: [String; 3],
    pub now: String,
    pub slowest: String,
    pub times: Vec<String>,
    /// Left edge and tone of each step.
    pub bars: Vec<(String, &'static str)>,
    pub bar_width: String,
    pub uptime: Seconds,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct ShowQuery {
    range: String,
}

impl History {
    pub fn of(steps: &[Option<Step>], range: Range) -> Self {
        let means: Vec<Option<f64>> = steps.iter().map(|step| step.and_then(|step| step.mean)).collect();
        let top = means.iter().copied().flatten().fold(1.0, f64::max);
        let most = steps.iter().filter_map(|step| step.and_then(|step| step.most)).fold(0.0, f64::max);
        let mut uptime = Seconds::default();
        for step in steps.iter().flatten() {
            uptime.up += step.seconds.up;
            uptime.down += step.seconds.down;
        }
        let width = 300.0 / steps.len().max(1) as f64;
        let bars = steps.iter().enumerate().filter_map(|(at, step)| {
            let seconds = step.as_ref()?.seconds;
            let tone = match seconds.down {
                ..=0.0 => "ok",
                down if down * 2.0 < seconds.up => "warn",
                _ => "bad",
            };
            Some((format!("{:.2}", at as f64 * width), tone))
        });
        Self {
            area: charts::area(&means, 0.0, top),
            levels: [top, top / 2.0, 0.0].map(milliseconds),
            now: means.iter().copied().flatten().next_back().map_or_else(|| "not known".to_owned(), milliseconds),
            slowest: if most > 0.0 { milliseconds(most) } else { "not known".to_owned() },
            times: ranges::times(range),
            bars: bars.collect(),
            bar_width: format!("{:.2}", (width * 0.8).max(0.6)),
            uptime,
        }
    }

    fn percent(&self) -> String {
        Card::percent(&self.uptime)
    }
}

fn milliseconds(ms: f64) -> String {
    let figure = if ms < 10.0 { format!("{ms:.1}") } else { format!("{ms:.0}") };
    format!("{figure}{}ms", units::THIN)
}

impl ShowPage {
    /// Whether to offer what may cost money.
    fn may_call_models(&self) -> bool {
        self.card.line.service == Service::LiteLlm && self.layout.is_admin()
    }

    fn ranges(&self) -> [(&'static str, String, bool); 3] {
        let here = format!("/health/services/{}", self.card.line.service.slug());
        ranges::choices(&here, self.range)
    }
}

pub async fn show(viewer: Viewer, ctx: web::Data<Context>, name: web::Path<String>, query: Query) -> Result<HttpResponse> {
    let query: ShowQuery = query.read()?;
    let service = Service::of_slug(&name).ok_or_else(|| Error::NotFound("There is no service of this name.".to_owned()))?;
    let snapshot = ctx.health.one(service);
    if snapshot.state == State::NotConfigured {
        return Err(Error::NotFound(format!("{} is not configured, so there is nothing to show.", service.name())));
    }
    let range = ranges::of(&query.range);
    // Nobody waits for what is known to be down.
    let steps = match ctx.health.one(Service::Postgres).state {
        State::Down => None,
        _ => health::steps(&ctx, service, range, clock::now()).await.ok(),
    };
    let all = ctx.health.incidents();
    let card = Card::of(snapshot, ctx.health.uptime(service), &all);
    super::super::ok(&ShowPage {
        layout: viewer.layout(service.name(), Section::Health).under([("Health".to_owned(), "/health".to_owned())]),
        card,
        range,
        history: steps.map(|steps| History::of(&steps, range)),
        known: all.iter().filter(|incident| incident.service == service).count(),
        incidents: all.into_iter().filter(|incident| incident.service == service).take(INCIDENTS).map(Episode::of).collect(),
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
