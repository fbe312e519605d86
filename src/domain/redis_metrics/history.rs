//! Equal steps of time for charts: what is not known is a gap.

use chrono::{DateTime, TimeDelta, Utc};

use super::minutes;
use super::sample::{Counter, Gauge, Sample, Sums};
use crate::domain::{Context, Result};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Range {
    #[default]
    Hour,
    Day,
    Month,
}

impl Range {
    /// Seconds of a step, and how many make the range.
    pub fn steps(self) -> (i64, i64) {
        match self {
            Self::Hour => (60, 60),
            Self::Day => (900, 96),
            Self::Month => (21_600, 120),
        }
    }
}

/// One step; `None` where nothing was sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Percent; `None` without look-ups, too.
    pub hit_ratio: Option<f64>,
    /// Bytes, the most of the step.
    pub memory: Option<u64>,
    /// Operations a second.
    pub operations: Option<f64>,
}

impl Point {
    fn of(sums: &Sums, memory: u64) -> Self {
        Self { hit_ratio: sums.hit_ratio(), memory: Some(memory), operations: sums.rate(Counter::Commands) }
    }
}

/// The range's steps, the last of which runs now.
fn empty(range: Range, now: DateTime<Utc>) -> (i64, Vec<Point>) {
    let (seconds, count) = range.steps();
    let first = now.timestamp().div_euclid(seconds) - count + 1;
    (first, vec![Point::default(); usize::try_from(count).unwrap_or(0)])
}

pub(super) fn of_samples(samples: &[Sample], now: DateTime<Utc>) -> Vec<Point> {
    let (first, mut points) = empty(Range::Hour, now);
    let (seconds, _) = Range::Hour.steps();
    let of_step = |step: i64| {
        let begin = DateTime::from_timestamp(step * seconds, 0)?;
        let from = samples.partition_point(|sample| sample.at < begin);
        let until = samples.partition_point(|sample| sample.at < begin + TimeDelta::seconds(seconds));
        let memory = samples[from..until].iter().map(|sample| sample.gauge(Gauge::Memory)).max()?;
        // With the sample before it, so that no difference is lost between two steps.
        Some(Point::of(&Sums::of(&samples[from.saturating_sub(1)..until]), memory))
    };
    for (point, step) in points.iter_mut().zip(first..) {
        *point = of_step(step).unwrap_or_default();
    }
    points
}

/// From Postgres; for the hour, which is in Redis, nothing is asked.
pub(super) async fn kept(ctx: &Context, range: Range, now: DateTime<Utc>) -> Result<Vec<Point>> {
    let (first, mut points) = empty(range, now);
    if range == Range::Hour {
        return Ok(points);
    }
    let (seconds, _) = range.steps();
    let from = DateTime::from_timestamp(first * seconds, 0).unwrap_or(now);
    for step in minutes::steps(ctx, from, seconds).await? {
        if let Some(point) = usize::try_from(step.step - first).ok().and_then(|at| points.get_mut(at)) {
            *point = Point::of(&step.sums(), u64::try_from(step.memory).unwrap_or(0));
        }
    }
    Ok(points)
}
