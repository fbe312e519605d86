//! Deletions that have begun. The row says so before the store is asked, so that what dies in between is found
//! here and settled by looking at the store. Never deletes an object.

use std::time::Duration;

use diesel::QueryResult;
use diesel::dsl::now;
use diesel::prelude::{ExpressionMethods, OptionalExtension, QueryDsl};
use diesel::sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde_json::json;
use uuid::Uuid;

use super::ObjectToDelete;
use crate::domain::actor::Actor;
use crate::domain::audit::{self, Outcome};
use crate::domain::names::BucketName;
use crate::domain::{Context, Error, Result};
use crate::schema::files;
use crate::stores::s3;

/// Deletions that one pass takes at most.
const BATCH: i64 = 50;

/// The `ready` row of the object, as it was seen, becomes `deleting`; its id, or `None` where Larder has no such row.
pub(super) async fn begin(ctx: &Context, bucket: &BucketName, doomed: &ObjectToDelete) -> Result<Option<Uuid>> {
    ctx.db
        .within(async {
            let mut conn = ctx.db.get().await?;
            let row = files::table
                .filter(files::bucket.eq(bucket.as_str()))
                .filter(files::object_key.eq(doomed.key.as_str()))
                .filter(files::state.eq("ready"))
                .filter(files::etag.eq(&doomed.etag));
            let values =
                (files::state.eq("deleting"), files::lease.eq(Uuid::now_v7()), files::heartbeat_at.eq(now), files::updated_at.eq(now));
            let begun = diesel::update(row).set(values).returning(files::id).get_result(&mut conn).await.optional();
            begun.map_err(Error::from)
        })
        .await
}

/// The object is gone. A pass may have taken the row for kept in the meantime.
pub(super) async fn end(conn: &mut AsyncPgConnection, file: Uuid) -> QueryResult<usize> {
    let row = files::table.find(file).filter(files::state.eq_any(["deleting", "ready"]));
    diesel::update(row).set((files::state.eq("deleted"), files::updated_at.eq(now))).execute(conn).await
}

/// The object is still there: `ready` again, unless an upload has taken its place meanwhile.
pub(super) async fn take_back(conn: &mut AsyncPgConnection, file: Uuid) -> QueryResult<usize> {
    let query = diesel::sql_query(
        "UPDATE files SET updated_at = now(), state = CASE WHEN EXISTS (
             SELECT 1 FROM files AS other
             WHERE other.bucket = files.bucket AND other.object_key = files.object_key AND other.state = 'ready'
         ) THEN 'superseded' ELSE 'ready' END
         WHERE id = $1 AND state = 'deleting'",
    );
    query.bind::<SqlUuid, _>(file).execute(conn).await
}

#[derive(diesel::QueryableByName)]
struct Silent {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    tenant_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    lease: Uuid,
    #[diesel(sql_type = Text)]
    bucket: String,
    #[diesel(sql_type = Text)]
    object_key: String,
    #[diesel(sql_type = Nullable<Text>)]
    etag: Option<String>,
}

/// Passes for ever, a few times a lease.
pub async fn run(ctx: Context) {
    let every = (ctx.config.upload.lease / 4).clamp(Duration::from_secs(1), Duration::from_secs(60));
    loop {
        match pass(&ctx).await {
            Ok(0) => {}
            Ok(count) => log::info!("settled {count} deletion(s) that had stopped halfway"),
            Err(error) => log::warn!("deletions that stopped halfway were not looked at: {error}"),
        }
        tokio::time::sleep(every).await;
    }
}

/// Settles what has been silent for the lease; how many. Any number of replicas may do this at once.
pub async fn pass(ctx: &Context) -> Result<usize> {
    let mut settled = 0;
    for row in ctx.db.within(claim(ctx)).await? {
        let id = row.id;
        match settle(ctx, row).await {
            Ok(()) => settled += 1,
            // Its new lease lapses in its turn.
            Err(error) => log::warn!("the deletion of {id} was not settled: {error}"),
        }
    }
    Ok(settled)
}

async fn claim(ctx: &Context) -> Result<Vec<Silent>> {
    let mut conn = ctx.db.get().await?;
    let seconds = i64::try_from(ctx.config.upload.lease.as_secs()).unwrap_or(900);
    let claimed = diesel::sql_query(
        "UPDATE files SET lease = gen_random_uuid(), heartbeat_at = now(), updated_at = now()
         WHERE id IN (SELECT id FROM files WHERE state = 'deleting' AND heartbeat_at < now() - $1 * interval '1 second'
                      ORDER BY heartbeat_at LIMIT $2 FOR UPDATE SKIP LOCKED)
         RETURNING id, tenant_id, lease, bucket, object_key, etag",
    )
    .bind::<BigInt, _>(seconds)
    .bind::<BigInt, _>(BATCH)
    .load(&mut conn)
    .await;
    claimed.map_err(Error::from)
}

/// What the store says of the object.
enum ObjectState {
    Gone,
    Kept,
    /// Another object is there, so whatever became of ours, it is not the one.
    Other,
}

async fn settle(ctx: &Context, row: Silent) -> Result<()> {
    let found = match ctx.s3.head(&row.bucket, &row.object_key, None).await {
        Ok(head) if Some(&head.etag) == row.etag.as_ref() => ObjectState::Kept,
        Ok(_) => ObjectState::Other,
        Err(s3::Error::NoSuchKey | s3::Error::NoSuchBucket) => ObjectState::Gone,
        Err(error) => return Err(error.into()),
    };
    let actor = Actor { tenant: row.tenant_id, ..Actor::system("Larder") };
    let resource = audit::object(&row.bucket, &row.object_key);
    ctx.db
        .within(async {
            let mut conn = ctx.db.get().await?;
            conn.transaction(async |conn| {
                let held = files::table.find(row.id).filter(files::lease.eq(row.lease)).filter(files::state.eq("deleting"));
                if held.select(files::id).for_update().first::<Uuid>(conn).await.optional()?.is_none() {
                    return Ok(());
                }
                match found {
                    ObjectState::Kept => take_back(conn, row.id).await.map(|_| ()),
                    ObjectState::Other => {
                        let values = (files::state.eq("superseded"), files::updated_at.eq(now));
                        diesel::update(files::table.find(row.id)).set(values).execute(conn).await.map(|_| ())
                    }
                    ObjectState::Gone => {
                        end(conn, row.id).await?;
                        let detail = json!({ "etag": row.etag, "settled": "later: the deletion had stopped halfway" });
                        audit::record(conn, &actor, "object.delete", &resource, Outcome::Ok, detail).await
                    }
                }
            })
            .await
            .map_err(Error::from)
        })
        .await
}
