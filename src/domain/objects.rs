//! Objects: listing, details, download, links, folders, deletion.

mod delete;
pub mod deletions;
mod download;
mod listing;

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::actor::Actor;
use super::audit::{self, Action, Outcome};
use super::names::{BucketName, ObjectKey};
use super::s3_sentences::bucket_not_found;
use super::{Context, Error, Result, files, s3_sentences};
use crate::clock;
use crate::stores::s3;

pub use super::files::Origin;
pub use delete::{DeleteOutcome, ObjectToDelete, delete, deletion_result, keep_deletion_result};
pub use download::{
    Conditions, Download, DownloadBody, DownloadRequest, OpenBodies, Purpose, ReadLog, disposition, download, park_slow_downloads,
    record_preview,
};
pub use listing::{Entry, Folder, LaterFolders, ListQuery, Listing, ResolvedPath, list, resolve_path};

/// One object: the result of HEAD and Larder's record.
pub struct Object {
    pub bucket: BucketName,
    pub key: ObjectKey,
    pub size: u64,
    pub etag: String,
    pub modified: Option<DateTime<Utc>>,
    /// As claimed by the uploader.
    pub content_type: Option<String>,
    /// How the stored bytes are compressed. Downloads and links pass it on, so that programs decompress them.
    pub content_encoding: Option<String>,
    pub version_id: Option<String>,
    pub metadata: Vec<(String, String)>,
    /// `None` for the store's standard class.
    pub storage_class: Option<String>,
    pub restore: Option<String>,
    /// Why the content cannot be read, as a sentence.
    pub unreadable: Option<String>,
    pub origin: Origin,
    pub expires_at: Option<DateTime<Utc>>,
}

/// Rejects a key that the store would change, before it is sent.
pub(super) fn check_key(ctx: &Context, key: &ObjectKey) -> Result<()> {
    match ctx.s3.key_rules().mangled(key.as_str()) {
        Some(why) => Err(Error::refused("key", format!("{:?} cannot be used: {why}", key.as_str()))),
        None => Ok(()),
    }
}

pub(super) fn missing(bucket: &BucketName, key: &ObjectKey) -> Error {
    Error::NotFound(format!("Object {:?} not found in {bucket}. It may have been moved or deleted.", key.as_str()))
}

/// HEAD responses for a missing bucket and a missing key are identical.
pub(super) fn not_found(error: s3::Error, bucket: &BucketName, key: &ObjectKey) -> Error {
    match error {
        s3::Error::NoSuchKey => missing(bucket, key),
        s3::Error::NoSuchBucket => bucket_not_found(bucket),
        error => error.into(),
    }
}

pub async fn find(ctx: &Context, bucket: &BucketName, key: &ObjectKey, version: Option<&str>) -> Result<Object> {
    check_key(ctx, key)?;
    let keys = [key.as_str()];
    let (head, known) = futures_util::join!(ctx.s3.head(bucket.as_str(), key.as_str(), version), files::records(ctx, bucket, &keys));
    let head = head.map_err(|error| not_found(error, bucket, key))?;
    // If Postgres is down, the origin is unknown, which is not the same as "not uploaded here".
    let known = known?;
    let (origin, expires_at) = match known.get(key.as_str()) {
        Some(file) => (file.origin(&head.etag), file.expires_at),
        None => (Origin::Outside, None),
    };
    Ok(Object {
        bucket: bucket.clone(),
        key: key.clone(),
        size: head.size,
        etag: head.etag,
        modified: head.modified,
        content_type: head.content_type,
        content_encoding: head.content_encoding,
        version_id: head.version_id,
        metadata: head.metadata,
        storage_class: head.storage_class,
        restore: head.restore.as_deref().map(restore_state),
        unreadable: head.unreadable.as_ref().map(unreadable),
        origin,
        expires_at,
    })
}

fn unreadable(error: &s3::Error) -> String {
    s3_sentences::of_reading(error).unwrap_or_else(|| "The content of this object cannot be read.".to_owned())
}

/// The header `x-amz-restore` as a short text: `ongoing-request="false", expiry-date="Fri, 27 Nov 2026 00:00:00 GMT"`.
fn restore_state(header: &str) -> String {
    let until = header.split_once("expiry-date=\"").and_then(|(_, rest)| rest.split_once('"')).map(|(date, _)| date);
    match until {
        Some(date) => format!("readable until {date}"),
        None if header.contains("ongoing-request=\"true\"") => "in progress".to_owned(),
        None => header.to_owned(),
    }
}

