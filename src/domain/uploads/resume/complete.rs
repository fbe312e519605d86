//! The end of a resumable upload: published where all parts are there, or given up.

use sha2::Digest as _;
use uuid::Uuid;

use super::count;
use super::part::restored;
use super::row::{self, Row};
use crate::domain::actor::Actor;
use crate::domain::faults::crash_point;
use crate::domain::uploads::File;
use crate::domain::uploads::attempt::{Attempt, Beating};
use crate::domain::uploads::failure::{CANCELLED, Failure};
use crate::domain::uploads::publish::{self, Whole};
use crate::domain::uploads::row::{Digest, Lease};
use crate::domain::{Context, Error, Result};

/// Publishes the upload once all its parts are stored; the file that it has become, also when asked again. `sha256`
/// is what the sender says of the whole; `overwrite`, where it is not what was said at the begin. Refused where parts are
/// missing, Conflict where an object is there and may not be replaced: the upload stays open then.
pub async fn complete(
    ctx: &Context,
    actor: &Actor,
    bucket: &str,
    id: Uuid,
    overwrite: Option<bool>,
    sha256: Option<Vec<u8>>,
) -> Result<File> {
    let mut found = row::find(ctx, actor, bucket, id).await?;
    match found.file.state.as_str() {
        "pending" => {}
        "failed" => return Err(found.over()),
        _ => return Ok(found.file.into_file(ctx)),
    }
    let parts = row::parts(ctx, id).await?;
    let wanted = count(found.length(), found.part_size());
    if parts.len() as u64 != wanted {
        return Err(Error::refused("number", format!("Of {wanted} parts {} are stored. Send the others first.", parts.len())));
    }
    let whole = restored(found.hash_state.as_deref())?.finalize().to_vec();
    if sha256.is_some_and(|told| told != whole) {
        return Err(Error::refused("digest", "What has arrived is not what its digest says. It was not stored."));
    }
    found.overwrite = overwrite.unwrap_or(found.overwrite);
    let lease = row::take(ctx, &found).await?;
    crash_point("resume::taken")?;
    let digest = Digest { size: i64::try_from(found.length()).unwrap_or(i64::MAX), sha256: whole };
    let attempt = attempt(ctx, actor, &found, lease);
    let receipts = parts.into_iter().map(|(_, receipt)| receipt).collect();
    ctx.run_to_completion(async move {
        let _beating = Beating::start(&attempt.ctx, vec![lease]);
        publish::publish_or_release(attempt, Whole::Parts(receipts), digest).await
    })
    .await
}

/// Ends the upload and gives up what is stored of it.
pub async fn abort(ctx: &Context, actor: &Actor, bucket: &str, id: Uuid) -> Result<()> {
    let found = row::find(ctx, actor, bucket, id).await?;
    match found.file.state.as_str() {
        "pending" => give_up(ctx, actor, found, CANCELLED[0]).await,
        "failed" => Ok(()),
        _ => Err(found.over()),
    }
}

pub(super) async fn give_up(ctx: &Context, actor: &Actor, found: Row, why: &'static str) -> Result<()> {
    let lease = row::take(ctx, &found).await?;
    let attempt = attempt(ctx, actor, &found, lease);
    ctx.run_to_completion(async move { attempt.undo(&Failure::cancelled(why)).await }).await
}

fn attempt(ctx: &Context, actor: &Actor, found: &Row, lease: Lease) -> Attempt {
    Attempt { ctx: ctx.clone(), actor: actor.clone(), lease, target: found.target(), multipart: found.s3_upload_id.clone() }
}
