//! Rate limits: a sliding window, counted in the memory of each process.
//!
//! Each process publishes its own count in Redis, signed, and adds the signed counts of the other replicas to its own.
//! Without Redis, or if its values were changed, each process still enforces the limit for the requests that it
//! receives. Replicas that receive requests at the same moment may together let a few more through.

mod counts;
mod local_counts;
mod pages;
mod scans;

use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Duration;

use super::Context;
use super::address::subject;
use crate::stores::redis::{self, Script};

use counts::Counts;
use local_counts::DELAY;
pub use local_counts::LocalCounts;
pub use pages::{MAX_LOOKUPS, enter, enter_lightly, find_uncounted, pages};
pub use scans::{MAX_SCANS, admit_scan};

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

/// The addresses that one client is likely to hold, under one name.
pub fn holder(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "unknown".to_owned(), subject)
}
