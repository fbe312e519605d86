//! The last thirty days as stored in Postgres: the uptime of each service, combined from all consoles.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use diesel::sql_types::{BigInt, Double, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::Service;
use super::incidents::{self, Incident};
use crate::domain::redis_metrics::Range;
use crate::domain::{Context, Result};

pub(super) const RETENTION: TimeDelta = TimeDelta::days(DAYS as i64);
const DAYS: usize = 30;
/// Time up and down, out of the observed time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seconds {
    pub up: f64,
    pub down: f64,
}

impl Seconds {
    pub(super) fn add(&mut self, seconds: f64, good: bool) {
        *(if good { &mut self.up } else { &mut self.down }) += seconds;
    }

    fn plus(&mut self, other: Self) {
        self.up += other.up;
        self.down += other.down;
    }

    /// In percent; `None` without observed time.
    pub fn uptime(&self) -> Option<f64> {
        let observed = self.up + self.down;
        (observed > 0.0).then(|| 100.0 * self.up / observed)
    }
}

/// One day in UTC.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Day {
    pub date: NaiveDate,
    pub seconds: Seconds,
}

#[derive(Clone, Debug, Default)]
pub struct Uptime {
    /// The current hour and the 23 before it.
    pub day: Seconds,
    pub month: Seconds,
    /// Oldest first; the last day is in progress.
    pub days: Vec<Day>,
}

/// The data last read from Postgres.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// By hours since 1970.
    hours: BTreeMap<(Service, i64), Seconds>,
    /// As seen by each console.
    pub incidents: Vec<Incident>,
    /// Number of active consoles.
    pub consoles: usize,
    /// Migrations applied to the database; `None` if the user may not read them.
    pub migrations: Option<usize>,
    pub is_loaded: bool,
}

fn hour_of(at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(3600)
}

#[derive(diesel::QueryableByName)]
struct Hour {
    #[diesel(sql_type = Text)]
    service: String,
    #[diesel(sql_type = BigInt)]
    hour: i64,
    #[diesel(sql_type = Double)]
    up: f64,
    #[diesel(sql_type = Double)]
    down: f64,
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

impl Past {
    /// Reads everything, or only what may have changed: the current hour and the one before.
    pub async fn refreshed(&self, conn: &mut AsyncPgConnection, whole: bool, now: DateTime<Utc>) -> Result<Self> {
        let from = if whole { now - RETENTION } else { now - TimeDelta::hours(2) };
        let first = hour_of(from) + 1;
        let hours: Vec<Hour> = diesel::sql_query(
            "SELECT service, floor(extract(epoch FROM minute) / 3600)::bigint AS hour, sum(up_seconds) AS up, sum(down_seconds) AS down
             FROM health_minutes WHERE minute >= $1 GROUP BY 1, 2",
        )
        .bind::<Timestamptz, _>(DateTime::from_timestamp(first * 3600, 0).unwrap_or(from))
        .load(conn)
        .await?;
        let consoles: Count = diesel::sql_query(
            "SELECT count(DISTINCT console) AS count FROM health_minutes
             WHERE minute BETWEEN now() - interval '3 minutes' AND now() + interval '5 minutes'",
        )
        .get_result(conn)
        .await?;
        let migrations = diesel::sql_query("SELECT count(*) AS count FROM __diesel_schema_migrations").get_result::<Count>(conn).await;
        let mut past = self.clone();
        past.hours.retain(|(_, hour), _| *hour < first && *hour > hour_of(now - RETENTION));
        past.hours.extend(
            hours.into_iter().filter_map(|row| Some(((Service::of_slug(&row.service)?, row.hour), Seconds { up: row.up, down: row.down }))),
        );
        past.incidents = incidents::read(conn, now).await?;
        past.consoles = usize::try_from(consoles.count).unwrap_or(0);
        past.migrations = migrations.ok().and_then(|ran| usize::try_from(ran.count).ok());
        past.is_loaded = true;
        Ok(past)
    }

