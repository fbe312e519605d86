//! Objects and bytes of whole buckets, counted in the background by listing; kept in Redis with their age,
//! because they can always be counted again.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;

use super::Bucket;
use crate::clock;
use crate::domain::names::BucketName;
use crate::domain::{Context, Result};
use crate::stores::s3;

/// Figures that are so new are not counted again, whoever asks.
const RECENT: TimeDelta = TimeDelta::seconds(5);
/// One count of one bucket at a time, over all replicas.
const LOCK: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_millis(250);

/// A count of a whole bucket by listing it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Figures {
    pub objects: u64,
    pub bytes: u64,
    pub counted_at: DateTime<Utc>,
}

impl Figures {
    /// Counted again when somebody looks: the dearer the count, the longer it is kept, a quarter of an hour at most.
    fn is_old(&self) -> bool {
        let milliseconds = 30_000 + i64::try_from(self.objects).unwrap_or(i64::MAX / 20).saturating_mul(10);
        clock::now() - self.counted_at > TimeDelta::milliseconds(milliseconds).min(TimeDelta::minutes(15))
    }
}

fn key(bucket: &str) -> String {
    format!("cache:bucket-figures:{bucket}")
}

fn lock_key(bucket: &str) -> String {
    format!("larder:lock:bucket-count:{bucket}")
}

/// What is known, in the order of `names`.
pub(super) async fn known<'a>(ctx: &Context, names: impl Iterator<Item = &'a str>) -> Vec<Option<Figures>> {
    join_all(names.map(|name| async move { ctx.redis.briefly(PATIENCE).get_json(&key(name)).await.ok().flatten() })).await
}

pub(super) async fn forget(ctx: &Context, bucket: &BucketName) {
    let _ = ctx.redis.briefly(PATIENCE).delete(&key(bucket.as_str())).await;
}

/// Starts counting, in the background, what is old or missing.
pub(super) fn refresh(ctx: &Context, buckets: &[Bucket]) {
    let old = |bucket: &&Bucket| !bucket.denied && bucket.figures.as_ref().is_none_or(Figures::is_old);
    let names: Vec<String> = buckets.iter().filter(old).map(|bucket| bucket.name.to_string()).collect();
    if !names.is_empty() {
        start(ctx, names);
    }
}

/// Starts counting every bucket again in the background.
pub async fn count_again(ctx: &Context) -> Result<()> {
    let (entries, _) = super::entries(ctx).await?;
    let figures = known(ctx, entries.iter().map(|entry| entry.name.as_str())).await;
    // Whoever presses the button twice has seen the new figures.
    let recent = |figures: &Option<Figures>| figures.as_ref().is_some_and(|figures| clock::now() - figures.counted_at < RECENT);
    start(ctx, entries.into_iter().zip(figures).filter(|(_, figures)| !recent(figures)).map(|(entry, _)| entry.name).collect());
    Ok(())
}

fn start(ctx: &Context, names: Vec<String>) {
    let all = ctx.clone();
    ctx.in_background(async move {
        for name in names {
            // Without Redis there is nowhere to keep the figures.
            if all.redis.patiently().set_if_absent(&lock_key(&name), "counting", LOCK).await != Ok(true) {
                continue;
            }
            match count(&all, &name).await {
                Ok(Some(figures)) => {
                    let _ = all.redis.patiently().set_json(&key(&name), &figures, None).await;
                }
                Ok(None) => {}
                Err(error) => log::info!("{name} was not counted: {error}"),
            }
            let _ = all.redis.patiently().delete(&lock_key(&name)).await;
        }
    });
}

/// `None` where Larder is stopping.
async fn count(ctx: &Context, bucket: &str) -> std::result::Result<Option<Figures>, s3::Error> {
    let mut figures = Figures { objects: 0, bytes: 0, counted_at: clock::now() };
    let mut cursor = None;
    loop {
        if ctx.tasks.is_closed() {
            return Ok(None);
        }
        let page = ctx.s3.list(bucket, "", false, cursor.as_deref(), 1000).await?;
        for object in page.objects {
            figures.objects += 1;
            figures.bytes += object.size;
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(Some(figures));
        }
    }
}
