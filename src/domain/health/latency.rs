//! The latencies of one service in the last hour, for its chart and percentiles.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use crate::percentile;

/// Steps of one minute.
pub const STEPS: usize = 60;
/// One hour of checks at the shortest period.
const MAX_CHECKS: usize = 3600;

#[derive(Clone, Copy)]
struct Check {
    at: DateTime<Utc>,
    ms: Option<f32>,
}

/// The result of one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum LatencyStep {
    /// No check was made.
    #[default]
    Unknown,
    /// At least half of the checks failed.
    Failed,
    /// Mean latency of the successful checks, in milliseconds.
    Latency(f32),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hour {
    /// [`STEPS`] minutes, oldest first; the last one is in progress.
    pub steps: Vec<LatencyStep>,
    /// Of single checks, in milliseconds; `None` without a successful check.
    pub p50: Option<f64>,
    pub p95: Option<f64>,
}

#[derive(Default)]
pub(super) struct LatencyHistory(VecDeque<Check>);

impl LatencyHistory {
    pub fn push(&mut self, at: DateTime<Utc>, ms: Option<f32>) {
        if self.0.len() == MAX_CHECKS {
            self.0.pop_front();
        }
        self.0.push_back(Check { at, ms });
        // Also removes entries that are in the future after the clock was set back.
        self.0.retain(|check| (TimeDelta::zero()..=TimeDelta::hours(1)).contains(&(at - check.at)));
    }

    pub fn hour(&self, now: DateTime<Utc>) -> Hour {
        let minute = |at: DateTime<Utc>| at.timestamp().div_euclid(60);
        let first = minute(now) - STEPS as i64 + 1;
        let mut minutes = [(0_u32, 0_u32, 0_f32); STEPS];
        for check in &self.0 {
            let Some((checks, good, sum)) = usize::try_from(minute(check.at) - first).ok().and_then(|at| minutes.get_mut(at)) else {
                continue;
            };
            *checks += 1;
            if let Some(ms) = check.ms {
                *good += 1;
                *sum += ms;
            }
        }
        let step = |(checks, good, sum): (u32, u32, f32)| match (checks, good) {
            (0, _) => LatencyStep::Unknown,
            (checks, good) if good * 2 <= checks => LatencyStep::Failed,
            (_, good) => LatencyStep::Latency(sum / good as f32),
        };
        let mut good: Vec<f32> = self.0.iter().filter_map(|check| check.ms).collect();
        good.sort_by(f32::total_cmp);
        let percentile = |percent| percentile::of_sorted(&good, percent).map(f64::from);
        Hour { steps: minutes.map(step).to_vec(), p50: percentile(50), p95: percentile(95) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_a_mean_latency_failed_or_unknown() {
        let now = DateTime::from_timestamp(1_800_000_059, 0).unwrap();
        let mut history = LatencyHistory::default();
        for (seconds_ago, ms) in
            [(130, Some(9.0)), (120, None), (70, Some(1.0)), (65, None), (62, Some(3.0)), (10, Some(2.0)), (5, Some(4.0))]
        {
            history.push(now - TimeDelta::seconds(seconds_ago), ms);
        }
        let hour = history.hour(now);
        assert_eq!(hour.steps.len(), STEPS);
        assert_eq!(hour.steps[56..], [LatencyStep::Unknown, LatencyStep::Failed, LatencyStep::Latency(2.0), LatencyStep::Latency(3.0)]);
        assert_eq!((hour.p50, hour.p95), (Some(3.0), Some(9.0)));
    }
}
