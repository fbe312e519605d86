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
mod tests {
    use std::sync::LazyLock;

    use super::*;

    const STALE: Duration = Duration::from_secs(15);

    fn good() -> Outcome {
        Ok((Duration::from_micros(1234), "1".into()))
    }

    fn bad() -> Outcome {
        Err(CheckError::new(ErrorClass::Connect, "no"))
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn moment(second: u64) -> Moment {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        Moment { at: at(second as i64), monotonic: *START + Duration::from_secs(second) }
    }

    fn after(outcomes: &[bool]) -> (Record, Vec<Incident>) {
        let mut record = Record::default();
        let mut incidents = Vec::new();
        for (second, outcome) in (0..).zip(outcomes) {
            let recorded = record.enter(Service::Redis, if *outcome { good() } else { bad() }, moment(second));
            incidents.extend(recorded.incident);
        }
        (record, incidents)
    }

    fn state_after(outcomes: &[bool]) -> State {
        after(outcomes).0.snapshot(Service::Redis, moment(outcomes.len() as u64), STALE).state
    }

    #[test]
    fn one_failure_warns_three_are_down_and_two_successes_recover() {
        assert_eq!(state_after(&[]), State::Unknown);
        assert_eq!(state_after(&[true]), State::Up);
        assert_eq!(state_after(&[false]), State::Down, "the first counts at once");
        assert_eq!(state_after(&[true, false]), State::Failing);
        assert_eq!(state_after(&[true, false, false]), State::Failing);
        assert_eq!(state_after(&[true, false, true]), State::Up);
        assert_eq!(state_after(&[true, false, false, false]), State::Down);
        assert_eq!(state_after(&[true, false, false, false, true]), State::Down);
        assert_eq!(state_after(&[true, false, false, false, true, true]), State::Up);
    }

    #[test]
    fn an_incident_lasts_from_the_first_failure_to_the_first_good_answer() {
        let (record, incidents) = after(&[true, false, false, false, false, true, true]);
        assert_eq!(incidents.len(), 2, "opened and ended");
        assert_eq!((incidents[0].began_at, incidents[0].ended_at), (at(1), None));
        assert_eq!((incidents[1].id, incidents[1].began_at, incidents[1].ended_at), (incidents[0].id, at(1), Some(at(5))));
        assert!(record.open_incident().is_none());
        assert!(after(&[true, false, false, true]).1.is_empty(), "what did not count as down is none");
        let since = after(&[true, false, false, false]).0.snapshot(Service::Redis, moment(4), STALE);
        assert_eq!((since.since, since.failures), (Some(at(1)), 3));
    }

    #[test]
    fn a_flapping_service_is_unstable_and_keeps_the_worse_state() {
        let shown = |outcomes: &[bool]| {
            let snapshot = after(outcomes).0.snapshot(Service::Redis, moment(outcomes.len() as u64), STALE);
            (snapshot.unstable, snapshot.state)
        };
        assert_eq!(shown(&[true, false, true, false]), (false, State::Failing));
        assert_eq!(shown(&[true, false, true, false, true]), (true, State::Up));
        assert_eq!(shown(&[false, true, false, true, false]), (true, State::Down));
        let mut calm = vec![true, false, true, false, true];
        calm.extend([true; 20]);
        assert_eq!(shown(&calm), (false, State::Up));
    }

    #[test]
    fn a_service_without_recent_checks_is_stale() {
        let record = after(&[true]).0;
        let later = record.snapshot(Service::Redis, moment(60), STALE);
        assert_eq!((later.state, later.healthy, later.latency_ms), (State::Stale, false, None));
        assert_eq!(later.last_good.map(|(_, ms)| ms), Some(1.23));
    }

    #[test]
    fn inspection_problems_degrade_only_services_that_are_up() {
        let mut record = after(&[true]).0;
        record.inspect(Err(CheckError::new(ErrorClass::Auth, "Writes are denied.")));
        let shown = record.snapshot(Service::S3, moment(1), STALE);
        assert_eq!((shown.state, shown.healthy), (State::Degraded, true));
        assert_eq!(shown.problem.unwrap().class, ErrorClass::Auth);
        record.enter(Service::S3, bad(), moment(2));
        let failing = record.snapshot(Service::S3, moment(2), STALE);
        assert_eq!((failing.state, failing.problem), (State::Failing, None));
    }

    #[test]
    fn setting_the_clock_changes_neither_staleness_nor_uptime() {
        for hours in [-3, 3] {
            let mut record = after(&[true]).0;
            let jumped = |second: u64| Moment { at: moment(second).at + TimeDelta::hours(hours), ..moment(second) };
            assert_eq!(record.snapshot(Service::Redis, jumped(4), STALE).state, State::Up);
            assert!(record.enter(Service::Redis, good(), jumped(4)).before.is_none(), "the time between belongs to no process");
            assert!(record.enter(Service::Redis, good(), jumped(8)).before.is_some());
            assert_eq!(record.snapshot(Service::Redis, jumped(30), STALE).state, State::Stale);
        }
    }
}
