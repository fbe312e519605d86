//! Rate limits: a sliding window based on Redis' clock, counted by one script.

mod local_counts;

use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Duration;

use uuid::Uuid;

use super::actor::Actor;
use super::sessions::{self, Lookup, Session};
use super::sign_in::subject;
use super::slots::{Holder, Slot};
use super::{Context, Error, Result};
use crate::stores::redis::{self, Script};

use local_counts::Count;
pub use local_counts::LocalCounts;

const REDIS_TIMEOUT: Duration = Duration::from_millis(250);

/// At most `limit` requests within any `window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Lowercase letters and hyphens.
    pub name: &'static str,
    pub limit: u64,
    pub window: Duration,
}

/// The state of a subject under a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub policy: Policy,
    pub allowed: bool,
    /// Requests allowed before it must wait.
    pub remaining: u64,
    /// Time until one more request is allowed, in whole seconds; zero if nothing is counted.
    pub next: Duration,
}

/// Keys: the prefix of the policy's counters; optionally the copy of a session, whose user is counted then.
/// Arguments: subject, milliseconds, limit, a unique name, whether to count the request or only read the state, and
/// the number of requests already let through without being counted.
static SCRIPT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local who, counted, copy = ARGV[1], ARGV[5] == '1', false
         if KEYS[2] then
             copy = redis.call('GET', KEYS[2])
             -- Whether the signature before the dot is ours is decided outside; a forged copy only misses its count.
             local known, text = pcall(cjson.decode, (copy or ''):match('^[^.]*%.(.*)$') or '')
             if known and type(text) == 'table' and type(text.session) == 'table' and type(text.session.user) == 'string' then
                 who, counted = 'user-' .. text.session.user, true
             end
         end
         local key, window, limit = KEYS[1] .. who, tonumber(ARGV[2]), tonumber(ARGV[3])
         local time = redis.call('TIME')
         local now = time[1] * 1000 + math.floor(time[2] / 1000)
         redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
         -- Nothing is counted in the future.
         redis.call('ZREMRANGEBYSCORE', key, '(' .. (now + 1000), '+inf')
         local before = tonumber(ARGV[6])
         for first = 1, before, 500 do
             local some = {}
             for at = first, math.min(first + 499, before) do
                 some[#some + 1] = now
                 some[#some + 1] = ARGV[4] .. '-' .. at
             end
             redis.call('ZADD', key, unpack(some))
             redis.call('PEXPIRE', key, window)
         end
         local used = redis.call('ZCARD', key)
         local allowed = used < limit
         if allowed and counted then
             redis.call('ZADD', key, now, ARGV[4])
             redis.call('PEXPIRE', key, window)
             used = used + 1
         end
         if used > 0 then redis.call('PEXPIRE', key, window) end
         local first = math.max(used - limit, 0)
         local oldest = redis.call('ZRANGE', key, first, first, 'WITHSCORES')
         return {copy, allowed and 1 or 0, used, oldest[2] and oldest[2] + window - now or 0}",
    )
});

struct LimitRequest<'a> {
    policy: &'a Policy,
    subject: &'a str,
    copy: Option<&'a str>,
    counted: bool,
    before: u64,
}

async fn execute(ctx: &Context, request: &LimitRequest<'_>) -> std::result::Result<(Option<String>, Standing), redis::Error> {
    let Policy { name, limit, window } = *request.policy;
    let mut keys = vec![format!("larder:rate:{name}:")];
    keys.extend(request.copy.map(str::to_owned));
    let arguments = [
        request.subject.to_owned(),
        window.as_millis().to_string(),
        limit.to_string(),
        Uuid::now_v7().simple().to_string(),
        u8::from(request.counted).to_string(),
        request.before.to_string(),
    ];
    type Answer = (Option<String>, bool, u64, u64);
    let (copy, allowed, used, wait): Answer = ctx.redis.best_effort(REDIS_TIMEOUT).script(&SCRIPT, &keys, &arguments).await?;
    let next = Duration::from_secs(wait.div_ceil(1000));
    Ok((copy, Standing { policy: *request.policy, allowed, remaining: limit.saturating_sub(used), next }))
}

/// Sessions that are looked up in Postgres at the same time for cookies that were not seen before: in the process, and of
/// one address.
pub const MAX_LOOKUPS: usize = 200;
const MAX_LOOKUPS_EACH: usize = 50;

/// Searches, counts and samples that run at once in the process, and of one person.
pub const MAX_SCANS: usize = 12;
const MAX_SCANS_EACH: usize = 3;
/// How often one person may start one. Each may cost Redis or the store a quarter of a second.
const SCANS: Policy = Policy { name: "scans", limit: 60, window: Duration::from_secs(60) };

/// Admits work that costs much more than its request. Hold the slot until it is done. Busy where too much of it runs,
/// `TooMany` where the person has started too much within a minute.
pub async fn admit_scan(ctx: &Context, actor: &Actor) -> Result<Slot> {
    let slot = ctx.scans.take_for(actor, MAX_SCANS_EACH)?;
    let person = actor.id.map_or_else(|| "system".to_owned(), |id| id.to_string());
    match take(ctx, &SCANS, &format!("user-{person}")).await {
        Some(standing) if !standing.allowed => {
            let why = format!("You have started more than {} searches or counts within a minute.", SCANS.limit);
            Err(Error::TooMany { why, retry_after: standing.next })
        }
        // Without Redis the slots limit it.
        _ => Ok(slot),
    }
}

