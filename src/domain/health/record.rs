//! The state of one service: hysteresis, current incident, and its last hour.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::detail::Detail;
use super::error::{CheckError, ErrorClass};
use super::incidents::Incident;
use super::latency::{Hour, LatencyHistory};
use super::text::cleaned;
use super::{Service, Snapshot, State};
use crate::clock;

/// Consecutive failures until a service counts as down, and successes until it counts as up again.
pub const FAILURES: u32 = 3;
pub const RECOVERIES: u32 = 2;
/// Maximum length of a version.
const MAX_VERSION: usize = 40;
/// This many state changes within the last checks make a service unstable.
const UNSTABLE_CHANGES: usize = 4;
const UNSTABLE_WINDOW: usize = 20;

/// A successful check: latency and the server's version, if reported.
pub(super) type Outcome = Result<(Duration, String), CheckError>;

/// A point in time: wall clock for display, and a monotonic clock that cannot be set.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub at: DateTime<Utc>,
    pub monotonic: Instant,
}

impl Moment {
    pub fn now() -> Self {
        Self { at: clock::now(), monotonic: Instant::now() }
    }

    /// Whether both clocks advanced equally, that is, the wall clock was not set in between.
    fn clocks_agree_since(&self, before: &Self) -> bool {
        let monotonic = TimeDelta::from_std(self.monotonic.saturating_duration_since(before.monotonic)).unwrap_or(TimeDelta::MAX);
        (self.at - before.at - monotonic).abs() < TimeDelta::seconds(1)
    }
}

/// What a check changed, for the history.
pub(super) struct Recorded {
    pub incident: Option<Incident>,
    /// Time and result of the previous check; `None` for the first check, and after the clock was set.
    pub before: Option<(DateTime<Utc>, bool)>,
}

#[derive(Default)]
pub(super) struct Record {
    state: Option<State>,
    since: Option<DateTime<Utc>>,
    checked: Option<Moment>,
    pub next_at: Option<DateTime<Utc>>,
    failures: u32,
    successes: u32,
    /// When the current run of failures began, and its first error.
    failing_since: Option<DateTime<Utc>>,
    first_error: Option<CheckError>,
    good_since: Option<DateTime<Utc>>,
    incident: Option<Incident>,
    last_failure: Option<(DateTime<Utc>, CheckError)>,
    last_good: Option<(DateTime<Utc>, f64)>,
    version: Option<String>,
    outcomes: VecDeque<bool>,
    latencies: LatencyHistory,
    hour: Arc<Hour>,
    /// By result: successes, then each error class.
    counts: [u64; 1 + ErrorClass::ALL.len()],
    inspected: Option<Result<Arc<Detail>, CheckError>>,
}

impl Record {
    pub fn enter(&mut self, service: Service, outcome: Outcome, moment: Moment) -> Recorded {
        let now = moment.at;
        let before =
            self.checked.filter(|checked| moment.clocks_agree_since(checked)).map(|checked| checked.at).zip(self.outcomes.back().copied());
        self.checked = Some(moment);
        self.track(outcome.is_ok());
        let incident = match outcome {
            Ok((latency, version)) => {
                self.counts[0] += 1;
                self.latencies.push(now, Some(latency.as_secs_f32() * 1000.0));
                self.last_good = Some((now, (latency.as_secs_f64() * 100_000.0).round() / 100.0));
                self.version = Some(cleaned(&version, MAX_VERSION)).filter(|version| !version.is_empty()).or(self.version.take());
                self.answered(now)
            }
            Err(error) => {
                self.counts[1 + error.class as usize] += 1;
                self.latencies.push(now, None);
                self.failed(service, &error, now)
            }
        };
        self.hour = Arc::new(self.latencies.hour(now));
        Recorded { incident, before }
    }

    fn answered(&mut self, now: DateTime<Utc>) -> Option<Incident> {
        self.failures = 0;
        self.successes += 1;
        let good_since = *self.good_since.get_or_insert(now);
        (self.failing_since, self.first_error) = (None, None);
        if self.state == Some(State::Down) && self.successes < RECOVERIES {
            return None;
        }
        self.set_state(State::Up, good_since);
        let ended = self.incident.take()?;
        Some(Incident { ended_at: Some(good_since), seen_at: now, ..ended })
    }