    /// Includes the minutes that are not in Postgres yet.
    pub fn uptime(&self, service: Service, pending: impl Iterator<Item = (DateTime<Utc>, Seconds)>, now: DateTime<Utc>) -> Uptime {
        let today = now.date_naive();
        let first = today - TimeDelta::days(DAYS as i64 - 1);
        let mut days: Vec<Day> = first.iter_days().take(DAYS).map(|date| Day { date, seconds: Seconds::default() }).collect();
        let (mut day, mut month) = (Seconds::default(), Seconds::default());
        let kept = self.hours.range((service, i64::MIN)..=(service, i64::MAX)).map(|((_, hour), seconds)| (*hour, *seconds));
        for (hour, seconds) in kept.chain(pending.map(|(at, seconds)| (hour_of(at), seconds))) {
            let Some(at) = DateTime::from_timestamp(hour * 3600, 0) else { continue };
            let Some(of_day) = usize::try_from((at.date_naive() - first).num_days()).ok().and_then(|at| days.get_mut(at)) else { continue };
            of_day.seconds.plus(seconds);
            month.plus(seconds);
            if hour > hour_of(now) - 24 {
                day.plus(seconds);
            }
        }
        Uptime { day, month, days }
    }
}

/// One step of a chart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HistoryStep {
    /// In milliseconds; `None` without a successful check.
    pub mean: Option<f64>,
    pub most: Option<f64>,
    pub seconds: Seconds,
}

#[derive(diesel::QueryableByName)]
struct StepRow {
    #[diesel(sql_type = BigInt)]
    step: i64,
    #[diesel(sql_type = Nullable<Double>)]
    mean: Option<f64>,
    #[diesel(sql_type = Nullable<Double>)]
    most: Option<f64>,
    #[diesel(sql_type = Double)]
    up: f64,
    #[diesel(sql_type = Double)]
    down: f64,
}

/// Equal steps of the range, oldest first; `None` for steps without checks. Fails if Postgres is unreachable.
pub async fn steps(ctx: &Context, service: Service, range: Range, now: DateTime<Utc>) -> Result<Vec<Option<HistoryStep>>> {
    let (seconds, count) = range.steps();
    let first = now.timestamp().div_euclid(seconds) - count + 1;
    let rows: Vec<StepRow> = ctx
        .db
        .run(async |conn| {
            let query = diesel::sql_query(
                "SELECT floor(extract(epoch FROM minute) / $1)::bigint AS step, sum(latency_sum_ms) / nullif(sum(good), 0) AS mean,
                        max(latency_most_ms) FILTER (WHERE good > 0) AS most, sum(up_seconds) AS up, sum(down_seconds) AS down
                 FROM health_minutes WHERE service = $2 AND minute >= $3 GROUP BY 1",
            )
            .bind::<BigInt, _>(seconds)
            .bind::<Text, _>(service.slug())
            .bind::<Timestamptz, _>(DateTime::from_timestamp(first * seconds, 0).unwrap_or(now));
            Ok::<_, crate::domain::Error>(query.load(conn).await?)
        })
        .await?;
    let mut steps = vec![None; usize::try_from(count).unwrap_or(0)];
    for row in rows {
        if let Some(step) = usize::try_from(row.step - first).ok().and_then(|at| steps.get_mut(at)) {
            *step = Some(HistoryStep { mean: row.mean, most: row.most, seconds: Seconds { up: row.up, down: row.down } });
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_is_relative_to_the_observed_time() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let hour = hour_of(now);
        let mut past = Past::default();
        for (ago, up, down) in [(0, 600.0, 0.0), (5, 3000.0, 600.0), (24, 0.0, 3600.0), (24 * 40, 0.0, 3600.0)] {
            past.hours.insert((Service::Redis, hour - ago), Seconds { up, down });
        }
        let uptime = past.uptime(Service::Redis, std::iter::once((now, Seconds { up: 60.0, down: 0.0 })), now);
        assert_eq!((uptime.day.up, uptime.day.down), (3660.0, 600.0));
        assert_eq!((uptime.month.up, uptime.month.down), (3660.0, 4200.0));
        assert_eq!((uptime.days.len(), uptime.days[29].date), (DAYS, now.date_naive()));
        assert_eq!(uptime.days[0].seconds.uptime(), None);
        assert_eq!(past.uptime(Service::S3, std::iter::empty(), now).month.uptime(), None);
    }
}
