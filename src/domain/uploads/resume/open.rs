//! Begins a resumable upload, or finds the one that was begun.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::row::{self, Row};
use super::{Resumable, complete};
use crate::clock;
use crate::domain::actor::Actor;
use crate::domain::faults::crash_point;
use crate::domain::uploads::attempt::Attempt;
use crate::domain::uploads::failure::CANCELLED;
use crate::domain::uploads::parts::{MAX_PARTS, create_multipart, part_size};
use crate::domain::uploads::receiver::{Receiver, check, look_first};
use crate::domain::uploads::row::Lease;
use crate::domain::{Context, Error, Result};

/// How long after its row an upload is waited for to be begun at the store, before another begins it.
const BEGINNING: Duration = Duration::from_secs(2);

/// A file that somebody wants to send, or to go on sending.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    pub name: &'a str,
    pub content_type: Option<&'a str>,
    /// Bytes.
    pub length: u64,
    /// By which the sender knows the very same file again: 1 to 200 characters of its own making.
    pub fingerprint: &'a str,
    /// Give up an unfinished upload of another file to the same key.
    pub anew: bool,
}

/// The actor's open upload of this file to this key, else a new one. Refused{"anew"} where one of another file is
/// open, Conflict where an object is there that may not be replaced.
pub async fn open(receiver: &Receiver, wanted: &Wanted<'_>) -> Result<Resumable> {
    let (ctx, actor) = (&receiver.ctx, &receiver.actor);
    let target = receiver.target(wanted.name, wanted.content_type);
    check(ctx, &target)?;
    if !(1..=200).contains(&wanted.fingerprint.chars().count()) || wanted.fingerprint.contains('\0') {
        return Err(Error::refused("fingerprint", "The field fingerprint has 1 to 200 characters."));
    }
    let most = ctx.config.upload.max_size;
    if wanted.length > most {
        return Err(Error::TooLarge(format!("The file is larger than the {most} bytes that Larder takes.")));
    }
    if wanted.length == 0 {
        return Err(Error::refused("length", "An empty file has nothing to resume: send it with the form."));
    }
    let part_size = part_size(Some(wanted.length), ctx.upload_memory.total()) as u64;
    if super::count(wanted.length, part_size) > u64::try_from(MAX_PARTS).unwrap_or_default() {
        return Err(Error::TooLarge("The file has too many parts. With a larger UPLOAD_MEMORY it would fit.".into()));
    }
    let mut is_new = false;
    // What another tab inserts meanwhile is found the next time.
    for _ in 0..4 {
        if let Some(found) = row::find_open(ctx, actor, &target.bucket, &target.key).await? {
            if found.file.fingerprint.as_deref() == Some(wanted.fingerprint) && found.length() == wanted.length {
                row::go_on(ctx, found.file.id, target.overwrite).await?;
                let found = if is_new { found } else { begun_by_another(ctx, actor, found).await? };
                if found.is_open() {
                    return ready_to_go_on(ctx, actor, found).await;
                }
                continue;
            }
            if !wanted.anew {
                let why = "An unfinished upload of another file of this name is kept, or this file has changed since. \
                           Choose the other file to go on with it, or start over with this one.";
                return Err(Error::refused("anew", why));
            }
            complete::give_up(ctx, actor, found, CANCELLED[1]).await?;
        }
        look_first(ctx, &target).await?;
        is_new = row::insert(ctx, actor, &target, wanted, part_size).await?;
        if is_new {
            crash_point("resume::row_written")?;
        }
    }
    Err(ended_elsewhere())
}

fn ended_elsewhere() -> Error {
    Error::Conflict("The upload was ended from elsewhere.".into())
}

/// How far the upload has come, whatever has become of it.
pub async fn state(ctx: &Context, actor: &Actor, bucket: &str, id: Uuid) -> Result<Resumable> {
    let found = row::find(ctx, actor, bucket, id).await?;
    let parts = row::parts(ctx, id).await?.into_iter().map(|(part, _)| part).collect();
    Ok(found.into_resumable(ctx, parts))
}

/// With its multipart upload at the store, which a crash may have prevented so far.
async fn ready_to_go_on(ctx: &Context, actor: &Actor, found: Row) -> Result<Resumable> {
    let id = found.file.id;
    if found.s3_upload_id.is_none() {
        let lease = Lease::on(id, Uuid::nil());
        let attempt = Attempt { ctx: ctx.clone(), actor: actor.clone(), lease, target: found.target(), multipart: None };
        let upload = create_multipart(&attempt).await?;
        crash_point("resume::multipart_begun")?;
        if !row::keep_multipart(ctx, id, &upload).await? {
            if let Err(error) = ctx.s3.abort_multipart(&found.file.bucket, &found.file.object_key, &upload).await {
                log::warn!("a second multipart upload of {} is left to the sweep: {error}", found.file.object_key);
            }
            if !row::find(ctx, actor, &found.file.bucket, id).await?.is_open() {
                return Err(ended_elsewhere());
            }
        }
        crash_point("resume::multipart_recorded")?;
    }
    let parts = row::parts(ctx, id).await?.into_iter().map(|(part, _)| part).collect();
    Ok(found.into_resumable(ctx, parts))
}

/// Of tabs that begin at once the one whose row it is asks the store, and the others wait for it: SeaweedFS gives up
/// uploads of one key in turn, a second each. Whoever made an older row died or failed before it was begun.
async fn begun_by_another(ctx: &Context, actor: &Actor, mut found: Row) -> Result<Row> {
    let age = (clock::now() - found.file.created_at).to_std().unwrap_or_default();
    let deadline = Instant::now() + BEGINNING.saturating_sub(age);
    let mut pause = Duration::from_millis(50);
    while found.s3_upload_id.is_none() && found.is_open() && Instant::now() < deadline {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(400));
        found = row::find(ctx, actor, &found.file.bucket, found.file.id).await?;
    }
    Ok(found)
}
