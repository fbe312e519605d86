//! Values that are read from the cache or computed once: by one caller per process and one process at a time.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use super::entry::Entry;
use super::lock::{self, Lock, LockMode};
use super::single_flight::{Leader, Role};
use super::stats::LookupOutcome;
use super::{Key, Names, Namespace, Spec, read};
use crate::domain::{Context, Error, Result};

/// Pause between checks whether another replica has finished; doubled each time.
const PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_millis(100);
/// After a failed refresh, this process does not try again for this long.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The cached value, or a new one. A stale value is served while a new one is computed in the background. If the
/// computation fails, all waiting callers of this process receive the error, and nothing is cached. The computation
/// continues even if the caller is cancelled.
pub async fn get_or_compute<T, W>(
    ctx: &Context,
    namespace: &'static Namespace<T>,
    key: &Key,
    compute: impl FnOnce() -> W + Send + 'static,
) -> Result<T>
where
    T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    W: Future<Output = Result<T>> + Send + 'static,
{
    let began = Instant::now();
    let names = Names::of(&namespace.spec, key);
    let (outcome_kind, outcome) = loop {
        match ctx.cache.0.single_flight.join(&names.value) {
            Role::Leader(leader) => break fetch(ctx, &namespace.spec, names, leader, compute).await,
            Role::Follower(follower) => {
                if let Some(result) = follower.wait().await {
                    break result;
                }
            }
        }
    };
    ctx.cache.looked_up(namespace.spec.name, outcome_kind, began.elapsed());
    outcome
}

async fn fetch<T, W>(
    ctx: &Context,
    spec: &'static Spec,
    names: Names,
    leader: Leader,
    compute: impl FnOnce() -> W + Send + 'static,
) -> (LookupOutcome, Result<T>)
where
    T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    W: Future<Output = Result<T>> + Send + 'static,
{
    let outcome_kind = match read::<T>(ctx, &names).await {
        Ok(Some(found)) if found.is_fresh => return (LookupOutcome::Hit, leader.complete(LookupOutcome::Hit, Ok(found.value))),
        Ok(Some(found)) => {
            let task_ctx = ctx.clone();
            ctx.in_background(async move {
                if let Err(error) = recompute(&task_ctx, spec, &names, true, compute).await {
                    log::info!("{} was not recomputed: {error}", names.value);
                }
            });
            return (LookupOutcome::Stale, leader.complete(LookupOutcome::Stale, Ok(found.value)));
        }
        Ok(None) => LookupOutcome::Miss,
        Err(_) => LookupOutcome::Error,
    };
    let follower = leader.follower();
    let task_ctx = ctx.clone();
    ctx.in_background(async move {
        let outcome = compute_once(&task_ctx, spec, &names, compute).await;
        let _ = leader.complete(outcome_kind, outcome);
    });
    follower.wait().await.unwrap_or_else(|| (outcome_kind, Err(Error::Internal("a computation was aborted".into()))))
}

/// Computed by this process, or awaited from the process that has already started.
async fn compute_once<T, W>(ctx: &Context, spec: &Spec, names: &Names, compute: impl FnOnce() -> W) -> Result<T>
where
    T: Serialize + DeserializeOwned,
    W: Future<Output = Result<T>>,
{
    let deadline = Instant::now() + spec.waiting;
    let (mut pause, mut mode) = (PAUSE, LockMode::IfAbsent);
    loop {
        if Instant::now() > deadline {
            mode = LockMode::Steal;
        }
        let Ok((value, lock)) = lock::acquire(ctx, spec, names, mode).await else {
            // Without Redis, other replicas cannot be awaited and nothing can be cached.
            return run(ctx, spec, compute).await;
        };
        match (value.as_deref().map(|text| Entry::read(&ctx.signer, &names.value, text)), lock) {
            (Some(Some(found)), lock) => {
                if let Some(lock) = lock {
                    lock.release(ctx).await;
                }
                return Ok(found.value);
            }
            (_, Some(lock)) => {
                let outcome = run(ctx, spec, compute).await;
                store_outcome(ctx, spec, lock, &outcome).await;
                return outcome;
            }
            // An unreadable value is replaced.
            (Some(None), None) => mode = LockMode::IfFree,
            (None, None) => {}
        }
        sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Computes a new value, whatever is cached, unless a refresh is already running. Returns whether the value is now
/// cached, which is never the case without Redis.
pub async fn refresh<T, W>(ctx: &Context, namespace: &'static Namespace<T>, key: &Key, compute: impl FnOnce() -> W + Send) -> Result<bool>
where
    T: Serialize + DeserializeOwned,
    W: Future<Output = Result<T>> + Send,
{
    recompute(ctx, &namespace.spec, &Names::of(&namespace.spec, key), false, compute).await
}

async fn recompute<T, W>(ctx: &Context, spec: &Spec, names: &Names, unless_fresh: bool, compute: impl FnOnce() -> W) -> Result<bool>
where
    T: Serialize + DeserializeOwned,
    W: Future<Output = Result<T>>,
{
    let Role::Leader(guard) = ctx.cache.0.single_flight.join(&format!("refresh:{}", names.value)) else { return Ok(false) };
    let Ok((value, Some(lock))) = lock::acquire(ctx, spec, names, LockMode::IfFree).await else { return Ok(false) };
    // Another replica was faster, between reading the value and acquiring the lock.
    if unless_fresh
        && value.as_deref().and_then(|text| Entry::<T>::read(&ctx.signer, &names.value, text)).is_some_and(|found| found.is_fresh)
    {
        lock.release(ctx).await;
        return Ok(false);
    }
    let outcome = run(ctx, spec, compute).await;
    let kept = store_outcome(ctx, spec, lock, &outcome).await;
    if let (Err(error), true) = (&outcome, unless_fresh) {
        log::debug!("{} is not refreshed for a while after an error: {error}", names.value);
        ctx.in_background(async move {
            sleep(RETRY_AFTER).await;
            drop(guard);
        });
    }
    outcome.map(|_| kept)
}

async fn run<T, W: Future<Output = Result<T>>>(ctx: &Context, spec: &Spec, compute: impl FnOnce() -> W) -> Result<T> {
    let began = Instant::now();
    let outcome = AssertUnwindSafe(async { compute().await }).catch_unwind().await;
    let outcome = outcome.unwrap_or_else(|_| Err(Error::Internal(format!("computing a value of {} panicked", spec.name))));
    ctx.cache.0.stats.of(spec.name).computed(outcome.is_ok(), began.elapsed());
    outcome
}

/// Returns whether the value was cached; errors are never cached.
async fn store_outcome<T: Serialize>(ctx: &Context, spec: &Spec, lock: Lock, outcome: &Result<T>) -> bool {
    let Some((text, ttl)) = outcome.as_ref().ok().and_then(|value| Entry::write(&ctx.signer, lock.value_name(), spec, value)) else {
        lock.release(ctx).await;
        return false;
    };
    match lock.store(ctx, &text, ttl).await {
        Ok(kept) => kept,
        Err(error) => {
            log::debug!("a value of {} was not kept: {error}", spec.name);
            ctx.cache.0.stats.of(spec.name).unkept();
            false
        }
    }
}
