//! The last hour of one service, for its chart and its percentiles.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

/// Steps of a minute.
pub const STEPS: usize = 60;
/// An hour of checks at their shortest period.
const KEPT: usize = 3600;

#[derive(Clone, Copy)]
struct Answer {
    at: DateTime<Utc>,
    ms: Option<f32>,
}

/// What was heard in one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum LatencyStep {
    /// Nobody asked.
    #[default]
    Unknown,
    /// At least half of the checks had no good answer.
    Silent,
    /// Mean of the good answers, in milliseconds.
    Answered(f32),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hour {
    /// [`STEPS`] minutes, the last of which runs now; oldest first.
    pub steps: Vec<LatencyStep>,
    /// Of single checks in milliseconds; `None` without a good one.
    pub p50: Option<f64>,
    pub p95: Option<f64>,
}

#[derive(Default)]
pub(super) struct LatencyHistory(VecDeque<Answer>);

impl LatencyHistory {
    pub fn push(&mut self, at: DateTime<Utc>, ms: Option<f32>) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Answer { at, ms });
        // After a clock was set back, too: what it was ahead by would stay.
        self.0.retain(|answer| (TimeDelta::zero()..=TimeDelta::hours(1)).contains(&(at - answer.at)));
    }

    pub fn hour(&self, now: DateTime<Utc>) -> Hour {
        let minute = |at: DateTime<Utc>| at.timestamp().div_euclid(60);
        let first = minute(now) - STEPS as i64 + 1;
        let mut heard = [(0_u32, 0_u32, 0_f32); STEPS];
        for answer in &self.0 {
            let Some((checks, good, sum)) = usize::try_from(minute(answer.at) - first).ok().and_then(|at| heard.get_mut(at)) else {
                continue;
            };
            *checks += 1;
            if let Some(ms) = answer.ms {
                *good += 1;
                *sum += ms;
            }
        }
        let step = |(checks, good, sum): (u32, u32, f32)| match (checks, good) {
            (0, _) => LatencyStep::Unknown,
            (checks, good) if good * 2 <= checks => LatencyStep::Silent,
            (_, good) => LatencyStep::Answered(sum / good as f32),
        };
        let mut good: Vec<f32> = self.0.iter().filter_map(|answer| answer.ms).collect();
        good.sort_by(f32::total_cmp);
        Hour { steps: heard.map(step).to_vec(), p50: percentile(&good, 50), p95: percentile(&good, 95) }
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

    #[test]
    fn a_minute_is_the_mean_of_its_good_answers_silent_or_unknown() {
        let now = DateTime::from_timestamp(1_800_000_059, 0).unwrap();
        let mut history = LatencyHistory::default();
        for (seconds_ago, ms) in
            [(130, Some(9.0)), (120, None), (70, Some(1.0)), (65, None), (62, Some(3.0)), (10, Some(2.0)), (5, Some(4.0))]
        {
            history.push(now - TimeDelta::seconds(seconds_ago), ms);
        }
        let hour = history.hour(now);
        assert_eq!(hour.steps.len(), STEPS);
        assert_eq!(hour.steps[56..], [LatencyStep::Unknown, LatencyStep::Silent, LatencyStep::Answered(2.0), LatencyStep::Answered(3.0)]);
        assert_eq!((hour.p50, hour.p95), (Some(3.0), Some(9.0)));
    }

    #[test]
    fn percentiles_are_of_what_answered() {
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(percentile(&[1.0, 2.0, 3.0, 4.0], 50), Some(2.0));
        assert_eq!(percentile(&[1.0, 2.0, 3.0, 4.0], 95), Some(4.0));
    }
}
