//! Per-minute totals: accumulated here, written to Postgres when the minute ends, and kept for a while if Postgres is
//! down.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use diesel::sql_types::{BigInt, Double, Timestamptz};
use diesel_async::RunQueryDsl;

use super::sample::{Counter, Gauge, Sample, Sums};
use crate::domain::{Context, Error, Result};

/// Retention in Postgres.
const RETENTION: TimeDelta = TimeDelta::days(30);
/// Minutes kept while Postgres is down: six hours.
const MAX_PENDING: usize = 360;

pub(super) fn start_of(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::minutes(1)).unwrap_or(at)
}

#[derive(Clone, Debug)]
struct Minute {
    begin: DateTime<Utc>,
    sums: Sums,
    max: [u64; Gauge::COUNT],
}

#[derive(Default)]
pub(super) struct Minutes {
    /// Oldest first; the last minute may be in progress.
    pending: Vec<Minute>,
}

impl Minutes {
    pub fn add(&mut self, sample: &Sample, before: Option<&Sample>) {
        let begin = start_of(sample.at);
        if self.pending.last().is_none_or(|minute| minute.begin != begin) {
            self.pending.push(Minute { begin, sums: Sums::default(), max: [0; Gauge::COUNT] });
        }
        let Some(minute) = self.pending.last_mut() else { return };
        if let Some(step) = before.and_then(|before| sample.since(before)) {
            minute.sums = minute.sums.plus(&step);
        }
        for (max, gauge) in minute.max.iter_mut().zip([Gauge::Memory, Gauge::Clients, Gauge::Keys, Gauge::Latency]) {
            *max = (*max).max(sample.gauge(gauge));
        }
    }

    /// Writes the minutes that have ended.
    pub async fn save(&mut self, ctx: &Context, now: DateTime<Utc>) {
        let current = start_of(now);
        // Also covers a clock that was set back: minutes in its future count as ended.
        let ended = self.pending.iter().take_while(|minute| minute.begin != current).count();
        if ended == 0 {
            return;
        }
        match write(ctx, &self.pending[..ended]).await {
            Ok(()) => drop(self.pending.drain(..ended)),
            Err(error) => {
                log::info!("Redis metrics of the last minute are not written yet: {error}");
                let late = self.pending.len().saturating_sub(MAX_PENDING);
                self.pending.drain(..late);
            }
        }
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// If another replica sampled part of the same minute, both parts are added.
async fn write(ctx: &Context, minutes: &[Minute]) -> Result<()> {
    ctx.db
        .run(async |conn| {
            for minute in minutes {
                let mut statement = diesel::sql_query(
                    "INSERT INTO redis_minutes AS m (minute, seconds, hits, misses, evicted, expired, commands, rejected, errors,
                                             memory, clients, keys, latency_us)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
             ON CONFLICT (minute) DO UPDATE SET
                seconds = m.seconds + excluded.seconds, hits = m.hits + excluded.hits, misses = m.misses + excluded.misses,
                evicted = m.evicted + excluded.evicted, expired = m.expired + excluded.expired,
                commands = m.commands + excluded.commands, rejected = m.rejected + excluded.rejected,
                errors = m.errors + excluded.errors, memory = greatest(m.memory, excluded.memory),
                clients = greatest(m.clients, excluded.clients), keys = greatest(m.keys, excluded.keys),
                latency_us = greatest(m.latency_us, excluded.latency_us)",
                )
                .into_boxed()
                .bind::<Timestamptz, _>(minute.begin)
                .bind::<Double, _>(minute.sums.seconds);
                for counter in Counter::ALL {
                    statement = statement.bind::<BigInt, _>(number(minute.sums.get(counter)));
                }
                for max in minute.max {
                    statement = statement.bind::<BigInt, _>(number(max));
                }
                statement.execute(conn).await?;
            }
            if let Some(last) = minutes.last() {
                let oldest = last.begin - RETENTION;
                diesel::sql_query("DELETE FROM redis_minutes WHERE minute < $1").bind::<Timestamptz, _>(oldest).execute(conn).await?;
            }
            Ok(())
        })
        .await
}

/// Totals of one step.
#[derive(diesel::QueryableByName)]
pub(super) struct MetricStep {
    /// The number of the step since 1970.
    #[diesel(sql_type = BigInt)]
    pub step: i64,
    #[diesel(sql_type = Double)]
    seconds: f64,
    #[diesel(sql_type = BigInt)]
    hits: i64,
    #[diesel(sql_type = BigInt)]
    misses: i64,
    #[diesel(sql_type = BigInt)]
    evicted: i64,
    #[diesel(sql_type = BigInt)]
    expired: i64,
    #[diesel(sql_type = BigInt)]
    commands: i64,
    #[diesel(sql_type = BigInt)]
    rejected: i64,
    #[diesel(sql_type = BigInt)]
    errors: i64,
    #[diesel(sql_type = BigInt)]
    pub memory: i64,
}

impl MetricStep {
    pub fn sums(&self) -> Sums {
        let counts = [self.hits, self.misses, self.evicted, self.expired, self.commands, self.rejected, self.errors];
        Sums { seconds: self.seconds, counts: counts.map(|count| u64::try_from(count).unwrap_or(0)), pages: [0; 2] }
    }
}

/// Starting at `from`, in steps of the given seconds; steps without samples are omitted.
pub(super) async fn steps(ctx: &Context, from: DateTime<Utc>, seconds: i64) -> Result<Vec<MetricStep>> {
    ctx.db
        .run(async |conn| {
            diesel::sql_query(
                "SELECT floor(extract(epoch FROM minute) / $2)::bigint AS step, sum(seconds) AS seconds,
                        sum(hits)::bigint AS hits, sum(misses)::bigint AS misses, sum(evicted)::bigint AS evicted,
                        sum(expired)::bigint AS expired, sum(commands)::bigint AS commands, sum(rejected)::bigint AS rejected,
                        sum(errors)::bigint AS errors, max(memory) AS memory
                 FROM redis_minutes WHERE minute >= $1 GROUP BY 1 ORDER BY 1",
            )
            .bind::<Timestamptz, _>(from)
            .bind::<BigInt, _>(seconds)
            .load(conn)
            .await
            .map_err(Error::from)
        })
        .await
}

pub(super) async fn sums(ctx: &Context, from: DateTime<Utc>) -> Result<Sums> {
    let steps = steps(ctx, from, 86_400).await?;
    Ok(steps.iter().fold(Sums::default(), |sums, step| sums.plus(&step.sums())))
}
