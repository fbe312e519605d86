//! The figures of the first page.

use std::time::Duration;

use chrono::{DateTime, NaiveTime, Utc};
use diesel::sql_types::{Array, BigInt, Bool, Integer, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::actor::Actor;
use super::audit::{self, Event};
use super::cache::{self, Key, Namespace};
use super::uploads::CANCELLED;
use super::{Context, Error, Result, buckets};
use crate::clock;

/// The aggregate over today's files grows with them; the last events are read as they are.
pub(super) static CACHE: Namespace<Vec<Hour>> = Namespace::new("overview-today", Duration::from_secs(10)).stale(Duration::from_secs(50));

/// The store is asked for its buckets, which takes longer than all else here.
pub(super) static STORED: Namespace<Option<Stored>> =
    Namespace::new("overview-stored", Duration::from_secs(10)).stale(Duration::from_secs(50));

pub struct Overview {
    /// `None`: nothing is counted yet.
    pub stored: Option<Stored>,
    pub uploads_today: i64,
    pub bytes_today: i64,
    /// Without those that their own senders cancelled.
    pub failed_today: i64,
    /// Files stored in each hour of today (UTC), 24 of them.
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

/// A store that is down must not keep the page from opening.
async fn stored(ctx: &Context) -> Option<Stored> {
    let task_ctx = ctx.clone();
    let asking = move || async move { ask_store(&task_ctx).await };
    cache::get_or_compute(ctx, &STORED, &whole(), asking).await.ok().flatten()
}

fn whole() -> Key {
    Key::of(&[&"all"])
}

/// After a count, and where a bucket was made or deleted.
pub(super) async fn stored_changed(ctx: &Context) {
    cache::invalidate(ctx, &STORED, &whole()).await;
}

/// `None`: nothing is counted yet.
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

/// Attempts of today that ended, by hour.
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

/// Whoever has uploaded sees it at once, because an upload ends with [`uploads_changed`]; what is settled or aborted
/// otherwise shows within a minute.
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

/// After the commit of an upload's end.
pub(super) async fn uploads_changed(ctx: &Context, tenant: Uuid) {
    cache::invalidate(ctx, &CACHE, &key(tenant, midnight())).await;
}

/// What the first visitor would wait for otherwise: today's figures, and counts of buckets that nobody has counted.
pub async fn warm(ctx: &Context) {
    if let Err(error) = today(ctx, &Actor::system("Larder")).await {
        log::info!("the figures of today are not known yet: {error}");
    }
    if let Err(error) = buckets::count_unknown(ctx).await {
        log::info!("the buckets are not counted yet: {error}");
    }
}

async fn ask_postgres(ctx: &Context, tenant: Uuid, midnight: DateTime<Utc>) -> Result<Vec<Hour>> {
    ctx.db
        .within(async {
            let mut conn = ctx.db.get().await?;
            diesel::sql_query(
                "SELECT extract(hour FROM created_at AT TIME ZONE 'UTC')::int AS hour, state = 'failed' AS failed,
                        count(*) AS files, coalesce(sum(size), 0)::bigint AS bytes
                 FROM files WHERE tenant_id = $1 AND created_at >= $2 AND state <> 'pending'
                      AND coalesce(error, '') <> ALL ($3) GROUP BY 1, 2",
            )
            .bind::<SqlUuid, _>(tenant)
            .bind::<Timestamptz, _>(midnight)
            .bind::<Array<Text>, _>(CANCELLED.as_slice())
            .load(&mut conn)
            .await
            .map_err(Error::from)
        })
        .await
}
