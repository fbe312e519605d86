//! Values that can always be computed again, kept in Redis for all replicas under `cache:{namespace}:{key}`.
//!
//! [`get_or_compute`] computes once however many ask, [`invalidate`] follows the commit of what a value was computed
//! from. Nothing here fails because of Redis: without it every value is computed, once at a time in each process.

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

use super::{Context, abilities, buckets, overview, sessions};
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

/// Every namespace that Larder uses.
pub fn namespaces() -> [Spec; 5] {
    [abilities::CACHE.spec, buckets::CACHE.spec, overview::CACHE.spec, overview::STORED.spec, sessions::COPIES]
}

/// LookupOutcome the values of a namespace are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    pub name: &'static str,
    /// How long a value is as good as a new one.
    pub fresh: Duration,
    /// LookupOutcome much longer it is still served, while another is computed in the background.
    pub stale: Duration,
    /// `fresh` is longer or shorter by as much as this at random, so that not everything ends at once.
    pub jitter_percent: u8,
    /// How long a computation may take. What took longer is not kept, and others do not wait for it.
    pub computing: Duration,
    /// How long another replica waits for one that computes, before it does so itself.
    pub waiting: Duration,
    /// Whether it stands under `cache:`, and may be cleared; sessions' copies do not.
    pub clearable: bool,
}

/// A namespace, and what its values are.
pub struct Namespace<T> {
    pub spec: Spec,
    values: PhantomData<fn() -> T>,
}

impl<T> Namespace<T> {
    /// The name is of lower-case letters, digits and hyphens: a colon would put one namespace into another. Values are
    /// served stale for no time, a tenth of `fresh` is left to chance, a computation takes 10 s at most and is waited
    /// for 3 s.
    pub const fn new(name: &'static str, fresh: Duration) -> Self {
        assert!(is_plain(name), "the name of a namespace is of lower-case letters, digits and hyphens");
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
        assert!(percent <= 100, "a life cannot be shorter than none");
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

/// What a process itself knows of its cache.
#[derive(Clone, Default)]
pub struct Cache(Arc<Inner>);

#[derive(Default)]
struct Inner {
    single_flight: SingleFlight,
    stats_by_namespace: StatsByNamespace,
    pending_invalidations: PendingInvalidations,
    flushed: Mutex<totals::Flushed>,
}

impl Cache {
    /// What this process has counted of each namespace that it has used.
    pub fn stats(&self) -> Vec<(&'static str, NamespaceStats)> {
        self.0.stats_by_namespace.read()
    }

    /// Counts a lookup of a copy that is not kept by this module.
    pub(super) fn looked_up(&self, namespace: &'static str, how: LookupOutcome, took: Duration) {
        self.0.stats_by_namespace.of(namespace).looked_up(how, took);
    }
}

/// Where a value and the lock of its computation stand.
#[derive(Clone)]
struct Names {
    value: String,
    lock: String,
    /// Says when the whole namespace was last cleared.
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

/// What is kept, also past its time. `None`: nothing, or Redis does not answer.
pub async fn get<T: DeserializeOwned>(ctx: &Context, namespace: &Namespace<T>, key: &Key) -> Option<CachedValue<T>> {
    let began = Instant::now();
    let read = read(ctx, &Names::of(&namespace.spec, key)).await;
    let how = match &read {
        Ok(Some(found)) if found.is_fresh => LookupOutcome::Hit,
        Ok(Some(_)) => LookupOutcome::Stale,
        Ok(None) => LookupOutcome::Miss,
        Err(_) => LookupOutcome::Error,
    };
    ctx.cache.looked_up(namespace.spec.name, how, began.elapsed());
    read.ok().flatten()
}

/// As [`get`], in the order of `keys` and in one round trip.
pub async fn get_many<T: DeserializeOwned>(ctx: &Context, namespace: &Namespace<T>, keys: &[Key]) -> Vec<Option<CachedValue<T>>> {
    let began = Instant::now();
    let names: Vec<String> = keys.iter().map(|key| Names::of(&namespace.spec, key).value).collect();
    let answer = ctx.redis.best_effort(REDIS_TIMEOUT).get_many(&names).await;
    let errors = if answer.is_err() { keys.len() as u64 } else { 0 };
    let texts = answer.unwrap_or_default();
    let found: Vec<Option<CachedValue<T>>> =
        (0..keys.len()).map(|at| Entry::read(&ctx.signer, &names[at], texts.get(at)?.as_deref()?)).collect();
    let hits = found.iter().flatten().count() as u64;
    let misses = keys.len() as u64 - hits - errors;
    ctx.cache.0.stats_by_namespace.of(namespace.spec.name).looked_up_together(hits, misses, errors, began.elapsed());
    found
}

/// Whether it is kept now. What is being computed meanwhile does not take its place.
pub async fn set<T: Serialize>(ctx: &Context, namespace: &Namespace<T>, key: &Key, value: &T) -> bool {
    let names = Names::of(&namespace.spec, key);
    let kept = match Entry::write(&ctx.signer, &names.value, &namespace.spec, value) {
        Some((text, ttl)) => lock::replace(ctx, &names, &text, ttl).await.is_ok(),
        None => false,
    };
    if !kept {
        ctx.cache.0.stats_by_namespace.of(namespace.spec.name).unkept();
    }
    kept
}

/// After the commit of a change to what this value is computed from. What was being computed before is not kept, and
/// who asks from now on does not get it, here at once; where Redis does not answer, other replicas may serve what they
/// have until it does.
pub async fn invalidate<T>(ctx: &Context, namespace: &Namespace<T>, key: &Key) {
    let names = Names::of(&namespace.spec, key);
    let gone = vec![names.value.clone(), names.lock];
    if ctx.redis.best_effort(REDIS_TIMEOUT).unlink(&gone).await.is_err() {
        pending_invalidations::retry_later(ctx, gone);
    }
    ctx.cache.0.single_flight.forget(|name| name == names.value);
}

/// What cannot be read, because a Larder of another version wrote it, counts as absent.
async fn read<T: DeserializeOwned>(ctx: &Context, names: &Names) -> Result<Option<CachedValue<T>>, redis::Error> {
    let text = ctx.redis.best_effort(REDIS_TIMEOUT).get(&names.value).await?;
    Ok(text.as_deref().and_then(|text| Entry::read(&ctx.signer, &names.value, text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_namespaces_have_one_name() {
        let mut names: Vec<&str> = namespaces().iter().map(|spec| spec.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), namespaces().len());
        assert!(namespaces().iter().all(|spec| is_plain(spec.name)));
        assert!(!is_plain("") && !is_plain("a:b") && !is_plain("a*"));
    }
}
