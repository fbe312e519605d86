//! What a cache contains, by key prefix: all keys of a small one, a few thousand of a large one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::name::is_own;
use crate::clock;
use crate::domain::{Context, Result, signing};
use crate::stores::redis::{BrowseCommands, Described, Ttl};

const KEY: &str = "larder:key-sample";
const LOCK: &str = "larder:lock:key-sample";
/// How long a sample may take before another replica takes one.
const TAKING: Duration = Duration::from_secs(4);
const SAMPLE_TTL: Duration = Duration::from_secs(3600);
const RECENT: TimeDelta = TimeDelta::seconds(5);
const REDIS_TIMEOUT: Duration = Duration::from_millis(250);
/// Smaller databases are examined completely.
const EXAMINE_ALL_BELOW: u64 = 10_000;
/// For larger ones: a group's share is off by at most 1/√n, 1.6 %.
const SAMPLE_SIZE: usize = 4_000;
/// Keys per round trip, so that the server is not busy for longer than a millisecond or two.
const BATCH: usize = 200;
/// Number of name parts that form groups: `cache:listing:…` is in `cache:` and in `cache:listing:`.
const DEPTH: usize = 3;
const MOST_GROUPS: usize = 400;

/// Remaining TTLs in seconds; the last count of a group is for keys without expiry.
pub const LIVES: [(u64, &str); 5] =
    [(60, "under a minute"), (3600, "under an hour"), (86_400, "under a day"), (7 * 86_400, "under a week"), (u64::MAX, "longer")];

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    pub at: DateTime<Utc>,
    /// Keys in the database.
    pub total: u64,
    /// Keys examined.
    pub sampled: u64,
    /// Whether all keys were examined.
    pub whole: bool,
    /// Examined keys that belong to Larder itself.
    pub own: u64,
    pub own_bytes: u64,
    /// Most keys first.
    pub groups: Vec<Group>,
}

/// Keys with a common prefix. The numbers are those of the sample.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Group {
    /// Including the trailing colon; empty for names without one.
    pub prefix: Vec<u8>,
    pub depth: usize,
    pub keys: u64,
    /// According to the server's estimates.
    pub bytes: u64,
    pub lives: [u64; LIVES.len() + 1],
}

impl Sample {
    /// A number of the sample, scaled to all keys.
    pub fn scaled(&self, figure: u64) -> u64 {
        let scaled = u128::from(figure) * u128::from(self.total) / u128::from(self.sampled.max(1));
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }

    /// Margin of error of a group's share, in percent; 0 if all keys were examined.
    pub fn error(&self) -> f64 {
        if self.whole { 0.0 } else { 100.0 / (self.sampled.max(1) as f64).sqrt() }
    }
}

/// One sample at a time is taken in this process; others wait for it and share its result.
#[derive(Clone, Default)]
pub struct Sampling(Arc<Mutex<Option<Sample>>>);

/// The last sample of any replica, at most an hour old; otherwise a new one.
pub async fn sample(ctx: &Context, browse: &BrowseCommands<'_>) -> Result<Sample> {
    at_least(ctx, browse, TimeDelta::hours(1)).await
}

/// A new sample, unless the last one is only a few seconds old, since examining thousands of keys must not be
/// repeated at will.
pub async fn sample_again(ctx: &Context, browse: &BrowseCommands<'_>) -> Result<Sample> {
    at_least(ctx, browse, RECENT).await
}

/// A sample that is not older than `age`.
async fn at_least(ctx: &Context, browse: &BrowseCommands<'_>, age: TimeDelta) -> Result<Sample> {
    let is_recent = |sample: &Sample| clock::now().signed_duration_since(sample.at).abs() < age;
    let stored =
        async || signing::get_json::<Sample>(ctx, &ctx.redis.best_effort(REDIS_TIMEOUT), KEY).await.ok().flatten().filter(is_recent);
    if let Some(sample) = stored().await {
        return Ok(sample);
    }
    let mut last = ctx.sampling.0.lock().await;
    // Taken while this one waited; or by this process, where Redis could not store it.
    if let Some(sample) = last.clone().filter(is_recent) {
        return Ok(sample);
    }
    // Another replica is taking one: it is waited for, and taken over if that replica has died.
    let token = Uuid::now_v7().to_string();
    let deadline = Instant::now() + TAKING;
    while let Ok(false) = ctx.redis.best_effort(REDIS_TIMEOUT).acquire(LOCK, &token, TAKING).await {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if let Some(sample) = stored().await {
            return Ok(sample);
        }
        if Instant::now() > deadline {
            break;
        }
    }
    let taken = take(ctx, browse).await;
    let _ = ctx.redis.best_effort(REDIS_TIMEOUT).release(LOCK, &token).await;
    let sample = taken?;
    *last = Some(sample.clone());
    Ok(sample)
}

