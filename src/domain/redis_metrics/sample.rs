//! A sample of the server's counters, and the difference between two samples.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::stores::redis::{Info, Lookups};

/// A longer interval between samples is a gap: its events cannot be assigned to a minute.
const GAP: TimeDelta = TimeDelta::seconds(30);

/// Counters since the server's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    Hits,
    Misses,
    Evicted,
    Expired,
    Commands,
    Rejected,
    Errors,
}

impl Counter {
    pub const ALL: [Self; 7] = [Self::Hits, Self::Misses, Self::Evicted, Self::Expired, Self::Commands, Self::Rejected, Self::Errors];

    pub fn field(self) -> &'static str {
        match self {
            Self::Hits => "keyspace_hits",
            Self::Misses => "keyspace_misses",
            Self::Evicted => "evicted_keys",
            Self::Expired => "expired_keys",
            Self::Commands => "total_commands_processed",
            Self::Rejected => "rejected_connections",
            Self::Errors => "total_error_replies",
        }
    }
}

/// Momentary values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    /// In bytes.
    Memory,
    Clients,
    /// Of all databases.
    Keys,
    /// Round-trip time in microseconds.
    Latency,
}

impl Gauge {
    pub const COUNT: usize = 4;
}

/// Compact, because Redis keeps 17,280 samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    #[serde(rename = "t", with = "chrono::serde::ts_milliseconds")]
    pub at: DateTime<Utc>,
    /// Identifies a run of the server process.
    #[serde(rename = "r")]
    run: String,
    #[serde(rename = "c")]
    counters: [u64; Counter::ALL.len()],
    #[serde(rename = "g")]
    gauges: [u64; Gauge::COUNT],
    /// Hits and misses of the lookups by pages, which the counters include; `None` if unknown.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pages: Option<[u64; 2]>,
}

impl Sample {
    /// Counters that the server does not report are always 0.
    pub fn of(info: &Info, at: DateTime<Utc>, latency: std::time::Duration, pages: Option<Lookups>) -> Self {
        let keys = info.with_prefix("db").filter_map(|(db, _)| info.part(&format!("db{db}"), "keys")?.parse::<u64>().ok()).sum();
        Self {
            at,
            run: info.text("run_id").unwrap_or_default().chars().take(12).collect(),
            counters: Counter::ALL.map(|counter| info.number(counter.field()).unwrap_or(0)),
            gauges: [
                info.number("used_memory").unwrap_or(0),
                info.number("connected_clients").unwrap_or(0),
                keys,
                u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
            ],
            pages: pages.map(|pages| [pages.hits, pages.misses]),
        }
    }

    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.gauges[gauge as usize]
    }

    /// The difference from `before`; `None` after a server restart, after `CONFIG RESETSTAT`, and across a gap.
    pub(super) fn since(&self, before: &Self) -> Option<Sums> {
        let interval = self.at - before.at;
        if self.run != before.run || interval > GAP || interval <= TimeDelta::zero() {
            return None;
        }
        let mut counts = [0; Counter::ALL.len()];
        for (count, (now, then)) in counts.iter_mut().zip(self.counters.iter().zip(before.counters)) {
            *count = now.checked_sub(then)?;
        }
        let mut pages = [0; 2];
        if let (Some(now), Some(then)) = (self.pages, before.pages) {
            for (count, (now, then)) in pages.iter_mut().zip(now.iter().zip(then)) {
                *count = now.checked_sub(then)?;
            }
        }
        Some(Sums { seconds: interval.num_milliseconds() as f64 / 1000.0, counts, pages })
    }
}

/// Samples from this time on; `samples` is sorted by time.
pub(super) fn since(samples: &[Sample], from: DateTime<Utc>) -> &[Sample] {
    &samples[samples.partition_point(|sample| sample.at < from)..]
}

/// Like [`since`], with the preceding sample, so that the difference to it is included.
pub(super) fn since_with_preceding(samples: &[Sample], from: DateTime<Utc>) -> &[Sample] {
    &samples[samples.partition_point(|sample| sample.at < from).saturating_sub(1)..]
}

/// Totals over a number of seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    pub seconds: f64,
    pub(super) counts: [u64; Counter::ALL.len()],
    /// Hits and misses of the lookups by pages, included in `counts`.
    pub(super) pages: [u64; 2],
}

