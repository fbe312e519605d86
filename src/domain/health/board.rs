//! Checks store their results here; requests read them without waiting.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::history::History;
use super::incidents::Incident;
use super::probes::MANUAL_INTERVAL;
use super::record::{Moment, Outcome, Record};
use super::{CheckError, Detail, Service, Snapshot, State};
use crate::clock;
use crate::config::Config;
use crate::stores::pool_usage::PoolUsage;

type Usage = Arc<dyn Fn() -> PoolUsage + Send + Sync>;

/// The latest snapshot of every service.
#[derive(Clone)]
pub struct Board(pub(super) Arc<Inner>);

pub(super) struct Inner {
    started_at: DateTime<Utc>,
    started: Instant,
    /// Host and port, for display.
    instance: String,
    /// Identifies this process, independent of its host name.
    pub console: Uuid,
    period: Duration,
    entries: [Entry; Service::ALL.len()],
    pub history: History,
    changes: watch::Sender<u64>,
}

/// The data of one service.
#[derive(Default)]
struct Entry {
    record: RwLock<Record>,
    /// For Postgres and Redis.
    pool: Option<Usage>,
    configured: bool,
    wanted: Notify,
    last_manual: Mutex<Option<Instant>>,
    /// Number of checks started, and the number of the last one finished.
    started_checks: AtomicU64,
    finished_checks: AtomicU64,
}

impl Entry {
    fn read(&self) -> RwLockReadGuard<'_, Record> {
        self.record.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Record> {
        self.record.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    pub fn new(config: &Config, postgres: Usage, redis: Usage) -> Self {
        let entries = |service| Entry {
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
            ..Entry::default()
        };
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self(Arc::new(Inner {
            started_at: clock::now(),
            started: Instant::now(),
            instance: format!("{}:{}", host.trim(), config.bind.port()),
            console: Uuid::now_v7(),
            period: config.probe_period,
            entries: Service::ALL.map(entries),
            history: History::default(),
            changes: watch::Sender::new(0),
        }))
    }

    /// Postgres, Redis, S3, Qdrant, LiteLLM, in this order.
    pub fn all(&self) -> Vec<Snapshot> {
        Service::ALL.into_iter().map(|service| self.one(service)).collect()
    }

    pub fn one(&self, service: Service) -> Snapshot {
        let (entries, now) = (self.entry(service), Moment::now());
        let mut snapshot = entries.read().snapshot(service, now, self.gap());
        snapshot.state = self.with_configuration(entries, snapshot.state);
        snapshot.pool = entries.pool.as_ref().map(|usage| usage());
        snapshot
    }

    pub fn state(&self, service: Service) -> State {
        let entries = self.entry(service);
        let state = entries.read().state(Moment::now(), self.gap());
        self.with_configuration(entries, state)
    }

    fn with_configuration(&self, entries: &Entry, state: State) -> State {
        match state {
            _ if !entries.configured => State::NotConfigured,
            // The check task has died before its first result.
            State::Unknown if self.0.started.elapsed() > self.gap() => State::Stale,
            state => state,
        }
    }

    fn entry(&self, service: Service) -> &Entry {
        &self.0.entries[service.index()]
    }

    /// Three periods plus the longest timeout: after this, a result is stale.
    pub(super) fn gap(&self) -> Duration {
        self.0.period * 3 + Duration::from_secs(2)
    }

    pub fn is_configured(&self, service: Service) -> bool {
        self.entry(service).configured
    }

    pub fn started_at(&self) -> DateTime<Utc> {
        self.0.started_at
    }

    pub fn instance(&self) -> &str {
        &self.0.instance
    }

    /// Longest interval between two checks of a service.
    pub fn period(&self) -> Duration {
        self.0.period
    }

    /// Services that are down, and since when.
    pub fn down(&self) -> Vec<(Service, Option<DateTime<Utc>>)> {
        let down = Service::ALL.into_iter().filter(|service| self.state(*service) == State::Down);
        down.map(|service| (service, self.entry(service).read().since())).collect()
    }

    /// Services that respond but cannot do everything in their current role, with a sentence.
    pub fn limited(&self) -> Vec<(Service, &'static str)> {
        Service::ALL.into_iter().filter_map(|service| Some((service, self.entry(service).read().limitation()?))).collect()
    }

    /// Number of checks of a service by result: `ok` or an error class.
    pub fn counts(&self, service: Service) -> Vec<(&'static str, u64)> {
        self.entry(service).read().counts().collect()
    }

    /// Notifies after every check.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    pub(super) fn open_incidents(&self) -> Vec<Incident> {
        self.0.entries.iter().filter_map(|entries| entries.read().open_incident()).collect()
    }

    /// Stores the outcome of the check with this number.
    pub(super) fn enter(&self, service: Service, number: u64, outcome: Outcome) {
        let now = Moment::now();
        let ms = outcome.as_ref().ok().map(|(latency, _)| latency.as_secs_f64() * 1000.0);
        let before = self.state(service);
        if let (Err(error), State::Up | State::Degraded | State::Unknown) = (&outcome, before) {
            // A server's message may be long and contain characters that do not belong in a log.
            let raw: String = error.raw.chars().take(200).collect();
            log::warn!("{}: {} {}", service.name(), error.why, raw.escape_debug());
        }
        let entered = self.entry(service).write().enter(service, outcome, now);
        self.0.history.enter(service, entered, ms, now.at, self.gap());
        if before == State::Down && self.state(service) != State::Down {
            log::info!("{}: responding again", service.name());
        }
        // Set after the result is stored, so that callers waiting for this check find it.
        self.entry(service).finished_checks.store(number, Ordering::SeqCst);
        self.notify();
    }

    /// Stores the result of an inspection.
    pub(super) fn inspect(&self, service: Service, found: Result<Detail, CheckError>) {
        self.entry(service).write().inspect(found);
        self.notify();
    }

    fn notify(&self) {
        self.0.changes.send_modify(|changes| *changes += 1);
    }

    pub(super) fn next_check(&self, service: Service, until: Duration) {
        self.entry(service).write().next_at = TimeDelta::from_std(until).ok().map(|until| clock::now() + until);
    }

    pub(super) fn start_check(&self, service: Service) -> u64 {
        self.entry(service).started_checks.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(super) fn started_checks(&self, service: Service) -> u64 {
        self.entry(service).started_checks.load(Ordering::SeqCst)
    }

    pub(super) fn finished_checks(&self, service: Service) -> u64 {
        self.entry(service).finished_checks.load(Ordering::SeqCst)
    }

    pub(super) async fn wanted(&self, service: Service) {
        self.entry(service).wanted.notified().await;
    }

    pub(super) fn want(&self, service: Service) {
        self.entry(service).wanted.notify_one();
    }

    pub(super) fn try_start_manual(&self, service: Service) -> bool {
        let mut last_manual = self.entry(service).last_manual.lock().unwrap_or_else(PoisonError::into_inner);
        let may = self.is_configured(service) && last_manual.is_none_or(|at| at.elapsed() >= MANUAL_INTERVAL);
        if may {
            *last_manual = Some(Instant::now());
        }
        may
    }
}
