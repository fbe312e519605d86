//! The checks of one service: state with hysteresis, the last hour of latencies.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Board, Service, Snapshot, State};

/// Failures in a row before a service counts as down, good answers before it counts as up again.
const FAILURES: u32 = 2;
const RECOVERIES: u32 = 2;
/// An hour of checks.
const HISTORY: usize = 1800;

#[derive(Default)]
pub(super) struct Record {
    state: Option<State>,
    since: Option<DateTime<Utc>>,
    checked_at: Option<DateTime<Utc>>,
    healthy: bool,
    latency_ms: Option<f64>,
    failures: u32,
    successes: u32,
    last_failure: Option<(DateTime<Utc>, String)>,
    version: Option<String>,
    history: VecDeque<Option<f32>>,
}

impl Record {
    pub fn enter(&mut self, outcome: Result<(Duration, String), String>, now: DateTime<Utc>) {
        let first = self.checked_at.is_none();
        self.checked_at = Some(now);
        self.healthy = outcome.is_ok();
        let next = match outcome {
            Ok((latency, version)) => {
                let milliseconds = (latency.as_secs_f64() * 100_000.0).round() / 100.0;
                self.latency_ms = Some(milliseconds);
                self.push(Some(latency.as_secs_f32() * 1000.0));
                self.version = Some(version).filter(|version| !version.is_empty()).or(self.version.take());
                self.failures = 0;
                self.successes += 1;
                let back = self.state != Some(State::Down) || self.successes >= RECOVERIES;
                if back { State::Up } else { State::Down }
            }
            Err(why) => {
                self.latency_ms = None;
                self.push(None);
                self.last_failure = Some((now, why));
                self.successes = 0;
                self.failures += 1;
                // The first check after start counts at once.
                let down = first || self.failures >= FAILURES || self.state == Some(State::Down);
                if down { State::Down } else { State::Unstable }
            }
        };
        if self.state != Some(next) {
            self.state = Some(next);
            self.since = Some(now);
        }
    }

    fn push(&mut self, latency: Option<f32>) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(latency);
    }

    pub fn snapshot(&self, service: Service, now: DateTime<Utc>) -> Snapshot {
        let stale_after = TimeDelta::from_std(Board::PERIOD * 3).unwrap_or(TimeDelta::seconds(6)) + TimeDelta::seconds(2);
        let stale = self.checked_at.is_some_and(|checked| now - checked > stale_after);
        let state = if stale { State::Stale } else { self.state.unwrap_or(State::Unknown) };
        let mut answered: Vec<f32> = self.history.iter().flatten().copied().collect();
        answered.sort_by(f32::total_cmp);
        Snapshot {
            service,
            state,
            healthy: self.healthy && !stale,
            latency_ms: self.latency_ms,
            since: self.since,
            checked_at: self.checked_at,
            last_failure: self.last_failure.clone(),
            version: self.version.clone(),
            history: self.history.iter().copied().collect(),
            p50: percentile(&answered, 50),
            p95: percentile(&answered, 95),
            pool: None,
            pool_size: 0,
        }
    }
}

/// The nearest-rank percentile of sorted values.
fn percentile(sorted: &[f32], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map(|value| f64::from(*value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Result<(Duration, String), String> {
        Ok((Duration::from_micros(1234), "1".into()))
    }

    fn state_after(outcomes: &[bool]) -> State {
        let mut record = Record::default();
        let now = crate::clock::now();
        for outcome in outcomes {
            record.enter(if *outcome { good() } else { Err("no".into()) }, now);
        }
        record.snapshot(Service::Redis, now).state
    }

    #[test]
    fn one_failure_is_unstable_two_are_down_and_two_answers_bring_it_back() {
        assert_eq!(state_after(&[]), State::Unknown);
        assert_eq!(state_after(&[true]), State::Up);
        assert_eq!(state_after(&[false]), State::Down);
        assert_eq!(state_after(&[true, false]), State::Unstable);
        assert_eq!(state_after(&[true, false, false]), State::Down);
        assert_eq!(state_after(&[true, false, false, true]), State::Down);
        assert_eq!(state_after(&[true, false, false, true, true]), State::Up);
    }

    #[test]
    fn a_check_that_has_died_shows_as_stale() {
        let mut record = Record::default();
        let now = crate::clock::now();
        record.enter(good(), now);
        let later = record.snapshot(Service::Redis, now + TimeDelta::seconds(60));
        assert_eq!((later.state, later.healthy), (State::Stale, false));
        assert_eq!(later.latency_ms, Some(1.23));
    }

    #[test]
    fn percentiles_are_of_what_answered() {
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(percentile(&[1.0, 2.0, 3.0, 4.0], 50), Some(2.0));
        assert_eq!(percentile(&[1.0, 2.0, 3.0, 4.0], 95), Some(4.0));
    }
}
