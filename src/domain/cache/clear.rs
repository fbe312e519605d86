//! Clears a whole namespace with SCAN and UNLINK, so that the server is never blocked.

use std::time::Duration;

use uuid::Uuid;

use super::Spec;
use crate::domain::Context;
use crate::stores::redis::Error;

/// Keys examined per step, and deleted together.
const BATCH: usize = 500;
/// Longer than the longest wait for a computation.
const MARK_TTL: Duration = Duration::from_secs(3600);

/// Progress of counting or clearing a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Approximate number of keys examined, in any namespace.
    pub examined: u64,
    /// Values of this namespace.
    pub values: u64,
    /// No keys are left to examine.
    pub is_complete: bool,
}

/// Counts the values. `should_continue` receives the progress after every step and returns whether to continue.
pub async fn count(ctx: &Context, spec: &Spec, should_continue: impl FnMut(Cleared) -> bool) -> Result<Cleared, Error> {
    scan(ctx, spec, false, should_continue).await
}

/// Deletes all values and prevents computations in progress from being cached. `should_continue` receives the
/// progress after every step and returns whether to continue.
pub async fn clear(ctx: &Context, spec: &Spec, should_continue: impl FnMut(Cleared) -> bool) -> Result<Cleared, Error> {
    // A computation is cached only if the mark has not changed since it started.
    let mark = Uuid::now_v7().simple().to_string();
    let set_mark = || async { ctx.redis.required().set(&format!("larder:cache-cleared:{}", spec.name), &mark, Some(MARK_TTL)).await };
    let mut before = 0;
    match set_mark().await {
        // Deleting may free memory for the mark. Without free memory, computations cannot be cached either.
        Err(Error::OutOfMemory) => {
            before = scan(ctx, spec, true, |_| true).await?.values;
            let _ = set_mark().await;
        }
        marked => marked?,
    }
    let outcome = scan(ctx, spec, true, should_continue).await.map(|cleared| Cleared { values: before + cleared.values, ..cleared });
    let prefix = prefix(spec);
    ctx.cache.0.single_flight.forget(|name| name.starts_with(&prefix));
    outcome
}

async fn scan(ctx: &Context, spec: &Spec, delete: bool, mut should_continue: impl FnMut(Cleared) -> bool) -> Result<Cleared, Error> {
    let (prefix, redis) = (prefix(spec), ctx.redis.required());
    let (mut cleared, mut cursor) = (Cleared::default(), 0);
    loop {
        let (next, found) = redis.scan(cursor, &prefix, BATCH).await?;
        let count = if delete { redis.unlink(&found).await? } else { found.len() as u64 };
        cursor = next;
        cleared = Cleared { examined: cleared.examined + BATCH as u64, values: cleared.values + count, is_complete: cursor == 0 };
        if !should_continue(cleared) || cleared.is_complete {
            return Ok(cleared);
        }
    }
}

/// The colon prevents the prefix of `a` from matching `ab`.
fn prefix(spec: &Spec) -> String {
    format!("cache:{}:", spec.name)
}
