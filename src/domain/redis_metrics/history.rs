//! Equal time steps for charts; missing data is a gap.

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
    /// Seconds per step, and number of steps.
    pub fn steps(self) -> (i64, i64) {
        match self {
            Self::Hour => (60, 60),
            Self::Day => (900, 96),
            Self::Month => (21_600, 120),
        }
    }
}

/// One step; `None` without samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// In percent; also `None` without lookups.
    pub hit_ratio: Option<f64>,
    /// In bytes, the maximum within the step.
    pub memory: Option<u64>,
    /// Operations per second.
    pub operations: Option<f64>,
}

impl Point {
    fn of(sums: &Sums, memory: u64) -> Self {
        Self { hit_ratio: sums.hit_ratio(), memory: Some(memory), operations: sums.rate(Counter::Commands) }
    }
}

/// The steps of the range; the last one is in progress.
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
        // Includes the preceding sample, so that no difference between two steps is lost.
        Some(Point::of(&Sums::of(&samples[from.saturating_sub(1)..until]), memory))
    };
    for (point, step) in points.iter_mut().zip(first..) {
        *point = of_step(step).unwrap_or_default();
    }
    points
}

/// Read from Postgres; for the hour, which is stored in Redis, nothing is queried.
pub(super) async fn from_postgres(ctx: &Context, range: Range, now: DateTime<Utc>) -> Result<Vec<Point>> {
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
