//! Object count and size of whole buckets, determined in the background by listing. Kept in Redis with their age,
//! since they can always be recomputed.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Bucket, totals};
use crate::clock;
use crate::domain::cache::{self, Key, Namespace};
use crate::domain::names::BucketName;
use crate::domain::{Context, Error, Result};

/// Counts younger than this are not repeated.
const RECENT: TimeDelta = TimeDelta::seconds(5);
/// Old counts are shown with their age until recounted. Across all replicas, one task counts a bucket at a time.
pub(in crate::domain) static CACHE: Namespace<BucketStats> =
    Namespace::new("bucket-figures", Duration::from_secs(900)).stale(Duration::from_secs(30 * 86_400)).computing(Duration::from_secs(3600));

/// The result of listing a whole bucket.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct BucketStats {
    pub objects: u64,
    pub bytes: u64,
    pub counted_at: DateTime<Utc>,
}

impl BucketStats {
    /// Recounted on demand: the larger the bucket, the longer its count is kept, up to 15 minutes.
    fn is_old(&self) -> bool {
        let milliseconds = 30_000 + i64::try_from(self.objects).unwrap_or(i64::MAX / 20).saturating_mul(10);
        clock::now() - self.counted_at > TimeDelta::milliseconds(milliseconds).min(TimeDelta::minutes(15))
    }
}

fn key(bucket: &str) -> Key {
    Key::of(&[&bucket])
}

/// The cached counts, in the order of `names`; without Redis, the last ones that this process has read.
pub(super) async fn known(ctx: &Context, names: &[&str]) -> Vec<Option<BucketStats>> {
    let keys: Vec<Key> = names.iter().map(|name| key(name)).collect();
    let Ok(found) = cache::get_many(ctx, &CACHE, &keys).await else {
        return names.iter().map(|name| ctx.last_counts.get(name)).collect();
    };
    let stats: Vec<Option<BucketStats>> = found.into_iter().map(|found| Some(found?.value)).collect();
    for (name, stats) in names.iter().zip(&stats) {
        ctx.last_counts.replace(name, stats.as_ref());
    }
    stats
}

pub(super) async fn forget(ctx: &Context, bucket: &BucketName) {
    ctx.last_counts.replace(bucket.as_str(), None);
    cache::invalidate(ctx, &CACHE, &key(bucket.as_str())).await;
}

/// Starts a background count of buckets whose counts are old or missing.
pub(super) fn refresh(ctx: &Context, buckets: &[Bucket]) {
    let old = |bucket: &&Bucket| !bucket.denied && bucket.stats.as_ref().is_none_or(BucketStats::is_old);
    let names: Vec<String> = buckets.iter().filter(old).map(|bucket| bucket.name.to_string()).collect();
    if !names.is_empty() {
        start(ctx, names);
    }
}

/// Starts a background count of every bucket.
pub async fn count_again(ctx: &Context) -> Result<()> {
    let (entries, _) = super::entries(ctx).await?;
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    let stats = known(ctx, &names).await;
    // A second click does not count again.
    let recent = |stats: &Option<BucketStats>| stats.as_ref().is_some_and(|stats| clock::now() - stats.counted_at < RECENT);
    start(ctx, entries.into_iter().zip(stats).filter(|(_, stats)| !recent(stats)).map(|(entry, _)| entry.name).collect());
    Ok(())
}

/// Starts a background count of every bucket without a count.
pub async fn count_unknown(ctx: &Context) -> Result<()> {
    let (entries, _) = super::entries(ctx).await?;
    let names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
    let stats = known(ctx, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    start(ctx, names.into_iter().zip(stats).filter(|(_, stats)| stats.is_none()).map(|(name, _)| name).collect());
    Ok(())
}

/// One bucket after another, so that the store has capacity left for users.
fn start(ctx: &Context, names: Vec<String>) {
    let task_ctx = ctx.clone();
    ctx.in_background(async move {
        for name in names {
            let counting = cache::refresh(&task_ctx, &CACHE, &key(&name), || count(&task_ctx, &name)).await;
            if let Err(error) = counting {
                log::info!("{name} was not counted: {error}");
            }
            totals::changed(&task_ctx).await;
        }
    });
}

/// Fails if Larder is stopping.
async fn count(ctx: &Context, bucket: &str) -> Result<BucketStats> {
    let mut stats = BucketStats { objects: 0, bytes: 0, counted_at: clock::now() };
    let mut cursor = None;
    loop {
        if ctx.tasks.is_closed() {
            return Err(Error::Internal("Larder is stopping".into()));
        }
        let page = ctx.s3.list(bucket, "", false, cursor.as_deref(), 1000).await?;
        for object in page.objects {
            stats.objects += 1;
            stats.bytes += object.size;
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(stats);
        }
    }
}
