//! What the last checks of every service found. Requests read a snapshot in memory and never wait.

mod detail;
mod fault;
mod history;
mod incidents;
mod line;
mod minutes;
mod models;
mod past;
mod probes;
mod record;
mod service;
mod words;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::clock;
use crate::config::Config;
use history::History;
use record::{Moment, Outcome, Record};

pub use detail::{Detail, RedisDetail};
pub use fault::{Class, Fault};
pub use history::{keep, save_all};
pub use incidents::Incident;
pub use line::{Hour, Step as Heard};
pub use models::call_models;
pub use past::{DAYS, Day, Seconds, Step, Uptime, steps};
pub use probes::{APART, Asked, check_once, look_once, start};
pub use record::{FAILURES, RECOVERIES};
pub use service::Service;
pub use words::Names;

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
    pub last_failure: Option<(DateTime<Utc>, Fault)>,
    /// In milliseconds.
    pub last_good: Option<(DateTime<Utc>, f64)>,
    /// Why it is degraded.
    pub trouble: Option<Fault>,
    /// As the server tells it.
    pub version: Option<String>,
    pub detail: Option<Arc<Detail>>,
    pub hour: Arc<Hour>,
    /// In use, size, waiting; for services with a pool.
    pub pool: Option<(usize, usize, usize)>,
}

type Usage = Arc<dyn Fn() -> (usize, usize, usize) + Send + Sync>;

/// The latest snapshot of every service.
#[derive(Clone)]
pub struct Board(Arc<Inner>);

struct Inner {
    started_at: DateTime<Utc>,
    started: Instant,
    /// Host and port, for people.
    instance: String,
    /// This run of this console, whatever its host is called.
    console: Uuid,
    period: Duration,
    places: [Place; Service::ALL.len()],
    history: History,
    changes: watch::Sender<u64>,
}

