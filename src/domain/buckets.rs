//! Buckets: listing, making, deleting, and what Larder has counted in them.

use chrono::{DateTime, Utc};

use super::actor::Actor;
use super::names::BucketName;
use super::{Context, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    On,
    Suspended,
    Off,
}

/// A count of a whole bucket by listing it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Figures {
    pub objects: u64,
    pub bytes: u64,
    pub counted_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub struct Bucket {
    pub name: BucketName,
    pub created: Option<DateTime<Utc>>,
    /// `None`: the store would not say.
    pub versioning: Option<Versioning>,
    /// `None`: not counted yet, or the store refuses to list it.
    pub figures: Option<Figures>,
    /// The store refused us (403).
    pub denied: bool,
}

pub struct BucketList {
    pub buckets: Vec<Bucket>,
    /// Our key may not list buckets; these are the ones of `S3_BUCKETS`.
    pub listing_denied: bool,
}

/// Bucket and what its settings page shows.
pub struct Settings {
    pub bucket: Bucket,
    pub region: String,
    /// `None` means AWS.
    pub endpoint: Option<String>,
    /// What the store does with unusual keys, in sentences; empty until it has been probed.
    pub key_rules: Vec<String>,
}

/// In name order. Starts a count in the background where the figures are old or missing.
pub async fn list(ctx: &Context) -> Result<BucketList> {
    todo!()
}

/// NotFound where it does not exist.
pub async fn find(ctx: &Context, name: &BucketName) -> Result<Bucket> {
    todo!()
}
pub async fn settings(ctx: &Context, name: &BucketName) -> Result<Settings> {
    todo!()
}

/// Refused{"name"} for a broken naming rule; Conflict when it exists.
pub async fn create(ctx: &Context, actor: &Actor, name: &str) -> Result<BucketName> {
    todo!()
}

/// Refused{"name"} where `typed` is not the name; Conflict when not empty.
pub async fn delete(ctx: &Context, actor: &Actor, name: &BucketName, typed: &str) -> Result<()> {
    todo!()
}

/// Starts counting every bucket again in the background.
pub async fn count_again(ctx: &Context) -> Result<()> {
    todo!()
}
