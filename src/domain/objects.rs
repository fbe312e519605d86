//! Objects: a page of a listing, one object, download, links, folders, deletion.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use uuid::Uuid;

use super::actor::Actor;
use super::names::{BucketName, ObjectKey};
use super::{Context, Result};

#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Ends with `/` or is empty.
    pub prefix: String,
    /// Beginning of the names shown, behind `prefix`.
    pub starts_with: String,
    /// The store's continuation token.
    pub cursor: Option<String>,
    /// 1 to 1,000; 100 where not given.
    pub limit: i32,
}

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

pub struct Folder {
    /// The whole prefix, with its slash.
    pub prefix: String,
    /// The last part, without its slash.
    pub name: String,
}

pub struct Entry {
    pub key: ObjectKey,
    /// The key without the listing's prefix.
    pub name: String,
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    pub modified: Option<DateTime<Utc>>,
    pub origin: Origin,
    /// The store would take an action on this key for one on another: no link may act on it.
    pub unreachable: Option<String>,
}

pub struct Listing {
    pub folders: Vec<Folder>,
    pub objects: Vec<Entry>,
    /// The token of the next page.
    pub next: Option<String>,
}

pub async fn list(ctx: &Context, bucket: &BucketName, query: &ListQuery) -> Result<Listing> {
    todo!()
}

/// Where the go-to box leads.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    Folder { bucket: BucketName, prefix: String },
    Object { bucket: BucketName, key: ObjectKey },
}

/// `typed` is a prefix or key in `bucket`, or `s3://bucket/key`. Refused{"to"} where it cannot be one.
pub async fn locate(ctx: &Context, bucket: &BucketName, typed: &str) -> Result<Place> {
    todo!()
}

/// Makes the marker object `prefix/name/`. Refused{"name"}, Conflict.
pub async fn create_folder(ctx: &Context, actor: &Actor, bucket: &BucketName, prefix: &str, name: &str) -> Result<String> {
    todo!()
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

pub async fn find(ctx: &Context, bucket: &BucketName, key: &ObjectKey, version: Option<&str>) -> Result<Object> {
    todo!()
}

/// Conditional and Range headers, passed on as they came.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    pub range: Option<String>,
    pub if_range: Option<String>,
    pub if_match: Option<String>,
    pub if_none_match: Option<String>,
    pub if_modified_since: Option<String>,
    pub if_unmodified_since: Option<String>,
}

/// What a download answers with. The stream ends in an error where the store's did.
pub enum Download {
    Body(DownloadBody),
    NotModified {
        etag: Option<String>,
    },
    PreconditionFailed,
    /// The object's size, for `Content-Range: bytes */size`.
    RangeNotSatisfiable {
        size: Option<u64>,
    },
}

pub struct DownloadBody {
    pub stream: BoxStream<'static, std::io::Result<Bytes>>,
    /// Bytes in this answer.
    pub length: u64,
    /// Set for 206.
    pub content_range: Option<String>,
    pub etag: Option<String>,
    pub last_modified: Option<DateTime<Utc>>,
    pub content_type: Option<String>,
}

/// `head`: no body is asked for and no download is audited.
pub async fn download(
    ctx: &Context,
    actor: &Actor,
    bucket: &BucketName,
    key: &ObjectKey,
    version: Option<&str>,
    conditions: &Conditions,
    head: bool,
) -> Result<Download> {
    todo!()
}

/// A presigned GET, forced attachment; `expires` in seconds, 300 to 604,800, else Refused{"expires"}.
pub async fn share(ctx: &Context, actor: &Actor, bucket: &BucketName, key: &ObjectKey, expires: u32) -> Result<SharedLink> {
    todo!()
}
pub struct SharedLink {
    pub url: String,
    pub until: DateTime<Utc>,
}

/// One object to delete, with the ETag that the person saw.
#[derive(Clone, Debug)]
pub struct Doomed {
    pub key: ObjectKey,
    pub etag: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Deleted,
    /// It has changed since the person looked; nothing was done.
    Changed,
    /// It was gone already.
    Gone,
    Failed(String),
}

/// Each object and what became of it, in the order given. Fails as a whole only where nothing was tried.
pub async fn delete(ctx: &Context, actor: &Actor, bucket: &BucketName, doomed: &[Doomed]) -> Result<Vec<(Doomed, Fate)>> {
    todo!()
}

/// The result of the last bulk delete under this id, kept for a day; `None` when unknown.
pub async fn deletion_result(ctx: &Context, actor: &Actor, id: Uuid) -> Result<Option<Vec<(String, Fate)>>> {
    todo!()
}
