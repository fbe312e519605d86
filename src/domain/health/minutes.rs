//! The check results of each service per minute: accumulated here, written to Postgres when the minute ends, and kept
//! in memory while Postgres is down.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use diesel::QueryResult;
use diesel::sql_types::{Array, Double, Integer, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::Service;
use super::past::Seconds;

/// Minutes kept while Postgres is down, for all services: one day.
const MAX_PENDING: usize = 24 * 60 * Service::ALL.len();
/// Rows per statement.
pub(super) const ROWS: usize = 1000;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Minute {
    pub seconds: Seconds,
    pub checks: i32,
    pub good: i32,
    /// In milliseconds.
    pub latency_sum: f64,
    pub latency_max: f64,
}

pub(super) type Key = (DateTime<Utc>, Service);

#[derive(Default)]
pub(super) struct Minutes(BTreeMap<Key, Minute>);

fn start_of(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::minutes(1)).unwrap_or(at)
}

impl Minutes {
    /// Records one check; `ms` if it succeeded.
    pub fn check(&mut self, service: Service, at: DateTime<Utc>, ms: Option<f64>) {
        let minute = self.0.entry((start_of(at), service)).or_default();
        minute.checks += 1;
        if let Some(ms) = ms {
            minute.good += 1;
            minute.latency_sum += ms;
            minute.latency_max = minute.latency_max.max(ms);
        }
    }

    /// The result of a check applies until the next one. Intervals longer than `gap` are not counted, since Larder
    /// itself was stopped.
    pub fn time(&mut self, service: Service, from: DateTime<Utc>, until: DateTime<Utc>, good: bool, gap: TimeDelta) {
        if until - from > gap {
            return;
        }
        let mut from = from;
        while from < until {
            let begin = start_of(from);
            let end = until.min(begin + TimeDelta::minutes(1));
            let seconds = (end - from).num_milliseconds() as f64 / 1000.0;
            self.0.entry((begin, service)).or_default().seconds.add(seconds, good);
            from = end;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (DateTime<Utc>, Service, Seconds)> {
        self.0.iter().map(|((begin, service), minute)| (*begin, *service, minute.seconds))
    }

    /// Minutes that are complete, oldest first: they ended more than `gap` ago. With `all`, every minute, at
    /// shutdown.
    pub fn completed(&self, now: DateTime<Utc>, gap: TimeDelta, all: bool) -> Vec<(Key, Minute)> {
        let is_complete = |begin: DateTime<Utc>| all || begin + TimeDelta::minutes(1) + gap < now;
        self.0.iter().filter(|((begin, _), _)| is_complete(*begin)).take(ROWS).map(|(key, minute)| (*key, *minute)).collect()
    }

    pub fn written(&mut self, rows: &[(Key, Minute)]) {
        for (key, _) in rows {
            self.0.remove(key);
        }
    }

    /// Discards the oldest minutes after a day without Postgres.
    pub fn discard_oldest(&mut self) {
        while self.0.len() > MAX_PENDING {
            self.0.pop_first();
        }
    }
}

/// Idempotent: if a response was lost, the rows are written again. Minutes in the future of the database's clock are
/// skipped, since they would otherwise stay until then.
pub(super) async fn write(conn: &mut AsyncPgConnection, console: Uuid, rows: &[(Key, Minute)]) -> QueryResult<()> {
    fn column<T>(rows: &[(Key, Minute)], of: impl Fn(&Key, &Minute) -> T) -> Vec<T> {
        rows.iter().map(|(key, minute)| of(key, minute)).collect()
    }
    diesel::sql_query(
        "INSERT INTO health_minutes (console, service, minute, checks, good, up_seconds, down_seconds, latency_sum_ms, latency_most_ms)
         SELECT $1, row.* FROM unnest($2::text[], $3::timestamptz[], $4::int[], $5::int[], $6::float8[], $7::float8[], $8::float8[], $9::float8[])
            AS row (service, minute, checks, good, up, down, latency_sum, latency_max)
         WHERE row.minute < now() + interval '5 minutes'
         ON CONFLICT (service, minute, console) DO UPDATE SET
            checks = excluded.checks, good = excluded.good, up_seconds = excluded.up_seconds, down_seconds = excluded.down_seconds,
            latency_sum_ms = excluded.latency_sum_ms, latency_most_ms = excluded.latency_most_ms",
    )
    .bind::<SqlUuid, _>(console)
    .bind::<Array<Text>, _>(column(rows, |(_, service), _| service.slug()))
    .bind::<Array<Timestamptz>, _>(column(rows, |(begin, _), _| *begin))
    .bind::<Array<Integer>, _>(column(rows, |_, minute| minute.checks))
    .bind::<Array<Integer>, _>(column(rows, |_, minute| minute.good))
    .bind::<Array<Double>, _>(column(rows, |_, minute| minute.seconds.up))
    .bind::<Array<Double>, _>(column(rows, |_, minute| minute.seconds.down))
    .bind::<Array<Double>, _>(column(rows, |_, minute| minute.latency_sum))
    .bind::<Array<Double>, _>(column(rows, |_, minute| minute.latency_max))
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
    fn time_is_split_at_minutes_and_gaps_are_not_counted() {
        let gap = TimeDelta::seconds(15);
        let mut minutes = Minutes::default();
        minutes.time(Service::Redis, at(50), at(65), true, gap);
        minutes.time(Service::Redis, at(65), at(70), false, gap);
        minutes.time(Service::Redis, at(70), at(90), true, gap);
        let found: Vec<_> = minutes.iter().map(|(begin, _, seconds)| (begin, seconds.up, seconds.down)).collect();
        assert_eq!(found, [(at(0), 10.0, 0.0), (at(60), 5.0, 5.0)]);
    }

    #[test]
    fn a_minute_is_written_when_it_is_complete() {
        let gap = TimeDelta::seconds(15);
        let mut minutes = Minutes::default();
        minutes.check(Service::S3, at(1), Some(2.0));
        minutes.check(Service::S3, at(61), Some(2.0));
        assert!(minutes.completed(at(74), gap, false).is_empty(), "a check may still report its last seconds");
        minutes.time(Service::S3, at(55), at(69), true, gap);
        let rows = minutes.completed(at(76), gap, false);
        assert_eq!((rows.len(), rows[0].1.seconds.up, rows[0].1.checks), (1, 5.0, 1));
        minutes.written(&rows);
        minutes.time(Service::S3, at(69), at(77), true, gap);
        assert!(minutes.completed(at(80), gap, false).is_empty(), "none of what was written comes again");
        assert_eq!(minutes.completed(at(80), gap, true).len(), 1);
    }
}
