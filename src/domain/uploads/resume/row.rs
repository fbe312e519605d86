//! The row of a resumable upload and its parts.

use diesel::dsl::now;
use diesel::prelude::{BoolExpressionMethods, ExpressionMethods, OptionalExtension, PgExpressionMethods, QueryDsl};
use diesel::sql_types::{Bool, Uuid as SqlUuid};
use diesel::{Queryable, Selectable, SelectableHelper};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{Resumable, StoredPart};
use crate::domain::actor::Actor;
use crate::domain::files::FileState;
use crate::domain::uploads::publishing::key_busy;
use crate::domain::uploads::receiving::target::Target;
use crate::domain::uploads::row::{Lease, Start, execute};
use crate::domain::uploads::{self, history};
use crate::domain::{Context, Error, Result};
use crate::schema::{files, upload_parts};
use crate::stores::s3::PartReceipt;

#[derive(Clone, Queryable, Selectable)]
#[diesel(table_name = files)]
pub(super) struct Row {
    #[diesel(embed)]
    pub file: history::Row,
    pub content_type: String,
    pub overwrite: bool,
    pub s3_upload_id: Option<String>,
    pub hash_state: Option<Vec<u8>>,
}

impl Row {
    pub fn length(&self) -> u64 {
        self.file.length.and_then(|length| u64::try_from(length).ok()).unwrap_or_default()
    }

    pub fn part_size(&self) -> u64 {
        self.file.part_size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default()
    }

    pub fn parts_done(&self) -> i32 {
        self.file.parts_done
    }

    pub fn target(&self) -> Target {
        Target {
            batch: self.file.batch_id,
            bucket: self.file.bucket.clone(),
            key: self.file.object_key.clone(),
            name: self.file.name.clone(),
            content_type: self.content_type.clone(),
            overwrite: self.overwrite,
        }
    }

    pub fn is_pending(&self) -> bool {
        self.file.state == FileState::Pending
    }

    /// Why an ended upload accepts no more parts.
    pub fn ended_error(&self) -> Error {
        if self.file.state.is_not_stored() {
            Error::refused("id", self.file.error.clone().unwrap_or_else(|| "This upload has failed.".into()))
        } else {
            Error::refused("id", "This upload is complete: the file is stored.")
        }
    }

    pub fn into_resumable(self, ctx: &Context, parts: Vec<StoredPart>) -> Resumable {
        let kept_until = history::kept_until(ctx, self.file.heartbeat_at.unwrap_or(self.file.created_at));
        let (length, part_size) = (self.length(), self.part_size());
        Resumable { file: self.file.into_file(ctx), length, part_size, parts, kept_until }
    }
}

/// The actor's own resumable upload with this ID, whether pending or ended.
pub(super) async fn find(ctx: &Context, actor: &Actor, bucket: &str, id: Uuid) -> Result<Row> {
    let own = files::table
        .filter(files::id.eq(id))
        .filter(files::tenant_id.eq(actor.tenant))
        .filter(files::bucket.eq(bucket))
        .filter(files::uploaded_by.is_not_distinct_from(actor.id))
        .filter(files::fingerprint.is_not_null())
        .select(Row::as_select());
    let found = ctx.db.run(async |conn| own.first(conn).await.optional().map_err(Error::from)).await?;
    found.ok_or_else(|| Error::NotFound("Upload not found among your uploads.".into()))
}

/// The actor's pending upload to this key.
pub(super) async fn find_pending(ctx: &Context, actor: &Actor, bucket: &str, key: &str) -> Result<Option<Row>> {
    let pending = files::table
        .filter(files::bucket.eq(bucket))
        .filter(files::object_key.eq(key))
        .filter(files::uploaded_by.is_not_distinct_from(actor.id))
        .filter(files::state.eq(FileState::Pending).and(files::fingerprint.is_not_null()))
        .select(Row::as_select());
    ctx.db.run(async |conn| pending.first(conn).await.optional().map_err(Error::from)).await
}

