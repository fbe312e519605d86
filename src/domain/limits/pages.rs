//! The limit of pages: which session a request belongs to, and for whom it counts.

use std::net::IpAddr;
use std::time::Duration;

use uuid::Uuid;

use super::local_counts::USER;
use super::{Counted, Policy, REDIS_TIMEOUT, Standing, count, holder, peek, peek_with_copy, publish_later, take, withdraw};
use crate::domain::sessions::{self, Lookup, Session};
use crate::domain::slots::{Holder, Slot};
use crate::domain::{Context, Result};

/// Sessions that are looked up in Postgres at the same time for cookies that were not seen before: in the process, and of
/// one address.
pub const MAX_LOOKUPS: usize = 200;
const MAX_LOOKUPS_EACH: usize = 50;

/// The policy for pages and the API. `None`: disabled.
pub fn pages(ctx: &Context) -> Option<Policy> {
    let limit = ctx.config.rate_limit_per_minute;
    (limit > 0).then_some(Policy { name: "pages", limit, window: Duration::from_secs(60) })
}

/// The session of this token, and its state under the policy for pages: as a user, or as an address without a
/// session. Takes one request to Redis for a session that this process knows, as without a limit, unless Postgres must
/// be queried too.
pub async fn enter(ctx: &Context, token: Option<&str>, address: Option<IpAddr>) -> (Result<Option<Session>>, Option<Standing>) {
    let hash = token.and_then(sessions::hash_of);
    let Some(policy) = pages(ctx) else { return (find(ctx, token).await, None) };
    let stranger = stranger(address);
    let Some(hash) = hash else { return (Ok(None), Some(take(ctx, &policy, &stranger).await)) };
    match ctx.session_cache.user_of(&hash) {
        Some(user) => enter_as_user(ctx, &policy, user, hash, &stranger).await,
        None => enter_as_stranger(ctx, &policy, hash, &stranger).await,
    }
}

/// For a session that this process has seen. It may have ended since.
async fn enter_as_user(
    ctx: &Context,
    policy: &Policy,
    user: Uuid,
    hash: Vec<u8>,
    stranger: &str,
) -> (Result<Option<Session>>, Option<Standing>) {
    let (subject, key, asking) = (user_subject(user), sessions::copy_key(&hash), ctx.session_cache.asking());
    let Counted { copy, standing, start } = count(ctx, policy, &subject, Some(&key)).await;
    let found = match sessions::from_copy(ctx, &hash, copy, asking) {
        Some(session) => Ok(Some(session)),
        None => sessions::from_postgres(ctx, hash, asking).await,
    };
    if matches!(found, Ok(None)) {
        withdraw(ctx, policy, &subject, start);
        return (found, Some(take(ctx, policy, stranger).await));
    }
    (found, Some(standing))
}

async fn enter_as_stranger(ctx: &Context, policy: &Policy, hash: Vec<u8>, stranger: &str) -> (Result<Option<Session>>, Option<Standing>) {
    let (key, asking) = (sessions::copy_key(&hash), ctx.session_cache.asking());
    let (copy, standing) = peek_with_copy(ctx, policy, stranger, Some(&key)).await;
    let found = match sessions::from_copy(ctx, &hash, copy, asking) {
        Some(session) => (Ok(Some(session)), None),
        None if is_guessing(ctx, &hash, &standing) => return (Ok(None), Some(standing)),
        None => look_up(ctx, policy, stranger, hash, asking).await,
    };
    // Signed-in users are not affected by visitors from the same address who exceed the limit.
    match found {
        (Ok(Some(session)), _) => {
            let standing = take(ctx, policy, &user_subject(session.user)).await;
            (Ok(Some(session)), Some(standing))
        }
        not_found => not_found,
    }
}

/// Whether so many requests without a session came from this address that another unknown cookie is not looked up in
/// Postgres. Sessions that this process has seen within the hour still are.
fn is_guessing(ctx: &Context, hash: &[u8], stranger: &Standing) -> bool {
    !stranger.allowed && !ctx.session_cache.has_seen(hash)
}

/// As [`enter`], for requests that are not counted themselves: only cookies that no session has are counted, for the
/// address that sends them.
pub async fn find_uncounted(ctx: &Context, token: &str, address: Option<IpAddr>) -> (Result<Option<Session>>, Option<Standing>) {
    let Some(hash) = sessions::hash_of(token) else { return (Ok(None), None) };
    let Some(policy) = pages(ctx) else { return (sessions::find(ctx, token).await, None) };
    let stranger = stranger(address);
    let (key, asking) = (sessions::copy_key(&hash), ctx.session_cache.asking());
    let copy = ctx.redis.best_effort(REDIS_TIMEOUT).get(&key).await;
    if let Some(session) = sessions::from_copy(ctx, &hash, copy, asking) {
        return (Ok(Some(session)), None);
    }
    let standing = peek(ctx, &policy, &stranger).await;
    if is_guessing(ctx, &hash, &standing) {
        return (Ok(None), Some(standing));
    }
    look_up(ctx, &policy, &stranger, hash, asking).await
}

/// The session of a cookie that has no copy in Redis. A cookie without a session is counted for the address.
async fn look_up(
    ctx: &Context,
    policy: &Policy,
    stranger: &str,
    hash: Vec<u8>,
    asking: Lookup,
) -> (Result<Option<Session>>, Option<Standing>) {
    let slot = match lookup_slot(ctx, &hash, stranger) {
        Ok(slot) => slot,
        Err(error) => return (Err(error), None),
    };
    let found = sessions::from_postgres(ctx, hash, asking).await;
    drop(slot);
    match found {
        Ok(None) => (Ok(None), Some(take(ctx, policy, stranger).await)),
        found => (found, None),
    }
}

/// A slot for looking up a cookie that this process has not seen: parallel guesses do not take all connections to
/// Postgres.
fn lookup_slot(ctx: &Context, hash: &[u8], stranger: &str) -> Result<Option<Slot>> {
    if ctx.session_cache.has_seen(hash) {
        return Ok(None);
    }
    ctx.lookups.take(&[(Holder::Subject(stranger.to_owned()), MAX_LOOKUPS_EACH)]).map(Some)
}

fn stranger(address: Option<IpAddr>) -> String {
    format!("address-{}", holder(address))
}

/// Like [`enter`], for read-only pages that are requested often: sessions found within the last second are not looked
/// up again, and their requests are published in Redis a tenth of a second later.
pub async fn enter_lightly(ctx: &Context, token: Option<&str>, address: Option<IpAddr>) -> (Result<Option<Session>>, Option<Standing>) {
    let Some(session) = token.and_then(|token| sessions::recently_seen(ctx, token)) else { return enter(ctx, token, address).await };
    let Some(policy) = pages(ctx) else { return (Ok(Some(session)), None) };
    let subject = user_subject(session.user);
    let standing = match ctx.rate_counts.count_locally(&policy, &subject) {
        Some(standing) => {
            publish_later(ctx, &policy, &subject);
            standing
        }
        None => take(ctx, &policy, &subject).await,
    };
    (Ok(Some(session)), Some(standing))
}

fn user_subject(user: Uuid) -> String {
    format!("{USER}{user}")
}

async fn find(ctx: &Context, token: Option<&str>) -> Result<Option<Session>> {
    match token {
        Some(token) => sessions::find(ctx, token).await,
        None => Ok(None),
    }
}
