//! Where checks enter what they find, and requests read it without waiting.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::history::History;
use super::incidents::Incident;
use super::probes::APART;
use super::record::{Moment, Outcome, Record};
use super::{CheckError, Detail, Service, Snapshot, State};
use crate::clock;
use crate::config::Config;

type Usage = Arc<dyn Fn() -> (usize, usize, usize) + Send + Sync>;

/// The latest snapshot of every service.
#[derive(Clone)]
pub struct Board(pub(super) Arc<Inner>);

pub(super) struct Inner {
    started_at: DateTime<Utc>,
    started: Instant,
    /// Host and port, for people.
    instance: String,
    /// This run of this console, whatever its host is called.
    pub console: Uuid,
    period: Duration,
    entry: [Entry; Service::ALL.len()],
    pub history: History,
    changes: watch::Sender<u64>,
}

/// What belongs to one service.
#[derive(Default)]
struct Entry {
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
        let entry = |service| Entry {
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
            entry: Service::ALL.map(entry),
            history: History::default(),
            changes: watch::Sender::new(0),
        }))
    }

    /// Postgres, Redis, S3, Qdrant, LiteLLM, in this order.
    pub fn all(&self) -> Vec<Snapshot> {
        Service::ALL.into_iter().map(|service| self.one(service)).collect()
    }

    pub fn one(&self, service: Service) -> Snapshot {
        let (entry, now) = (self.entry(service), Moment::now());
        let mut snapshot = entry.read().snapshot(service, now, self.gap());
        snapshot.state = self.judged(entry, snapshot.state);
        snapshot.pool = entry.pool.as_ref().map(|usage| usage());
        snapshot
    }

    pub fn state(&self, service: Service) -> State {
        let entry = self.entry(service);
        let state = entry.read().state(Moment::now(), self.gap());
        self.judged(entry, state)
    }

    fn judged(&self, entry: &Entry, state: State) -> State {
        match state {
            _ if !entry.configured => State::NotConfigured,
            // Its check has died before it has ended once.
            State::Unknown if self.0.started.elapsed() > self.gap() => State::Stale,
            state => state,
        }
    }

    fn entry(&self, service: Service) -> &Entry {
        &self.0.entry[service.index()]
    }

    /// Three periods, and the longest deadline: after that a check is no longer the last word.
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

    /// Between two checks of one service, at most.
    pub fn period(&self) -> Duration {
        self.0.period
    }

    /// Services that are down, and since when.
    pub fn down(&self) -> Vec<(Service, Option<DateTime<Utc>>)> {
        let down = Service::ALL.into_iter().filter(|service| self.state(*service) == State::Down);
        down.map(|service| (service, self.entry(service).read().since())).collect()
    }

    /// Checks of a service by their result: `ok`, or a class of faults.
    pub fn counts(&self, service: Service) -> Vec<(&'static str, u64)> {
        self.entry(service).read().counts().collect()
    }

    /// Hears whenever a check has ended.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    pub(super) fn open_incidents(&self) -> Vec<Incident> {
        self.0.entry.iter().filter_map(|entry| entry.read().open_incident()).collect()
    }

    /// Enters the outcome of the check of this number.
    pub(super) fn enter(&self, service: Service, number: u64, outcome: Outcome) {
        let now = Moment::now();
        let ms = outcome.as_ref().ok().map(|(latency, _)| latency.as_secs_f64() * 1000.0);
        let before = self.state(service);
        if let (Err(fault), State::Up | State::Degraded | State::Unknown) = (&outcome, before) {
            // What a server says may be of any length, and hold what a log must not.
            let raw: String = fault.raw.chars().take(200).collect();
            log::warn!("{}: {} {}", service.name(), fault.why, raw.escape_debug());
        }
        let entered = self.entry(service).write().enter(service, outcome, now);
        self.0.history.enter(service, entered, ms, now.at, self.gap());
        if before == State::Down && self.state(service) != State::Down {
            log::info!("{}: it answers again", service.name());
        }
        // Whoever waits for this check finds here what it found.
        self.entry(service).ended.store(number, Ordering::SeqCst);
        self.tell();
    }

    /// Enters what a slower look has found.
    pub(super) fn look(&self, service: Service, found: Result<Detail, CheckError>) {
        self.entry(service).write().look(found);
        self.tell();
    }

    fn tell(&self) {
        self.0.changes.send_modify(|changes| *changes += 1);
    }

    pub(super) fn next_check(&self, service: Service, until: Duration) {
        self.entry(service).write().next_at = TimeDelta::from_std(until).ok().map(|until| clock::now() + until);
    }

    pub(super) fn begin_check(&self, service: Service) -> u64 {
        self.entry(service).begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(super) fn begun(&self, service: Service) -> u64 {
        self.entry(service).begun.load(Ordering::SeqCst)
    }

    pub(super) fn ended(&self, service: Service) -> u64 {
        self.entry(service).ended.load(Ordering::SeqCst)
    }

    pub(super) async fn wanted(&self, service: Service) {
        self.entry(service).wanted.notified().await;
    }

    pub(super) fn want(&self, service: Service) {
        self.entry(service).wanted.notify_one();
    }

    pub(super) fn may_be_asked(&self, service: Service) -> bool {
        let mut asked = self.entry(service).asked.lock().unwrap_or_else(PoisonError::into_inner);
        let may = self.is_configured(service) && asked.is_none_or(|at| at.elapsed() >= APART);
        if may {
            *asked = Some(Instant::now());
        }
        may
    }
}
