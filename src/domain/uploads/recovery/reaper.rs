//! Handles attempts without heartbeats: commits those whose object is published and undoes the others. Never deletes
//! an object.

use std::time::Duration;

use diesel::sql_types::{BigInt, Bool, Bytea, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::orphans;
use crate::domain::actor::{Actor, ActorKind, Role};
use crate::domain::faults::crash_point;
use crate::domain::files::OWNER;
use crate::domain::periodic;
use crate::domain::uploads::attempt::Attempt;
use crate::domain::uploads::failure::{Failure, incomplete};
use crate::domain::uploads::publishing;
use crate::domain::uploads::publishing::commit::{StoredFile, commit};
use crate::domain::uploads::receiving::target::Target;
use crate::domain::uploads::row::{self, Digest, Lease};
use crate::domain::{Context, Error, Result};
use crate::stores::s3::{self, StoredObject};

/// Maximum number of attempts per pass.
const BATCH: usize = 50;
/// Limits the time that expired attempts wait for a slow store to list its multipart uploads.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(diesel::QueryableByName)]
struct Expired {
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

/// Runs a pass several times per lease and a sweep once per lease, forever.
pub async fn run(ctx: Context) {
    let lease = ctx.config.upload.lease;
    tokio::join!(periodic::run(periodic::lease_check_pause(lease), || run_passes(&ctx)), periodic::run(lease, || sweep_orphans(&ctx)),);
}

/// Runs passes until one settles less than a full batch.
async fn run_passes(ctx: &Context) {
    loop {
        match pass(ctx).await {
            Ok(0) => return,
            Ok(count) => {
                log::info!("settled {count} expired upload(s)");
                if count < BATCH {
                    return;
                }
            }
            Err(error) => return log::warn!("expired uploads could not be checked: {error}"),
        }
    }
}

async fn sweep_orphans(ctx: &Context) {
    match tokio::time::timeout(SWEEP_TIMEOUT, orphans::sweep(ctx)).await.unwrap_or(Ok(0)) {
        Ok(0) => {}
        Ok(count) => log::info!("aborted {count} orphaned multipart upload(s)"),
        Err(error) => log::debug!("multipart uploads could not be checked: {error}"),
    }
}

/// Settles expired attempts and returns their number. Safe to run on several replicas at once.
pub async fn pass(ctx: &Context) -> Result<usize> {
    let expired = claim(ctx).await?;
    let mut settled = 0;
    for row in expired {
        let id = row.id;
        match settle(ctx, row).await {
            Ok(()) => settled += 1,
            // Retried after its new lease expires.
            Err(error) => log::warn!("the upload {id} was not settled: {error}"),
        }
    }
    if let Err(error) = delete_part_records(ctx).await {
        log::warn!("part records of ended uploads could not be deleted: {error}");
    }
    Ok(settled)
}

/// Deletes the part records of ended uploads.
async fn delete_part_records(ctx: &Context) -> Result<()> {
    ctx.db
        .run(async |conn| {
            let deletion = diesel::sql_query(
                "DELETE FROM upload_parts WHERE id IN
             (SELECT p.id FROM upload_parts p JOIN files f ON f.id = p.file_id WHERE f.state <> 'pending'
              LIMIT 1000 FOR UPDATE OF p SKIP LOCKED)",
            );
            deletion.execute(conn).await?;
            Ok(())
        })
        .await
}

/// Gives each expired attempt a new lease, so that its previous holder can no longer write.
async fn claim(ctx: &Context) -> Result<Vec<Expired>> {
    ctx.db
        .run(async |conn| {
            let seconds = i64::try_from(ctx.config.upload.lease.as_secs()).unwrap_or(900);
            let keep = i64::try_from(ctx.config.upload.keep.as_secs()).unwrap_or(604_800);
            // Resumable uploads are kept longer, unless they expired while being published.
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
            .load(conn)
            .await;
            claimed.map_err(Error::from)
        })
        .await
}

async fn settle(ctx: &Context, expired: Expired) -> Result<()> {
    crash_point("reaper::claimed")?;
    let lease = Lease::on(expired.id, expired.lease);
    let actor = Actor {
        tenant: expired.tenant_id,
        kind: if expired.uploaded_by.is_some() { ActorKind::User } else { ActorKind::System },
        id: expired.uploaded_by,
        label: expired.uploaded_by_label,
        role: Role::Editor,
        address: None,
        request_id: String::new(),
    };
    let target = Target {
        batch: expired.batch_id,
        bucket: expired.bucket,
        key: expired.object_key,
        name: expired.name,
        content_type: expired.content_type,
        overwrite: expired.overwrite,
    };
    match ctx.s3.head(&target.bucket, &target.key, None).await {
        Ok(head) if head.metadata.iter().any(|(name, value)| name == OWNER && *value == expired.id.to_string()) => {
            let digest = Digest { size: i64::try_from(head.size).unwrap_or(i64::MAX), sha256: expired.sha256.unwrap_or_default() };
            if !row::claim_key(ctx, lease, &target, &digest).await? {
                return Err(publishing::key_busy());
            }
            // From here on, no one else publishes this key; someone may have until now.
            match ctx.s3.head(&target.bucket, &target.key, None).await?.etag {
                etag if etag == head.etag => {
                    let stored = StoredObject { etag, version_id: head.version_id };
                    let attempt = Attempt { ctx: ctx.clone(), actor, lease, target, multipart: expired.s3_upload_id };
                    let is_held = !commit(&[StoredFile { attempt, digest, stored }]).await?.is_empty();
                    if is_held { Ok(()) } else { Err(row::lease_lost()) }
                }
                _ => Err(publishing::key_busy()),
            }
        }
        Ok(_) | Err(s3::Error::NoSuchKey | s3::Error::AccessDenied) if expired.stays_open => row::release(ctx, lease).await,
        // Another object, or none: undo what this attempt has stored.
        // On AWS, a key that may not list buckets receives 403 for missing objects.
        Ok(_) | Err(s3::Error::NoSuchKey | s3::Error::NoSuchBucket | s3::Error::AccessDenied | s3::Error::InvalidKey(_)) => {
            let attempt = Attempt { ctx: ctx.clone(), actor, lease, target, multipart: expired.s3_upload_id };
            attempt.fail(&Failure::of(&incomplete("The upload was interrupted before the file was complete."))).await;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
