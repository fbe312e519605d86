//! Small files together: one statement records them all, one transaction makes them all `ready`.

use std::time::Instant;

use bytes::Bytes;
use diesel::sql_types::{Array, BigInt, Bool, Bytea, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use futures_util::StreamExt;
use serde_json::json;
use uuid::Uuid;

use super::File;
use super::attempt::{Attempt, Beating};
use super::failure::Failure;
use super::publish::{self, Whole, at_store, finished, is_uncertain};
use super::row::{self, Digest, Lease, given_up};
use super::target::Target;
use crate::domain::actor::Actor;
use crate::domain::audit::{self, Outcome};
use crate::domain::faults::crash_point;
use crate::domain::secrets::hex;
use crate::domain::{Context, Error, Result, overview};
use crate::stores::postgres;
use crate::stores::s3::StoredObject;

/// Files of one batch that travel to the store at once.
const AT_ONCE: usize = 16;

/// A whole file in memory.
pub(super) struct Small {
    pub target: Target,
    pub body: Bytes,
    pub digest: Digest,
}

/// A file that the store has, and the row that does not say so yet.
struct Placed {
    attempt: Attempt,
    digest: Digest,
    stored: StoredObject,
}

/// Stores files of one form; what became of each, in their order. To be called where nothing cuts it off.
pub(super) async fn store(ctx: &Context, actor: &Actor, files: Vec<Small>) -> Vec<Result<File>> {
    let leases: Vec<Lease> = files.iter().map(|_| Lease::new()).collect();
    let claimed = match ctx.db.within(insert(ctx, actor, &files, &leases)).await {
        Ok(claimed) => claimed,
        Err(error) => return for_each(error, files.len()),
    };
    let claimed_at = Instant::now();
    let beating = Beating::start(ctx, leases.clone());
    let mut outcomes: Vec<(usize, Result<File>)> = Vec::with_capacity(files.len());
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for ((at, small), lease) in files.into_iter().enumerate().zip(leases) {
        if claimed.contains(&lease.file) { ours.push((at, small, lease)) } else { others.push((at, small)) }
    }
    let placing = ours.into_iter().map(|(at, small, lease)| async move { (at, place(ctx, actor, small, lease, claimed_at).await) });
    let mut placing = futures_util::stream::iter(placing).buffer_unordered(AT_ONCE);
    let mut placed = Vec::new();
    while let Some((at, outcome)) = placing.next().await {
        match outcome {
            Ok(one) => placed.push((at, one)),
            Err(error) => outcomes.push((at, Err(error))),
        }
    }
    outcomes.extend(commit_all(ctx, actor, placed).await);
    drop(beating);
    // Their keys are being published by others, perhaps by this very batch a moment ago.
    for (at, Small { target, body, digest }) in others {
        let stored = async {
            let lease = row::insert_pending(ctx, actor, &target).await?;
            let _beating = Beating::start(ctx, vec![lease]);
            let attempt = Attempt { ctx: ctx.clone(), actor: actor.clone(), lease, target, multipart: None };
            publish::publish(attempt, Whole::Body(body), digest).await
        };
        outcomes.push((at, stored.await));
    }
    outcomes.sort_by_key(|(at, _)| *at);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// One fault of the database for every file of a batch.
fn for_each(error: Error, count: usize) -> Vec<Result<File>> {
    let why = error.to_string();
    let again = std::iter::repeat_with(|| Error::from(postgres::Error::Unreachable(why.clone())));
    std::iter::once(error).chain(again).take(count).map(Err).collect()
}

async fn place(ctx: &Context, actor: &Actor, small: Small, lease: Lease, claimed: Instant) -> Result<Placed> {
    let Small { target, body, digest } = small;
    let attempt = Attempt { ctx: ctx.clone(), actor: actor.clone(), lease, target, multipart: None };
    let stored = async {
        crash_point("batch::rows_written")?;
        let stored = at_store(&attempt, Whole::Body(body), claimed).await?;
        crash_point("batch::stored")?;
        Ok(stored)
    };
    match stored.await {
        Ok(stored) => Ok(Placed { attempt, digest, stored }),
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

/// A row and the lease on its key for each file; those whose key nobody else is publishing.
async fn insert(ctx: &Context, actor: &Actor, files: &[Small], leases: &[Lease]) -> Result<Vec<Uuid>> {
    let Some(first) = files.first() else { return Ok(Vec::new()) };
    let column = |of: fn(&Small) -> &str| -> Vec<&str> { files.iter().map(of).collect() };
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

async fn commit_all(ctx: &Context, actor: &Actor, placed: Vec<(usize, Placed)>) -> Vec<(usize, Result<File>)> {
    if placed.is_empty() {
        return Vec::new();
    }
    let committed = ctx
        .db
        .within(async {
            let mut conn = ctx.db.get().await?;
            let done = conn.transaction(async |conn| commit(conn, actor, &placed).await).await;
            let done = done.map_err(|error: diesel::result::Error| Error::from(error))?;
            crash_point("batch::committed")?;
            Ok(done)
        })
        .await;
    match committed {
        Ok(ids) => {
            for (_, one) in placed.iter().filter(|(_, one)| ids.contains(&one.attempt.lease.file)) {
                ctx.transfer_counters.stored(one.digest.size);
            }
            overview::uploads_changed(ctx, actor.tenant).await;
            let mut settled = Vec::with_capacity(placed.len());
            for (at, Placed { attempt, digest, stored }) in placed {
                let file = attempt.lease.file;
                let is_ready = ids.contains(&file) || row::is_settled(ctx, file, &stored.etag).await.unwrap_or_default();
                settled.push((at, if is_ready { Ok(finished(&attempt, &digest, stored)) } else { Err(given_up()) }));
            }
            settled
        }
        Err(error) => {
            let count = placed.len();
            placed.into_iter().map(|(at, _)| at).zip(for_each(error, count)).collect()
        }
    }
}

async fn commit(conn: &mut AsyncPgConnection, actor: &Actor, placed: &[(usize, Placed)]) -> diesel::QueryResult<Vec<Uuid>> {
    if let Some((_, first)) = placed.first() {
        let keys = placed.iter().map(|(_, one)| one.attempt.target.key.as_str()).collect();
        row::lock_keys(conn, &first.attempt.target.bucket, keys).await?;
    }
    let (ids, leases): (Vec<Uuid>, Vec<Uuid>) = placed.iter().map(|(_, one)| (one.attempt.lease.file, one.attempt.lease.lease)).unzip();
    let held = "SELECT f.id FROM files f JOIN unnest($1, $2) AS ours (id, lease) ON f.id = ours.id AND f.lease = ours.lease
                WHERE f.state = 'pending' AND f.publishing ORDER BY f.id FOR UPDATE OF f";
    let held: Vec<Id> = diesel::sql_query(held).bind::<Array<SqlUuid>, _>(&ids).bind::<Array<SqlUuid>, _>(&leases).load(conn).await?;
    let held: Vec<Uuid> = held.into_iter().map(|row| row.id).collect();
    let ours: Vec<&Placed> = placed.iter().map(|(_, one)| one).filter(|one| held.contains(&one.attempt.lease.file)).collect();
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
