//! Statistics of each namespace, counted in the process at the cost of a few additions per lookup.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::percentile;

/// Where a caller's value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupOutcome {
    /// From Redis.
    Hit,
    /// From Redis, but stale; a new one is computed in the background.
    Stale,
    /// Not in Redis.
    Miss,
    /// Redis was unavailable or returned an error.
    Error,
}

const HITS: usize = 0;
const STALE: usize = 1;
const MISSES: usize = 2;
const ERRORS: usize = 3;
const COMPUTATIONS: usize = 4;
const FAILURES: usize = 5;
const UNKEPT: usize = 6;
const LOOKUPS: usize = 7;
const COMPUTING: usize = LOOKUPS + 1 + STEPS.len() + 1;
pub(super) const CELLS: usize = COMPUTING + 1 + STEPS.len() + 1;

/// Upper bounds of the duration histogram's buckets in microseconds; the last bucket is unbounded.
const STEPS: [u64; 16] =
    [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000];

const NAMES: [&str; LOOKUPS] = ["hits", "stale", "misses", "errors", "computations", "failures", "unkept"];

/// Counters of one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceStats([u64; CELLS]);

/// Durations of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    pub count: u64,
    pub sum: Duration,
    /// An upper bound of the 95th percentile, at most 10 s. `None` without measurements.
    pub p95: Option<Duration>,
}

impl Default for NamespaceStats {
    fn default() -> Self {
        Self([0; CELLS])
    }
}

impl NamespaceStats {
    /// Values served from Redis, including stale ones.
    pub fn hits(&self) -> u64 {
        self.0[HITS] + self.0[STALE]
    }

    /// Number of stale hits.
    pub fn stale(&self) -> u64 {
        self.0[STALE]
    }

    pub fn misses(&self) -> u64 {
        self.0[MISSES]
    }

    /// Lookups that failed because of Redis.
    pub fn errors(&self) -> u64 {
        self.0[ERRORS]
    }

    pub fn computations(&self) -> u64 {
        self.0[COMPUTATIONS]
    }

    /// Computations that failed.
    pub fn failures(&self) -> u64 {
        self.0[FAILURES]
    }

    /// Values that Redis did not store.
    pub fn unkept(&self) -> u64 {
        self.0[UNKEPT]
    }

    /// Ratio of hits to successful lookups, 0 to 1; `None` without lookups.
    pub fn hit_ratio(&self) -> Option<f64> {
        let answered = self.hits() + self.misses();
        #[expect(clippy::cast_precision_loss, reason = "a ratio for display")]
        (answered > 0).then(|| self.hits() as f64 / answered as f64)
    }

    /// Waiting times of callers, including computations.
    pub fn lookups(&self) -> Latency {
        self.latency(LOOKUPS)
    }

    pub fn computing(&self) -> Latency {
        self.latency(COMPUTING)
    }

    fn latency(&self, at: usize) -> Latency {
        let steps = &self.0[at + 1..=at + 1 + STEPS.len()];
        let count: u64 = steps.iter().sum();
        let p95 = percentile::bucket_of(steps, 95).map(|step| Duration::from_micros(STEPS[step.min(STEPS.len() - 1)]));
        Latency { count, sum: Duration::from_micros(self.0[at]), p95 }
    }

    /// Increments since `earlier`, by counter name.
    pub(super) fn since(&self, earlier: &Self) -> Vec<(String, u64)> {
        let grown = self.0.iter().zip(earlier.0).enumerate().map(|(cell, (now, then))| (cell, now.saturating_sub(then)));
        grown.filter(|(_, by)| *by > 0).map(|(cell, by)| (name(cell), by)).collect()
    }

    /// Adds to a counter; unknown names, used by another version, are ignored.
    pub(super) fn add(&mut self, counted: &str, by: u64) {
        if let Some(cell) = cell(counted) {
            self.0[cell] += by;
        }
    }

    pub(super) fn subtract(&mut self, counted: &str, by: u64) {
        if let Some(cell) = cell(counted) {
            self.0[cell] = self.0[cell].saturating_sub(by);
        }
    }
}

fn cell(name: &str) -> Option<usize> {
    let Some((what, step)) = name.split_once('-') else { return NAMES.iter().position(|known| *known == name) };
    let begins = match what {
        "lookups" => LOOKUPS,
        "computing" => COMPUTING,
        _ => return None,
    };
    step.parse::<usize>().ok().filter(|step| *step <= STEPS.len() + 1).map(|step| begins + step)
}

