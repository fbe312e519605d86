//! One page of a bucket, joined with Larder's records of its objects.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Origin;
use crate::domain::names::{BucketName, ObjectKey};
use crate::domain::s3_sentences::bucket_not_found;
use crate::domain::{Context, Error, Result, files};
use crate::stores::s3;

#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Ends with `/` or is empty.
    pub prefix: String,
    /// Prefix of the displayed names, after `prefix`.
    pub starts_with: String,
    /// The store's continuation token.
    pub cursor: Option<String>,
    /// 1 to 1,000; 0 means 100.
    pub limit: i32,
}

pub struct Folder {
    /// The full prefix, including the trailing slash.
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
    /// `None` for the store's standard class.
    pub storage_class: Option<String>,
    pub origin: Origin,
    /// The store would apply an action on this key to a different object, so no link acts on it. The reason, as a
    /// sentence.
    pub unreachable: Option<String>,
}

pub struct Listing {
    pub folders: Vec<Folder>,
    pub objects: Vec<Entry>,
    /// The token of the next page.
    pub next: Option<String>,
    /// The marker object of the folder itself, with its ETag, if it is on this page.
    pub marker: Option<(ObjectKey, String)>,
    /// Of the first page only.
    pub later: LaterFolders,
}

/// Folders on the pages after the first: stores list folders among the files, in the order of names.
#[derive(Default)]
pub struct LaterFolders {
    pub folders: Vec<Folder>,
    /// Whether all names were searched.
    pub is_complete: bool,
}

/// Names searched for later folders: requests with up to 1,000 names each, within this time.
const LATER_REQUESTS: usize = 3;
const LATER_TIMEOUT: Duration = Duration::from_secs(1);
/// Later folders returned.
const MAX_LATER: usize = 20;

pub async fn list(ctx: &Context, bucket: &BucketName, query: &ListQuery) -> Result<Listing> {
    let prefix = format!("{}{}", query.prefix, query.starts_with);
    let limit = if query.limit == 0 { 100 } else { query.limit.clamp(1, 1000) };
    let page = ctx.s3.list(bucket.as_str(), &prefix, true, query.cursor.as_deref(), limit).await.map_err(|error| match error {
        s3::Error::NoSuchBucket | s3::Error::NoSuchKey => bucket_not_found(bucket),
        error => error.into(),
    })?;
    let keys: Vec<&str> = page.objects.iter().map(|object| object.key.as_str()).collect();
    let known = files::records(ctx, bucket, &keys).await?;
    let rules = ctx.s3.key_rules();
    let objects = page
        .objects
        .iter()
        // The folder's own marker is not part of its content.
        .filter(|object| object.key != query.prefix)
        .filter_map(|object| {
            Some(Entry {
                key: ObjectKey::parse(object.key.as_str())?,
                name: object.key.strip_prefix(&query.prefix).unwrap_or(&object.key).to_owned(),
                size: object.size,
                etag: object.etag.clone(),
                modified: object.modified,
                storage_class: object.storage_class.clone(),
                origin: known.get(object.key.as_str()).map_or(Origin::Outside, |file| file.origin(&object.etag)),
                unreachable: rules.mangled(&object.key).map(str::to_owned),
            })
        })
        .collect();
    let folders = page.prefixes.into_iter().map(|prefix| Folder::of(&query.prefix, prefix)).collect();
    let later = match &page.next {
        Some(next) if query.cursor.is_none() => later_folders(ctx, bucket, (&query.prefix, &prefix), next).await,
        _ => LaterFolders { folders: Vec::new(), is_complete: true },
    };
    let marker = page.objects.iter().find(|object| object.key == query.prefix);
    let marker = marker.and_then(|object| Some((ObjectKey::parse(object.key.as_str())?, object.etag.clone())));
    Ok(Listing { folders, objects, next: page.next, marker, later })
}

impl Folder {
    fn of(listed: &str, prefix: String) -> Self {
        let inner = prefix.strip_prefix(listed).unwrap_or(&prefix);
        Self { name: inner.strip_suffix('/').unwrap_or(inner).to_owned(), prefix }
    }
}

/// The folders after the first page. What the store does not return in time is omitted.
async fn later_folders(ctx: &Context, bucket: &BucketName, (folder, prefix): (&str, &str), next: &str) -> LaterFolders {
    let mut later = LaterFolders::default();
    let search = async {
        let mut cursor = next.to_owned();
        for _ in 0..LATER_REQUESTS {
            let Ok(page) = ctx.s3.list(bucket.as_str(), prefix, true, Some(&cursor), 1000).await else { return };
            later.folders.extend(page.prefixes.into_iter().map(|prefix| Folder::of(folder, prefix)));
            match page.next {
                Some(next) if later.folders.len() < MAX_LATER => cursor = next,
                next => {
                    later.is_complete = next.is_none() && later.folders.len() <= MAX_LATER;
                    return;
                }
            }
        }
    };
    drop(tokio::time::timeout(LATER_TIMEOUT, search).await);
    later.folders.truncate(MAX_LATER);
    later
}

/// The target of the "Go to" field.
#[derive(Debug, PartialEq, Eq)]
pub enum ResolvedPath {
    Folder { bucket: BucketName, prefix: String },
    Object { bucket: BucketName, key: ObjectKey },
}

/// A pasted path often starts with a slash that no key has. Kept if there are keys that start with it.
async fn without_leading_slashes<'a>(ctx: &Context, bucket: &BucketName, path: &'a str) -> &'a str {
    if !path.starts_with('/') {
        return path;
    }
    let found = ctx.s3.list(bucket.as_str(), path, false, None, 1).await;
    let is_key = found.is_ok_and(|found| found.objects.iter().any(|object| object.key.starts_with(path)));
    if is_key { path } else { path.trim_start_matches('/') }
}

/// `typed` is a prefix or key in `bucket`, or `s3://bucket/key`. Refused{"to"} if it is invalid. A name without a
/// trailing slash is an object if one exists, otherwise a folder.
pub async fn resolve_path(ctx: &Context, bucket: &BucketName, typed: &str) -> Result<ResolvedPath> {
    let (bucket, path) = match typed.strip_prefix("s3://") {
        Some(rest) => {
            let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
            let named = BucketName::parse(name).ok_or_else(|| Error::refused("to", format!("{name:?} is not a valid bucket name.")))?;
            (named, path)
        }
        None => (bucket.clone(), typed),
    };
    if path.len() > ObjectKey::MAX_BYTES {
        return Err(Error::refused("to", "A key can have at most 1,024 bytes."));
    }
    let path = without_leading_slashes(ctx, &bucket, path).await;
    if path.is_empty() || path.ends_with('/') {
        return Ok(ResolvedPath::Folder { bucket, prefix: path.to_owned() });
    }
    if let Some(key) = ObjectKey::parse(path)
        && ctx.s3.key_rules().mangled(path).is_none()
    {
        match ctx.s3.head(bucket.as_str(), path, None).await {
            Ok(_) => return Ok(ResolvedPath::Object { bucket, key }),
            Err(s3::Error::NoSuchKey | s3::Error::NoSuchBucket | s3::Error::AccessDenied) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(ResolvedPath::Folder { bucket, prefix: format!("{path}/") })
}
