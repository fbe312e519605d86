//! Publishes received parts as an object: the claim on the key, the store, the row.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::File;
use super::attempt::Attempt;
use super::failure::Failure;
use super::receiver;
use super::row::{self, Digest};
use crate::clock;
use crate::domain::faults::crash_point;
use crate::domain::files::{FileState, OWNER};
use crate::domain::secrets::hex;
use crate::domain::{Error, Result};
use crate::stores::s3::{self, PartReceipt, PutOptions, StoredObject};

/// How long to wait for another upload that is publishing the same key.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(20);

/// The received content.
pub(super) enum Content {
    /// A file smaller than one part, in memory.
    Body(Bytes),
    Parts(Vec<PartReceipt>),
}

pub(super) async fn publish(attempt: Attempt, content: Content, digest: Digest) -> Result<File> {
    match try_publish(&attempt, content, &digest).await {
        Ok(file) => Ok(file),
        Err(error) if is_uncertain(&error) => Err(error),
        Err(error) => {
            attempt.fail(&Failure::of(&error)).await;
            Err(error)
        }
    }
}

/// Like [`publish`], but the parts are kept: if an existing object prevents publishing, the upload stays pending.
pub(super) async fn publish_or_release(attempt: Attempt, content: Content, digest: Digest) -> Result<File> {
    match try_publish(&attempt, content, &digest).await {
        // The upload no longer exists at the store, or will never accept the recorded parts.
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

/// Whether the store may have published the object despite the error: the reaper checks and commits or undoes it.
pub(super) fn is_uncertain(error: &Error) -> bool {
    matches!(error, Error::S3(s3::Error::Unreachable(_) | s3::Error::Other(_)) | Error::Postgres(_) | Error::Internal(_))
}

/// The reason for users, on the row and in the response.
pub(super) fn sentence(error: &Error) -> String {
    match error {
        Error::S3(s3::Error::NoSpace) => "The store has no space left.".into(),
        Error::S3(s3::Error::AccessDenied) => "The store denied access: Larder's key may not write here.".into(),
        Error::S3(s3::Error::NoSuchBucket | s3::Error::NoSuchKey) => "The bucket no longer exists.".into(),
        Error::S3(s3::Error::ChecksumMismatch) => "The data received by the store did not match its checksum. Try again.".into(),
        Error::S3(s3::Error::NoSuchUpload) => "The upload no longer exists at the store.".into(),
        Error::S3(s3::Error::InvalidKey(_)) => "The store does not accept this name.".into(),
        Error::S3(s3::Error::SlowDown) => "The store is overloaded. Try again in a moment.".into(),
        Error::S3(s3::Error::Other(_)) => "The store returned an internal error. Try again, or contact its operator.".into(),
        Error::S3(_) => "The store did not respond in time. Try again.".into(),
        Error::Postgres(_) => "The database did not respond in time. Try again.".into(),
        other => other.to_string(),
    }
}

async fn try_publish(attempt: &Attempt, content: Content, digest: &Digest) -> Result<File> {
    let Attempt { ctx, lease, target, .. } = attempt;
    let deadline = tokio::time::Instant::now() + CLAIM_TIMEOUT;
    while !row::claim_key(ctx, *lease, target, digest).await? {
        if tokio::time::Instant::now() > deadline {
            return Err(key_busy());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let claimed = Instant::now();
    crash_point("upload::key_claimed")?;
    let stored = store_object(attempt, content, claimed).await?;
    crash_point("upload::stored")?;
    match row::commit(ctx, &attempt.actor, *lease, target, digest, &stored).await {
        Err(Error::Cancelled(_)) if row::is_committed(ctx, lease.file, &stored.etag).await? => {}
        committed => committed?,
    }
    crash_point("upload::committed")?;
    Ok(finished(attempt, digest, stored))
}

pub(super) fn key_busy() -> Error {
    Error::Busy { why: "Another upload with this name is being stored. Try again.".into(), retry_after: Duration::from_secs(2) }
}

/// Stores the object under its key, for an attempt that has held the claim on the key since `claimed`.
pub(super) async fn store_object(attempt: &Attempt, content: Content, claimed: Instant) -> Result<StoredObject> {
    let Attempt { ctx, lease, target, .. } = attempt;
    let only_if_absent = !target.overwrite;
    if only_if_absent && !ctx.s3.refuses_to_replace() {
        // The claim makes the check safe against other uploads through Larder.
        receiver::check_absent(ctx, target).await?;
    }
    row::confirm(ctx, *lease, claimed).await?;
    let stored = match content {
        Content::Body(body) => {
            let id = lease.file.to_string();
            let metadata = [(OWNER, id.as_str())];
            let options = PutOptions { content_type: &target.content_type, metadata: &metadata, only_if_absent };
            ctx.s3.put(&target.bucket, &target.key, body, &options).await
        }
        Content::Parts(parts) => {
            let upload = attempt.multipart.as_deref().unwrap_or_default();
            ctx.s3.complete_multipart(&target.bucket, &target.key, upload, &parts, only_if_absent).await
        }
    };
    match stored {
        Ok(stored) => Ok(stored),
        Err(error @ s3::Error::Unreachable(_)) => Err(error.into()),
        // Possibly the response to a retry, after the request whose response was lost stored the object.
        Err(error) => match find_own_object(attempt).await {
            Ok(Some(stored)) => Ok(stored),
            Ok(None) if error == s3::Error::PreconditionFailed => Err(already_exists(&target.name)),
            Ok(None) => Err(error.into()),
            Err(head_error) => {
                Err(s3::Error::Unreachable(format!("{error}, and it is unknown whether the object was stored: {head_error}")).into())
            }
        },
    }
}

/// The object, if this upload created it.
async fn find_own_object(attempt: &Attempt) -> std::result::Result<Option<StoredObject>, s3::Error> {
    let head = match attempt.ctx.s3.head(&attempt.target.bucket, &attempt.target.key, None).await {
        Ok(head) => head,
        // If the key may not read objects, the store's first response counts.
        Err(s3::Error::NoSuchKey | s3::Error::NoSuchBucket | s3::Error::AccessDenied | s3::Error::InvalidKey(_)) => return Ok(None),
        Err(head_error) => return Err(head_error),
    };
    let id = attempt.lease.file.to_string();
    let is_own = head.metadata.iter().any(|(name, value)| name == OWNER && *value == id);
    Ok(is_own.then_some(StoredObject { etag: head.etag, version_id: head.version_id }))
}

pub(super) fn already_exists(name: &str) -> Error {
    Error::Conflict(format!("{name} already exists and was not replaced."))
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
