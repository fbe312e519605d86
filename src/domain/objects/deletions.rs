//! Deletions in progress. The row is marked before the request to the store, so that interrupted deletions are found
//! here and settled by checking the store. Never deletes an object.

use diesel::QueryResult;
use diesel::dsl::now;
use diesel::prelude::{ExpressionMethods, OptionalExtension, QueryDsl};
use diesel::sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::json;
use uuid::Uuid;

use super::ObjectToDelete;
use crate::domain::actor::Actor;
use crate::domain::audit::{self, Action, Outcome};
use crate::domain::files::{FileState, lock_keys};
use crate::domain::names::BucketName;
use crate::domain::periodic;
use crate::domain::{Context, Error, Result};
use crate::schema::files;
use crate::stores::s3;

/// Maximum number of deletions per pass.
const BATCH: i64 = 50;

/// Marks the `ready` row of the object as `deleting` and returns its ID, or `None` if Larder has no such row.
pub(super) async fn begin(ctx: &Context, bucket: &BucketName, target: &ObjectToDelete) -> Result<Option<Uuid>> {
    ctx.db
        .run(async |conn| {
            let row = files::table
                .filter(files::bucket.eq(bucket.as_str()))
                .filter(files::object_key.eq(target.key.as_str()))
                .filter(files::state.eq(FileState::Ready))
                .filter(files::etag.eq(&target.etag));
            let values = (
                files::state.eq(FileState::Deleting),
                files::lease.eq(Uuid::now_v7()),
                files::heartbeat_at.eq(now),
                files::updated_at.eq(now),
            );
            let marked = diesel::update(row).set(values).returning(files::id).get_result(conn).await.optional();
            marked.map_err(Error::from)
        })
        .await
}

/// The object was deleted. In the meantime a pass may have restored the row to `ready`.
pub(super) async fn end(conn: &mut AsyncPgConnection, file: Uuid) -> QueryResult<usize> {
    let row = files::table.find(file).filter(files::state.eq_any([FileState::Deleting, FileState::Ready]));
    diesel::update(row).set((files::state.eq(FileState::Deleted), files::updated_at.eq(now))).execute(conn).await
}

/// The object still exists: the row becomes `ready` again, unless an upload has replaced the object.
pub(super) async fn restore(conn: &mut AsyncPgConnection, file: Uuid) -> QueryResult<usize> {
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
struct ExpiredDeletion {
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

/// Runs a pass several times per lease, forever.
pub async fn run(ctx: Context) {
    let pause = periodic::lease_check_pause(ctx.config.upload.lease);
    periodic::run(pause, || async {
        match pass(&ctx).await {
            Ok(0) => {}
            Ok(count) => log::info!("settled {count} interrupted deletion(s)"),
            Err(error) => log::warn!("interrupted deletions could not be checked: {error}"),
        }
    })
    .await;
}

/// Settles deletions whose lease has expired and returns their number. Safe to run on several replicas at once.
pub async fn pass(ctx: &Context) -> Result<usize> {
    let mut settled = 0;
    for row in claim(ctx).await? {
        let id = row.id;
        match settle(ctx, row).await {
            Ok(()) => settled += 1,
            // Retried after its new lease expires.
            Err(error) => log::warn!("the deletion of {id} was not settled: {error}"),
        }
    }
    Ok(settled)
}

async fn claim(ctx: &Context) -> Result<Vec<ExpiredDeletion>> {
    ctx.db
        .run(async |conn| {
            let seconds = i64::try_from(ctx.config.upload.lease.as_secs()).unwrap_or(900);
            let claimed = diesel::sql_query(
                "UPDATE files SET lease = gen_random_uuid(), heartbeat_at = now(), updated_at = now()
         WHERE id IN (SELECT id FROM files WHERE state = 'deleting' AND heartbeat_at < now() - $1 * interval '1 second'
                      ORDER BY heartbeat_at LIMIT $2 FOR UPDATE SKIP LOCKED)
         RETURNING id, tenant_id, lease, bucket, object_key, etag",
            )
            .bind::<BigInt, _>(seconds)
            .bind::<BigInt, _>(BATCH)
            .load(conn)
            .await;
            claimed.map_err(Error::from)
        })
        .await
}

/// The state of the object in the store.
enum ObjectState {
    Deleted,
    Kept,
    /// The key holds a different object, so the deleted one no longer exists.
    Other,
}

async fn settle(ctx: &Context, row: ExpiredDeletion) -> Result<()> {
    let object = match ctx.s3.head(&row.bucket, &row.object_key, None).await {
        Ok(head) if Some(&head.etag) == row.etag.as_ref() => ObjectState::Kept,
        Ok(_) => ObjectState::Other,
        Err(s3::Error::NoSuchKey | s3::Error::NoSuchBucket) => ObjectState::Deleted,
        Err(error) => return Err(error.into()),
    };
    let actor = Actor { tenant: row.tenant_id, ..Actor::system("Larder") };
    let resource = audit::object(&row.bucket, &row.object_key);
    ctx.db
        .transaction(async |conn| {
            lock_keys(conn, &row.bucket, vec![&row.object_key]).await?;
            let held = files::table.find(row.id).filter(files::lease.eq(row.lease)).filter(files::state.eq(FileState::Deleting));
            if held.select(files::id).for_update().first::<Uuid>(conn).await.optional()?.is_none() {
                return Ok(());
            }
            match object {
                ObjectState::Kept => restore(conn, row.id).await.map(|_| ()),
                ObjectState::Other => {
                    let values = (files::state.eq(FileState::Superseded), files::updated_at.eq(now));
                    diesel::update(files::table.find(row.id)).set(values).execute(conn).await.map(|_| ())
                }
                ObjectState::Deleted => {
                    end(conn, row.id).await?;
                    let detail = json!({ "etag": row.etag, "settled": "later: the deletion had stopped halfway" });
                    audit::record(conn, &actor, Action::ObjectDelete, &resource, Outcome::Ok, detail).await
                }
            }
        })
        .await
        .map_err(Error::from)
}
