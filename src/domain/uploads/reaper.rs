//! Attempts that nobody beats for any more: rolled forward where their object is published, undone otherwise.
//! Never deletes an object.

use std::time::{Duration, Instant};

use diesel::sql_types::{BigInt, Bool, Bytea, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::attempt::Attempt;
use super::failure::{Failure, cut};
use super::row::{self, Digest, Lease};
use super::target::Target;
use super::{OWNER, orphans, publish};
use crate::domain::actor::{Actor, ActorKind, Role};
use crate::domain::faults::crash_point;
use crate::domain::{Context, Error, Result};
use crate::stores::s3::{self, StoredObject};

/// Attempts that one pass takes at most.
const BATCH: usize = 50;
/// What has lapsed does not wait longer than this for a slow store to list its open uploads.
const SWEEPING: Duration = Duration::from_secs(60);

#[derive(diesel::QueryableByName)]
struct Lapsed {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    tenant_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    lease: Uuid,
    #[diesel(sql_type = SqlUuid)]
    batch_id: Uuid,
    #[diesel(sql_type = Text)]
    bucket: String,
    #[diesel(sql_type = Text)]
    object_key: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    content_type: String,
    #[diesel(sql_type = Bool)]
    overwrite: bool,
    #[diesel(sql_type = Bool)]
    stays_open: bool,
    #[diesel(sql_type = Nullable<Text>)]
    s3_upload_id: Option<String>,
    #[diesel(sql_type = Nullable<Bytea>)]
    sha256: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    uploaded_by: Option<Uuid>,
    #[diesel(sql_type = Text)]
    uploaded_by_label: String,
}

/// Passes for ever, a few times a lease.
pub async fn run(ctx: Context) {
    let every = (ctx.config.upload.lease / 4).clamp(Duration::from_secs(1), Duration::from_secs(60));
    let mut swept: Option<Instant> = None;
    loop {
        if swept.is_none_or(|last| last.elapsed() >= ctx.config.upload.lease) {
            swept = Some(Instant::now());
            match tokio::time::timeout(SWEEPING, orphans::sweep(&ctx)).await.unwrap_or(Ok(0)) {
                Ok(0) => {}
                Ok(count) => log::info!("gave up {count} multipart upload(s) that no row knew of"),
                Err(error) => log::debug!("open uploads were not looked at: {error}"),
            }
        }
        match pass(&ctx).await {
            Ok(0) => {}
            Ok(count) => {
                log::info!("settled {count} upload(s) that nobody was sending any more");
                if count == BATCH {
                    continue;
                }
            }
            Err(error) => log::warn!("lapsed uploads were not looked at: {error}"),
        }
        tokio::time::sleep(every).await;
    }
}

/// Settles what has lapsed; how many. Any number of replicas may do this at once.
pub async fn pass(ctx: &Context) -> Result<usize> {
    let lapsed = ctx.db.within(claim(ctx)).await?;
    let mut settled = 0;
    for row in lapsed {
        let id = row.id;
        match settle(ctx, row).await {
            Ok(()) => settled += 1,
            // Its new lease lapses in its turn.
            Err(error) => log::warn!("the upload {id} was not settled: {error}"),
        }
    }
    if let Err(error) = ctx.db.within(forget_parts(ctx)).await {
        log::warn!("the parts of uploads that are over are still recorded: {error}");
    }
    Ok(settled)
}

/// The recorded parts of uploads that are over.
async fn forget_parts(ctx: &Context) -> Result<()> {
    let mut conn = ctx.db.get().await?;
    let forgotten = diesel::sql_query(
        "DELETE FROM upload_parts WHERE id IN
             (SELECT p.id FROM upload_parts p JOIN files f ON f.id = p.file_id WHERE f.state <> 'pending'
              LIMIT 1000 FOR UPDATE OF p SKIP LOCKED)",
    );
    forgotten.execute(&mut conn).await?;
    Ok(())
}

/// Gives each lapsed attempt a new lease, so that its old holder, if it wakes, can write no more.
async fn claim(ctx: &Context) -> Result<Vec<Lapsed>> {
    let mut conn = ctx.db.get().await?;
    let seconds = i64::try_from(ctx.config.upload.lease.as_secs()).unwrap_or(900);
    let keep = i64::try_from(ctx.config.upload.keep.as_secs()).unwrap_or(604_800);
    // What can be resumed is kept longer, unless it died while it was being published.
    let claimed = diesel::sql_query(
        "UPDATE files SET lease = gen_random_uuid(), heartbeat_at = now(), updated_at = now()
         WHERE id IN (SELECT id FROM files
                      WHERE state = 'pending' AND heartbeat_at < now() - $1 * interval '1 second'
                            AND (fingerprint IS NULL OR publishing OR heartbeat_at < now() - $3 * interval '1 second')
                      ORDER BY heartbeat_at LIMIT $2 FOR UPDATE SKIP LOCKED)
         RETURNING id, tenant_id, lease, batch_id, bucket, object_key, name, content_type, overwrite, s3_upload_id, sha256,
                   uploaded_by, uploaded_by_label, fingerprint IS NOT NULL AND publishing AS stays_open",
    )
    .bind::<BigInt, _>(seconds)
    .bind::<BigInt, _>(i64::try_from(BATCH).unwrap_or(i64::MAX))
    .bind::<BigInt, _>(keep)
    .load(&mut conn)
    .await;
    claimed.map_err(Error::from)
}

async fn settle(ctx: &Context, lapsed: Lapsed) -> Result<()> {
    crash_point("reaper::claimed")?;
    let lease = Lease::on(lapsed.id, lapsed.lease);
    let actor = Actor {
        tenant: lapsed.tenant_id,
        kind: if lapsed.uploaded_by.is_some() { ActorKind::User } else { ActorKind::System },
        id: lapsed.uploaded_by,
        label: lapsed.uploaded_by_label,
        role: Role::Editor,
        address: None,
        request_id: String::new(),
    };
    let target = Target {
        batch: lapsed.batch_id,
        bucket: lapsed.bucket,
        key: lapsed.object_key,
        name: lapsed.name,
        content_type: lapsed.content_type,
        overwrite: lapsed.overwrite,
    };
    match ctx.s3.head(&target.bucket, &target.key, None).await {
        Ok(head) if head.metadata.iter().any(|(name, value)| name == OWNER && *value == lapsed.id.to_string()) => {
            let digest = Digest { size: i64::try_from(head.size).unwrap_or(i64::MAX), sha256: lapsed.sha256.unwrap_or_default() };
            if !row::claim_key(ctx, lease, &target, &digest).await? {
                return Err(publish::being_stored());
            }
            // Nobody else publishes this key from here on; somebody may have until now.
            match ctx.s3.head(&target.bucket, &target.key, None).await?.etag {
                etag if etag == head.etag => {
                    row::commit(ctx, &actor, lease, &target, &digest, &StoredObject { etag, version_id: head.version_id }).await
                }
                _ => Err(publish::being_stored()),
            }
        }
        Ok(_) | Err(s3::Error::NoSuchKey | s3::Error::AccessDenied) if lapsed.stays_open => row::release(ctx, lease).await,
        // Another object, or none: what this attempt has stored so far is undone.
        // On AWS a key that may not list buckets hears 403 for what is missing.
        Ok(_) | Err(s3::Error::NoSuchKey | s3::Error::NoSuchBucket | s3::Error::AccessDenied | s3::Error::InvalidKey(_)) => {
            let attempt = Attempt { ctx: ctx.clone(), actor, lease, target, multipart: lapsed.s3_upload_id };
            attempt.fail(&Failure::of(&cut("The upload stopped before the whole file had arrived."))).await;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
