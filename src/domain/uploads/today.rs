//! Totals of the uploads that were started today and have ended, by hour.

use std::time::Duration;

use chrono::{DateTime, NaiveTime, Utc};
use diesel::sql_types::{BigInt, Bool, Integer, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::clock;
use crate::domain::actor::Actor;
use crate::domain::cache::{self, Key, Namespace};
use crate::domain::{Context, Error, Result};

/// The aggregate becomes slower as the number of today's files grows.
pub(in crate::domain) static CACHE: Namespace<Vec<Hour>> =
    Namespace::new("overview-today", Duration::from_secs(10)).stale(Duration::from_secs(50));

/// Uploads that were started in one hour of today (UTC) and have ended. Cancelled uploads are excluded.
#[derive(Clone, diesel::QueryableByName, serde::Serialize, serde::Deserialize)]
pub(in crate::domain) struct Hour {
    #[diesel(sql_type = Integer)]
    pub hour: i32,
    #[diesel(sql_type = Bool)]
    pub failed: bool,
    #[diesel(sql_type = BigInt)]
    pub files: i64,
    #[diesel(sql_type = BigInt)]
    pub bytes: i64,
}

/// Uploads are visible to their senders immediately, because an upload calls [`changed`] when it ends; uploads settled
/// or aborted otherwise appear within a minute.
pub(in crate::domain) async fn today(ctx: &Context, actor: &Actor) -> Result<Vec<Hour>> {
    let (task_ctx, tenant, midnight) = (ctx.clone(), actor.tenant, midnight());
    let query = move || async move { query(&task_ctx, tenant, midnight).await };
    cache::get_or_compute(ctx, &CACHE, &key(tenant, midnight), query).await
}

/// Called after the commit of an upload's end.
pub(super) async fn changed(ctx: &Context, tenant: Uuid) {
    cache::invalidate(ctx, &CACHE, &key(tenant, midnight())).await;
}

fn midnight() -> DateTime<Utc> {
    clock::now().date_naive().and_time(NaiveTime::MIN).and_utc()
}

fn key(tenant: Uuid, midnight: DateTime<Utc>) -> Key {
    Key::of(&[&tenant, &midnight.date_naive()])
}

async fn query(ctx: &Context, tenant: Uuid, midnight: DateTime<Utc>) -> Result<Vec<Hour>> {
    ctx.db
        .run(async |conn| {
            diesel::sql_query(
                "SELECT extract(hour FROM created_at AT TIME ZONE 'UTC')::int AS hour, state = 'failed' AS failed,
                        count(*) AS files, coalesce(sum(size), 0)::bigint AS bytes
                 FROM files WHERE tenant_id = $1 AND created_at >= $2 AND state NOT IN ('pending', 'cancelled') GROUP BY 1, 2",
            )
            .bind::<SqlUuid, _>(tenant)
            .bind::<Timestamptz, _>(midnight)
            .load(conn)
            .await
            .map_err(Error::from)
        })
        .await
}
