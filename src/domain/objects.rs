//! Objects: a page of a listing, one object, download, links, folders, deletion.

mod delete;
mod download;
mod listing;
pub mod unfinished;

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::actor::Actor;
use super::audit::{self, Outcome};
use super::names::{BucketName, ObjectKey};
use super::{Context, Error, Result, uploads};
use crate::clock;
use crate::stores::s3;

pub use delete::{DeleteOutcome, ObjectToDelete, delete, deletion_result, keep_deletion_result};
pub use download::{Conditions, Download, DownloadBody, disposition, download};
pub use listing::{Entry, Folder, ListQuery, Listing, ResolvedPath, list, resolve_path};

/// Where an object came from, as far as Larder knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Uploaded here, by this person, and not changed since: the ETag matches.
    Larder { by: String, sha256: Option<String> },
    /// Uploaded here once, but the object's ETag is another now.
    Changed,
    /// Never uploaded here.
    Outside,
}

/// One object, by HEAD, with what Larder knows of it.
pub struct Object {
    pub bucket: BucketName,
    pub key: ObjectKey,
    pub size: u64,
    pub etag: String,
    pub modified: Option<DateTime<Utc>>,
    /// As stored; the uploader's claim, nothing more.
    pub content_type: Option<String>,
    pub version_id: Option<String>,
    pub metadata: Vec<(String, String)>,
    pub origin: Origin,
    pub expires_at: Option<DateTime<Utc>>,
}

/// Refuses a key that the store would take for another, before the store sees it.
pub(super) fn reachable(ctx: &Context, key: &ObjectKey) -> Result<()> {
    match ctx.s3.key_rules().mangled(key.as_str()) {
        Some(why) => Err(Error::refused("key", format!("Larder does not touch {:?}: {why}", key.as_str()))),
        None => Ok(()),
    }
}

pub(super) fn missing(bucket: &BucketName, key: &ObjectKey) -> Error {
    Error::NotFound(format!("There is no object {:?} in {bucket}. It may have been moved or deleted.", key.as_str()))
}

/// A HEAD of a missing bucket and one of a missing key look alike.
pub(super) fn not_found(error: s3::Error, bucket: &BucketName, key: &ObjectKey) -> Error {
    match error {
        s3::Error::NoSuchKey => missing(bucket, key),
        s3::Error::NoSuchBucket => Error::NotFound(format!("There is no bucket named {bucket}.")),
        error => error.into(),
    }
}

pub async fn find(ctx: &Context, bucket: &BucketName, key: &ObjectKey, version: Option<&str>) -> Result<Object> {
    reachable(ctx, key)?;
    let keys = [key.as_str()];
    let (head, known) = futures_util::join!(ctx.s3.head(bucket.as_str(), key.as_str(), version), uploads::known(ctx, bucket, &keys));
    let head = head.map_err(|error| not_found(error, bucket, key))?;
    // Postgres down: the object is shown, and that nothing is known of it would be a lie.
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
        version_id: head.version_id,
        metadata: head.metadata,
        origin,
        expires_at,
    })
}

/// Makes the marker object `prefix/name/`; its key. Refused{"name"}, Conflict.
pub async fn create_folder(ctx: &Context, actor: &Actor, bucket: &BucketName, prefix: &str, name: &str) -> Result<String> {
    let name = name.trim_matches('/');
    if name.trim().is_empty() {
        return Err(Error::refused("name", "Write a name for the folder."));
    }
    let key = format!("{prefix}{name}/");
    let Some(key) = ObjectKey::parse(key) else {
        return Err(Error::refused("name", "With its path the name is longer than the 1,024 bytes that a store takes."));
    };
    if let Some(why) = ctx.s3.key_rules().mangled(key.as_str()) {
        return Err(Error::refused("name", why));
    }
    let there = ctx.s3.list(bucket.as_str(), key.as_str(), false, None, 1).await?;
    if !there.objects.is_empty() {
        return Err(Error::Conflict(format!("A folder named {name} is there already.")));
    }
    ctx.db.check_available().await?;
    let (all, actor, bucket, name) = (ctx.clone(), actor.clone(), bucket.clone(), name.to_owned());
    ctx.run_to_completion(async move {
        let options = s3::PutOptions { content_type: "application/x-directory", metadata: &[], only_if_absent: true };
        match all.s3.put(bucket.as_str(), key.as_str(), Bytes::new(), &options).await {
            Ok(_) => {}
            Err(s3::Error::PreconditionFailed) => return Err(Error::Conflict(format!("A folder named {name} is there already."))),
            Err(error) => return Err(not_found(error, &bucket, &key)),
        }
        audit::record_with_retry(&all, &actor, "folder.create", &audit::object(bucket.as_str(), key.as_str()), json!({})).await?;
        Ok(key.to_string())
    })
    .await
}

pub struct SharedLink {
    pub url: String,
    pub until: DateTime<Utc>,
}

/// Seconds that a link may live: five minutes to seven days, the longest that S3 signs for.
pub const LINK_SECONDS: std::ops::RangeInclusive<u32> = 300..=604_800;

/// A presigned GET, forced attachment; `expires` in seconds, 300 to 604,800, else Refused{"expires"}.
pub async fn share(ctx: &Context, actor: &Actor, bucket: &BucketName, key: &ObjectKey, expires: u32) -> Result<SharedLink> {
    if !LINK_SECONDS.contains(&expires) {
        return Err(Error::refused("expires", "A link lives for 5 minutes to 7 days."));
    }
    reachable(ctx, key)?;
    ctx.s3.head(bucket.as_str(), key.as_str(), None).await.map_err(|error| not_found(error, bucket, key))?;
    let lifetime = Duration::from_secs(u64::from(expires));
    let url = ctx.s3.presign(bucket.as_str(), key.as_str(), &disposition(key.name()), lifetime).await?;
    let until = clock::now() + TimeDelta::seconds(i64::from(expires));
    let detail = json!({ "until": until.to_rfc3339_opts(chrono::SecondsFormat::Secs, true) });
    // The link is shown only once it stands in the audit.
    audit::record_standalone(ctx, actor, "object.share", &audit::object(bucket.as_str(), key.as_str()), Outcome::Ok, detail).await?;
    Ok(SharedLink { url, until })
}
