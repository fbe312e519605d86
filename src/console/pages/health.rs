//! `/health`, the page: open to all in coarse words, with details for those who are signed in. It reads what
//! is in memory and asks no store, so it opens even when all of them are down.

use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{DateTime, Utc};

use crate::clock;
use crate::console::charts::{self, Spark};
use crate::console::error::Result;
use crate::console::layout::{Layout, Section};
use crate::console::session::Visitor;
use crate::console::{filters, units};
use crate::domain::Context;
use crate::domain::health::{Service, Snapshot, State};

/// One service in a few words.
pub struct Line {
    pub service: Service,
    pub state: State,
    pub latency_ms: Option<f64>,
    pub since: Option<DateTime<Utc>>,
    pub needed_for: &'static str,
}

impl Line {
    pub fn of(snapshot: &Snapshot) -> Self {
        let Snapshot { service, state, latency_ms, since, .. } = *snapshot;
        Self { service, state, latency_ms, since, needed_for: snapshot.needed_for() }
    }

    /// Worst first.
    pub fn rank(&self) -> u8 {
        match self.state {
            State::Down => 0,
            State::Stale => 1,
            State::Unstable => 2,
            State::Unknown => 3,
            State::Up => 4,
            State::NotConfigured => 5,
        }
    }

    pub fn word(&self) -> &'static str {
        word(self.state)
    }

    pub fn icon(&self) -> &'static str {
        match self.state {
            State::Up => "ok",
            State::Down => "down",
            State::Unstable | State::Stale => "warn",
            State::Unknown => "time",
            State::NotConfigured => "off",
        }
    }

    pub fn tone(&self) -> &'static str {
        tone(self.state)
    }

    /// How long it has been down.
    pub fn how_long(&self) -> Option<String> {
        let since = self.since.filter(|_| self.state == State::Down)?;
        Some(units::lasting_text(clock::now().signed_duration_since(since).num_seconds()))
    }

    /// What does not work meanwhile, as a sentence.
    pub fn waiting(&self) -> &'static str {
        match self.service {
            Service::Postgres => "Signing in, uploads and the audit wait for it.",
            Service::Redis => "Pages are slower until it is back; nothing is lost.",
            Service::S3 => "Uploads, downloads and browsing wait for it.",
            Service::Qdrant => "Search by meaning waits for it.",
            Service::LiteLlm => "Translation and search by meaning wait for it.",
        }
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Up => "Up",
        State::Down => "Down",
        State::Unstable => "Unstable",
        State::Stale => "Stale",
        State::Unknown => "Being checked",
        State::NotConfigured => "Not configured",
    }
}

fn tone(state: State) -> &'static str {
    match state {
        State::Up => "ok",
        State::Down => "bad",
        State::Unstable | State::Stale => "warn",
        State::Unknown | State::NotConfigured => "off",
    }
}

/// One card. Everything but the state is only for those who are signed in.
pub struct Card {
    pub line: Line,
    pub snapshot: Snapshot,
    pub spark: Option<Spark>,
    /// When the first check of the line was.
    pub from: Option<DateTime<Utc>>,
}

impl Card {
    pub fn of(snapshot: Snapshot) -> Self {
        let seconds = i64::try_from(snapshot.history.len()).unwrap_or_default() * i64::try_from(PERIOD).unwrap_or(2);
        Self {
            line: Line::of(&snapshot),
            spark: charts::spark(&snapshot.history),
            from: snapshot.checked_at.map(|at| at - chrono::Duration::seconds(seconds)),
            snapshot,
        }
    }

    /// A latency as people read it.
    pub fn figure(ms: &Option<f64>) -> String {
        ms.map(|ms| if ms < 10.0 { format!("{ms:.1}") } else { format!("{ms:.0}") }).unwrap_or_else(|| "–".to_owned())
    }

    pub fn badge_icon(&self) -> &'static str {
        match self.line.state {
            State::Up => "check",
            State::Down => "close",
            State::Unstable => "unstable",
            State::Stale | State::Unknown => "time",
            State::NotConfigured => "minus",
        }
    }
}

const PERIOD: u64 = crate::domain::health::Board::PERIOD.as_secs();

#[derive(Template)]
#[template(path = "pages/health.html")]
pub struct ShowPage {
    pub layout: Layout,
    pub down: Vec<Card>,
    pub others: Vec<Card>,
    pub absent: Vec<&'static str>,
    pub up: usize,
    pub configured: usize,
    pub uptime: String,
    pub started_at: DateTime<Utc>,
    pub warnings: Vec<String>,
    pub signed_in: bool,
    pub checked_at: Option<DateTime<Utc>>,
}

impl ShowPage {
    pub fn of(layout: Layout, all: Vec<Snapshot>, started_at: DateTime<Utc>, warnings: Vec<String>, signed_in: bool) -> Self {
        let absent: Vec<&str> = all.iter().filter(|one| one.state == State::NotConfigured).map(|one| one.service.name()).collect();
        let checked_at = all.iter().filter_map(|one| one.checked_at).max();
        let (down, others): (Vec<Card>, Vec<Card>) =
            all.into_iter().filter(|one| one.state != State::NotConfigured).map(Card::of).partition(|card| card.line.state == State::Down);
        Self {
            layout,
            up: others.iter().filter(|card| card.line.state == State::Up).count(),
            configured: down.len() + others.len(),
            down,
            others,
            absent,
            uptime: units::duration_text(clock::now().signed_duration_since(started_at).num_seconds()),
            started_at,
            warnings,
            signed_in,
            checked_at,
        }
    }
}

pub async fn show(visitor: Visitor, ctx: web::Data<Context>) -> Result<HttpResponse> {
    let signed_in = visitor.is_signed_in();
    let warnings = if signed_in { ctx.config.warnings() } else { Vec::new() };
    let layout = visitor.layout("Health", Section::Health);
    super::ok(&ShowPage::of(layout, ctx.health.all(), ctx.health.started_at(), warnings, signed_in))
}