/// Creates the marker object `prefix/name/` and returns its key. Refused{"name"}, Conflict.
pub async fn create_folder(ctx: &Context, actor: &Actor, bucket: &BucketName, prefix: &str, name: &str) -> Result<String> {
    let name = name.trim_matches('/');
    if name.trim().is_empty() {
        return Err(Error::refused("name", "Enter a name for the folder."));
    }
    let key = format!("{prefix}{name}/");
    let Some(key) = ObjectKey::parse(key) else {
        return Err(Error::refused("name", "The name including its path is longer than 1,024 bytes."));
    };
    if let Some(why) = ctx.s3.key_rules().mangled(key.as_str()) {
        return Err(Error::refused("name", why));
    }
    let existing = ctx.s3.list(bucket.as_str(), key.as_str(), false, None, 1).await?;
    if !existing.objects.is_empty() {
        return Err(folder_exists(name));
    }
    ctx.db.check_available().await?;
    let (task_ctx, actor, bucket, name) = (ctx.clone(), actor.clone(), bucket.clone(), name.to_owned());
    ctx.run_to_completion(async move {
        let options = s3::PutOptions { content_type: "application/x-directory", metadata: &[], only_if_absent: true };
        match task_ctx.s3.put(bucket.as_str(), key.as_str(), Bytes::new(), &options).await {
            Ok(_) => {}
            Err(s3::Error::PreconditionFailed) => return Err(folder_exists(&name)),
            Err(error) => return Err(not_found(error, &bucket, &key)),
        }
        audit::record_with_retry(&task_ctx, &actor, Action::FolderCreate, &audit::object(bucket.as_str(), key.as_str()), json!({})).await?;
        Ok(key.to_string())
    })
    .await
}

fn folder_exists(name: &str) -> Error {
    Error::Conflict(format!("A folder named {name} already exists."))
}

pub struct SharedLink {
    pub url: String,
    pub until: DateTime<Utc>,
}

/// Host and port of temporary links, if the host is a loopback address: no other machine can reach it.
pub fn local_link_host(ctx: &Context) -> Option<String> {
    let config = &ctx.config.s3;
    crate::config::local_host(config.public_url.as_deref().or(config.endpoint.as_deref())?)
}

/// Validity of a link in seconds: five minutes to seven days, the longest that S3 allows.
pub const LINK_SECONDS: std::ops::RangeInclusive<u32> = 300..=604_800;

/// A presigned GET as an attachment; `expires` in seconds, 300 to 604,800, otherwise Refused{"expires"}.
pub async fn share(ctx: &Context, actor: &Actor, bucket: &BucketName, key: &ObjectKey, expires: u32) -> Result<SharedLink> {
    if !LINK_SECONDS.contains(&expires) {
        return Err(Error::refused("expires", "A link can be valid for 5 minutes to 7 days."));
    }
    check_key(ctx, key)?;
    let head = ctx.s3.head(bucket.as_str(), key.as_str(), None).await.map_err(|error| not_found(error, bucket, key))?;
    if let Some(error) = head.unreadable {
        return Err(error.into());
    }
    if head.storage_class.is_some() {
        ctx.s3.check_readable(bucket.as_str(), key.as_str()).await?;
    }
    let ttl = Duration::from_secs(u64::from(expires));
    let url = ctx.s3.presign(bucket.as_str(), key.as_str(), &disposition(key.name()), ttl).await?;
    let until = clock::now() + TimeDelta::seconds(i64::from(expires));
    let detail = json!({ "until": until.to_rfc3339_opts(chrono::SecondsFormat::Secs, true) });
    // The link is returned only after the audit event is written.
    audit::record_standalone(ctx, actor, Action::ObjectShare, &audit::object(bucket.as_str(), key.as_str()), Outcome::Ok, detail).await?;
    Ok(SharedLink { url, until })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_restoration_is_shown_in_words() {
        assert_eq!(restore_state("ongoing-request=\"true\""), "in progress");
        let done = "ongoing-request=\"false\", expiry-date=\"Fri, 27 Nov 2026 00:00:00 GMT\"";
        assert_eq!(restore_state(done), "readable until Fri, 27 Nov 2026 00:00:00 GMT");
    }
}
