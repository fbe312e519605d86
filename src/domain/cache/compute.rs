//! Values that are fetched, or computed once however many ask: one caller a process, one process of all.

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

/// Between looks at whether another replica is done; longer each time.
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// After a refresh that failed, none is tried in this process for so long.
const REST: Duration = Duration::from_secs(1);

/// The value that is kept, or a new one. A value past its time is served while another is computed in the background.
/// Where computing fails, everybody who waited in this process gets the error, and nothing is kept. The computation
/// goes on where the caller goes away.
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
    let (how, outcome) = loop {
        match ctx.cache.0.single_flight.join(&names.value) {
            Role::Leader(leader) => break fetch(ctx, &namespace.spec, names, leader, compute).await,
            Role::Follower(follower) => {
                if let Some(result) = follower.wait().await {
                    break result;
                }
            }
        }
    };
    ctx.cache.looked_up(namespace.spec.name, how, began.elapsed());
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
    let how = match read::<T>(ctx, &names).await {
        Ok(Some(found)) if found.is_fresh => return (LookupOutcome::Hit, leader.complete(LookupOutcome::Hit, Ok(found.value))),
        Ok(Some(found)) => {
            let all = ctx.clone();
            ctx.in_background(async move {
                if let Err(error) = renew(&all, spec, &names, true, compute).await {
                    log::info!("{} was not computed again: {error}", names.value);
                }
            });
            return (LookupOutcome::Stale, leader.complete(LookupOutcome::Stale, Ok(found.value)));
        }
        Ok(None) => LookupOutcome::Miss,
        Err(_) => LookupOutcome::Error,
    };
    let follower = leader.follower();
    let all = ctx.clone();
    ctx.in_background(async move {
        let outcome = compute_once(&all, spec, &names, compute).await;
        let _ = leader.complete(how, outcome);
    });
    follower.wait().await.unwrap_or_else(|| (how, Err(Error::Internal("a computation was cut off".into()))))
}

/// By this process, or by the one that has begun already.
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
        let Ok((value, lock)) = lock::take(ctx, spec, names, mode).await else {
            // Without Redis nobody else can be heard of, and nothing be kept.
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
                settle(ctx, spec, lock, &outcome).await;
                return outcome;
            }
            // What cannot be read is in the way.
            (Some(None), None) => mode = LockMode::IfFree,
            (None, None) => {}
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Computes anew, whatever is kept, unless somebody does so already. Whether the value is kept now; never without
/// Redis, because there is nowhere to keep it.
pub async fn refresh<T, W>(ctx: &Context, namespace: &'static Namespace<T>, key: &Key, compute: impl FnOnce() -> W + Send) -> Result<bool>
where
    T: Serialize + DeserializeOwned,
    W: Future<Output = Result<T>> + Send,
{
    renew(ctx, &namespace.spec, &Names::of(&namespace.spec, key), false, compute).await
}

async fn renew<T, W>(ctx: &Context, spec: &Spec, names: &Names, unless_fresh: bool, compute: impl FnOnce() -> W) -> Result<bool>
where
    T: Serialize + DeserializeOwned,
    W: Future<Output = Result<T>>,
{
    let Role::Leader(alone) = ctx.cache.0.single_flight.join(&format!("anew:{}", names.value)) else { return Ok(false) };
    let Ok((value, Some(lock))) = lock::take(ctx, spec, names, LockMode::IfFree).await else { return Ok(false) };
    // Another was quicker, between our look and our lock.
    if unless_fresh
        && value.as_deref().and_then(|text| Entry::<T>::read(&ctx.signer, &names.value, text)).is_some_and(|found| found.is_fresh)
    {
        lock.release(ctx).await;
        return Ok(false);
    }
    let outcome = run(ctx, spec, compute).await;
    let kept = settle(ctx, spec, lock, &outcome).await;
    if let (Err(error), true) = (&outcome, unless_fresh) {
        log::debug!("{} rests after an error: {error}", names.value);
        ctx.in_background(async move {
            sleep(REST).await;
            drop(alone);
        });
    }
    outcome.map(|_| kept)
}

async fn run<T, W: Future<Output = Result<T>>>(ctx: &Context, spec: &Spec, compute: impl FnOnce() -> W) -> Result<T> {
    let began = Instant::now();
    let outcome = AssertUnwindSafe(async { compute().await }).catch_unwind().await;
    let outcome = outcome.unwrap_or_else(|_| Err(Error::Internal(format!("computing a value of {} panicked", spec.name))));
    ctx.cache.0.stats_by_namespace.of(spec.name).computed(outcome.is_ok(), began.elapsed());
    outcome
}

/// Whether the value is kept; an error never is.
async fn settle<T: Serialize>(ctx: &Context, spec: &Spec, lock: Lock, outcome: &Result<T>) -> bool {
    let Some((text, ttl)) = outcome.as_ref().ok().and_then(|value| Entry::write(&ctx.signer, lock.value_name(), spec, value)) else {
        lock.release(ctx).await;
        return false;
    };
    match lock.keep(ctx, &text, ttl).await {
        Ok(kept) => kept,
        Err(error) => {
            log::debug!("a value of {} was not kept: {error}", spec.name);
            ctx.cache.0.stats_by_namespace.of(spec.name).unkept();
            false
        }
    }
}
