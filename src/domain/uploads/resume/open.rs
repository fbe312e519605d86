//! Creates a resumable upload, or finds an existing one.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::row::{self, Row};
use super::{Resumable, complete};
use crate::clock;
use crate::domain::actor::Actor;
use crate::domain::faults::crash_point;
use crate::domain::uploads::attempt::Attempt;
use crate::domain::uploads::receiving::receiver::{Receiver, check, check_absent, check_similar};
use crate::domain::uploads::row::Lease;
use crate::domain::uploads::streaming::parts::{MAX_PARTS, create_multipart, part_size};
use crate::domain::{Context, Error, Result};

/// How long to wait after a row's creation for its multipart upload, before another request creates it.
const CREATE_TIMEOUT: Duration = Duration::from_secs(2);

/// A file to send, or to continue sending.
#[derive(Clone, Debug)]
pub struct ResumeRequest<'a> {
    pub name: &'a str,
    pub content_type: Option<&'a str>,
    /// In bytes.
    pub length: u64,
    /// Identifies the file for its sender: 1 to 200 characters of the sender's choice.
    pub fingerprint: &'a str,
    /// Cancel a pending upload of another file to the same key.
    pub restart: bool,
}

/// The actor's pending upload of this file to this key, otherwise a new one. Refused("restart") if an upload of another
/// file is pending, Conflict if an object exists and may not be replaced.
pub async fn open(receiver: &Receiver, request: &ResumeRequest<'_>) -> Result<Resumable> {
    let (ctx, actor) = (&receiver.ctx, &receiver.actor);
    let target = receiver.target(request.name, request.content_type);
    check(ctx, &target)?;
    if !(1..=200).contains(&request.fingerprint.chars().count()) || request.fingerprint.contains('\0') {
        return Err(Error::refused("fingerprint", "The field fingerprint must have 1 to 200 characters."));
    }
    let max = ctx.config.upload.max_size;
    if request.length > max {
        return Err(Error::TooLarge(format!("The file is larger than the limit of {max} bytes.")));
    }
    if request.length == 0 {
        return Err(Error::refused("length", "An empty file cannot be resumed. Send it with the form."));
    }
    let part_size = part_size(Some(request.length), ctx.upload_memory.total()) as u64;
    if super::count(request.length, part_size) > u64::try_from(MAX_PARTS).unwrap_or_default() {
        return Err(Error::TooLarge("The file has too many parts. Increase UPLOAD_MEMORY to upload it.".into()));
    }
    let mut is_new = false;
    // A row that another tab inserts in the meantime is found in the next iteration.
    for _ in 0..4 {
        if let Some(found) = row::find_pending(ctx, actor, &target.bucket, &target.key).await? {
            if found.file.fingerprint.as_deref() == Some(request.fingerprint) && found.length() == request.length {
                row::resume(ctx, found.file.id, target.overwrite).await?;
                let found = if is_new { found } else { wait_for_multipart(ctx, actor, found).await? };
                if found.is_pending() {
                    return ensure_multipart(ctx, actor, found).await;
                }
                continue;
            }
            if !request.restart {
                let why = "An upload of another file with this name is pending, or this file has changed since. \
                           Choose the other file to resume it, or start over with this one.";
                return Err(Error::refused("restart", why));
            }
            complete::cancel(ctx, actor, found, "Replaced by an upload of a different file.").await?;
        }
        check_absent(ctx, &target).await?;
        check_similar(ctx, &target).await?;
        is_new = row::insert(ctx, actor, &target, request, part_size).await?;
        if is_new {
            crash_point("resume::row_written")?;
        }
    }
    Err(ended_elsewhere())
}

fn ended_elsewhere() -> Error {
    Error::Conflict("The upload was ended elsewhere.".into())
}

/// The state of the upload, whether pending or ended.
pub async fn state(ctx: &Context, actor: &Actor, bucket: &str, id: Uuid) -> Result<Resumable> {
    let found = row::find(ctx, actor, bucket, id).await?;
    let parts = row::parts(ctx, id).await?.into_iter().map(|(part, _)| part).collect();
    Ok(found.into_resumable(ctx, parts))
}

/// Ensures that its multipart upload exists at the store; a crash may have prevented its creation.
async fn ensure_multipart(ctx: &Context, actor: &Actor, found: Row) -> Result<Resumable> {
    let id = found.file.id;
    if found.s3_upload_id.is_none() {
        let lease = Lease::on(id, Uuid::nil());
        let attempt = Attempt { ctx: ctx.clone(), actor: actor.clone(), lease, target: found.target(), multipart: None };
        let upload = create_multipart(&attempt).await?;
        crash_point("resume::multipart_begun")?;
        if !row::set_multipart(ctx, id, &upload).await? {
            if let Err(error) = ctx.s3.abort_multipart(&found.file.bucket, &found.file.object_key, &upload).await {
                log::warn!("a duplicate multipart upload of {} is left to the sweep: {error}", found.file.object_key);
            }
            if !row::find(ctx, actor, &found.file.bucket, id).await?.is_pending() {
                return Err(ended_elsewhere());
            }
        }
        crash_point("resume::multipart_recorded")?;
    }
    let parts = row::parts(ctx, id).await?.into_iter().map(|(part, _)| part).collect();
    Ok(found.into_resumable(ctx, parts))
}

/// If several tabs start at the same time, the one that inserted the row creates the multipart upload and the others
/// wait for it, because SeaweedFS aborts uploads of one key one by one, at a second each. The owner of an older row
/// has crashed or failed.
async fn wait_for_multipart(ctx: &Context, actor: &Actor, mut found: Row) -> Result<Row> {
    let age = (clock::now() - found.file.created_at).to_std().unwrap_or_default();
    let deadline = Instant::now() + CREATE_TIMEOUT.saturating_sub(age);
    let mut pause = Duration::from_millis(50);
    while found.s3_upload_id.is_none() && found.is_pending() && Instant::now() < deadline {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(400));
        found = row::find(ctx, actor, &found.file.bucket, found.file.id).await?;
    }
    Ok(found)
}