/// Inserts a row; `false` if another tab was faster.
pub(super) async fn insert(
    ctx: &Context,
    actor: &Actor,
    target: &Target,
    request: &super::ResumeRequest<'_>,
    part_size: u64,
) -> Result<bool> {
    let start = Start::Resumable { fingerprint: request.fingerprint, length: request.length, part_size };
    match uploads::row::insert_one(ctx, actor, Lease::new(), target, start).await {
        Ok(()) => Ok(true),
        Err(Error::Postgres(error)) if error.unique_violation().is_some() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Records the ID of the multipart upload, unless another request did so first; returns whether it was recorded.
pub(super) async fn set_multipart(ctx: &Context, id: Uuid, upload: &str) -> Result<bool> {
    let pending = files::table.filter(files::id.eq(id)).filter(files::state.eq(FileState::Pending)).filter(files::s3_upload_id.is_null());
    let values = (files::s3_upload_id.eq(upload), files::updated_at.eq(now));
    Ok(execute(ctx, async |conn| diesel::update(pending).set(values).execute(conn).await).await? == 1)
}

/// Renews the heartbeat.
pub(super) async fn send_heartbeat(ctx: &Context, id: Uuid) -> Result<()> {
    let pending = files::table.filter(files::id.eq(id)).filter(files::state.eq(FileState::Pending));
    execute(ctx, async |conn| diesel::update(pending).set(files::heartbeat_at.eq(now)).execute(conn).await).await.map(|_| ())
}

/// Renews the heartbeat and updates `overwrite` when the sender resumes the upload.
pub(super) async fn resume(ctx: &Context, id: Uuid, overwrite: bool) -> Result<()> {
    let pending = files::table.filter(files::id.eq(id)).filter(files::state.eq(FileState::Pending));
    let values = (files::heartbeat_at.eq(now), files::overwrite.eq(overwrite));
    execute(ctx, async |conn| diesel::update(pending).set(values).execute(conn).await).await.map(|_| ())
}

type PartRow = (i32, i64, Vec<u8>, String, String);

/// All recorded parts with their receipts, in order.
pub(super) async fn parts(ctx: &Context, id: Uuid) -> Result<Vec<(StoredPart, PartReceipt)>> {
    let rows: Vec<PartRow> = ctx
        .db
        .run(async |conn| {
            let columns = (upload_parts::number, upload_parts::size, upload_parts::sha256, upload_parts::etag, upload_parts::crc32);
            let query = upload_parts::table.filter(upload_parts::file_id.eq(id)).order(upload_parts::number).select(columns);
            query.load(conn).await.map_err(Error::from)
        })
        .await?;
    let parts = rows.into_iter().map(|(number, size, sha256, etag, crc32)| {
        let size = u64::try_from(size).unwrap_or_default();
        (StoredPart { number, size, sha256 }, PartReceipt { number, etag, crc32 })
    });
    Ok(parts.collect())
}

/// Records the part that follows `part.number - 1` recorded parts; `false` if it is not the next one.
pub(super) async fn record_part(
    ctx: &Context,
    actor: &Actor,
    id: Uuid,
    part: &StoredPart,
    receipt: &PartReceipt,
    hash: &[u8],
) -> Result<bool> {
    let next = files::table
        .filter(files::id.eq(id))
        .filter(files::state.eq(FileState::Pending))
        .filter(files::publishing.eq(false))
        .filter(files::parts_done.eq(part.number - 1));
    let progress = (files::parts_done.eq(part.number), files::hash_state.eq(hash), files::heartbeat_at.eq(now), files::updated_at.eq(now));
    let row = (
        upload_parts::id.eq(Uuid::now_v7()),
        upload_parts::tenant_id.eq(actor.tenant),
        upload_parts::file_id.eq(id),
        upload_parts::number.eq(part.number),
        upload_parts::size.eq(i64::try_from(part.size).unwrap_or(i64::MAX)),
        upload_parts::sha256.eq(&part.sha256),
        upload_parts::etag.eq(&receipt.etag),
        upload_parts::crc32.eq(&receipt.crc32),
    );
    ctx.db
        .transaction(async |conn| {
            if diesel::update(next).set(progress).execute(conn).await? == 0 {
                return Ok(false);
            }
            diesel::insert_into(upload_parts::table).values(row).execute(conn).await?;
            Ok(true)
        })
        .await
        .map_err(Error::from)
}

/// A new lease for completing or cancelling the upload. Busy while it is being published.
pub(super) async fn take_lease(ctx: &Context, row: &Row) -> Result<Lease> {
    let lease = Lease::on(row.file.id, Uuid::now_v7());
    let query = diesel::sql_query(
        "UPDATE files SET lease = $2, overwrite = $3, heartbeat_at = now(), updated_at = now()
         WHERE id = $1 AND state = 'pending' AND NOT (publishing AND heartbeat_at > now() - interval '1 minute')",
    );
    let query = query.bind::<SqlUuid, _>(lease.file).bind::<SqlUuid, _>(lease.lease).bind::<Bool, _>(row.overwrite);
    let updated = execute(ctx, async |conn| query.execute(conn).await).await?;
    if updated == 1 { Ok(lease) } else { Err(key_busy()) }
}
