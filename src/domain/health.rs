//! What the last checks of every service found. Requests read a snapshot in memory and never wait.

mod board;
mod detail;
mod error;
mod history;
mod incidents;
mod latency;
mod minutes;
mod models;
mod past;
mod probes;
mod record;
mod service;
mod text;

use std::sync::Arc;

use chrono::{DateTime, Utc};

pub use board::Board;
pub use detail::{Detail, RedisDetail};
pub use error::{CheckError, ErrorClass};
pub use history::{keep, save_all};
pub use incidents::Incident;
pub use latency::{Hour, LatencyStep};
pub use models::call_models;
pub use past::{Day, HistoryStep, Seconds, Uptime, steps};
pub use probes::{Asked, check_once, look_once, start};
pub use record::{FAILURES, RECOVERIES};
pub use service::Service;
pub use text::Names;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not checked yet.
    Unknown,
    Up,
    /// It answers, but something is not as it should be.
    Degraded,
    /// The last check failed, but not enough of them in a row.
    Failing,
    Down,
    NotConfigured,
    /// No check has ended for three periods.
    Stale,
}

impl State {
    /// In metrics and JSON.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Failing => "failing",
            Self::Down => "down",
            Self::NotConfigured => "not_configured",
            Self::Stale => "stale",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Snapshot {
    pub service: Service,
    pub state: State,
    /// It has changed between good and bad several times of late.
    pub unstable: bool,
    /// Whether it answers, as programs are told: `Up` or `Degraded`.
    pub healthy: bool,
    /// Of the last check where it was good, in milliseconds, two decimals.
    pub latency_ms: Option<f64>,
    /// When `state` became what it is; of a failure when the first check failed.
    pub since: Option<DateTime<Utc>>,
    pub checked_at: Option<DateTime<Utc>>,
    pub next_at: Option<DateTime<Utc>>,
    /// Failed checks in a row.
    pub failures: u32,
    pub last_failure: Option<(DateTime<Utc>, CheckError)>,
    /// In milliseconds.
    pub last_good: Option<(DateTime<Utc>, f64)>,
    /// Why it is degraded.
    pub trouble: Option<CheckError>,
    /// As the server tells it.
    pub version: Option<String>,
    pub detail: Option<Arc<Detail>>,
    pub hour: Arc<Hour>,
    /// In use, size, waiting; for services with a pool.
    pub pool: Option<(usize, usize, usize)>,
}
