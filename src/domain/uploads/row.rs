//! The states of a `files` row, each change fenced by the lease of whoever makes it. Times are the database's.

use std::time::{Duration, Instant};

use diesel::dsl::now;
use diesel::prelude::{ExpressionMethods, Insertable, QueryDsl};
use diesel::sql_types::{Array, BigInt, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde_json::json;
use uuid::Uuid;

use super::failure::Failure;
use super::target::Target;
use crate::domain::actor::Actor;
use crate::domain::audit::{self, Outcome};
use crate::domain::secrets::hex;
use crate::domain::{Context, Error, Result, overview};
use crate::schema::files;
use crate::stores::postgres;
use crate::stores::s3::StoredObject;

/// Who may still write to the row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    pub file: Uuid,
    pub lease: Uuid,
}

impl Lease {
    pub fn new() -> Self {
        Self::on(Uuid::now_v7(), Uuid::now_v7())
    }

    pub fn on(file: Uuid, lease: Uuid) -> Self {
        Self { file, lease }
    }
}

/// What arrived.
#[derive(Clone, Debug)]
pub(super) struct Digest {
    pub size: i64,
    pub sha256: Vec<u8>,
}

#[derive(Insertable)]
#[diesel(table_name = files)]
struct NewRow<'a> {
    id: Uuid,
    tenant_id: Uuid,
    batch_id: Uuid,
    bucket: &'a str,
    object_key: &'a str,
    name: &'a str,
    content_type: &'a str,
    overwrite: bool,
    state: &'a str,
    lease: Option<Uuid>,
    uploaded_by: Option<Uuid>,
    uploaded_by_label: &'a str,
    error: Option<&'a str>,
}

/// One statement on a connection of the pool, within the deadline.
pub(super) async fn execute(ctx: &Context, work: impl AsyncFnOnce(&mut AsyncPgConnection) -> diesel::QueryResult<usize>) -> Result<usize> {
    ctx.db
        .within(async {
            let mut conn = ctx.db.get().await?;
            Ok(work(&mut conn).await?)
        })
        .await
}

fn new_row<'a>(actor: &'a Actor, target: &'a Target, id: Uuid) -> NewRow<'a> {
    NewRow {
        id,
        tenant_id: actor.tenant,
        batch_id: target.batch,
        bucket: &target.bucket,
        object_key: &target.key,
        name: &target.name,
        content_type: &target.content_type,
        overwrite: target.overwrite,
        state: "pending",
        lease: None,
        uploaded_by: actor.id,
        uploaded_by_label: &actor.label,
        error: None,
    }
}

pub(super) async fn insert_pending(ctx: &Context, actor: &Actor, target: &Target) -> Result<Lease> {
    let lease = Lease::new();
    let row = NewRow { lease: Some(lease.lease), ..new_row(actor, target, lease.file) };
    execute(ctx, async |conn| diesel::insert_into(files::table).values((row, files::heartbeat_at.eq(now))).execute(conn).await).await?;
    Ok(lease)
}

/// A file that was refused before any of it was stored, so that the page of its form can say why.
pub(super) async fn insert_refused(ctx: &Context, actor: &Actor, target: &Target, failure: &Failure) -> Result<Uuid> {
    let id = Uuid::now_v7();
    let row = NewRow { state: "failed", error: Some(&failure.why), ..new_row(actor, target, id) };
    let resource = audit::object(&target.bucket, &target.key);
    ctx.db
        .within(async {
            let mut conn = ctx.db.get().await?;
            conn.transaction(async |conn| {
                diesel::insert_into(files::table).values((row, files::finished_at.eq(now))).execute(conn).await?;
                let detail = json!({ "reason": failure.why });
                audit::record(conn, actor, failure.action, &resource, failure.outcome, detail).await
            })
            .await
            .map_err(Error::from)
        })
        .await?;
    overview::uploads_changed(ctx, actor.tenant).await;
    Ok(id)
}

pub(super) async fn set_multipart(ctx: &Context, lease: Lease, upload: &str, part_size: usize) -> Result<()> {
    let values = (files::s3_upload_id.eq(upload), files::part_size.eq(i64::try_from(part_size).ok()), files::updated_at.eq(now));
    let held = held(lease);
    still_ours(execute(ctx, async |conn| diesel::update(held).set(values).execute(conn).await).await?)
}

