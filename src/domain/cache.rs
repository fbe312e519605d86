//! Values that can always be recomputed, cached in Redis for all replicas under `cache:{namespace}:{key}`.
//!
//! [`get_or_compute`] computes a value once for all concurrent callers; call [`invalidate`] after committing a change
//! to its source data. Nothing here fails because of Redis: without it, each process computes a value once at a time.

mod clear;
mod compute;
mod entry;
mod key;
mod lock;
mod pending_invalidations;
mod single_flight;
mod stats;
mod totals;

use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Context;
use crate::stores::redis;
use entry::Entry;
use pending_invalidations::PendingInvalidations;
use single_flight::SingleFlight;
use stats::StatsByNamespace;

pub use clear::{Cleared, clear, count};
pub use compute::{get_or_compute, refresh};
pub use entry::CachedValue;
pub use key::Key;
pub use stats::{Latency, LookupOutcome, NamespaceStats};
pub use totals::{flush, keep_totals, last_hour};

/// Longest wait for Redis on a request path. After a timeout the circuit breaker skips Redis for two seconds.
const REDIS_TIMEOUT: Duration = Duration::from_millis(250);

/// How the values of a namespace are cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    pub name: &'static str,
    /// How long a value is fresh.
    pub fresh: Duration,
    /// How much longer it is still served, while a new one is computed in the background.
    pub stale: Duration,
    /// `fresh` varies randomly by this percentage, so that values do not all expire at the same time.
    pub jitter_percent: u8,
    /// Longest computation. The result of a longer one is not cached, and other callers do not wait for it.
    pub computing: Duration,
    /// How long a replica waits for another one's computation before it computes the value itself.
    pub waiting: Duration,
    /// Whether keys are under `cache:` and may be cleared; this excludes the copies of sessions.
    pub clearable: bool,
}

/// A namespace and the type of its values.
pub struct Namespace<T> {
    pub spec: Spec,
    values: PhantomData<fn() -> T>,
}

impl<T> Namespace<T> {
    /// The name consists of lowercase letters, digits and hyphens; with a colon, namespaces could overlap. Defaults:
    /// no stale period, 10 % jitter, computations take at most 10 s and are waited for at most 3 s.
    pub const fn new(name: &'static str, fresh: Duration) -> Self {
        assert!(is_plain(name), "a namespace name consists of lowercase letters, digits and hyphens");
        let (computing, waiting) = (Duration::from_secs(10), Duration::from_secs(3));
        let spec = Spec { name, fresh, stale: Duration::ZERO, jitter_percent: 10, computing, waiting, clearable: true };
        Self { spec, values: PhantomData }
    }

    pub const fn stale(mut self, stale: Duration) -> Self {
        self.spec.stale = stale;
        self
    }

    /// At most 100.
    pub const fn jitter(mut self, percent: u8) -> Self {
        assert!(percent <= 100, "the jitter is at most 100 %");
        self.spec.jitter_percent = percent;
        self
    }

    pub const fn computing(mut self, limit: Duration) -> Self {
        self.spec.computing = limit;
        self
    }

    pub const fn waiting(mut self, limit: Duration) -> Self {
        self.spec.waiting = limit;
        self
    }
}

const fn is_plain(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !(bytes[at].is_ascii_lowercase() || bytes[at].is_ascii_digit() || bytes[at] == b'-') {
            return false;
        }
        at += 1;
    }
    at > 0
}

/// This process's state of the cache.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    namespaces: Vec<Spec>,
    single_flight: SingleFlight,
    stats: StatsByNamespace,
    pending_invalidations: PendingInvalidations,
    flushed: Mutex<totals::Flushed>,
}

impl Cache {
    /// `namespaces`: all namespaces, for their pages and totals.
    pub fn new(namespaces: Vec<Spec>) -> Self {
        Self(Arc::new(Inner {
            namespaces,
            single_flight: SingleFlight::default(),
            stats: StatsByNamespace::default(),
            pending_invalidations: PendingInvalidations::default(),
            flushed: Mutex::default(),
        }))
    }

    pub fn namespaces(&self) -> &[Spec] {
        &self.0.namespaces
    }

    /// This process's statistics of each namespace it has used.
    pub fn stats(&self) -> Vec<(&'static str, NamespaceStats)> {
        self.0.stats.read()
    }

