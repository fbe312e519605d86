//! State changes of a `files` row, each fenced by the lease of its writer. Times are the database's.

use std::time::{Duration, Instant};

use diesel::QueryResult;
use diesel::dsl::now;
use diesel::prelude::{ExpressionMethods, Insertable, QueryDsl};
use diesel::sql_types::{Array, BigInt, Text, Uuid as SqlUuid};
use diesel::upsert::DecoratableTarget;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::json;
use uuid::Uuid;

use super::failure::Failure;
use super::receiving::target::Target;
use super::today;
use crate::domain::actor::Actor;
use crate::domain::audit;
use crate::domain::files::FileState;
use crate::domain::{Context, Error, Result};
use crate::schema::files;

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

/// Runs one statement on a pooled connection, within the deadline.
pub(super) async fn execute(ctx: &Context, work: impl AsyncFnOnce(&mut AsyncPgConnection) -> diesel::QueryResult<usize>) -> Result<usize> {
    ctx.db.run(async |conn| Ok(work(conn).await?)).await
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
    lease: Uuid,
    uploaded_by: Option<Uuid>,
    uploaded_by_label: &'a str,
    publishing: bool,
    size: Option<i64>,
    sha256: Option<&'a [u8]>,
    error: Option<&'a str>,
    fingerprint: Option<&'a str>,
    length: Option<i64>,
    part_size: Option<i64>,
}

/// What is known of an attempt when its row is inserted.
pub(super) enum Start<'a> {
    /// The content will arrive.
    Receiving,
    /// The content will arrive in parts, possibly from several connections.
    Resumable { fingerprint: &'a str, length: u64, part_size: u64 },
    /// The content was received, so the row also claims its key for publishing.
    Received(&'a Digest),
    /// The file was rejected before any of it was stored.
    Rejected(&'a Failure),
}

/// Inserts a row for each attempt and returns the IDs of the inserted ones. A row that claims its key is not inserted
/// if another upload has claimed the key.
pub(super) async fn insert(
    conn: &mut AsyncPgConnection,
    actor: &Actor,
    attempts: impl IntoIterator<Item = (Lease, &Target, Start<'_>)>,
) -> QueryResult<Vec<Uuid>> {
    let rows: Vec<_> = attempts.into_iter().map(|(lease, target, start)| new_row(actor, lease, target, &start)).collect();
    diesel::insert_into(files::table)
        .values(rows)
        .on_conflict((files::bucket, files::object_key))
        .filter_target(files::publishing)
        .do_nothing()
        .returning(files::id)
        .get_results(conn)
        .await
}

type SetNow<Column> = Option<diesel::dsl::Eq<Column, now>>;

fn new_row<'a>(
    actor: &'a Actor,
    lease: Lease,
    target: &'a Target,
    start: &Start<'a>,
) -> (NewRow<'a>, SetNow<files::heartbeat_at>, SetNow<files::finished_at>) {
    let mut row = NewRow {
        id: lease.file,
        tenant_id: actor.tenant,
        batch_id: target.batch,
        bucket: &target.bucket,
        object_key: &target.key,
        name: &target.name,
        content_type: &target.content_type,
        overwrite: target.overwrite,
        state: FileState::Pending,
        lease: lease.lease,
        uploaded_by: actor.id,
        uploaded_by_label: &actor.label,
        publishing: false,
        size: None,
        sha256: None,
        error: None,
        fingerprint: None,
        length: None,
        part_size: None,
    };
    match start {
        Start::Receiving => {}
        Start::Resumable { fingerprint, length, part_size } => {
            row.fingerprint = Some(fingerprint);
            row.length = Some(i64::try_from(*length).unwrap_or(i64::MAX));
            row.part_size = Some(i64::try_from(*part_size).unwrap_or(i64::MAX));
        }
        Start::Received(digest) => {
            row.publishing = true;
            row.size = Some(digest.size);
            row.sha256 = Some(&digest.sha256);
        }
        Start::Rejected(failure) => {
            row.state = failure.state;
            row.error = Some(&failure.why);
        }
    }
    let is_pending = row.state == FileState::Pending;
    (row, is_pending.then(|| files::heartbeat_at.eq(now)), (!is_pending).then(|| files::finished_at.eq(now)))
}

/// Inserts the row of one attempt whose content will arrive.
pub(super) async fn insert_one(ctx: &Context, actor: &Actor, lease: Lease, target: &Target, start: Start<'_>) -> Result<()> {
    execute(ctx, async |conn| insert(conn, actor, [(lease, target, start)]).await.map(|ids| ids.len())).await.map(|_| ())
}

/// Records a file that was rejected before any of it was stored, so that the page of its form can show the reason.
pub(super) async fn insert_rejected(ctx: &Context, actor: &Actor, target: &Target, failure: &Failure) -> Result<Uuid> {
    let lease = Lease::new();
    let resource = audit::object(&target.bucket, &target.key);
    ctx.db
        .transaction(async |conn| {
            insert(conn, actor, [(lease, target, Start::Rejected(failure))]).await?;
            let detail = json!({ "reason": failure.why });
            audit::record(conn, actor, failure.action, &resource, failure.outcome, detail).await
        })
        .await?;
    today::changed(ctx, actor.tenant).await;
    Ok(lease.file)
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

/// Marks the row `failed` or `cancelled`, with the reason and the audit event. A row whose lease was lost is left unchanged.
pub(super) async fn fail(ctx: &Context, actor: &Actor, lease: Lease, target: &Target, failure: &Failure) -> Result<()> {
    let resource = audit::object(&target.bucket, &target.key);
    let rows = ctx
        .db
        .transaction(async |conn| {
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
        .await?;
    if rows == 1 {
        ctx.transfer_counters.count_upload(failure.outcome());
    }
    today::changed(ctx, actor.tenant).await;
    Ok(())
}
