//! Keeps what the checks find beyond the life of this process: in Postgres, and in memory while that is down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::incidents::{self, Incident};
use super::minutes::{self, Minutes};
use super::past::{Past, Uptime};
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

    pub fn enter(&self, service: Service, entered: Entered, ms: Option<f64>, at: DateTime<Utc>, gap: Duration) {
        let mut inner = self.inner();
        if let Some((before, good)) = entered.before {
            inner.minutes.time(service, before, at, good, delta(gap));
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

    /// With `known`, which are newer than what was read, and which `instance` has seen. Newest first.
    pub fn incidents(&self, known: Vec<Incident>, instance: &str) -> Vec<Incident> {
        let inner = self.inner();
        let own = |incident: Incident| (incident.id, Incident { consoles: BTreeSet::from([instance.to_owned()]), ..incident });
        let waiting: BTreeMap<Uuid, Incident> = inner.incidents.values().cloned().chain(known).map(own).collect();
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

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

fn is_due(last: Option<DateTime<Utc>>, now: DateTime<Utc>, period: TimeDelta) -> bool {
    last.is_none_or(|last| now - last >= period || last > now)
}

impl Keeper {
    async fn save(&mut self, ctx: &Context, all: bool) -> Result<()> {
        let (now, history) = (clock::now(), &ctx.health.0.history);
        let mut late = false;
        let mut has_written = false;
        loop {
            let (rows, incidents) = {
                let inner = history.inner();
                let mut changed = inner.incidents.clone();
                changed.extend(ctx.health.open_incidents().into_iter().map(|incident| (incident.id, incident)));
                (inner.minutes.over(now, delta(ctx.health.gap()), all), changed.into_values().collect::<Vec<_>>())
            };
            if rows.is_empty() && (incidents.is_empty() || has_written) {
                break;
            }
            write(ctx, &rows, &incidents).await?;
            has_written = true;
            late |= rows.iter().any(|((begin, _), _)| now - *begin > TimeDelta::hours(1));
            let mut inner = history.inner();
            inner.minutes.written(&rows);
            for written in &incidents {
                if inner.incidents.get(&written.id) == Some(written) {
                    inner.incidents.remove(&written.id);
                }
            }
        }
        let reading = delta(ctx.config.probe_period * READ_EVERY);
        if all || !(has_written || is_due(self.read_at, now, reading)) {
            return Ok(());
        }
        // What was written late, after an outage, is in none of the last hours.
        self.read(ctx, late || is_due(self.read_whole_at, now, TimeDelta::hours(1)), now).await
    }

    async fn read(&mut self, ctx: &Context, whole: bool, now: DateTime<Utc>) -> Result<()> {
        let history = &ctx.health.0.history;
        let past = history.past();
        let clean = is_due(self.cleaned_at, now, TimeDelta::hours(1));
        let renewed = ctx
            .db
            .within(async {
                let mut conn = ctx.db.get().await?;
                if clean {
                    forget(&mut conn).await?;
                }
                past.renewed(&mut conn, whole, now).await
            })
            .await?;
        history.inner().past = Arc::new(renewed);
        self.read_at = Some(now);
        self.read_whole_at = if whole { Some(now) } else { self.read_whole_at };
        self.cleaned_at = if clean { Some(now) } else { self.cleaned_at };
        Ok(())
    }
}

/// All or nothing; nothing is wrong with doing it twice.
async fn write(ctx: &Context, rows: &[(minutes::Key, minutes::Minute)], incidents: &[Incident]) -> Result<()> {
    ctx.db
        .within(async {
            let mut conn = ctx.db.get().await?;
            conn.transaction::<_, Error, _>(async |conn| {
                if !rows.is_empty() {
                    minutes::write(conn, ctx.health.0.console, rows).await?;
                }
                incidents::write(conn, ctx.health.instance(), incidents).await
            })
            .await
        })
        .await
}

/// By the clock of Postgres: a console whose own is wrong must not take the others' history.
async fn forget(conn: &mut AsyncPgConnection) -> Result<()> {
    diesel::sql_query("DELETE FROM health_minutes WHERE minute < now() - interval '31 days'").execute(conn).await?;
    diesel::sql_query("DELETE FROM health_incidents WHERE seen_at < now() - interval '31 days'").execute(conn).await?;
    Ok(())
}

impl Board {
    /// How long a service was up.
    pub fn uptime(&self, service: Service) -> Uptime {
        self.0.history.uptime(service, clock::now())
    }

    /// Of the last thirty days, newest first, as all consoles have seen them.
    pub fn incidents(&self) -> Vec<Incident> {
        self.0.history.incidents(self.open_incidents(), self.instance())
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