/// Tells everybody that somebody is still at work.
pub(super) async fn beat(ctx: &Context, leases: &[Lease]) -> Result<()> {
    let (files, leases): (Vec<Uuid>, Vec<Uuid>) = leases.iter().map(|lease| (lease.file, lease.lease)).unzip();
    // What is locked is being committed, and needs no sign of life.
    let query = diesel::sql_query(
        "UPDATE files SET heartbeat_at = now() WHERE id IN
             (SELECT id FROM files WHERE id = ANY ($1) AND lease = ANY ($2) AND state = 'pending' ORDER BY id FOR UPDATE SKIP LOCKED)",
    );
    let query = query.bind::<Array<SqlUuid>, _>(files).bind::<Array<SqlUuid>, _>(leases);
    execute(ctx, async |conn| query.execute(conn).await).await.map(|_| ())
}

/// How long a holder of the lease on a key may be silent before another takes it.
fn silence(ctx: &Context) -> Duration {
    ctx.config.upload.lease.min(Duration::from_secs(60))
}

/// Lapsed where somebody else has been given the lease on the key: whoever stood still for too long may publish no
/// more. Asked of the database only where that is possible at all; `claimed` is when it was given.
pub(super) async fn confirm(ctx: &Context, lease: Lease, claimed: Instant) -> Result<()> {
    if claimed.elapsed() < silence(ctx) / 2 {
        return Ok(());
    }
    let held = held(lease).filter(files::publishing.eq(true));
    still_ours(execute(ctx, async |conn| diesel::update(held).set(files::heartbeat_at.eq(now)).execute(conn).await).await?)
}

/// Whether the row says already that this very object is stored: the reaper was faster.
pub(super) async fn is_settled(ctx: &Context, file: Uuid, etag: &str) -> Result<bool> {
    let settled = files::table.find(file).filter(files::state.eq_any(["ready", "superseded"])).filter(files::etag.eq(etag)).count();
    ctx.db
        .within(async {
            let mut conn = ctx.db.get().await?;
            let found: i64 = settled.get_result(&mut conn).await?;
            Ok(found == 1)
        })
        .await
}

type Held = diesel::dsl::Filter<
    diesel::dsl::Filter<diesel::dsl::Find<files::table, Uuid>, diesel::dsl::Eq<files::lease, Uuid>>,
    diesel::dsl::Eq<files::state, &'static str>,
>;

fn held(lease: Lease) -> Held {
    files::table.find(lease.file).filter(files::lease.eq(lease.lease)).filter(files::state.eq("pending"))
}

fn still_ours(rows: usize) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(given_up()) }
}

/// What whoever lost the lease is told.
pub(super) fn given_up() -> Error {
    Error::Cancelled("The upload was given up because it was silent for too long.".into())
}

