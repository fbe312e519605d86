//! What the last checks of every service found. Requests read a snapshot in memory and never wait.

use std::time::Duration;

use chrono::{DateTime, Utc};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Postgres,
    Redis,
    S3,
    Qdrant,
    LiteLlm,
}

impl Service {
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "Postgres",
            Self::Redis => "Redis",
            Self::S3 => "S3",
            Self::Qdrant => "Qdrant",
            Self::LiteLlm => "LiteLLM",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not checked yet.
    Unknown,
    Up,
    /// The last check failed, but not enough of them in a row.
    Unstable,
    Down,
    NotConfigured,
    /// No check has ended for three periods.
    Stale,
}

#[derive(Clone, Debug)]
pub struct Snapshot {
    pub service: Service,
    pub state: State,
    /// Whether the last check succeeded: what programs are told.
    pub healthy: bool,
    /// Of the last good check, in milliseconds, two decimals.
    pub latency_ms: Option<f64>,
    /// When `state` became what it is.
    pub since: Option<DateTime<Utc>>,
    pub checked_at: Option<DateTime<Utc>>,
    /// Why the last failed check failed, scrubbed, a sentence; with its time.
    pub last_failure: Option<(DateTime<Utc>, String)>,
    /// As the server tells it.
    pub version: Option<String>,
    /// Milliseconds; oldest first; `None` where there was no answer. At most an hour.
    pub history: Vec<Option<f32>>,
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    /// In use, size, waiting; for services with a pool.
    pub pool: Option<(usize, usize, usize)>,
    pub pool_size: usize,
}

impl Snapshot {
    /// What works only with this service.
    pub fn needed_for(&self) -> &'static str {
        todo!()
    }
}

/// The latest snapshot of every service.
#[derive(Clone)]
pub struct Board;

impl Board {
    pub const PERIOD: Duration = Duration::from_secs(2);
    /// Postgres, Redis, S3, Qdrant, LiteLLM, in this order.
    pub fn all(&self) -> Vec<Snapshot> {
        todo!()
    }
    pub fn one(&self, service: Service) -> Snapshot {
        todo!()
    }
    pub fn started_at(&self) -> DateTime<Utc> {
        todo!()
    }
    /// Anything down?
    pub fn down(&self) -> usize {
        todo!()
    }
}