    /// Counts a lookup of a copy that this module does not manage.
    pub(super) fn looked_up(&self, namespace: &'static str, outcome: LookupOutcome, took: Duration) {
        self.0.stats.of(namespace).looked_up(outcome, took);
    }
}

/// Redis keys of a value and of the lock of its computation.
#[derive(Clone)]
struct Names {
    value: String,
    lock: String,
    /// The key that identifies the last time the whole namespace was cleared.
    mark: String,
}

impl Names {
    fn of(spec: &Spec, key: &Key) -> Self {
        let (namespace, key) = (spec.name, key.as_str());
        Self {
            value: format!("cache:{namespace}:{key}"),
            lock: format!("larder:lock:cache:{namespace}:{key}"),
            mark: format!("larder:cache-cleared:{namespace}"),
        }
    }
}

/// The cached value, even if stale. `None`: not cached, or Redis is unavailable.
pub async fn get<T: DeserializeOwned>(ctx: &Context, namespace: &Namespace<T>, key: &Key) -> Option<CachedValue<T>> {
    let began = Instant::now();
    let read = read(ctx, &Names::of(&namespace.spec, key)).await;
    let outcome = match &read {
        Ok(Some(found)) if found.is_fresh => LookupOutcome::Hit,
        Ok(Some(_)) => LookupOutcome::Stale,
        Ok(None) => LookupOutcome::Miss,
        Err(_) => LookupOutcome::Error,
    };
    ctx.cache.looked_up(namespace.spec.name, outcome, began.elapsed());
    read.ok().flatten()
}

/// Like [`get`], in the order of `keys` and in one round trip. Fails if Redis is unavailable.
pub async fn get_many<T: DeserializeOwned>(
    ctx: &Context,
    namespace: &Namespace<T>,
    keys: &[Key],
) -> Result<Vec<Option<CachedValue<T>>>, redis::Error> {
    let began = Instant::now();
    let names: Vec<String> = keys.iter().map(|key| Names::of(&namespace.spec, key).value).collect();
    let answer = ctx.redis.best_effort(REDIS_TIMEOUT).get_many(&names).await;
    let errors = if answer.is_err() { keys.len() as u64 } else { 0 };
    let texts = answer.as_deref().unwrap_or_default();
    let found: Vec<Option<CachedValue<T>>> =
        (0..keys.len()).map(|at| Entry::read(&ctx.signer, &names[at], texts.get(at)?.as_deref()?)).collect();
    let hits = found.iter().flatten().count() as u64;
    let misses = keys.len() as u64 - hits - errors;
    ctx.cache.0.stats.of(namespace.spec.name).looked_up_many(hits, misses, errors, began.elapsed());
    answer.map(|_| found)
}

/// Returns whether the value is now cached. A computation in progress does not overwrite it.
pub async fn set<T: Serialize>(ctx: &Context, namespace: &Namespace<T>, key: &Key, value: &T) -> bool {
    let names = Names::of(&namespace.spec, key);
    let kept = match Entry::write(&ctx.signer, &names.value, &namespace.spec, value) {
        Some((text, ttl)) => lock::replace(ctx, &names, &text, ttl).await.is_ok(),
        None => false,
    };
    if !kept {
        ctx.cache.0.stats.of(namespace.spec.name).unkept();
    }
    kept
}

/// Call after the commit of a change to the value's source data. Computations already in progress are not cached, and
/// later callers in this process do not receive them. If Redis is unavailable, other replicas may serve the old value
/// until the deletion is retried successfully.
pub async fn invalidate<T>(ctx: &Context, namespace: &Namespace<T>, key: &Key) {
    let names = Names::of(&namespace.spec, key);
    let gone = vec![names.value.clone(), names.lock];
    if ctx.redis.best_effort(REDIS_TIMEOUT).unlink(&gone).await.is_err() {
        pending_invalidations::retry_later(ctx, gone);
    }
    ctx.cache.0.single_flight.forget(|name| name == names.value);
}

/// A value that cannot be parsed, because another version of Larder wrote it, counts as missing.
async fn read<T: DeserializeOwned>(ctx: &Context, names: &Names) -> Result<Option<CachedValue<T>>, redis::Error> {
    let text = ctx.redis.best_effort(REDIS_TIMEOUT).get(&names.value).await?;
    Ok(text.as_deref().and_then(|text| Entry::read(&ctx.signer, &names.value, text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_name_is_plain() {
        assert!(is_plain("store-abilities") && !is_plain("") && !is_plain("a:b") && !is_plain("a*"));
    }
}
