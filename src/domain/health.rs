//! The results of the latest checks of every service. Requests read a snapshot from memory and never wait.

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
mod trials;

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
pub use probes::{ManualCheck, check_once, inspect_once, start};
pub use record::{FAILURES, RECOVERIES};
pub use service::Service;
pub use text::Names;

pub use crate::stores::litellm::ModelCheck;
pub use crate::stores::pool_usage::PoolUsage;
pub use crate::stores::postgres::known_migrations;
pub use crate::stores::postgres::probe::{ServerState, Writes};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not checked yet.
    Unknown,
    Up,
    /// The service responds, but with a problem.
    Degraded,
    /// The last check failed, but the failure threshold is not reached.
    Failing,
    Down,
    NotConfigured,
    /// No check has finished for three periods.
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
    /// The state changed between good and bad several times recently.
    pub unstable: bool,
    /// Whether the service is reported as healthy: `Up` or `Degraded`.
    pub healthy: bool,
    /// Latency of the last successful check in milliseconds, with two decimals.
    pub latency_ms: Option<f64>,
    /// When `state` was entered; for failures, the time of the first failed check.
    pub since: Option<DateTime<Utc>>,
    pub checked_at: Option<DateTime<Utc>>,
    pub next_at: Option<DateTime<Utc>>,
    /// Consecutive failed checks.
    pub failures: u32,
    pub last_failure: Option<(DateTime<Utc>, CheckError)>,
    /// Time, and latency in milliseconds.
    pub last_good: Option<(DateTime<Utc>, f64)>,
    /// Why the service is degraded.
    pub problem: Option<CheckError>,
    /// As reported by the server.
    pub version: Option<String>,
    pub detail: Option<Arc<Detail>>,
    pub hour: Arc<Hour>,
    /// For services with a connection pool.
    pub pool: Option<PoolUsage>,
}
