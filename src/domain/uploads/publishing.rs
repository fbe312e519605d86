//! The publish path of all uploads: the claim on the key, the object, the rows. A single file is a batch of one.

pub(super) mod batch;
pub(super) mod commit;

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;

use super::File;
use super::attempt::Attempt;
use super::failure::Failure;
use super::receiving::receiver;
use super::row::{self, Digest};
use crate::clock;
use crate::domain::faults::crash_point;
use crate::domain::files::{FileState, OWNER};
use crate::domain::secrets::hex;
use crate::domain::{Error, Result};
use crate::stores::s3::{self, PartReceipt, PutOptions, StoredObject};
use commit::{StoredFile, commit, is_committed};

/// Concurrent requests to the store per batch.
const CONCURRENCY: usize = 16;
/// How long to wait for another upload that is publishing the same key.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(20);

/// The received content.
pub(super) enum Content {
    /// A file smaller than one part, in memory.
    Body(Bytes),
    Parts(Vec<PartReceipt>),
}

/// A file that was received completely, and its attempt.
pub(super) struct ReceivedFile {
    pub attempt: Attempt,
    pub content: Content,
    pub digest: Digest,
}

/// What happens to an attempt whose file was not stored.
#[derive(Clone, Copy)]
pub(super) enum OnFailure {
    /// Its parts are deleted, and its row becomes `failed`.
    Undo,
    /// Its parts are kept and its row stays `pending`, so that the sender can complete it later.
    Release,
}

/// Publishes one file, after other uploads that are publishing the same key. Must not be cancelled.
pub(super) async fn publish(file: ReceivedFile, on_failure: OnFailure) -> Result<File> {
    let claimed = match claim(&file).await {
        Ok(claimed) => claimed,
        Err(error) => return Err(clean_up(&file.attempt, error, on_failure).await),
    };
    let published = publish_claimed(vec![file], claimed, on_failure).await;
    published.into_iter().next().unwrap_or_else(|| Err(Error::Internal("publishing returned no outcome".into())))
}

/// Publishes files whose rows have held the claims on their keys since `claimed`, and returns the outcomes in order:
/// stores the objects, then commits the rows of those that were stored. All files belong to one actor and one bucket.
/// Must not be cancelled.
pub(super) async fn publish_claimed(files: Vec<ReceivedFile>, claimed: Instant, on_failure: OnFailure) -> Vec<Result<File>> {
    let is_batch = files.len() > 1;
    let storing = files.into_iter().enumerate().map(async |(at, file)| (at, store(file, claimed, on_failure, is_batch).await));
    let mut storing = futures_util::stream::iter(storing).buffer_unordered(CONCURRENCY);
    let (mut places, mut stored, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
    while let Some((at, outcome)) = storing.next().await {
        match outcome {
            Ok(file) => {
                places.push(at);
                stored.push(file);
            }
            Err(error) => outcomes.push((at, Err(error))),
        }
    }
    drop(storing);
    outcomes.extend(places.into_iter().zip(commit_all(stored, is_batch).await));
    outcomes.sort_by_key(|(at, _)| *at);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Waits until the key is free and claims it. Returns when the claim was granted.
async fn claim(file: &ReceivedFile) -> Result<Instant> {
    let Attempt { ctx, lease, target, .. } = &file.attempt;
    let deadline = tokio::time::Instant::now() + CLAIM_TIMEOUT;
    while !row::claim_key(ctx, *lease, target, &file.digest).await? {
        if tokio::time::Instant::now() > deadline {
            return Err(key_busy());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let claimed = Instant::now();
    crash_point("upload::key_claimed")?;
    Ok(claimed)
}

async fn store(file: ReceivedFile, claimed: Instant, on_failure: OnFailure, is_batch: bool) -> Result<StoredFile> {
    let ReceivedFile { attempt, content, digest } = file;
    let stored = async {
        let stored = store_object(&attempt, content, claimed).await?;
        if is_batch {
            crash_point("batch::stored")?;
        } else {
            crash_point("upload::stored")?;
        }
        Ok(stored)
    };
    match stored.await {
        Ok(stored) => Ok(StoredFile { attempt, digest, stored }),
        Err(error) => Err(clean_up(&attempt, error, on_failure).await),
    }
}

async fn commit_all(files: Vec<StoredFile>, is_batch: bool) -> Vec<Result<File>> {
    let committed = commit(&files).await.and_then(|ids| {
        if is_batch {
            crash_point("batch::committed")?;
        } else {
            crash_point("upload::committed")?;
        }
        Ok(ids)
    });
    let ids = match committed {
        Ok(ids) => ids,
        Err(error) => return repeat_error(error, files.len()),
    };
    let mut outcomes = Vec::with_capacity(files.len());
    for StoredFile { attempt, digest, stored } in files {
        let file = attempt.lease.file;
        let is_ready = ids.contains(&file) || is_committed(&attempt.ctx, file, &stored.etag).await.unwrap_or_default();
        outcomes.push(if is_ready { Ok(finished(&attempt, &digest, stored)) } else { Err(row::lease_lost()) });
    }
    outcomes
}

/// Reports one database error for every file of a batch.
pub(super) fn repeat_error(error: Error, count: usize) -> Vec<Result<File>> {
    std::iter::repeat_with(|| Err(error.clone())).take(count).collect()
}

/// Undoes or releases an attempt whose file was not stored, and returns the error for its sender. If the object may
/// have been stored, the attempt is left to the reaper.
async fn clean_up(attempt: &Attempt, error: Error, on_failure: OnFailure) -> Error {
    // The store will never accept the recorded parts.
    let is_final = matches!(error, Error::S3(s3::Error::NoSuchUpload | s3::Error::ChecksumMismatch));
    match on_failure {
        _ if is_uncertain(&error) => error,
        OnFailure::Release if !is_final => row::release(&attempt.ctx, attempt.lease).await.err().unwrap_or(error),
        OnFailure::Undo | OnFailure::Release => {
            attempt.fail(&Failure::of(&error)).await;
            error
        }
    }
}

/// Whether the store may have published the object despite the error: the reaper checks and commits or undoes it.
fn is_uncertain(error: &Error) -> bool {
    matches!(error, Error::S3(s3::Error::Unreachable(_) | s3::Error::Other(_)) | Error::Postgres(_) | Error::Internal(_))
}

pub(super) fn key_busy() -> Error {
    Error::Busy { why: "Another upload with this name is being stored. Try again.".into(), retry_after: Duration::from_secs(2) }
}

/// Stores the object under its key, for an attempt that has held the claim on the key since `claimed`.
async fn store_object(attempt: &Attempt, content: Content, claimed: Instant) -> Result<StoredObject> {
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

fn finished(attempt: &Attempt, digest: &Digest, stored: StoredObject) -> File {
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
