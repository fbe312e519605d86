//! The counts of all replicas in the last hour, in Redis: one hash per five minutes, one field per counter.

use std::collections::{BTreeMap, HashMap};
use std::sync::PoisonError;
use std::time::Duration;

use super::REDIS_TIMEOUT;
use super::stats::NamespaceStats;
use crate::clock;
use crate::domain::Context;
use crate::stores::redis::Error;

const INTERVAL: Duration = Duration::from_secs(5);
/// Seconds.
const SPAN: i64 = 300;
/// One hour, plus the current span.
const SPANS: i64 = 13;
const TTL: Duration = Duration::from_secs(2 * 3600);

/// The counts already added to the totals.
pub(super) type Flushed = HashMap<&'static str, NamespaceStats>;

fn key(span: i64) -> String {
    format!("larder:cache-stats:{span}")
}

fn current_span() -> i64 {
    clock::now().timestamp().div_euclid(SPAN)
}

/// Adds this process's counts to the totals every five seconds, forever.
pub async fn keep_totals(ctx: Context) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        // On failure, the counts are added next time.
        let _ = flush(&ctx).await;
    }
}

/// Adds what this process has counted since the last flush.
pub async fn flush(ctx: &Context) -> Result<(), Error> {
    let increments: Vec<(String, u64)> = {
        let mut flushed = ctx.cache.0.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        let now = ctx.cache.stats();
        let increments = now.iter().flat_map(|(namespace, stats)| {
            let since = stats.since(&flushed.get(namespace).copied().unwrap_or_default());
            since.into_iter().map(move |(count, by)| (format!("{namespace}:{count}"), by))
        });
        let increments = increments.collect();
        flushed.extend(now.iter().copied());
        increments
    };
    if increments.is_empty() {
        return Ok(());
    }
    let outcome = ctx.redis.best_effort(REDIS_TIMEOUT).add_to_fields(&key(current_span()), &increments, TTL).await;
    // After a timeout the server may have received the counts: losing them is better than counting twice.
    if matches!(&outcome, Err(error) if *error != Error::Timeout) {
        let mut flushed = ctx.cache.0.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, by) in &increments {
            if let Some((namespace, count)) = name.split_once(':')
                && let Some(stats) = flushed.get_mut(namespace)
            {
                stats.subtract(count, *by);
            }
        }
    }
    outcome
}

/// The counts of all replicas in the last 60 to 65 minutes, by namespace, except for the last few seconds.
pub async fn last_hour(ctx: &Context) -> Result<BTreeMap<String, NamespaceStats>, Error> {
    let _ = flush(ctx).await;
    let span = current_span();
    let keys: Vec<String> = (span - SPANS + 1..=span).map(key).collect();
    let mut totals: BTreeMap<String, NamespaceStats> = BTreeMap::new();
    for (field, by) in ctx.redis.best_effort(REDIS_TIMEOUT).fields_of(&keys).await?.into_iter().flatten() {
        if let Some((namespace, count)) = field.split_once(':') {
            totals.entry(namespace.to_owned()).or_default().add(count, by);
        }
    }
    Ok(totals)
}
