//! The counts of all replicas of the last hour, in Redis: a hash for every five minutes, a field for every count.

use std::collections::{BTreeMap, HashMap};
use std::sync::PoisonError;
use std::time::Duration;

use super::REDIS_TIMEOUT;
use super::stats::NamespaceStats;
use crate::clock;
use crate::domain::Context;
use crate::stores::redis::Error;

const EVERY: Duration = Duration::from_secs(5);
/// Seconds.
const SPAN: i64 = 300;
/// The hour, and the span that has begun.
const SPANS: i64 = 13;
const KEPT: Duration = Duration::from_secs(2 * 3600);

/// What was added to the totals already.
pub(super) type Flushed = HashMap<&'static str, NamespaceStats>;

fn key(span: i64) -> String {
    format!("larder:cache-stats:{span}")
}

fn current_span() -> i64 {
    clock::now().timestamp().div_euclid(SPAN)
}

/// Adds what this process has counted to the totals every five seconds, for ever.
pub async fn keep_totals(ctx: Context) {
    loop {
        tokio::time::sleep(EVERY).await;
        // What could not be added now is added later.
        let _ = flush(&ctx).await;
    }
}

/// Adds what this process has counted since the last time.
pub async fn flush(ctx: &Context) -> Result<(), Error> {
    let grown: Vec<(String, u64)> = {
        let mut flushed = ctx.cache.0.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        let now = ctx.cache.stats();
        let grown = now.iter().flat_map(|(namespace, stats)| {
            let since = stats.since(&flushed.get(namespace).copied().unwrap_or_default());
            since.into_iter().map(move |(count, by)| (format!("{namespace}:{count}"), by))
        });
        let grown = grown.collect();
        flushed.extend(now.iter().copied());
        grown
    };
    if grown.is_empty() {
        return Ok(());
    }
    let outcome = ctx.redis.best_effort(REDIS_TIMEOUT).add_to_fields(&key(current_span()), &grown, KEPT).await;
    // A server that took too long may have heard it: lost is better than counted twice.
    if matches!(&outcome, Err(error) if *error != Error::Timeout) {
        let mut flushed = ctx.cache.0.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, by) in &grown {
            if let Some((namespace, count)) = name.split_once(':')
                && let Some(stats) = flushed.get_mut(namespace)
            {
                stats.take_back(count, *by);
            }
        }
    }
    outcome
}

/// What all replicas have counted in the last 60 to 65 minutes, by namespace, up to a few seconds ago.
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
