//! Object count and size of all buckets together.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::domain::cache::{self, Key, Namespace};
use crate::domain::{Context, Result};

/// Listing the store's buckets takes longer than everything else on the overview.
pub(in crate::domain) static CACHE: Namespace<Option<Stored>> =
    Namespace::new("overview-stored", Duration::from_secs(10)).stale(Duration::from_secs(50));

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Stored {
    pub objects: u64,
    pub bytes: u64,
    pub counted: usize,
    /// The time of the oldest count.
    pub counted_at: DateTime<Utc>,
    pub buckets: usize,
}

/// `None`: nothing has been counted yet, or the store is unavailable.
pub async fn stored(ctx: &Context) -> Option<Stored> {
    let task_ctx = ctx.clone();
    let list = move || async move { sum(&task_ctx).await };
    cache::get_or_compute(ctx, &CACHE, &key(), list).await.ok().flatten()
}

/// Called after a count, and after a bucket was created or deleted.
pub(super) async fn changed(ctx: &Context) {
    cache::invalidate(ctx, &CACHE, &key()).await;
}

fn key() -> Key {
    Key::of(&[&"all"])
}

/// `None`: nothing has been counted yet.
async fn sum(ctx: &Context) -> Result<Option<Stored>> {
    let list = super::list(ctx).await?;
    let counted: Vec<_> = list.buckets.iter().filter_map(|bucket| bucket.stats.as_ref()).collect();
    let Some(counted_at) = counted.iter().map(|stats| stats.counted_at).min() else { return Ok(None) };
    Ok(Some(Stored {
        objects: counted.iter().map(|stats| stats.objects).sum(),
        bytes: counted.iter().map(|stats| stats.bytes).sum(),
        counted: counted.len(),
        counted_at,
        buckets: list.buckets.len(),
    }))
}