/// What belongs to one service.
#[derive(Default)]
struct Place {
    record: RwLock<Record>,
    /// For Postgres and Redis.
    pool: Option<Usage>,
    configured: bool,
    wanted: Notify,
    asked: Mutex<Option<Instant>>,
    /// Checks that were begun, and the last of them that has ended.
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Place {
    fn read(&self) -> RwLockReadGuard<'_, Record> {
        self.record.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Record> {
        self.record.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    pub fn new(config: &Config, postgres: Usage, redis: Usage) -> Self {
        let place = |service| Place {
            configured: match service {
                Service::Postgres | Service::Redis | Service::S3 => true,
                Service::Qdrant => config.qdrant_url.is_some(),
                Service::LiteLlm => config.litellm_url.is_some(),
            },
            pool: match service {
                Service::Postgres => Some(postgres.clone()),
                Service::Redis => Some(redis.clone()),
                _ => None,
            },
            ..Place::default()
        };
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self(Arc::new(Inner {
            started_at: clock::now(),
            started: Instant::now(),
            instance: format!("{}:{}", host.trim(), config.bind.port()),
            console: Uuid::now_v7(),
            period: config.probe_period,
            places: Service::ALL.map(place),
            history: History::default(),
            changes: watch::Sender::new(0),
        }))
    }

    /// Postgres, Redis, S3, Qdrant, LiteLLM, in this order.
    pub fn all(&self) -> Vec<Snapshot> {
        Service::ALL.into_iter().map(|service| self.one(service)).collect()
    }

    pub fn one(&self, service: Service) -> Snapshot {
        let (place, now) = (self.place(service), Moment::now());
        let mut snapshot = place.read().snapshot(service, now, self.gap());
        snapshot.state = self.judged(place, snapshot.state);
        snapshot.pool = place.pool.as_ref().map(|usage| usage());
        snapshot
    }

    pub fn state(&self, service: Service) -> State {
        let place = self.place(service);
        let state = place.read().state(Moment::now(), self.gap());
        self.judged(place, state)
    }

    fn judged(&self, place: &Place, state: State) -> State {
        match state {
            _ if !place.configured => State::NotConfigured,
            // Its check has died before it has ended once.
            State::Unknown if self.0.started.elapsed() > self.gap() => State::Stale,
            state => state,
        }
    }

    fn place(&self, service: Service) -> &Place {
        &self.0.places[service.index()]
    }

    /// Three periods, and the longest deadline: after that a check is no longer the last word.
    fn gap(&self) -> Duration {
        self.0.period * 3 + Duration::from_secs(2)
    }

    pub fn is_configured(&self, service: Service) -> bool {
        self.place(service).configured
    }

    pub fn started_at(&self) -> DateTime<Utc> {
        self.0.started_at
    }

    pub fn instance(&self) -> &str {
        &self.0.instance
    }

    /// Between two checks of one service, at most.
    pub fn period(&self) -> Duration {
        self.0.period
    }

    /// Services that are down, and since when.
    pub fn down(&self) -> Vec<(Service, Option<DateTime<Utc>>)> {
        let down = Service::ALL.into_iter().filter(|service| self.state(*service) == State::Down);
        down.map(|service| (service, self.place(service).read().since())).collect()
    }

    /// Checks of a service by their result: `ok`, or a class of faults.
    pub fn counts(&self, service: Service) -> Vec<(&'static str, u64)> {
        self.place(service).read().counts().collect()
    }

    /// Hears whenever a check has ended.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    fn open_incidents(&self) -> Vec<Incident> {
        self.0.places.iter().filter_map(|place| place.read().open_incident()).collect()
    }

    /// Enters the outcome of one check.
    pub fn enter(&self, service: Service, outcome: Outcome) {
        let now = Moment::now();
        let ms = outcome.as_ref().ok().map(|(latency, _)| latency.as_secs_f64() * 1000.0);
        let before = self.state(service);
        if let (Err(fault), State::Up | State::Degraded | State::Unknown) = (&outcome, before) {
            // What a server says may be of any length, and hold what a log must not.
            let raw: String = fault.raw.chars().take(200).collect();
            log::warn!("{}: {} {}", service.name(), fault.why, raw.escape_debug());
        }
        let entered = self.place(service).write().enter(service, outcome, now);
        self.0.history.enter(service, entered, ms, now.at, self.gap());
        if before == State::Down && self.state(service) != State::Down {
            log::info!("{}: it answers again", service.name());
        }
        self.tell();
    }

    /// Enters what a slower look has found.
    fn look(&self, service: Service, found: Result<Detail, Fault>) {
        self.place(service).write().look(found);
        self.tell();
    }

    fn tell(&self) {
        self.0.changes.send_modify(|changes| *changes += 1);
    }

    fn next_check(&self, service: Service, until: Duration) {
        self.place(service).write().next_at = TimeDelta::from_std(until).ok().map(|until| clock::now() + until);
    }

    fn begin_check(&self, service: Service) -> u64 {
        self.place(service).begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Tells whoever waits that what they find is from this check.
    fn end_check(&self, service: Service, number: u64) {
        self.place(service).ended.store(number, Ordering::SeqCst);
        self.tell();
    }

    fn begun(&self, service: Service) -> u64 {
        self.place(service).begun.load(Ordering::SeqCst)
    }

    fn ended(&self, service: Service) -> u64 {
        self.place(service).ended.load(Ordering::SeqCst)
    }

    async fn wanted(&self, service: Service) {
        self.place(service).wanted.notified().await;
    }

    fn want(&self, service: Service) {
        self.place(service).wanted.notify_one();
    }

    fn may_be_asked(&self, service: Service) -> bool {
        let mut asked = self.place(service).asked.lock().unwrap_or_else(PoisonError::into_inner);
        let may = self.is_configured(service) && asked.is_none_or(|at| at.elapsed() >= APART);
        if may {
            *asked = Some(Instant::now());
        }
        may
    }
}