/// Takes the lease on the key, with what arrived; whether it was free. A holder that has been silent for a
/// minute has died in the middle of publishing, and loses it.
pub(super) async fn claim_key(ctx: &Context, lease: Lease, target: &Target, digest: &Digest) -> Result<bool> {
    // Its old holder is fenced off: it can neither publish nor commit with the lease that it knows.
    let stale = "UPDATE files SET publishing = false, lease = gen_random_uuid()
                 WHERE bucket = $1 AND object_key = $2 AND publishing AND heartbeat_at < now() - $3 * interval '1 second'";
    let silence = i64::try_from(silence(ctx).as_secs()).unwrap_or(60);
    execute(ctx, async |conn| {
        let query = diesel::sql_query(stale).bind::<Text, _>(&target.bucket).bind::<Text, _>(&target.key);
        query.bind::<BigInt, _>(silence).execute(conn).await
    })
    .await?;
    let sha256 = files::sha256.eq(Some(&digest.sha256).filter(|sha256| !sha256.is_empty()));
    let values = (files::publishing.eq(true), files::heartbeat_at.eq(now), files::size.eq(digest.size), sha256);
    let held = held(lease);
    match execute(ctx, async |conn| diesel::update(held).set(values).execute(conn).await).await {
        Ok(rows) => still_ours(rows).map(|()| true),
        Err(Error::Postgres(error)) if error.unique_violation().is_some() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives the lease on the key back: the upload stays open.
pub(super) async fn release(ctx: &Context, lease: Lease) -> Result<()> {
    let held = held(lease);
    execute(ctx, async |conn| diesel::update(held).set((files::publishing.eq(false), files::updated_at.eq(now))).execute(conn).await)
        .await
        .map(|_| ())
}

/// Makes the transactions that decide which row of a key is `ready` run one after the other: uploads, and deletions that
/// left the object as it was.
pub(in crate::domain) async fn lock_keys(conn: &mut AsyncPgConnection, bucket: &str, keys: Vec<&str>) -> diesel::QueryResult<()> {
    // In one order, so that two batches do not wait for each other.
    let query = diesel::sql_query(
        "SELECT pg_advisory_xact_lock(id) FROM (
             SELECT DISTINCT hashtextextended($1 || '/' || key, 20261125) AS id FROM unnest($2) AS key ORDER BY id
         ) AS ids",
    );
    query.bind::<Text, _>(bucket).bind::<Array<Text>, _>(keys).execute(conn).await.map(|_| ())
}

/// `ready`, the row that it replaces `superseded`, and the audit, in one transaction.
pub(super) async fn commit(
    ctx: &Context,
    actor: &Actor,
    lease: Lease,
    target: &Target,
    digest: &Digest,
    stored: &StoredObject,
) -> Result<()> {
    let detail = json!({ "bytes": digest.size, "sha256": hex(&digest.sha256), "etag": stored.etag });
    let resource = audit::object(&target.bucket, &target.key);
    let rows = ctx
        .db
        .within(async {
            let mut conn = ctx.db.get().await?;
            conn.transaction(async |conn| {
                lock_keys(conn, &target.bucket, vec![&target.key]).await?;
                let replaced = files::table
                    .filter(files::bucket.eq(&target.bucket))
                    .filter(files::object_key.eq(&target.key))
                    .filter(files::state.eq("ready"));
                diesel::update(replaced).set((files::state.eq("superseded"), files::updated_at.eq(now))).execute(conn).await?;
                let values = (
                    files::state.eq("ready"),
                    files::publishing.eq(false),
                    files::size.eq(digest.size),
                    files::sha256.eq(Some(&digest.sha256).filter(|sha256| !sha256.is_empty())),
                    files::etag.eq(&stored.etag),
                    files::version_id.eq(&stored.version_id),
                    files::finished_at.eq(now),
                    files::updated_at.eq(now),
                );
                let rows = diesel::update(held(lease).filter(files::publishing.eq(true))).set(values).execute(conn).await?;
                if rows == 0 {
                    return Err(diesel::result::Error::RollbackTransaction);
                }
                audit::record(conn, actor, "object.upload", &resource, Outcome::Ok, detail).await?;
                Ok(rows)
            })
            .await
            .or_else(|error| match error {
                diesel::result::Error::RollbackTransaction => Ok(0),
                error => Err(Error::from(postgres::Error::from(error))),
            })
        })
        .await?;
    still_ours(rows)?;
    ctx.transfer_counters.stored(digest.size);
    overview::uploads_changed(ctx, actor.tenant).await;
    Ok(())
}

/// `failed`, with the reason and the audit. A row that is not ours any more is left to whoever has it.
pub(super) async fn fail(ctx: &Context, actor: &Actor, lease: Lease, target: &Target, failure: &Failure) -> Result<()> {
    let resource = audit::object(&target.bucket, &target.key);
    let rows = ctx
        .db
        .within(async {
            let mut conn = ctx.db.get().await?;
            conn.transaction(async |conn| {
                let values = (
                    files::state.eq("failed"),
                    files::publishing.eq(false),
                    files::error.eq(&failure.why),
                    files::finished_at.eq(now),
                    files::updated_at.eq(now),
                );
                let rows = diesel::update(held(lease)).set(values).execute(conn).await?;
                if rows == 1 {
                    let detail = json!({ "reason": failure.why });
                    audit::record(conn, actor, failure.action, &resource, failure.outcome, detail).await?;
                }
                Ok(rows)
            })
            .await
            .map_err(|error: diesel::result::Error| Error::from(error))
        })
        .await?;
    if rows == 1 {
        ctx.transfer_counters.count_upload(failure.outcome());
    }
    overview::uploads_changed(ctx, actor.tenant).await;
    Ok(())
}