/// Counts one request, if it is allowed. `None`: Redis is unavailable.
pub async fn take(ctx: &Context, policy: &Policy, subject: &str) -> Option<Standing> {
    let request = LimitRequest { policy, subject, copy: None, counted: true, before: 0 };
    execute(ctx, &request).await.ok().map(|(_, standing)| standing)
}

/// Counts nothing. `None`: Redis is unavailable.
pub async fn peek(ctx: &Context, policy: &Policy, subject: &str) -> Option<Standing> {
    let request = LimitRequest { policy, subject, copy: None, counted: false, before: 0 };
    execute(ctx, &request).await.ok().map(|(_, standing)| standing)
}

/// Deletes the counters of this subject.
pub async fn forget(ctx: &Context, policy: &Policy, subject: &str) {
    let _ = ctx.redis.best_effort(REDIS_TIMEOUT).delete(&format!("larder:rate:{}:{subject}", policy.name)).await;
}

/// The policy for pages and the API. `None`: disabled.
pub fn pages(ctx: &Context) -> Option<Policy> {
    let limit = ctx.config.rate_limit_per_minute;
    (limit > 0).then_some(Policy { name: "pages", limit, window: Duration::from_secs(60) })
}

/// The session of this token, and its state under the policy for pages: as a user, or as an address without a
/// session. Takes one request to Redis, as without a limit, unless Postgres must be queried too. If Redis is
/// unavailable, every request is let through.
pub async fn enter(ctx: &Context, token: Option<&str>, address: Option<IpAddr>) -> (Result<Option<Session>>, Option<Standing>) {
    let hash = token.and_then(sessions::hash_of);
    let Some(policy) = pages(ctx) else { return (find(ctx, token).await, None) };
    let stranger = stranger(address);
    let copy = hash.as_deref().map(sessions::copy_key);
    let asking = ctx.session_cache.asking();
    let request = LimitRequest { policy: &policy, subject: &stranger, copy: copy.as_deref(), counted: hash.is_none(), before: 0 };
    let Ok((copy, standing)) = execute(ctx, &request).await else { return (find(ctx, token).await, None) };
    let Some(hash) = hash else { return (Ok(None), Some(standing)) };
    if let Some(session) = sessions::from_copy(ctx, &hash, Ok(copy), asking) {
        return (Ok(Some(session)), Some(standing));
    }
    if is_guessing(ctx, &hash, &standing) {
        return (Ok(None), Some(standing));
    }
    // Signed-in users are not affected by visitors from the same address who exceed the limit.
    match look_up(ctx, &policy, &stranger, hash, asking).await {
        (Ok(Some(session)), _) => {
            let standing = take(ctx, &policy, &format!("user-{}", session.user)).await;
            (Ok(Some(session)), standing)
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
    if let Some(standing) = peek(ctx, &policy, &stranger).await
        && is_guessing(ctx, &hash, &standing)
    {
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
        Ok(None) => (Ok(None), take(ctx, policy, stranger).await),
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

/// The addresses that one client is likely to hold, under one name.
pub fn holder(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "unknown".to_owned(), subject)
}

/// Like [`enter`], for read-only pages that are requested often: sessions found within the last second are not looked
/// up again, and their requests are reported to Redis a tenth of a second later.
pub async fn enter_lightly(ctx: &Context, token: Option<&str>, address: Option<IpAddr>) -> (Result<Option<Session>>, Option<Standing>) {
    let Some(session) = token.and_then(|token| sessions::recently_seen(ctx, token)) else {
        let (found, standing) = enter(ctx, token, address).await;
        let standing = match (&found, standing) {
            (Ok(Some(session)), Some(standing)) => Some(ctx.rate_counts.update(session.user, standing)),
            _ => standing,
        };
        return (found, standing);
    };
    let Some(policy) = pages(ctx) else { return (Ok(Some(session)), None) };
    let user = session.user;
    let standing = match ctx.rate_counts.count(user) {
        Count::LetThrough { standing, is_first } => {
            if is_first {
                let task_ctx = ctx.clone();
                ctx.in_background(async move {
                    tokio::time::sleep(local_counts::DELAY).await;
                    let before = task_ctx.rate_counts.take_unreported(user);
                    tell(&task_ctx, &policy, user, before, false).await
                });
            }
            Some(standing)
        }
        Count::Ask { before } => tell(ctx, &policy, user, before, true).await,
    };
    (Ok(Some(session)), standing)
}

/// Reports requests already let through, and counts one more if requested and allowed.
async fn tell(ctx: &Context, policy: &Policy, user: Uuid, before: u64, one_more: bool) -> Option<Standing> {
    let request = LimitRequest { policy, subject: &format!("user-{user}"), copy: None, counted: one_more, before };
    execute(ctx, &request).await.ok().map(|(_, standing)| ctx.rate_counts.update(user, standing))
}

async fn find(ctx: &Context, token: Option<&str>) -> Result<Option<Session>> {
    match token {
        Some(token) => sessions::find(ctx, token).await,
        None => Ok(None),
    }
}
