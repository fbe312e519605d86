//! State changes of a `files` row, each fenced by the lease of its writer. Times are the database's.

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
use crate::domain::files::{FileState, lock_keys};
use crate::domain::secrets::hex;
use crate::domain::{Context, Error, Result, overview};
use crate::schema::files;
use crate::stores::postgres;
use crate::stores::s3::StoredObject;

/// The right to write to the row.
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

/// Size and hash of the received content.
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
    state: FileState,
    lease: Option<Uuid>,
    uploaded_by: Option<Uuid>,
    uploaded_by_label: &'a str,
    error: Option<&'a str>,
}

/// Runs one statement on a pooled connection, within the deadline.
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
        state: FileState::Pending,
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

/// Records a file that was rejected before any of it was stored, so that the page of its form can show the reason.
pub(super) async fn insert_refused(ctx: &Context, actor: &Actor, target: &Target, failure: &Failure) -> Result<Uuid> {
    let id = Uuid::now_v7();
    let row = NewRow { state: failure.state, error: Some(&failure.why), ..new_row(actor, target, id) };
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
    let leased = leased(lease);
    require_lease(execute(ctx, async |conn| diesel::update(leased).set(values).execute(conn).await).await?)
}

/// Renews the heartbeat of these attempts.
pub(super) async fn send_heartbeats(ctx: &Context, leases: &[Lease]) -> Result<()> {
    let (files, leases): (Vec<Uuid>, Vec<Uuid>) = leases.iter().map(|lease| (lease.file, lease.lease)).unzip();
    // Locked rows are being committed and need no heartbeat.
    let query = diesel::sql_query(
        "UPDATE files SET heartbeat_at = now() WHERE id IN
             (SELECT id FROM files WHERE id = ANY ($1) AND lease = ANY ($2) AND state = 'pending' ORDER BY id FOR UPDATE SKIP LOCKED)",
    );
    let query = query.bind::<Array<SqlUuid>, _>(files).bind::<Array<SqlUuid>, _>(leases);
    execute(ctx, async |conn| query.execute(conn).await).await.map(|_| ())
}

/// How long the holder of a claim may send no heartbeat before another upload takes the claim.
fn claim_timeout(ctx: &Context) -> Duration {
    ctx.config.upload.lease.min(Duration::from_secs(60))
}

/// Fails with Cancelled if another upload has taken the claim on the key, since an attempt that paused for too long
/// may no longer publish. Queries the database only if this is possible; `claimed` is when the claim was granted.
pub(super) async fn confirm(ctx: &Context, lease: Lease, claimed: Instant) -> Result<()> {
    if claimed.elapsed() < claim_timeout(ctx) / 2 {
        return Ok(());
    }
    let leased = leased(lease).filter(files::publishing.eq(true));
    require_lease(execute(ctx, async |conn| diesel::update(leased).set(files::heartbeat_at.eq(now)).execute(conn).await).await?)
}

/// Whether the reaper has already committed this object.
pub(super) async fn is_committed(ctx: &Context, file: Uuid, etag: &str) -> Result<bool> {
    let settled =
        files::table.find(file).filter(files::state.eq_any([FileState::Ready, FileState::Superseded])).filter(files::etag.eq(etag)).count();
    ctx.db
        .within(async {
            let mut conn = ctx.db.get().await?;
            let found: i64 = settled.get_result(&mut conn).await?;
            Ok(found == 1)
        })
        .await
}

type LeasedRow = diesel::dsl::Filter<
    diesel::dsl::Filter<diesel::dsl::Find<files::table, Uuid>, diesel::dsl::Eq<files::lease, Uuid>>,
    diesel::dsl::Eq<files::state, FileState>,
>;

fn leased(lease: Lease) -> LeasedRow {
    files::table.find(lease.file).filter(files::lease.eq(lease.lease)).filter(files::state.eq(FileState::Pending))
}

fn require_lease(rows: usize) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(lease_lost()) }
}

/// The error of a holder that has lost its lease.
pub(super) fn lease_lost() -> Error {
    Error::Cancelled("The upload was cancelled because it was inactive for too long.".into())
}

/// Claims the key for publishing and records size and hash; returns whether the key was free. A holder without a
/// heartbeat for a minute has crashed while publishing and loses its claim.
pub(super) async fn claim_key(ctx: &Context, lease: Lease, target: &Target, digest: &Digest) -> Result<bool> {
    // The previous holder is fenced: with its old lease it can neither publish nor commit.
    let stale = "UPDATE files SET publishing = false, lease = gen_random_uuid()
                 WHERE bucket = $1 AND object_key = $2 AND publishing AND heartbeat_at < now() - $3 * interval '1 second'";
    let claim_timeout = i64::try_from(claim_timeout(ctx).as_secs()).unwrap_or(60);
    execute(ctx, async |conn| {
        let query = diesel::sql_query(stale).bind::<Text, _>(&target.bucket).bind::<Text, _>(&target.key);
        query.bind::<BigInt, _>(claim_timeout).execute(conn).await
    })
    .await?;
    let sha256 = files::sha256.eq(Some(&digest.sha256).filter(|sha256| !sha256.is_empty()));
    let values = (files::publishing.eq(true), files::heartbeat_at.eq(now), files::size.eq(digest.size), sha256);
    let leased = leased(lease);
    match execute(ctx, async |conn| diesel::update(leased).set(values).execute(conn).await).await {
        Ok(rows) => require_lease(rows).map(|()| true),
        Err(Error::Postgres(error)) if error.unique_violation().is_some() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Releases the claim on the key: the upload stays pending.
pub(super) async fn release(ctx: &Context, lease: Lease) -> Result<()> {
    let leased = leased(lease);
    execute(ctx, async |conn| diesel::update(leased).set((files::publishing.eq(false), files::updated_at.eq(now))).execute(conn).await)
        .await
        .map(|_| ())
}

/// Marks the row `ready`, the row it replaces `superseded`, and records the audit event, in one transaction.
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
                    .filter(files::state.eq(FileState::Ready));
                diesel::update(replaced).set((files::state.eq(FileState::Superseded), files::updated_at.eq(now))).execute(conn).await?;
                let values = (
                    files::state.eq(FileState::Ready),
                    files::publishing.eq(false),
                    files::size.eq(digest.size),
                    files::sha256.eq(Some(&digest.sha256).filter(|sha256| !sha256.is_empty())),
                    files::etag.eq(&stored.etag),
                    files::version_id.eq(&stored.version_id),
                    files::finished_at.eq(now),
                    files::updated_at.eq(now),
                );
                let rows = diesel::update(leased(lease).filter(files::publishing.eq(true))).set(values).execute(conn).await?;
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
    require_lease(rows)?;
    ctx.transfer_counters.stored(digest.size);
    overview::uploads_changed(ctx, actor.tenant).await;
    Ok(())
}

/// Marks the row `failed` or `cancelled`, with the reason and the audit event. A row whose lease was lost is left unchanged.
pub(super) async fn fail(ctx: &Context, actor: &Actor, lease: Lease, target: &Target, failure: &Failure) -> Result<()> {
    let resource = audit::object(&target.bucket, &target.key);
    let rows = ctx
        .db
        .within(async {
            let mut conn = ctx.db.get().await?;
            conn.transaction(async |conn| {
                let values = (
                    files::state.eq(failure.state),
                    files::publishing.eq(false),
                    files::error.eq(&failure.why),
                    files::finished_at.eq(now),
                    files::updated_at.eq(now),
                );
                let rows = diesel::update(leased(lease)).set(values).execute(conn).await?;
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
