//! Small files in batches: one statement inserts all rows, one transaction marks them all `ready`.

use std::time::Instant;

use bytes::Bytes;
use diesel::sql_types::{Array, BigInt, Bool, Bytea, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use futures_util::StreamExt;
use serde_json::json;
use uuid::Uuid;

use super::File;
use super::attempt::{Attempt, Heartbeat};
use super::failure::Failure;
use super::publish::{self, Content, finished, is_uncertain, store_object};
use super::row::{self, Digest, Lease, lease_lost};
use super::target::Target;
use crate::domain::actor::Actor;
use crate::domain::audit::{self, Outcome};
use crate::domain::faults::crash_point;
use crate::domain::files::lock_keys;
use crate::domain::secrets::hex;
use crate::domain::{Context, Error, Result, overview};
use crate::stores::postgres;
use crate::stores::s3::StoredObject;

/// Concurrent requests to the store per batch.
const CONCURRENCY: usize = 16;

/// A complete file in memory.
pub(super) struct SmallFile {
    pub target: Target,
    pub body: Bytes,
    pub digest: Digest,
}

/// A file in the store whose row is not `ready` yet.
struct StoredFile {
    attempt: Attempt,
    digest: Digest,
    stored: StoredObject,
}

/// Stores files of one form and returns their outcomes in order. Must not be cancelled.
pub(super) async fn store(ctx: &Context, actor: &Actor, files: Vec<SmallFile>) -> Vec<Result<File>> {
    let leases: Vec<Lease> = files.iter().map(|_| Lease::new()).collect();
    let claimed = match ctx.db.within(insert(ctx, actor, &files, &leases)).await {
        Ok(claimed) => claimed,
        Err(error) => return repeat_error(error, files.len()),
    };
    let claimed_at = Instant::now();
    let heartbeat = Heartbeat::start(ctx, leases.clone());
    let mut outcomes: Vec<(usize, Result<File>)> = Vec::with_capacity(files.len());
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for ((at, small_file), lease) in files.into_iter().enumerate().zip(leases) {
        if claimed.contains(&lease.file) { ours.push((at, small_file, lease)) } else { others.push((at, small_file)) }
    }
    let storing =
        ours.into_iter().map(|(at, small_file, lease)| async move { (at, store_one(ctx, actor, small_file, lease, claimed_at).await) });
    let mut storing = futures_util::stream::iter(storing).buffer_unordered(CONCURRENCY);
    let mut stored_files = Vec::new();
    while let Some((at, outcome)) = storing.next().await {
        match outcome {
            Ok(one) => stored_files.push((at, one)),
            Err(error) => outcomes.push((at, Err(error))),
        }
    }
    outcomes.extend(commit_all(ctx, actor, stored_files).await);
    drop(heartbeat);
    // Their keys are being published by other uploads, possibly by this batch.
    for (at, SmallFile { target, body, digest }) in others {
        let stored = async {
            let lease = row::insert_pending(ctx, actor, &target).await?;
            let _heartbeat = Heartbeat::start(ctx, vec![lease]);
            let attempt = Attempt { ctx: ctx.clone(), actor: actor.clone(), lease, target, multipart: None };
            publish::publish(attempt, Content::Body(body), digest).await
        };
        outcomes.push((at, stored.await));
    }
    outcomes.sort_by_key(|(at, _)| *at);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Reports one database error for every file of a batch.
fn repeat_error(error: Error, count: usize) -> Vec<Result<File>> {
    let why = error.to_string();
    let again = std::iter::repeat_with(|| Error::from(postgres::Error::Unreachable(why.clone())));
    std::iter::once(error).chain(again).take(count).map(Err).collect()
}

async fn store_one(ctx: &Context, actor: &Actor, small_file: SmallFile, lease: Lease, claimed: Instant) -> Result<StoredFile> {
    let SmallFile { target, body, digest } = small_file;
    let attempt = Attempt { ctx: ctx.clone(), actor: actor.clone(), lease, target, multipart: None };
    let stored = async {
        crash_point("batch::rows_written")?;
        let stored = store_object(&attempt, Content::Body(body), claimed).await?;
        crash_point("batch::stored")?;
        Ok(stored)
    };
    match stored.await {
        Ok(stored) => Ok(StoredFile { attempt, digest, stored }),
        Err(error) => {
            if !is_uncertain(&error) {
                attempt.fail(&Failure::of(&error)).await;
            }
            Err(error)
        }
    }
}

#[derive(diesel::QueryableByName)]
struct Id {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// Inserts a row for each file and claims its key; returns the IDs of those whose key was free.
async fn insert(ctx: &Context, actor: &Actor, files: &[SmallFile], leases: &[Lease]) -> Result<Vec<Uuid>> {
    let Some(first) = files.first() else { return Ok(Vec::new()) };
    let column = |of: fn(&SmallFile) -> &str| -> Vec<&str> { files.iter().map(of).collect() };
    let mut conn = ctx.db.get().await?;
    let inserted: Vec<Id> = diesel::sql_query(
        "INSERT INTO files (id, lease, object_key, name, content_type, size, sha256, tenant_id, batch_id, bucket, overwrite,
                            uploaded_by, uploaded_by_label, state, publishing, heartbeat_at)
         SELECT new.*, $8, $9, $10, $11, $12, $13, 'pending', true, now()
         FROM unnest($1, $2, $3, $4, $5, $6, $7) AS new
         ON CONFLICT (bucket, object_key) WHERE publishing DO NOTHING
         RETURNING id",
    )
    .bind::<Array<SqlUuid>, _>(leases.iter().map(|lease| lease.file).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(leases.iter().map(|lease| lease.lease).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(column(|file| &file.target.key))
    .bind::<Array<Text>, _>(column(|file| &file.target.name))
    .bind::<Array<Text>, _>(column(|file| &file.target.content_type))
    .bind::<Array<BigInt>, _>(files.iter().map(|file| file.digest.size).collect::<Vec<_>>())
    .bind::<Array<Bytea>, _>(files.iter().map(|file| file.digest.sha256.as_slice()).collect::<Vec<_>>())
    .bind::<SqlUuid, _>(actor.tenant)
    .bind::<SqlUuid, _>(first.target.batch)
    .bind::<Text, _>(&first.target.bucket)
    .bind::<Bool, _>(first.target.overwrite)
    .bind::<Nullable<SqlUuid>, _>(actor.id)
    .bind::<Text, _>(&actor.label)
    .load(&mut conn)
    .await?;
    Ok(inserted.into_iter().map(|row| row.id).collect())
}

async fn commit_all(ctx: &Context, actor: &Actor, stored_files: Vec<(usize, StoredFile)>) -> Vec<(usize, Result<File>)> {
    if stored_files.is_empty() {
        return Vec::new();
    }
    let committed = ctx
        .db
        .within(async {
            let mut conn = ctx.db.get().await?;
            let done = conn.transaction(async |conn| commit(conn, actor, &stored_files).await).await;
            let done = done.map_err(|error: diesel::result::Error| Error::from(error))?;
            crash_point("batch::committed")?;
            Ok(done)
        })
        .await;
    match committed {
        Ok(ids) => {
            for (_, one) in stored_files.iter().filter(|(_, one)| ids.contains(&one.attempt.lease.file)) {
                ctx.transfer_counters.stored(one.digest.size);
            }
            overview::uploads_changed(ctx, actor.tenant).await;
            let mut settled = Vec::with_capacity(stored_files.len());
            for (at, StoredFile { attempt, digest, stored }) in stored_files {
                let file = attempt.lease.file;
                let is_ready = ids.contains(&file) || row::is_committed(ctx, file, &stored.etag).await.unwrap_or_default();
                settled.push((at, if is_ready { Ok(finished(&attempt, &digest, stored)) } else { Err(lease_lost()) }));
            }
            settled
        }
        Err(error) => {
            let count = stored_files.len();
            stored_files.into_iter().map(|(at, _)| at).zip(repeat_error(error, count)).collect()
        }
    }
}

async fn commit(conn: &mut AsyncPgConnection, actor: &Actor, stored_files: &[(usize, StoredFile)]) -> diesel::QueryResult<Vec<Uuid>> {
    if let Some((_, first)) = stored_files.first() {
        let keys = stored_files.iter().map(|(_, one)| one.attempt.target.key.as_str()).collect();
        lock_keys(conn, &first.attempt.target.bucket, keys).await?;
    }
    let (ids, leases): (Vec<Uuid>, Vec<Uuid>) =
        stored_files.iter().map(|(_, one)| (one.attempt.lease.file, one.attempt.lease.lease)).unzip();
    let held = "SELECT f.id FROM files f JOIN unnest($1, $2) AS ours (id, lease) ON f.id = ours.id AND f.lease = ours.lease
                WHERE f.state = 'pending' AND f.publishing ORDER BY f.id FOR UPDATE OF f";
    let held: Vec<Id> = diesel::sql_query(held).bind::<Array<SqlUuid>, _>(&ids).bind::<Array<SqlUuid>, _>(&leases).load(conn).await?;
    let held: Vec<Uuid> = held.into_iter().map(|row| row.id).collect();
    let ours: Vec<&StoredFile> = stored_files.iter().map(|(_, one)| one).filter(|one| held.contains(&one.attempt.lease.file)).collect();
    let replaced = "UPDATE files old SET state = 'superseded', updated_at = now() FROM files new
                    WHERE new.id = ANY ($1) AND old.bucket = new.bucket AND old.object_key = new.object_key AND old.state = 'ready'";
    diesel::sql_query(replaced).bind::<Array<SqlUuid>, _>(&held).execute(conn).await?;
    let ready = "UPDATE files f SET state = 'ready', publishing = false, etag = at.etag, version_id = at.version_id,
                        finished_at = now(), updated_at = now()
                 FROM unnest($1, $2, $3) AS at (id, etag, version_id) WHERE f.id = at.id";
    diesel::sql_query(ready)
        .bind::<Array<SqlUuid>, _>(ours.iter().map(|one| one.attempt.lease.file).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(ours.iter().map(|one| one.stored.etag.as_str()).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(ours.iter().map(|one| one.stored.version_id.as_deref()).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    let events = ours.iter().map(|one| {
        let detail = json!({ "bytes": one.digest.size, "sha256": hex(&one.digest.sha256), "etag": one.stored.etag });
        (audit::object(&one.attempt.target.bucket, &one.attempt.target.key), detail)
    });
    audit::record_each(conn, actor, "object.upload", Outcome::Ok, events).await?;
    Ok(held)
}
