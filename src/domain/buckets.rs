//! Buckets: list, create, delete, and their object counts.

mod count;
mod last_counts;
pub(super) mod totals;

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use serde_json::json;

use super::abilities::{self, Probed};
use super::actor::Actor;
use super::audit::{self, Action};
use super::names::BucketName;
use super::s3_sentences::bucket_not_found;
use super::{Context, Error, Result};
use crate::config::bucket_rules;
use crate::stores::s3;
pub use crate::stores::s3::Versioning;

pub(super) use count::CACHE;
pub use count::{BucketStats, count_again, count_unknown};
pub use last_counts::LastCounts;
pub use totals::{Stored, stored};

#[derive(Clone, Debug)]
pub struct Bucket {
    pub name: BucketName,
    pub created: Option<DateTime<Utc>>,
    /// `None`: the store did not report it.
    pub versioning: Option<Versioning>,
    /// `None`: not counted yet, or the store denies listing it.
    pub stats: Option<BucketStats>,
    /// The store denied access (403).
    pub denied: bool,
}

pub struct BucketList {
    pub buckets: Vec<Bucket>,
    /// Larder's key may not list buckets; these are the buckets in `S3_BUCKETS`.
    pub listing_denied: bool,
}

/// A bucket and the content of its settings page.
pub struct Settings {
    pub name: BucketName,
    /// `None`: the store is unreachable.
    pub bucket: Option<Bucket>,
    pub region: String,
    /// `None` means AWS.
    pub endpoint: Option<String>,
    /// How the store treats unusual keys, as sentences; empty until it has been probed.
    pub key_rules: Vec<String>,
    pub probed: Option<Probed>,
    /// New objects cannot be deleted for some time (object lock with a default retention).
    pub keeps_objects: bool,
}

/// Sorted by name. Starts a background count of buckets whose counts are old or missing.
pub async fn list(ctx: &Context) -> Result<BucketList> {
    let (entries, listing_denied) = entries(ctx).await?;
    let versioning = versioning_of(ctx, &entries);
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    let stats = count::known(ctx, &names);
    let (versioning, stats) = futures_util::join!(versioning, stats);
    let buckets: Vec<Bucket> = entries
        .into_iter()
        .zip(versioning)
        .zip(stats)
        .filter_map(|((entry, versioning), stats)| {
            let denied = versioning == Err(s3::Error::AccessDenied);
            let name = BucketName::parse(&entry.name)?;
            Some(Bucket { name, created: entry.created, versioning: versioning.ok(), stats, denied })
        })
        .collect();
    count::refresh(ctx, &buckets);
    Ok(BucketList { buckets, listing_denied })
}

async fn entries(ctx: &Context) -> Result<(Vec<s3::BucketEntry>, bool)> {
    match ctx.s3.list_buckets().await {
        Ok(entries) => Ok((entries, false)),
        Err(s3::Error::AccessDenied) => {
            let mut names = ctx.config.s3.buckets.clone();
            names.sort();
            names.dedup();
            Ok((names.into_iter().map(|name| s3::BucketEntry { name, created: None }).collect(), true))
        }
        Err(error) => Err(error.into()),
    }
}

/// One request per bucket, eight at a time, in the order of `entries`.
async fn versioning_of(ctx: &Context, entries: &[s3::BucketEntry]) -> Vec<std::result::Result<Versioning, s3::Error>> {
    let requests: Vec<_> = entries.iter().map(|entry| ctx.s3.versioning(&entry.name).boxed()).collect();
    futures_util::stream::iter(requests).buffered(8).collect().await
}

/// `NotFound` if it does not exist.
pub async fn find(ctx: &Context, name: &BucketName) -> Result<Bucket> {
    let names = [name.as_str()];
    let (exists, versioning, stats, listed) = futures_util::join!(
        ctx.s3.head_bucket(name.as_str()),
        ctx.s3.versioning(name.as_str()),
        count::known(ctx, &names),
        ctx.s3.list_buckets()
    );
    let denied = match exists {
        Ok(()) => false,
        Err(s3::Error::AccessDenied) => true,
        Err(s3::Error::NoSuchBucket) => return Err(bucket_not_found(name)),
        Err(error) => return Err(error.into()),
    };
    let created = match listed {
        Ok(entries) => entries.into_iter().find(|entry| entry.name == name.as_str()).and_then(|entry| entry.created),
        Err(_) => None,
    };
    let bucket = Bucket { name: name.clone(), created, versioning: versioning.ok(), stats: stats.into_iter().next().flatten(), denied };
    count::refresh(ctx, std::slice::from_ref(&bucket));
    Ok(bucket)
}

/// `None` if the store does not report it.
pub async fn versioning(ctx: &Context, name: &BucketName) -> Option<Versioning> {
    ctx.s3.versioning(name.as_str()).await.ok()
}

