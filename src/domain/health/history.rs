//! Keeps what the checks find beyond the life of this process: in Postgres, and in memory while that is down.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::sql_types::{Array, Text, Timestamptz};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::incidents::{self, Incident};
use super::minutes::{self, Minutes};
use super::past::{KEPT, Past, Uptime};
use super::record::Entered;
use super::{Board, Service};
use crate::clock;
use crate::domain::{Context, Error, Result};

/// How often what is new is written, at least.
const PERIOD: Duration = Duration::from_secs(10);
/// In periods of the checks: how often what others have written is read.
const READ_EVERY: u32 = 15;
/// Incidents that wait for Postgres.
const WAITING: usize = 1000;

#[derive(Default)]
pub(super) struct History(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    minutes: Minutes,
    /// What has changed since it was written.
    incidents: BTreeMap<Uuid, Incident>,
    past: Arc<Past>,
}

impl History {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn enter(&self, service: Service, entered: Entered, ms: Option<f64>, at: DateTime<Utc>, gap: TimeDelta) {
        let mut inner = self.inner();
        if let Some((before, good)) = entered.before {
            inner.minutes.time(service, before, at, good, gap);
        }
        inner.minutes.check(service, at, ms);
        inner.minutes.forget();
        if let Some(incident) = entered.incident {
            inner.incidents.insert(incident.id, incident);
            while inner.incidents.len() > WAITING {
                inner.incidents.pop_first();
            }
        }
    }

    pub fn uptime(&self, service: Service, now: DateTime<Utc>) -> Uptime {
        let inner = self.inner();
        let waiting = inner.minutes.iter().filter(|(_, of, _)| *of == service).map(|(at, _, seconds)| (at, seconds));
        inner.past.uptime(service, waiting, now)
    }

    /// With `known`, which are newer than what was read. Newest first.
    pub fn incidents(&self, known: Vec<Incident>) -> Vec<Incident> {
        let inner = self.inner();
        let waiting: BTreeMap<Uuid, Incident> =
            inner.incidents.values().cloned().chain(known).map(|incident| (incident.id, incident)).collect();
        let read = inner.past.incidents.iter().filter(|incident| !waiting.contains_key(&incident.id)).cloned();
        incidents::merged(read.chain(waiting.values().cloned()).collect())
    }

    pub fn past(&self) -> Arc<Past> {
        self.inner().past.clone()
    }
}

/// For ever.
pub async fn keep(ctx: Context) {
    let mut ticks = tokio::time::interval(PERIOD.min(ctx.config.probe_period * 2));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut keeper = Keeper::default();
    loop {
        ticks.tick().await;
        match keeper.save(&ctx, false).await {
            Ok(()) => keeper.silent = false,
            Err(error) if !keeper.silent => {
                log::warn!("the history of the services' health waits in memory: {error}");
                keeper.silent = true;
            }
            Err(_) => {}
        }
    }
}

/// At the end of the process: the minute that runs, too.
pub async fn save_all(ctx: &Context) -> Result<()> {
    Keeper::default().save(ctx, true).await
}

#[derive(Default)]
struct Keeper {
    read_at: Option<DateTime<Utc>>,
    read_whole_at: Option<DateTime<Utc>>,
    cleaned_at: Option<DateTime<Utc>>,
    /// After a failure that was logged.
    silent: bool,
}

fn is_due(last: Option<DateTime<Utc>>, now: DateTime<Utc>, period: TimeDelta) -> bool {
    last.is_none_or(|last| now - last >= period || last > now)
}

impl Keeper {
    async fn save(&mut self, ctx: &Context, all: bool) -> Result<()> {
        let now = clock::now();
        let history = &ctx.health.0.history;
        let reading = TimeDelta::from_std(ctx.config.probe_period * READ_EVERY).unwrap_or(TimeDelta::minutes(1));
        loop {
            let (rows, changed, open) = {
                let inner = history.inner();
                let open = ctx.health.open_incidents();
                let mut changed = inner.incidents.clone();
                changed.extend(open.iter().map(|incident| (incident.id, incident.clone())));
                (inner.minutes.over(now, all), changed, open)
            };
            if rows.is_empty() && changed.is_empty() && !is_due(self.read_at, now, reading) {
                return Ok(());
            }
            let opens: Vec<Uuid> = open.iter().map(|incident| incident.id).collect();
            let incidents: Vec<Incident> = changed.into_values().collect();
            let clean = !all && is_due(self.cleaned_at, now, TimeDelta::hours(1));
            // Also where minutes came late, after an outage.
            let whole = is_due(self.read_whole_at, now, TimeDelta::hours(1))
                || rows.iter().any(|((begin, _), _)| now - *begin > TimeDelta::hours(1));
            let past = history.inner().past.clone();
            let renewed = ctx
                .db
                .within(async {
                    let mut conn = ctx.db.get().await?;
                    let conn: &mut AsyncPgConnection = &mut conn;
                    conn.transaction::<_, Error, _>(async |conn| {
                        if !rows.is_empty() {
                            minutes::write(conn, ctx.health.instance(), &rows).await?;
                        }
                        incidents::write(conn, ctx.health.instance(), &incidents, &opens).await?;
                        if clean {
                            forget(conn, now).await?;
                        }
                        Ok(())
                    })
                    .await?;
                    if all { Ok(Past::clone(&past)) } else { past.renewed(conn, whole, now).await }
                })
                .await?;
            let more = rows.len() == minutes::ROWS;
            let mut inner = history.inner();
            inner.minutes.written(&rows);
            for written in &incidents {
                if inner.incidents.get(&written.id) == Some(written) {
                    inner.incidents.remove(&written.id);
                }
            }
            inner.past = Arc::new(renewed);
            self.read_at = Some(now);
            self.read_whole_at = if whole { Some(now) } else { self.read_whole_at };
            self.cleaned_at = if clean { Some(now) } else { self.cleaned_at };
            if !more {
                return Ok(());
            }
        }
    }
}

async fn forget(conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> Result<()> {
    let oldest = now - KEPT - TimeDelta::days(1);
    diesel::sql_query("DELETE FROM health_minutes WHERE service = ANY($1) AND minute < $2")
        .bind::<Array<Text>, _>(Service::ALL.map(Service::slug).to_vec())
        .bind::<Timestamptz, _>(oldest)
        .execute(conn)
        .await?;
    diesel::sql_query("DELETE FROM health_incidents WHERE seen_at < $1").bind::<Timestamptz, _>(oldest).execute(conn).await?;
    Ok(())
}

impl Board {
    /// How long a service was up.
    pub fn uptime(&self, service: Service) -> Uptime {
        self.0.history.uptime(service, clock::now())
    }

    /// Of the last thirty days, newest first, as all consoles have seen them.
    pub fn incidents(&self) -> Vec<Incident> {
        self.0.history.incidents(self.open_incidents())
    }

    /// Consoles at work on the same database, this one included; `None` while Postgres has not told.
    pub fn consoles(&self) -> Option<usize> {
        let past = self.0.history.past();
        past.is_loaded.then_some(past.consoles.max(1))
    }

    /// Migrations that the database has seen; `None` while Postgres has not told.
    pub fn migrations(&self) -> Option<usize> {
        self.0.history.past().migrations
    }
}