async fn take(ctx: &Context, browse: &BrowseCommands<'_>) -> Result<Sample> {
    let total = browse.count_keys().await?;
    let whole = total <= EXAMINE_ALL_BELOW;
    let names = if whole { all(browse).await? } else { some(browse).await? };
    let mut counting = Counting { sampled: names.len() as u64, ..Counting::default() };
    for round in names.chunks(BATCH) {
        let described = browse.describe(round).await?;
        for (name, described) in round.iter().zip(described) {
            counting.add(name, &described, is_own(&ctx.redis, name));
        }
    }
    let sample = counting.finish(total, whole);
    // If Redis cannot store the sample, the next page takes a new one.
    let _ = signing::set_json(ctx, &ctx.redis.best_effort(REDIS_TIMEOUT), KEY, &sample, SAMPLE_TTL).await;
    Ok(sample)
}

async fn all(browse: &BrowseCommands<'_>) -> Result<Vec<Vec<u8>>> {
    let (mut names, mut cursor) = (Vec::new(), 0);
    loop {
        let (next, found) = browse.scan(cursor, None, BATCH).await?;
        names.extend(found);
        cursor = next;
        // It may grow meanwhile.
        if cursor == 0 || names.len() as u64 > 2 * EXAMINE_ALL_BELOW {
            break;
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

async fn some(browse: &BrowseCommands<'_>) -> Result<Vec<Vec<u8>>> {
    let mut names = Vec::with_capacity(SAMPLE_SIZE);
    while names.len() < SAMPLE_SIZE {
        let found = browse.random_keys(BATCH).await?;
        if found.is_empty() {
            break;
        }
        names.extend(found);
    }
    Ok(names)
}

#[derive(Default)]
struct Counting {
    sampled: u64,
    own: u64,
    own_bytes: u64,
    groups: HashMap<Vec<u8>, Group>,
}

impl Counting {
    fn add(&mut self, name: &[u8], described: &Described, own: bool) {
        let bytes = described.bytes.unwrap_or(0);
        if own {
            self.own += 1;
            self.own_bytes += bytes;
            return;
        }
        for (at, prefix) in prefixes(name).enumerate() {
            let empty = || Group { prefix: prefix.to_vec(), depth: at + 1, keys: 0, bytes: 0, lives: Default::default() };
            let group = self.groups.entry(prefix.to_vec()).or_insert_with(empty);
            group.keys += 1;
            group.bytes += bytes;
            group.lives[ttl_index(described.ttl)] += 1;
        }
    }

    fn finish(self, total: u64, whole: bool) -> Sample {
        let mut groups: Vec<Group> = self.groups.into_values().collect();
        groups.sort_by(|a, b| b.keys.cmp(&a.keys).then_with(|| a.prefix.cmp(&b.prefix)));
        groups.truncate(MOST_GROUPS);
        Sample { at: clock::now(), total, sampled: self.sampled, whole, own: self.own, own_bytes: self.own_bytes, groups }
    }
}

fn ttl_index(ttl: Ttl) -> usize {
    match ttl {
        Ttl::Remaining(left) => LIVES.iter().position(|(seconds, _)| left.as_secs() < *seconds).unwrap_or(LIVES.len() - 1),
        Ttl::None => LIVES.len(),
        Ttl::Missing => 0,
    }
}

/// `a:`, `a:b:` and so on; the empty one for a name without a colon.
fn prefixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = name.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at + 1);
    let none = (!name.contains(&b':')).then_some(0);
    none.into_iter().chain(ends).take(DEPTH).map(|end| &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_in_the_group_of_each_of_its_beginnings() {
        let of = |name: &'static str| prefixes(name.as_bytes()).map(|prefix| std::str::from_utf8(prefix).unwrap()).collect::<Vec<_>>();
        assert_eq!(of("cache:listing:a:b:c"), ["cache:", "cache:listing:", "cache:listing:a:"]);
        assert_eq!(of("plain"), [""]);
        assert_eq!(of(":"), [":"]);
    }

    #[test]
    fn figures_of_a_sample_are_scaled_to_the_whole() {
        let sample = Counting { sampled: 4_000, ..Counting::default() }.finish(10_000_000, false);
        assert_eq!(sample.scaled(400), 1_000_000);
        assert!((sample.error() - 1.58).abs() < 0.01);
    }
}
