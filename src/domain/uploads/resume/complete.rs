//! Ends a resumable upload: publishes it when all parts are stored, or cancels it.

use sha2::Digest as _;
use uuid::Uuid;

use super::count;
use super::part::restore_hash;
use super::row::{self, Row};
use crate::domain::actor::Actor;
use crate::domain::faults::crash_point;
use crate::domain::files::FileState;
use crate::domain::uploads::File;
use crate::domain::uploads::attempt::{Attempt, Heartbeat};
use crate::domain::uploads::failure::Failure;
use crate::domain::uploads::publishing::{self, Content, OnFailure, ReceivedFile};
use crate::domain::uploads::row::{Digest, Lease};
use crate::domain::{Context, Error, Result};

/// Publishes the upload once all its parts are stored, and returns the file; idempotent. `sha256` is the expected
/// hash of the whole file; `overwrite` replaces the value given when the upload was created. Refused if parts are
/// missing, Conflict if an object exists and may not be replaced: the upload then stays pending.
pub async fn complete(
    ctx: &Context,
    actor: &Actor,
    bucket: &str,
    id: Uuid,
    overwrite: Option<bool>,
    sha256: Option<Vec<u8>>,
) -> Result<File> {
    let mut found = row::find(ctx, actor, bucket, id).await?;
    match found.file.state {
        FileState::Pending => {}
        FileState::Failed | FileState::Cancelled => return Err(found.ended_error()),
        _ => return Ok(found.file.into_file(ctx)),
    }
    let parts = row::parts(ctx, id).await?;
    let total = count(found.length(), found.part_size());
    if parts.len() as u64 != total {
        return Err(Error::refused("number", format!("{} of {total} parts are stored. Send the others first.", parts.len())));
    }
    let computed = restore_hash(found.hash_state.as_deref())?.finalize().to_vec();
    if sha256.is_some_and(|expected| expected != computed) {
        return Err(Error::refused("digest", "The received data does not match its digest. The file was not stored."));
    }
    found.overwrite = overwrite.unwrap_or(found.overwrite);
    let lease = row::take_lease(ctx, &found).await?;
    crash_point("resume::taken")?;
    let digest = Digest { size: i64::try_from(found.length()).unwrap_or(i64::MAX), sha256: computed };
    let attempt = attempt(ctx, actor, &found, lease);
    let receipts = parts.into_iter().map(|(_, receipt)| receipt).collect();
    ctx.run_to_completion(async move {
        let _heartbeat = Heartbeat::start(&attempt.ctx, vec![lease]);
        publishing::publish(ReceivedFile { attempt, content: Content::Parts(receipts), digest }, OnFailure::Release).await
    })
    .await
}

/// Cancels the upload and deletes its parts.
pub async fn abort(ctx: &Context, actor: &Actor, bucket: &str, id: Uuid) -> Result<()> {
    let found = row::find(ctx, actor, bucket, id).await?;
    match found.file.state {
        FileState::Pending => cancel(ctx, actor, found, "It was cancelled.").await,
        FileState::Failed | FileState::Cancelled => Ok(()),
        _ => Err(found.ended_error()),
    }
}

pub(super) async fn cancel(ctx: &Context, actor: &Actor, found: Row, why: &str) -> Result<()> {
    let lease = row::take_lease(ctx, &found).await?;
    let (attempt, failure) = (attempt(ctx, actor, &found, lease), Failure::cancelled(why));
    ctx.run_to_completion(async move { attempt.undo(&failure).await }).await
}

fn attempt(ctx: &Context, actor: &Actor, found: &Row, lease: Lease) -> Attempt {
    Attempt { ctx: ctx.clone(), actor: actor.clone(), lease, target: found.target(), multipart: found.s3_upload_id.clone() }
}
