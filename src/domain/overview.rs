//! The data of the overview page.

use std::time::Duration;

use chrono::{DateTime, NaiveTime, Utc};
use diesel::sql_types::{BigInt, Bool, Integer, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::actor::Actor;
use super::audit::{self, Event};
use super::cache::{self, Key, Namespace};
use super::{Context, Error, Result, buckets};
use crate::clock;

/// The aggregate over today's files becomes slower as they grow; the last events are read uncached.
pub(super) static CACHE: Namespace<Vec<Hour>> = Namespace::new("overview-today", Duration::from_secs(10)).stale(Duration::from_secs(50));

/// Listing the store's buckets takes longer than everything else here.
pub(super) static STORED: Namespace<Option<Stored>> =
    Namespace::new("overview-stored", Duration::from_secs(10)).stale(Duration::from_secs(50));

pub struct Overview {
    /// `None`: nothing has been counted yet.
    pub stored: Option<Stored>,
    pub uploads_today: i64,
    pub bytes_today: i64,
    /// Excludes uploads cancelled by their senders.
    pub failed_today: i64,
    /// Files stored in each hour of today (UTC), 24 values.
    pub by_hour: [i64; 24],
    pub events: Vec<Event>,
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Stored {
    pub objects: u64,
    pub bytes: u64,
    pub counted: usize,
    pub buckets: usize,
}

pub async fn overview(ctx: &Context, actor: &Actor) -> Result<Overview> {
    let (events, today, stored) = futures_util::join!(audit::newest(ctx, actor, 10), today(ctx, actor), stored(ctx));
    let mut overview = Overview { stored, uploads_today: 0, bytes_today: 0, failed_today: 0, by_hour: [0; 24], events: events? };
    for row in today? {
        if row.failed {
            overview.failed_today += row.files;
            continue;
        }
        overview.uploads_today += row.files;
        overview.bytes_today += row.bytes;
        if let Some(hour) = usize::try_from(row.hour).ok().and_then(|hour| overview.by_hour.get_mut(hour)) {
            *hour += row.files;
        }
    }
    Ok(overview)
}

/// The page must open even if the store is down.
async fn stored(ctx: &Context) -> Option<Stored> {
    let task_ctx = ctx.clone();
    let asking = move || async move { ask_store(&task_ctx).await };
    cache::get_or_compute(ctx, &STORED, &whole(), asking).await.ok().flatten()
}

fn whole() -> Key {
    Key::of(&[&"all"])
}

/// Called after a count, and after a bucket was created or deleted.
pub(super) async fn stored_changed(ctx: &Context) {
    cache::invalidate(ctx, &STORED, &whole()).await;
}

/// `None`: nothing has been counted yet.
async fn ask_store(ctx: &Context) -> Result<Option<Stored>> {
    let list = buckets::list(ctx).await?;
    let counted: Vec<_> = list.buckets.iter().filter_map(|bucket| bucket.stats.as_ref()).collect();
    if counted.is_empty() {
        return Ok(None);
    }
    Ok(Some(Stored {
        objects: counted.iter().map(|figures| figures.objects).sum(),
        bytes: counted.iter().map(|figures| figures.bytes).sum(),
        counted: counted.len(),
        buckets: list.buckets.len(),
    }))
}

/// Uploads of today that have ended, by hour.
#[derive(Clone, diesel::QueryableByName, serde::Serialize, serde::Deserialize)]
pub(super) struct Hour {
    #[diesel(sql_type = Integer)]
    hour: i32,
    #[diesel(sql_type = Bool)]
    failed: bool,
    #[diesel(sql_type = BigInt)]
    files: i64,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
}

/// Uploads are visible to their senders immediately, because an upload calls [`uploads_changed`] when it ends;
/// uploads settled or aborted otherwise appear within a minute.
async fn today(ctx: &Context, actor: &Actor) -> Result<Vec<Hour>> {
    let (task_ctx, tenant, midnight) = (ctx.clone(), actor.tenant, midnight());
    let asking = move || async move { ask_postgres(&task_ctx, tenant, midnight).await };
    cache::get_or_compute(ctx, &CACHE, &key(tenant, midnight), asking).await
}

fn midnight() -> DateTime<Utc> {
    clock::now().date_naive().and_time(NaiveTime::MIN).and_utc()
}

fn key(tenant: Uuid, midnight: DateTime<Utc>) -> Key {
    Key::of(&[&tenant, &midnight.date_naive()])
}

/// Called after the commit of an upload's end.
pub(super) async fn uploads_changed(ctx: &Context, tenant: Uuid) {
    cache::invalidate(ctx, &CACHE, &key(tenant, midnight())).await;
}

/// Computes in advance what the first visitor would have to wait for: today's totals, and counts of uncounted
/// buckets.
pub async fn warm(ctx: &Context) {
    if let Err(error) = today(ctx, &Actor::system("Larder")).await {
        log::info!("today's totals are not available yet: {error}");
    }
    if let Err(error) = buckets::count_unknown(ctx).await {
        log::info!("the buckets could not be counted yet: {error}");
    }
}

async fn ask_postgres(ctx: &Context, tenant: Uuid, midnight: DateTime<Utc>) -> Result<Vec<Hour>> {
    ctx.db
        .within(async {
            let mut conn = ctx.db.get().await?;
            diesel::sql_query(
                "SELECT extract(hour FROM created_at AT TIME ZONE 'UTC')::int AS hour, state = 'failed' AS failed,
                        count(*) AS files, coalesce(sum(size), 0)::bigint AS bytes
                 FROM files WHERE tenant_id = $1 AND created_at >= $2 AND state NOT IN ('pending', 'cancelled') GROUP BY 1, 2",
            )
            .bind::<SqlUuid, _>(tenant)
            .bind::<Timestamptz, _>(midnight)
            .load(&mut conn)
            .await
            .map_err(Error::from)
        })
        .await
}