impl Sums {
    pub(super) fn of(samples: &[Sample]) -> Self {
        samples.windows(2).filter_map(|pair| pair[1].since(&pair[0])).fold(Self::default(), |sums, step| sums.plus(&step))
    }

    pub(super) fn plus(mut self, other: &Self) -> Self {
        self.seconds += other.seconds;
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.saturating_add(more);
        }
        for (count, more) in self.pages.iter_mut().zip(other.pages) {
            *count = count.saturating_add(more);
        }
        self
    }

    /// Hits and misses are those of applications, without the lookups by pages.
    pub fn get(&self, counter: Counter) -> u64 {
        let pages = match counter {
            Counter::Hits => self.pages[0],
            Counter::Misses => self.pages[1],
            _ => 0,
        };
        self.counts[counter as usize].saturating_sub(pages)
    }

    /// Per second; `None` without sampled seconds.
    pub fn rate(&self, counter: Counter) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.get(counter) as f64 / self.seconds)
    }

    /// Key lookups, successful and unsuccessful.
    pub fn lookups(&self) -> u64 {
        self.get(Counter::Hits).saturating_add(self.get(Counter::Misses))
    }

    /// In percent; `None` without lookups.
    pub fn hit_ratio(&self) -> Option<f64> {
        let lookups = self.lookups();
        (lookups > 0).then(|| 100.0 * self.get(Counter::Hits) as f64 / lookups as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: i64, run: &str, hits: u64, misses: u64) -> Sample {
        Sample {
            at: DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap(),
            run: run.into(),
            counters: [hits, misses, 0, 0, hits + misses, 0, 0],
            gauges: [0; Gauge::COUNT],
            pages: None,
        }
    }

    #[test]
    fn lookups_by_pages_are_subtracted_once_over_the_whole_time() {
        let of = |second, hits, misses, pages| Sample { pages: Some(pages), ..sample(second, "a", hits, misses) };
        // Another replica reports the 1,000 hits of the first interval in the second one.
        let samples = [of(0, 0, 0, [0, 0]), of(5, 1_030, 60, [0, 50]), of(10, 1_040, 60, [1_000, 50])];
        let sums = Sums::of(&samples);
        assert_eq!((sums.get(Counter::Hits), sums.get(Counter::Misses), sums.lookups()), (40, 10, 50));
        let lost = [of(0, 0, 0, [500, 0]), of(5, 100, 0, [3, 0]), of(10, 110, 0, [3, 0])];
        assert_eq!(Sums::of(&lost).get(Counter::Hits), 10, "the interval in which the totals were deleted is skipped");
    }

    #[test]
    fn restarts_resets_and_gaps_are_skipped_and_cause_no_spikes() {
        let samples = [
            sample(0, "a", 100, 100),
            sample(5, "a", 130, 110),
            sample(10, "b", 9_000, 9_000),
            sample(15, "b", 9_010, 9_000),
            sample(20, "b", 5, 0),
            sample(25, "b", 15, 0),
            sample(600, "b", 90_000, 0),
        ];
        let sums = Sums::of(&samples);
        assert_eq!((sums.get(Counter::Hits), sums.get(Counter::Misses), sums.seconds), (50, 10, 15.0));
        assert_eq!(sums.hit_ratio().map(f64::round), Some(83.0));
        assert_eq!(Sums::default().hit_ratio(), None, "without lookups there is no ratio");
    }

    #[test]
    fn a_sample_is_compact_and_round_trips() {
        let info = Info::parse(
            "run_id:0123456789abcdef\r\nkeyspace_hits:1204331\r\nused_memory:1728724337\r\ndb0:keys=3,expires=1\r\ndb3:keys=4,expires=0\r\n",
        );
        let sample =
            Sample::of(&info, DateTime::from_timestamp_millis(1_800_000_000_123).unwrap(), std::time::Duration::from_micros(300), None);
        assert_eq!(sample.gauge(Gauge::Keys), 7);
        let text = serde_json::to_string(&sample).unwrap();
        assert!(text.len() < 120, "{text}");
        assert_eq!(serde_json::from_str::<Sample>(&text).unwrap(), sample);
    }
}
