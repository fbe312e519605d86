//! Minutes in Postgres: added up here, written when they are over, and kept for a while where Postgres is down.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use diesel::sql_types::{BigInt, Double, Timestamptz};
use diesel_async::RunQueryDsl;

use super::sample::{Counter, Gauge, Sample, Sums};
use crate::domain::{Context, Error, Result};

/// How long minutes are kept.
const KEPT: TimeDelta = TimeDelta::days(30);
/// Minutes that wait for Postgres: six hours.
const WAITING: usize = 360;

pub(super) fn begin_of(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::minutes(1)).unwrap_or(at)
}

#[derive(Clone, Debug)]
struct Minute {
    begin: DateTime<Utc>,
    sums: Sums,
    most: [u64; Gauge::COUNT],
}

#[derive(Default)]
pub(super) struct Minutes {
    /// Oldest first; the last of them may still run.
    waiting: Vec<Minute>,
}

impl Minutes {
    pub fn enter(&mut self, sample: &Sample, before: Option<&Sample>) {
        let begin = begin_of(sample.at);
        if self.waiting.last().is_none_or(|minute| minute.begin != begin) {
            self.waiting.push(Minute { begin, sums: Sums::default(), most: [0; Gauge::COUNT] });
        }
        let Some(minute) = self.waiting.last_mut() else { return };
        if let Some(step) = before.and_then(|before| sample.since(before)) {
            minute.sums = minute.sums.plus(&step);
        }
        for (most, gauge) in minute.most.iter_mut().zip([Gauge::Memory, Gauge::Clients, Gauge::Keys, Gauge::Latency]) {
            *most = (*most).max(sample.gauge(gauge));
        }
    }

    /// Those that are over.
    pub async fn save(&mut self, ctx: &Context, now: DateTime<Utc>) {
        let current = begin_of(now);
        // Of a clock that was set back, too: what it was ahead by is not waited for.
        let over = self.waiting.iter().take_while(|minute| minute.begin != current).count();
        if over == 0 {
            return;
        }
        match ctx.db.within(write(ctx, &self.waiting[..over])).await {
            Ok(()) => drop(self.waiting.drain(..over)),
            Err(error) => {
                log::info!("what Redis did in the last minute is not written yet: {error}");
                let late = self.waiting.len().saturating_sub(WAITING);
                self.waiting.drain(..late);
            }
        }
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Where another replica has sampled a part of the same minute, the parts are added up.
async fn write(ctx: &Context, minutes: &[Minute]) -> Result<()> {
    let mut conn = ctx.db.get().await?;
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
        for most in minute.most {
            statement = statement.bind::<BigInt, _>(number(most));
        }
        statement.execute(&mut conn).await?;
    }
    if let Some(last) = minutes.last() {
        let oldest = last.begin - KEPT;
        diesel::sql_query("DELETE FROM redis_minutes WHERE minute < $1").bind::<Timestamptz, _>(oldest).execute(&mut conn).await?;
    }
    Ok(())
}

/// Sums of equal steps.
#[derive(diesel::QueryableByName)]
pub(super) struct MetricStep {
    /// Steps since 1970.
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
        Sums { seconds: self.seconds, counts: counts.map(|count| u64::try_from(count).unwrap_or(0)) }
    }
}

/// From `from` on, in steps of so many seconds; steps without a sample are left out.
pub(super) async fn steps(ctx: &Context, from: DateTime<Utc>, seconds: i64) -> Result<Vec<MetricStep>> {
    ctx.db
        .within(async {
            let mut conn = ctx.db.get().await?;
            diesel::sql_query(
                "SELECT floor(extract(epoch FROM minute) / $2)::bigint AS step, sum(seconds) AS seconds,
                        sum(hits)::bigint AS hits, sum(misses)::bigint AS misses, sum(evicted)::bigint AS evicted,
                        sum(expired)::bigint AS expired, sum(commands)::bigint AS commands, sum(rejected)::bigint AS rejected,
                        sum(errors)::bigint AS errors, max(memory) AS memory
                 FROM redis_minutes WHERE minute >= $1 GROUP BY 1 ORDER BY 1",
            )
            .bind::<Timestamptz, _>(from)
            .bind::<BigInt, _>(seconds)
            .load(&mut conn)
            .await
            .map_err(Error::from)
        })
        .await
}

pub(super) async fn sums(ctx: &Context, from: DateTime<Utc>) -> Result<Sums> {
    let steps = steps(ctx, from, 86_400).await?;
    Ok(steps.iter().fold(Sums::default(), |sums, step| sums.plus(&step.sums())))
}