    fn failed(&mut self, service: Service, error: &CheckError, now: DateTime<Utc>) -> Option<Incident> {
        let is_first = self.state.is_none();
        self.successes = 0;
        self.good_since = None;
        self.failures += 1;
        self.last_failure = Some((now, error.clone()));
        let since = *self.failing_since.get_or_insert(now);
        let first = self.first_error.get_or_insert_with(|| error.clone()).clone();
        // The first check after startup counts immediately.
        if !is_first && self.failures < FAILURES && self.state != Some(State::Down) {
            self.set_state(State::Failing, since);
            return None;
        }
        self.set_state(State::Down, since);
        match &mut self.incident {
            Some(open) => {
                open.seen_at = now;
                (open.last != error.why).then(|| {
                    open.last.clone_from(&error.why);
                    open.clone()
                })
            }
            None => {
                let opened = Incident {
                    id: Uuid::now_v7(),
                    service,
                    began_at: since,
                    ended_at: None,
                    seen_at: now,
                    class: error.class,
                    first: first.why,
                    last: error.why.clone(),
                    consoles: BTreeSet::new(),
                };
                self.incident = Some(opened.clone());
                Some(opened)
            }
        }
    }

    fn set_state(&mut self, state: State, since: DateTime<Utc>) {
        if self.state != Some(state) {
            self.state = Some(state);
            self.since = Some(since);
        }
    }

    fn track(&mut self, good: bool) {
        if self.outcomes.len() == UNSTABLE_WINDOW {
            self.outcomes.pop_front();
        }
        self.outcomes.push_back(good);
    }

    fn is_unstable(&self) -> bool {
        self.outcomes.iter().zip(self.outcomes.iter().skip(1)).filter(|(one, next)| one != next).count() >= UNSTABLE_CHANGES
    }

    /// Stores the result of an inspection.
    pub fn inspect(&mut self, found: Result<Detail, CheckError>) {
        self.inspected = Some(found.map(Arc::new));
    }

    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        std::iter::once("ok").chain(ErrorClass::ALL.map(ErrorClass::slug)).zip(self.counts)
    }

    /// The open incident, if any.
    pub fn open_incident(&self) -> Option<Incident> {
        self.incident.clone()
    }

    /// Only the state, as shown on every page.
    pub fn state(&self, now: Moment, stale_after: Duration) -> State {
        let stale = self.checked.is_some_and(|checked| now.monotonic.saturating_duration_since(checked.monotonic) > stale_after);
        match self.state {
            Some(_) if stale => State::Stale,
            Some(State::Up) if self.problem().is_some() => State::Degraded,
            Some(state) => state,
            None => State::Unknown,
        }
    }

    pub fn since(&self) -> Option<DateTime<Utc>> {
        self.since
    }

    /// Only while the service responds.
    pub fn limitation(&self) -> Option<&'static str> {
        let detail = self.inspected.as_ref()?.as_ref().ok()?;
        detail.limitation().filter(|_| self.state == Some(State::Up))
    }

    fn problem(&self) -> Option<CheckError> {
        match self.inspected.as_ref()? {
            Ok(detail) => detail.problem().map(CheckError::degraded),
            Err(error) => Some(error.clone()),
        }
    }

    pub fn snapshot(&self, service: Service, now: Moment, stale_after: Duration) -> Snapshot {
        let state = self.state(now, stale_after);
        let answers = matches!(state, State::Up | State::Degraded);
        Snapshot {
            service,
            state,
            unstable: self.is_unstable(),
            healthy: answers,
            latency_ms: self.last_good.filter(|_| answers).map(|(_, ms)| ms),
            since: self.since,
            checked_at: self.checked.map(|checked| checked.at),
            next_at: self.next_at,
            failures: self.failures,
            last_failure: self.last_failure.clone(),
            last_good: self.last_good,
            problem: self.problem().filter(|_| state == State::Degraded),
            version: self.version.clone(),
            detail: self.inspected.as_ref().and_then(|found| found.as_ref().ok()).cloned(),
            hour: self.hour.clone(),
            pool: None,
        }
    }
}

#[cfg(test)]
mod tests;
