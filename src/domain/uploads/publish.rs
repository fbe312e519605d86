//! From parts that have arrived to an object that people see: the lease on the key, the store, the row.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::attempt::Attempt;
use super::failure::Failure;
use super::receiver;
use super::row::{self, Digest};
use super::{File, FileState, OWNER};
use crate::clock;
use crate::domain::faults::crash_point;
use crate::domain::secrets::hex;
use crate::domain::{Error, Result};
use crate::stores::s3::{self, PartReceipt, PutOptions, StoredObject};

/// How long to wait for another upload that is publishing the same key.
const PATIENCE: Duration = Duration::from_secs(20);

/// What has arrived.
pub(super) enum Whole {
    /// A file below one part, in memory.
    Body(Bytes),
    Parts(Vec<PartReceipt>),
}

pub(super) async fn publish(attempt: Attempt, whole: Whole, digest: Digest) -> Result<File> {
    match try_publish(&attempt, whole, &digest).await {
        Ok(file) => Ok(file),
        Err(error) if is_uncertain(&error) => Err(error),
        Err(error) => {
            attempt.fail(&Failure::of(&error)).await;
            Err(error)
        }
    }
}

/// As [`publish`], for what need not be sent again: where another object is in its way it stays as it is.
pub(super) async fn publish_or_release(attempt: Attempt, whole: Whole, digest: Digest) -> Result<File> {
    match try_publish(&attempt, whole, &digest).await {
        // It is gone at the store, or will never take the parts as they are recorded.
        Err(error @ Error::S3(s3::Error::NoSuchUpload | s3::Error::ChecksumMismatch)) => {
            attempt.fail(&Failure::of(&error)).await;
            Err(error)
        }
        Err(error) if !is_uncertain(&error) => {
            row::release(&attempt.ctx, attempt.lease).await?;
            Err(error)
        }
        other => other,
    }
}

/// Whether the store may have published it all the same: the reaper looks, and rolls it forward or undoes it.
pub(super) fn is_uncertain(error: &Error) -> bool {
    matches!(error, Error::S3(s3::Error::Unreachable(_) | s3::Error::Other(_)) | Error::Postgres(_) | Error::Internal(_))
}

/// What a person is told, on the row as in the answer.
pub(super) fn sentence(error: &Error) -> String {
    match error {
        Error::S3(s3::Error::NoSpace) => "The store has no space left.".into(),
        Error::S3(s3::Error::AccessDenied) => "The store refused: Larder's key may not write here.".into(),
        Error::S3(s3::Error::NoSuchBucket | s3::Error::NoSuchKey) => "The bucket does not exist any more.".into(),
        Error::S3(s3::Error::ChecksumMismatch) => "What the store received did not match its checksum. Try again.".into(),
        Error::S3(s3::Error::NoSuchUpload) => "The store does not know this upload any more.".into(),
        Error::S3(s3::Error::InvalidKey(_)) => "The store does not take this name.".into(),
        Error::S3(s3::Error::SlowDown) => "The store has too much to do. Try again in a moment.".into(),
        Error::S3(s3::Error::Other(_)) => "The store answered with an error of its own. Try again, or ask whoever runs it.".into(),
        Error::S3(_) => "The store did not answer in time. Try again.".into(),
        Error::Postgres(_) => "The database did not answer in time. Try again.".into(),
        other => other.to_string(),
    }
}

async fn try_publish(attempt: &Attempt, whole: Whole, digest: &Digest) -> Result<File> {
    let Attempt { ctx, lease, target, .. } = attempt;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !row::claim_key(ctx, *lease, target, digest).await? {
        if tokio::time::Instant::now() > deadline {
            return Err(being_stored());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let claimed = Instant::now();
    crash_point("upload::key_claimed")?;
    let stored = at_store(attempt, whole, claimed).await?;
    crash_point("upload::stored")?;
    match row::commit(ctx, &attempt.actor, *lease, target, digest, &stored).await {
        Err(Error::Cancelled(_)) if row::is_settled(ctx, lease.file, &stored.etag).await? => {}
        committed => committed?,
    }
    crash_point("upload::committed")?;
    Ok(finished(attempt, digest, stored))
}

pub(super) fn being_stored() -> Error {
    Error::Busy { why: "An upload of this name is being stored at this moment. Try again.".into(), retry_after: Duration::from_secs(2) }
}

/// At the store under its key, by an attempt that has held the lease on the key since `claimed`.
pub(super) async fn at_store(attempt: &Attempt, whole: Whole, claimed: Instant) -> Result<StoredObject> {
    let Attempt { ctx, lease, target, .. } = attempt;
    let only_if_absent = !target.overwrite;
    if only_if_absent && !ctx.s3.refuses_to_replace() {
        // The lease makes looking first safe against other uploads of ours.
        receiver::look_first(ctx, target).await?;
    }
    row::confirm(ctx, *lease, claimed).await?;
    let stored = match whole {
        Whole::Body(body) => {
            let id = lease.file.to_string();
            let metadata = [(OWNER, id.as_str())];
            let options = PutOptions { content_type: &target.content_type, metadata: &metadata, only_if_absent };
            ctx.s3.put(&target.bucket, &target.key, body, &options).await
        }
        Whole::Parts(parts) => {
            let upload = attempt.multipart.as_deref().unwrap_or_default();
            ctx.s3.complete_multipart(&target.bucket, &target.key, upload, &parts, only_if_absent).await
        }
    };
    match stored {
        Ok(stored) => Ok(stored),
        Err(error @ s3::Error::Unreachable(_)) => Err(error.into()),
        // Perhaps the answer to a retry, and the request whose answer was lost has stored it.
        Err(error) => match ours(attempt).await {
            Ok(Some(stored)) => Ok(stored),
            Ok(None) if error == s3::Error::PreconditionFailed => Err(exists(&target.name)),
            Ok(None) => Err(error.into()),
            Err(fault) => Err(s3::Error::Unreachable(format!("{error}, and whether it is stored is not known: {fault}")).into()),
        },
    }
}

/// The object, if this very upload has made it.
async fn ours(attempt: &Attempt) -> std::result::Result<Option<StoredObject>, s3::Error> {
    let head = match attempt.ctx.s3.head(&attempt.target.bucket, &attempt.target.key, None).await {
        Ok(head) => head,
        // Where the key may not look, the store's first answer stands.
        Err(s3::Error::NoSuchKey | s3::Error::NoSuchBucket | s3::Error::AccessDenied | s3::Error::InvalidKey(_)) => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let id = attempt.lease.file.to_string();
    let made_by_us = head.metadata.iter().any(|(name, value)| name == OWNER && *value == id);
    Ok(made_by_us.then_some(StoredObject { etag: head.etag, version_id: head.version_id }))
}

pub(super) fn exists(name: &str) -> Error {
    Error::Conflict(format!("{name} is there already, and was left as it is."))
}

pub(super) fn finished(attempt: &Attempt, digest: &Digest, stored: StoredObject) -> File {
    File {
        size: Some(digest.size),
        sha256: Some(hex(&digest.sha256)),
        etag: Some(stored.etag),
        state: FileState::Ready,
        activity: None,
        finished_at: Some(clock::now()),
        ..attempt.describe()
    }
}
