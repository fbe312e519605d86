//! What was heard of each service in each minute: added up here, written to Postgres when it is over, and kept in
//! memory as long as Postgres is down.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use diesel::sql_types::{Array, Double, Integer, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::Service;
use super::past::Seconds;
use crate::domain::Result;

/// Minutes that wait for Postgres, of all services: a day.
const WAITING: usize = 24 * 60 * Service::ALL.len();
/// Rows of one statement.
pub(super) const ROWS: usize = 1000;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Minute {
    pub seconds: Seconds,
    pub checks: i32,
    pub good: i32,
    /// Milliseconds.
    pub latency_sum: f64,
    pub latency_most: f64,
}

pub(super) type Key = (DateTime<Utc>, Service);

#[derive(Default)]
pub(super) struct Minutes(BTreeMap<Key, Minute>);

fn begin_of(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::minutes(1)).unwrap_or(at)
}

impl Minutes {
    /// One check; `ms` where it was good.
    pub fn check(&mut self, service: Service, at: DateTime<Utc>, ms: Option<f64>) {
        let minute = self.0.entry((begin_of(at), service)).or_default();
        minute.checks += 1;
        if let Some(ms) = ms {
            minute.good += 1;
            minute.latency_sum += ms;
            minute.latency_most = minute.latency_most.max(ms);
        }
    }

    /// From one check to the next it was as the first has found it. A longer `gap` is nobody's: Larder itself was stopped.
    pub fn time(&mut self, service: Service, from: DateTime<Utc>, until: DateTime<Utc>, good: bool, gap: TimeDelta) {
        if until - from > gap {
            return;
        }
        let mut from = from;
        while from < until {
            let begin = begin_of(from);
            let end = until.min(begin + TimeDelta::minutes(1));
            let seconds = (end - from).num_milliseconds() as f64 / 1000.0;
            self.0.entry((begin, service)).or_default().seconds.add(seconds, good);
            from = end;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (DateTime<Utc>, Service, Seconds)> {
        self.0.iter().map(|((begin, service), minute)| (*begin, *service, minute.seconds))
    }

    /// Those to write now, oldest first: without the one that runs unless `all` are wanted.
    pub fn over(&self, now: DateTime<Utc>, all: bool) -> Vec<(Key, Minute)> {
        let current = begin_of(now);
        self.0.iter().filter(|((begin, _), _)| all || *begin != current).take(ROWS).map(|(key, minute)| (*key, *minute)).collect()
    }

    /// What has been written; what a check has added meanwhile stays.
    pub fn written(&mut self, rows: &[(Key, Minute)]) {
        for (key, written) in rows {
            if self.0.get(key) == Some(written) {
                self.0.remove(key);
            }
        }
    }

    /// After a day without Postgres the oldest go.
    pub fn forget(&mut self) {
        while self.0.len() > WAITING {
            self.0.pop_first();
        }
    }
}

/// Where a Larder of the same name has written a part of the same minute, before a restart, the parts are added up.
pub(super) async fn write(conn: &mut AsyncPgConnection, instance: &str, rows: &[(Key, Minute)]) -> Result<()> {
    fn column<T>(rows: &[(Key, Minute)], of: impl Fn(&Key, &Minute) -> T) -> Vec<T> {
        rows.iter().map(|(key, minute)| of(key, minute)).collect()
    }
    diesel::sql_query(
        "INSERT INTO health_minutes AS m (instance, service, minute, checks, good, up_seconds, down_seconds, latency_sum_ms, latency_most_ms)
         SELECT $1, * FROM unnest($2::text[], $3::timestamptz[], $4::int[], $5::int[], $6::float8[], $7::float8[], $8::float8[], $9::float8[])
         ON CONFLICT (service, minute, instance) DO UPDATE SET
            checks = m.checks + excluded.checks, good = m.good + excluded.good,
            up_seconds = m.up_seconds + excluded.up_seconds, down_seconds = m.down_seconds + excluded.down_seconds,
            latency_sum_ms = m.latency_sum_ms + excluded.latency_sum_ms,
            latency_most_ms = greatest(m.latency_most_ms, excluded.latency_most_ms)",
    )
    .bind::<Text, _>(instance)
    .bind::<Array<Text>, _>(column(rows, |(_, service), _| service.slug()))
    .bind::<Array<Timestamptz>, _>(column(rows, |(begin, _), _| *begin))
    .bind::<Array<Integer>, _>(column(rows, |_, minute| minute.checks))
    .bind::<Array<Integer>, _>(column(rows, |_, minute| minute.good))
    .bind::<Array<Double>, _>(column(rows, |_, minute| minute.seconds.up))
    .bind::<Array<Double>, _>(column(rows, |_, minute| minute.seconds.down))
    .bind::<Array<Double>, _>(column(rows, |_, minute| minute.latency_sum))
    .bind::<Array<Double>, _>(column(rows, |_, minute| minute.latency_most))
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    #[test]
    fn time_is_cut_at_the_minute_and_a_gap_is_nobodys() {
        let gap = TimeDelta::seconds(15);
        let mut minutes = Minutes::default();
        minutes.time(Service::Redis, at(50), at(65), true, gap);
        minutes.time(Service::Redis, at(65), at(70), false, gap);
        minutes.time(Service::Redis, at(70), at(90), true, gap);
        let found: Vec<_> = minutes.iter().map(|(begin, _, seconds)| (begin, seconds.up, seconds.down)).collect();
        assert_eq!(found, [(at(0), 10.0, 0.0), (at(60), 5.0, 5.0)]);
    }

    #[test]
    fn what_a_check_adds_while_it_is_written_is_not_lost() {
        let mut minutes = Minutes::default();
        minutes.check(Service::S3, at(1), Some(2.0));
        let rows = minutes.over(at(70), false);
        assert_eq!(rows.len(), 1);
        minutes.check(Service::S3, at(2), None);
        minutes.written(&rows);
        assert_eq!(minutes.over(at(70), false).len(), 1);
        assert!(minutes.over(at(3), false).is_empty(), "the minute that runs waits");
        minutes.written(&minutes.over(at(70), false));
        assert!(minutes.over(at(70), true).is_empty());
    }
}