/// Omits what the store does not report now; the abilities are the last known ones.
pub async fn settings(ctx: &Context, name: &BucketName) -> Result<Settings> {
    let (found, probed, keeps_objects) =
        futures_util::join!(find(ctx, name), abilities::known(ctx), ctx.s3.keeps_new_objects(name.as_str()));
    let bucket = match found {
        Ok(bucket) => Some(bucket),
        Err(Error::S3(s3::Error::Unreachable(_) | s3::Error::SlowDown)) => None,
        Err(error) => return Err(error),
    };
    Ok(Settings {
        name: name.clone(),
        bucket,
        region: ctx.s3.region().to_owned(),
        endpoint: ctx.s3.endpoint().map(str::to_owned),
        key_rules: key_rules(ctx),
        probed,
        keeps_objects: keeps_objects.unwrap_or_default(),
    })
}

fn key_rules(ctx: &Context) -> Vec<String> {
    if !ctx.s3.key_rules_known() {
        return Vec::new();
    }
    let rules = ctx.s3.key_rules();
    let examples = ["/leading", "two//slashes", "a/../b", "back\\slash", "control\u{1}", "trailing/"];
    let mut sentences: Vec<String> = examples.iter().filter_map(|key| rules.mangled_with_body(key)).map(str::to_owned).collect();
    sentences.dedup();
    if sentences.is_empty() {
        sentences.push("The store keeps all names unchanged.".into());
    }
    sentences
}

/// Refused{"name"} for an invalid name; Conflict if the bucket exists.
pub async fn create(ctx: &Context, actor: &Actor, name: &str) -> Result<BucketName> {
    let name = BucketName::for_new(name.trim()).map_err(|broken| Error::refused("name", broken.join(" ")))?;
    ctx.db.check_available().await?;
    let (task_ctx, actor) = (ctx.clone(), actor.clone());
    ctx.run_to_completion(async move {
        match task_ctx.s3.create_bucket(name.as_str()).await {
            Ok(()) => {}
            Err(s3::Error::BucketExists) => {
                return Err(Error::Conflict(format!("A bucket named {name} already exists. Choose another name.")));
            }
            Err(error) => return Err(error.into()),
        }
        totals::changed(&task_ctx).await;
        audit::record_with_retry(&task_ctx, &actor, Action::BucketCreate, &audit::object(name.as_str(), ""), json!({})).await?;
        Ok(name)
    })
    .await
}

/// Refused{"name"} if `typed` is not the name; Conflict if the bucket is not empty.
pub async fn delete(ctx: &Context, actor: &Actor, name: &BucketName, typed: &str) -> Result<()> {
    if typed.trim() != name.as_str() {
        return Err(Error::refused("name", format!("Type {name} to delete this bucket.")));
    }
    ctx.db.check_available().await?;
    let (task_ctx, actor, name) = (ctx.clone(), actor.clone(), name.clone());
    ctx.run_to_completion(async move {
        match task_ctx.s3.delete_bucket(name.as_str()).await {
            Ok(()) => {}
            Err(s3::Error::BucketNotEmpty) => {
                return Err(Error::Conflict(format!("{name} is not empty. Delete its objects first.")));
            }
            Err(s3::Error::NoSuchBucket) => return Err(bucket_not_found(&name)),
            Err(error) => return Err(error.into()),
        }
        count::forget(&task_ctx, &name).await;
        totals::changed(&task_ctx).await;
        audit::record_with_retry(&task_ctx, &actor, Action::BucketDelete, &audit::object(name.as_str(), ""), json!({})).await
    })
    .await
}

/// Creates missing buckets of `S3_BUCKETS` and probes the store's abilities. Retries until the store responds, so
/// that
/// Larder may start before the store.
pub async fn ensure_configured(ctx: Context) {
    let mut pause = Duration::from_millis(500);
    loop {
        match ensure_once(&ctx).await {
            Ok(()) => return,
            Err(error) => log::warn!("the buckets of S3_BUCKETS are not ready: {error}; next attempt in {pause:?}"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

async fn ensure_once(ctx: &Context) -> Result<()> {
    let creating: FuturesUnordered<_> = ctx.config.s3.buckets.iter().map(|name| create_if_missing(ctx, name)).collect();
    for outcome in creating.collect::<Vec<_>>().await {
        outcome?;
    }
    abilities::ensure_in_any(ctx).await
}

async fn create_if_missing(ctx: &Context, name: &str) -> std::result::Result<(), s3::Error> {
    debug_assert!(bucket_rules::violated(name).is_empty(), "validated by the configuration");
    match ctx.s3.head_bucket(name).await {
        Ok(()) => Ok(()),
        Err(s3::Error::NoSuchBucket) => match ctx.s3.create_bucket(name).await {
            Ok(()) => {
                log::info!("created bucket {name}");
                Ok(())
            }
            // Another replica created it first.
            Err(s3::Error::BucketExists) => Ok(()),
            Err(error) => Err(error),
        },
        // The bucket exists; Larder may be permitted to use it but not to inspect it.
        Err(s3::Error::AccessDenied) => Ok(()),
        Err(error) => Err(error),
    }
}
