//! A whole namespace at once, by SCAN and UNLINK, so that no server stands still for it.

use std::time::Duration;

use uuid::Uuid;

use super::Spec;
use crate::domain::Context;
use crate::stores::redis::Error;

/// Keys that the server looks at in one step, and that are deleted at once.
const STEP: usize = 500;
/// Longer than any computation is waited for.
const MARK: Duration = Duration::from_secs(3600);

/// LookupOutcome far a namespace is counted or cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// About so many keys of the server, of whatever namespace, were looked at.
    pub looked_at: u64,
    /// Values of this namespace.
    pub values: u64,
    /// Nothing is left to look at.
    pub is_over: bool,
}

/// LookupOutcome many values there are. `go_on` hears of every step, and says whether to take another.
pub async fn count(ctx: &Context, spec: &Spec, go_on: impl FnMut(Cleared) -> bool) -> Result<Cleared, Error> {
    walk(ctx, spec, false, go_on).await
}

/// Deletes every value, and sees to it that none that was being computed before comes back. `go_on` hears of every
/// step, and says whether to take another.
pub async fn clear(ctx: &Context, spec: &Spec, go_on: impl FnMut(Cleared) -> bool) -> Result<Cleared, Error> {
    // A computation keeps its value only where this says the same as when it began.
    let mark = Uuid::now_v7().simple().to_string();
    let set_mark = || async { ctx.redis.required().set(&format!("larder:cache-cleared:{}", spec.name), &mark, Some(MARK)).await };
    let mut before = 0;
    match set_mark().await {
        // There may be room once something is deleted; where there is none, nothing that is being computed is kept either.
        Err(Error::OutOfMemory) => {
            before = walk(ctx, spec, true, |_| true).await?.values;
            let _ = set_mark().await;
        }
        marked => marked?,
    }
    let outcome = walk(ctx, spec, true, go_on).await.map(|cleared| Cleared { values: before + cleared.values, ..cleared });
    let prefix = prefix(spec);
    ctx.cache.0.single_flight.forget(|name| name.starts_with(&prefix));
    outcome
}

async fn walk(ctx: &Context, spec: &Spec, delete: bool, mut go_on: impl FnMut(Cleared) -> bool) -> Result<Cleared, Error> {
    let (prefix, redis) = (prefix(spec), ctx.redis.required());
    let (mut cleared, mut cursor) = (Cleared::default(), 0);
    loop {
        let (next, found) = redis.scan(cursor, &prefix, STEP).await?;
        let count = if delete { redis.unlink(&found).await? } else { found.len() as u64 };
        cursor = next;
        cleared = Cleared { looked_at: cleared.looked_at + STEP as u64, values: cleared.values + count, is_over: cursor == 0 };
        if !go_on(cleared) || cleared.is_over {
            return Ok(cleared);
        }
    }
}

/// Its colon keeps `a` from being the beginning of `ab`.
fn prefix(spec: &Spec) -> String {
    format!("cache:{}:", spec.name)
}