fn name(cell: usize) -> String {
    match cell {
        cell if cell < LOOKUPS => NAMES[cell].to_owned(),
        cell if cell < COMPUTING => format!("lookups-{}", cell - LOOKUPS),
        cell => format!("computing-{}", cell - COMPUTING),
    }
}

pub(super) struct Counters([AtomicU64; CELLS]);

impl Default for Counters {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; CELLS])
    }
}

impl Counters {
    fn add(&self, cell: usize, by: u64) {
        self.0[cell].fetch_add(by, Ordering::Relaxed);
    }

    pub fn looked_up(&self, outcome: LookupOutcome, took: Duration) {
        self.answered(outcome, 1);
        self.timed(LOOKUPS, took);
    }

    /// Several results of one request, whose duration is counted once.
    pub fn looked_up_many(&self, hits: u64, misses: u64, errors: u64, took: Duration) {
        self.answered(LookupOutcome::Hit, hits);
        self.answered(LookupOutcome::Miss, misses);
        self.answered(LookupOutcome::Error, errors);
        self.timed(LOOKUPS, took);
    }

    fn answered(&self, outcome: LookupOutcome, times: u64) {
        let cell = match outcome {
            LookupOutcome::Hit => HITS,
            LookupOutcome::Stale => STALE,
            LookupOutcome::Miss => MISSES,
            LookupOutcome::Error => ERRORS,
        };
        self.add(cell, times);
    }

    pub fn computed(&self, succeeded: bool, took: Duration) {
        self.add(COMPUTATIONS, 1);
        self.add(FAILURES, u64::from(!succeeded));
        self.timed(COMPUTING, took);
    }

    pub fn unkept(&self) {
        self.add(UNKEPT, 1);
    }

    fn timed(&self, at: usize, took: Duration) {
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.add(at, microseconds);
        self.add(at + 1 + STEPS.iter().position(|bound| microseconds <= *bound).unwrap_or(STEPS.len()), 1);
    }

    pub fn read(&self) -> NamespaceStats {
        let mut stats = NamespaceStats::default();
        for (cell, counter) in stats.0.iter_mut().zip(&self.0) {
            *cell = counter.load(Ordering::Relaxed);
        }
        stats
    }
}

/// The counters of all namespaces in use.
#[derive(Default)]
pub(super) struct StatsByNamespace(RwLock<HashMap<&'static str, Arc<Counters>>>);

impl StatsByNamespace {
    pub fn of(&self, namespace: &'static str) -> Arc<Counters> {
        if let Some(counters) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(namespace) {
            return counters.clone();
        }
        self.0.write().unwrap_or_else(PoisonError::into_inner).entry(namespace).or_default().clone()
    }

    pub fn read(&self) -> Vec<(&'static str, NamespaceStats)> {
        let counters = self.0.read().unwrap_or_else(PoisonError::into_inner);
        counters.iter().map(|(name, counters)| (*name, counters.read())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_round_trip_through_their_names() {
        let counters = Counters::default();
        for took in 1..=100 {
            let outcome = if took <= 60 { LookupOutcome::Hit } else { LookupOutcome::Miss };
            counters.looked_up(outcome, Duration::from_millis(took));
        }
        counters.looked_up(LookupOutcome::Stale, Duration::from_secs(60));
        counters.looked_up(LookupOutcome::Error, Duration::ZERO);
        counters.computed(false, Duration::from_micros(1));
        let stats = counters.read();
        assert_eq!((stats.hits(), stats.stale(), stats.misses(), stats.errors()), (61, 1, 40, 1));
        assert_eq!((stats.computations(), stats.failures()), (1, 1));
        assert!(stats.hit_ratio().is_some_and(|ratio| (ratio - 61.0 / 101.0).abs() < 1e-9));
        assert_eq!((stats.lookups().count, stats.lookups().sum), (102, Duration::from_millis(5050 + 60_000)));
        assert_eq!(stats.lookups().p95, Some(Duration::from_millis(100)));
        assert_eq!(stats.computing().p95, Some(Duration::from_micros(100)));
        assert_eq!((NamespaceStats::default().lookups().p95, NamespaceStats::default().hit_ratio()), (None, None));

        let mut total = NamespaceStats::default();
        for (name, by) in stats.since(&NamespaceStats::default()) {
            total.add(&name, by);
        }
        total.add("of-a newer version", 7);
        assert_eq!(total, stats);
        assert!(stats.since(&total).is_empty());
        assert!((0..CELLS).all(|at| cell(&name(at)) == Some(at)) && cell("lookups-18").is_none() && cell("lookups-x").is_none());
    }
}
