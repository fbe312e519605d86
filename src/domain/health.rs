//! What the last checks of every service found. Requests read a snapshot in memory and never wait.

mod probes;
mod record;

use std::sync::{Arc, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::clock;
use crate::config::Config;
use record::Record;

pub use probes::{check_once, start};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Postgres,
    Redis,
    S3,
    Qdrant,
    LiteLlm,
}

impl Service {
    pub const ALL: [Self; 5] = [Self::Postgres, Self::Redis, Self::S3, Self::Qdrant, Self::LiteLlm];

    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "Postgres",
            Self::Redis => "Redis",
            Self::S3 => "S3",
            Self::Qdrant => "Qdrant",
            Self::LiteLlm => "LiteLLM",
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Postgres => 0,
            Self::Redis => 1,
            Self::S3 => 2,
            Self::Qdrant => 3,
            Self::LiteLlm => 4,
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
    /// Of the last check where it was good, in milliseconds, two decimals.
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
        match self.service {
            Service::Postgres => "Signing in, uploads, and every page except this one",
            Service::Redis => "Speed: without it pages are slower, nothing is lost",
            Service::S3 => "Uploads, downloads, browsing",
            Service::Qdrant => "Search by meaning",
            Service::LiteLlm => "Translation and search by meaning",
        }
    }
}

type Usage = Arc<dyn Fn() -> (usize, usize, usize) + Send + Sync>;

/// The latest snapshot of every service.
#[derive(Clone)]
pub struct Board(Arc<Inner>);

struct Inner {
    started_at: DateTime<Utc>,
    records: [RwLock<Record>; 5],
    /// For Postgres and Redis; set once the pools exist.
    pools: [Option<Usage>; 5],
    pool_sizes: [usize; 5],
    configured: [bool; 5],
}

impl Board {
    /// Between two checks of one service.
    pub const PERIOD: Duration = Duration::from_secs(2);

    pub fn new(config: &Config, postgres: Usage, redis: Usage) -> Self {
        let sizes = [postgres().1, redis().1, 0, 0, 0];
        Self(Arc::new(Inner {
            started_at: clock::now(),
            records: std::array::from_fn(|_| RwLock::new(Record::default())),
            pools: [Some(postgres), Some(redis), None, None, None],
            pool_sizes: sizes,
            configured: [true, true, true, config.qdrant_url.is_some(), config.litellm_url.is_some()],
        }))
    }

    /// Postgres, Redis, S3, Qdrant, LiteLLM, in this order.
    pub fn all(&self) -> Vec<Snapshot> {
        Service::ALL.into_iter().map(|service| self.one(service)).collect()
    }

    pub fn one(&self, service: Service) -> Snapshot {
        let index = service.index();
        let record = match self.0.records[index].read() {
            Ok(record) => record,
            Err(poisoned) => poisoned.into_inner(),
        };
        let mut snapshot = record.snapshot(service, clock::now());
        if !self.0.configured[index] {
            snapshot.state = State::NotConfigured;
        }
        snapshot.pool = self.0.pools[index].as_ref().map(|usage| usage());
        snapshot.pool_size = self.0.pool_sizes[index];
        snapshot
    }

    pub fn started_at(&self) -> DateTime<Utc> {
        self.0.started_at
    }

    /// How many services are down.
    pub fn down(&self) -> usize {
        self.all().iter().filter(|snapshot| snapshot.state == State::Down).count()
    }

    /// Enters the outcome of one check.
    pub fn enter(&self, service: Service, outcome: Result<(Duration, String), String>) {
        let mut record = match self.0.records[service.index()].write() {
            Ok(record) => record,
            Err(poisoned) => poisoned.into_inner(),
        };
        record.enter(outcome, clock::now());
    }
}
