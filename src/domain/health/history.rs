//! Persists check results in Postgres, and keeps them in memory while Postgres is down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::incidents::{self, Incident};
use super::minutes::{self, Minutes};
use super::past::{Past, Uptime};
use super::record::Recorded;
use super::{Board, Service};
use crate::clock;
use crate::domain::{Context, Error, Result};

/// Longest interval between writes of new results.
const PERIOD: Duration = Duration::from_secs(10);
/// In check periods: how often the results of other consoles are read.
const READ_EVERY: u32 = 15;
/// Incidents kept while Postgres is down.
const MAX_PENDING: usize = 1000;

#[derive(Default)]
pub(super) struct History(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    minutes: Minutes,
    /// Changed since they were last written.
    incidents: BTreeMap<Uuid, Incident>,
    past: Arc<Past>,
}

impl History {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn enter(&self, service: Service, recorded: Recorded, ms: Option<f64>, at: DateTime<Utc>, gap: Duration) {
        let mut inner = self.inner();
        if let Some((before, good)) = recorded.before {
            inner.minutes.time(service, before, at, good, delta(gap));
        }
        inner.minutes.check(service, at, ms);
        inner.minutes.discard_oldest();
        if let Some(incident) = recorded.incident {
            inner.incidents.insert(incident.id, incident);
            while inner.incidents.len() > MAX_PENDING {
                inner.incidents.pop_first();
            }
        }
    }

    pub fn uptime(&self, service: Service, now: DateTime<Utc>) -> Uptime {
        let inner = self.inner();
        let pending = inner.minutes.iter().filter(|(_, of, _)| *of == service).map(|(at, _, seconds)| (at, seconds));
        inner.past.uptime(service, pending, now)
    }

    /// Includes `known`, which are newer than the stored ones and were seen by `instance`. Newest first.
    pub fn incidents(&self, known: Vec<Incident>, instance: &str) -> Vec<Incident> {
        let inner = self.inner();
        let own = |incident: Incident| (incident.id, Incident { consoles: BTreeSet::from([instance.to_owned()]), ..incident });
        let pending: BTreeMap<Uuid, Incident> = inner.incidents.values().cloned().chain(known).map(own).collect();
        let read = inner.past.incidents.iter().filter(|incident| !pending.contains_key(&incident.id)).cloned();
        incidents::merged(read.chain(pending.values().cloned()).collect())
    }

    pub fn past(&self) -> Arc<Past> {
        self.inner().past.clone()
    }
}

/// Runs forever.
pub async fn keep(ctx: Context) {
    let mut ticks = tokio::time::interval(PERIOD.min(ctx.config.probe_period * 2));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut writer = Writer::default();
    loop {
        ticks.tick().await;
        match writer.save(&ctx, false).await {
            Ok(()) => writer.is_logged = false,
            Err(error) if !writer.is_logged => {
                log::warn!("the health history is kept in memory: {error}");
                writer.is_logged = true;
            }
            Err(_) => {}
        }
    }
}

/// At shutdown: writes the current minute as well.
pub async fn save_all(ctx: &Context) -> Result<()> {
    Writer::default().save(ctx, true).await
}

#[derive(Default)]
struct Writer {
    read_at: Option<DateTime<Utc>>,
    read_whole_at: Option<DateTime<Utc>>,
    cleaned_at: Option<DateTime<Utc>>,
    /// After a failure has been logged.
    is_logged: bool,
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

fn is_due(last: Option<DateTime<Utc>>, now: DateTime<Utc>, period: TimeDelta) -> bool {
    last.is_none_or(|last| now - last >= period || last > now)
}

impl Writer {
    async fn save(&mut self, ctx: &Context, all: bool) -> Result<()> {
        let (now, history) = (clock::now(), &ctx.health.0.history);
        let mut late = false;
        let mut has_written = false;
        loop {
            let (rows, incidents) = {
                let inner = history.inner();
                let mut changed = inner.incidents.clone();
                changed.extend(ctx.health.open_incidents().into_iter().map(|incident| (incident.id, incident)));
                (inner.minutes.completed(now, delta(ctx.health.gap()), all), changed.into_values().collect::<Vec<_>>())
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
        // Results written late, after an outage, may lie before the last hours.
        self.read(ctx, late || is_due(self.read_whole_at, now, TimeDelta::hours(1)), now).await
    }

    async fn read(&mut self, ctx: &Context, whole: bool, now: DateTime<Utc>) -> Result<()> {
        let history = &ctx.health.0.history;
        let past = history.past();
        let clean = is_due(self.cleaned_at, now, TimeDelta::hours(1));
        let refreshed = ctx
            .db
            .run(async |conn| {
                if clean {
                    delete_old(conn).await?;
                }
                past.refreshed(conn, whole, now).await
            })
            .await?;
        history.inner().past = Arc::new(refreshed);
        self.read_at = Some(now);
        self.read_whole_at = if whole { Some(now) } else { self.read_whole_at };
        self.cleaned_at = if clean { Some(now) } else { self.cleaned_at };
        Ok(())
    }
}

/// Writes everything or nothing; idempotent.
async fn write(ctx: &Context, rows: &[(minutes::Key, minutes::Minute)], incidents: &[Incident]) -> Result<()> {
    ctx.db
        .transaction(async |conn| {
            if !rows.is_empty() {
                minutes::write(conn, ctx.health.0.console, rows).await?;
            }
            incidents::write(conn, ctx.health.instance(), incidents).await
        })
        .await
        .map_err(Error::from)
}

/// By the clock of Postgres, so that a console with a wrong clock does not delete the history of others.
async fn delete_old(conn: &mut AsyncPgConnection) -> Result<()> {
    diesel::sql_query("DELETE FROM health_minutes WHERE minute < now() - interval '31 days'").execute(conn).await?;
    diesel::sql_query("DELETE FROM health_incidents WHERE seen_at < now() - interval '31 days'").execute(conn).await?;
    Ok(())
}

impl Board {
    /// The uptime of a service.
    pub fn uptime(&self, service: Service) -> Uptime {
        self.0.history.uptime(service, clock::now())
    }

    /// Incidents of the last thirty days, newest first, combined from all consoles.
    pub fn incidents(&self) -> Vec<Incident> {
        self.0.history.incidents(self.open_incidents(), self.instance())
    }

    /// Active consoles on the same database, including this one; `None` until read from Postgres.
    pub fn consoles(&self) -> Option<usize> {
        let past = self.0.history.past();
        past.is_loaded.then_some(past.consoles.max(1))
    }

    /// Migrations applied to the database; `None` until read from Postgres.
    pub fn migrations(&self) -> Option<usize> {
        self.0.history.past().migrations
    }
}
