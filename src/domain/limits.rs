//! Rate limits: a sliding window, counted in the memory of each process.
//!
//! Each process publishes its own count in Redis, signed, and adds the signed counts of the other replicas to its own.
//! Without Redis, or if its values were changed, each process still enforces the limit for the requests that it
//! receives. Replicas that receive requests at the same moment may together let a few more through.

mod counts;
mod local_counts;

use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Duration;

use uuid::Uuid;

use super::actor::Actor;
use super::address::subject;
use super::sessions::{self, Lookup, Session};
use super::slots::{Holder, Slot};
use super::{Context, Error, Result};
use crate::stores::redis::{self, Script};

use counts::Counts;
pub use local_counts::LocalCounts;
use local_counts::{DELAY, USER};

const REDIS_TIMEOUT: Duration = Duration::from_millis(250);

/// At most `limit` requests within any `window`, which is measured in sixtieths.
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

/// The maximum number of replicas whose counts are read. More values than that are not from replicas.
const MAX_REPLICAS: usize = 64;

/// Keys: the counts of a subject, by replica; optionally the copy of a session. Arguments: TTL, replica, its signed count
/// or nothing, maximum number of replicas, maximum length of a count. Returns the copy and all counts.
static SCRIPT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local copy = KEYS[2] and redis.pcall('GET', KEYS[2])
         if type(copy) ~= 'string' then copy = false end
         local known = redis.pcall('HLEN', KEYS[1])
         -- Not written by Larder: another type, or too many fields.
         if type(known) ~= 'number' or known > tonumber(ARGV[4]) then redis.pcall('UNLINK', KEYS[1]) end
         if ARGV[3] ~= '' then
             redis.pcall('HSET', KEYS[1], ARGV[2], ARGV[3])
             redis.pcall('PEXPIRE', KEYS[1], ARGV[1])
         end
         local counts, longest = {}, tonumber(ARGV[5])
         for _, count in ipairs(redis.pcall('HVALS', KEYS[1])) do
             if #count <= longest then counts[#counts + 1] = count end
         end
         return {copy, counts}",
    )
});

type Copy = std::result::Result<Option<String>, redis::Error>;
type OtherCounts = Vec<(String, Counts)>;

/// Publishes the own count, if given, and reads those of the other replicas and the copy of a session, in one request.
async fn exchange(ctx: &Context, policy: &Policy, subject: &str, copy: Option<&str>, own: Option<&Counts>) -> (Copy, Option<OtherCounts>) {
    let key = format!("larder:rate-counts:{}:{subject}", policy.name);
    let signed = own.and_then(|own| own.sign(&ctx.signer, &key, ctx.rate_counts.replica())).unwrap_or_default();
    let arguments = [
        policy.window.as_millis().max(1).to_string(),
        ctx.rate_counts.replica().to_owned(),
        signed,
        MAX_REPLICAS.to_string(),
        counts::MAX_LENGTH.to_string(),
    ];
    let keys: Vec<String> = std::iter::once(key.clone()).chain(copy.map(str::to_owned)).collect();
    let answer = ctx.redis.best_effort(REDIS_TIMEOUT).script(&SCRIPT, &keys, &arguments).await;
    let (copy, values): (Option<String>, Vec<Vec<u8>>) = match answer {
        Ok(answer) => answer,
        Err(error) => return (Err(error), None),
    };
    let verify = |value: &Vec<u8>| Counts::verify(&ctx.signer, &key, std::str::from_utf8(value).ok()?, policy.limit);
    let others: OtherCounts = values.iter().filter_map(verify).collect();
    ctx.rate_counts.reject((values.len() - others.len()) as u64);
    (Ok(copy), Some(others))
}

/// A counted request.
struct Counted {
    copy: Copy,
    standing: Standing,
    /// For [`withdraw`].
    start: Option<u64>,
}

async fn count(ctx: &Context, policy: &Policy, subject: &str, copy: Option<&str>) -> Counted {
    let reservation = ctx.rate_counts.reserve(policy, subject);
    let (copy, others) = exchange(ctx, policy, subject, copy, Some(&reservation.own)).await;
    let decision = ctx.rate_counts.decide(policy, subject, &reservation, others);
    if decision.is_outdated {
        publish_later(ctx, policy, subject);
    }
    Counted { copy, standing: decision.standing, start: decision.start }
}

/// Publishes the own count a tenth of a second later, together with other changes.
fn publish_later(ctx: &Context, policy: &Policy, subject: &str) {
    if !ctx.rate_counts.schedule(policy, subject) {
        return;
    }
    let (task_ctx, policy, subject) = (ctx.clone(), *policy, subject.to_owned());
    ctx.in_background(async move {
        tokio::time::sleep(DELAY).await;
        task_ctx.rate_counts.unschedule(&policy, &subject);
        let own = task_ctx.rate_counts.own(&policy, &subject);
        let (_, others) = exchange(&task_ctx, &policy, &subject, None, Some(&own)).await;
        task_ctx.rate_counts.update(&policy, &subject, others);
    });
}

/// The counted request was not the subject's.
fn withdraw(ctx: &Context, policy: &Policy, subject: &str, start: Option<u64>) {
    if let Some(start) = start {
        ctx.rate_counts.withdraw(policy, subject, start);
        publish_later(ctx, policy, subject);
    }
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
    let standing = take(ctx, &SCANS, &format!("{USER}{person}")).await;
    if !standing.allowed {
        let why = format!("You have started more than {} searches or counts within a minute.", SCANS.limit);
        return Err(Error::TooMany { why, retry_after: standing.next });
    }
    Ok(slot)
}

/// Counts one request, if it is allowed.
pub async fn take(ctx: &Context, policy: &Policy, subject: &str) -> Standing {
    count(ctx, policy, subject, None).await.standing
}

/// Counts nothing.
pub async fn peek(ctx: &Context, policy: &Policy, subject: &str) -> Standing {
    peek_with_copy(ctx, policy, subject, None).await.1
}

async fn peek_with_copy(ctx: &Context, policy: &Policy, subject: &str, copy: Option<&str>) -> (Copy, Standing) {
    let (copy, others) = exchange(ctx, policy, subject, copy, None).await;
    ctx.rate_counts.update(policy, subject, others);
    (copy, ctx.rate_counts.standing(policy, subject))
}

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

/// The addresses that one client is likely to hold, under one name.
pub fn holder(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "unknown".to_owned(), subject)
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
