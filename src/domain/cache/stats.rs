//! LookupOutcome a namespace does: counted in the process at the price of a few additions a lookup.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Where a caller's value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupOutcome {
    /// Redis had it.
    Hit,
    /// Redis had one past its time, which was served while another is computed.
    Stale,
    /// Redis had none.
    Miss,
    /// Redis did not answer, or refused.
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

/// Upper bounds of the steps that durations are counted in, in microseconds; the last has none.
const STEPS: [u64; 16] =
    [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000];

const NAMES: [&str; LOOKUPS] = ["hits", "stale", "misses", "errors", "computations", "failures", "unkept"];

/// Counts of one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceStats([u64; CELLS]);

/// LookupOutcome long something took, every time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    pub count: u64,
    pub sum: Duration,
    /// An upper bound for 95 of 100; at most 10 s is said. `None` where there was nothing to measure.
    pub p95: Option<Duration>,
}

impl Default for NamespaceStats {
    fn default() -> Self {
        Self([0; CELLS])
    }
}

impl NamespaceStats {
    /// Served from Redis, those past their time included.
    pub fn hits(&self) -> u64 {
        self.0[HITS] + self.0[STALE]
    }

    /// Those of the hits that were past their time.
    pub fn stale(&self) -> u64 {
        self.0[STALE]
    }

    pub fn misses(&self) -> u64 {
        self.0[MISSES]
    }

    /// Lookups that Redis did not answer.
    pub fn errors(&self) -> u64 {
        self.0[ERRORS]
    }

    pub fn computations(&self) -> u64 {
        self.0[COMPUTATIONS]
    }

    /// Computations that ended in an error.
    pub fn failures(&self) -> u64 {
        self.0[FAILURES]
    }

    /// Values that Redis did not take.
    pub fn unkept(&self) -> u64 {
        self.0[UNKEPT]
    }

    /// Hits among the lookups that Redis answered, 0 to 1; `None` where there was none.
    pub fn hit_ratio(&self) -> Option<f64> {
        let answered = self.hits() + self.misses();
        #[expect(clippy::cast_precision_loss, reason = "a ratio to look at")]
        (answered > 0).then(|| self.hits() as f64 / answered as f64)
    }

    /// What callers waited for a value, computations included.
    pub fn lookups(&self) -> Latency {
        self.latency(LOOKUPS)
    }

    pub fn computing(&self) -> Latency {
        self.latency(COMPUTING)
    }

    fn latency(&self, at: usize) -> Latency {
        let steps = &self.0[at + 1..=at + 1 + STEPS.len()];
        let count: u64 = steps.iter().sum();
        let mut below = 0;
        let step = steps.iter().position(|in_step| {
            below += in_step;
            below * 100 >= count * 95
        });
        let bound = step.map(|step| STEPS[step.min(STEPS.len() - 1)]).filter(|_| count > 0);
        Latency { count, sum: Duration::from_micros(self.0[at]), p95: bound.map(Duration::from_micros) }
    }

    /// What was counted since `earlier`, by name.
    pub(super) fn since(&self, earlier: &Self) -> Vec<(String, u64)> {
        let grown = self.0.iter().zip(earlier.0).enumerate().map(|(cell, (now, then))| (cell, now.saturating_sub(then)));
        grown.filter(|(_, by)| *by > 0).map(|(cell, by)| (name(cell), by)).collect()
    }

    /// Adds to the count of this name; of another version's it knows nothing.
    pub(super) fn add(&mut self, counted: &str, by: u64) {
        if let Some(cell) = cell(counted) {
            self.0[cell] += by;
        }
    }

    pub(super) fn take_back(&mut self, counted: &str, by: u64) {
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

    pub fn looked_up(&self, how: LookupOutcome, took: Duration) {
        self.answered(how, 1);
        self.timed(LOOKUPS, took);
    }

    /// Several answers of one question, which took its time once.
    pub fn looked_up_together(&self, hits: u64, misses: u64, errors: u64, took: Duration) {
        self.answered(LookupOutcome::Hit, hits);
        self.answered(LookupOutcome::Miss, misses);
        self.answered(LookupOutcome::Error, errors);
        self.timed(LOOKUPS, took);
    }

    fn answered(&self, how: LookupOutcome, times: u64) {
        let cell = match how {
            LookupOutcome::Hit => HITS,
            LookupOutcome::Stale => STALE,
            LookupOutcome::Miss => MISSES,
            LookupOutcome::Error => ERRORS,
        };
        self.add(cell, times);
    }

    pub fn computed(&self, well: bool, took: Duration) {
        self.add(COMPUTATIONS, 1);
        self.add(FAILURES, u64::from(!well));
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
        for (figure, counter) in stats.0.iter_mut().zip(&self.0) {
            *figure = counter.load(Ordering::Relaxed);
        }
        stats
    }
}

/// The counters of every namespace that was used.
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
    fn what_was_counted_is_read_again() {
        let counters = Counters::default();
        for took in 1..=100 {
            let how = if took <= 60 { LookupOutcome::Hit } else { LookupOutcome::Miss };
            counters.looked_up(how, Duration::from_millis(took));
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
