//! What Redis does, over time: sampled every five seconds by one replica, seen from all of them. An hour in steps of
//! five seconds from Redis itself, thirty days in minutes from Postgres.

mod history;
mod minutes;
mod sample;
mod sampler;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Context, Result};
use crate::clock;
use crate::stores::redis::{self, BrowseCommands, Info};

pub use history::{Point, Range};
pub use sample::{Counter, Gauge, Sample, Sums};
pub use sampler::{PERIOD, run};

/// The samples, by their time; Redis keeps a day of them.
const SAMPLES: &str = "larder:samples";
/// How long other programs wait for it.
const REDIS_TIMEOUT: Duration = Duration::from_millis(250);
const KEPT: TimeDelta = TimeDelta::hours(24);

/// What one page of figures is made of.
pub struct RedisMetrics {
    pub info: Info,
    /// There and back, just now.
    pub ping: Duration,
    /// `NotPermitted` for a server or a user who does not tell.
    pub slow: std::result::Result<u64, redis::Error>,
    /// Of the last hour, oldest first.
    pub samples: Vec<Sample>,
    pub five_minutes: Sums,
    pub hour: Sums,
    /// `None`: Postgres, which keeps it, does not answer.
    pub day: Option<Sums>,
    pub range: Range,
    /// Equal steps of the range, oldest first; `None` as for `day`.
    pub points: Option<Vec<Point>>,
}

/// An error where Redis itself does not answer.
pub async fn load(ctx: &Context, browse: &BrowseCommands<'_>, range: Range) -> Result<RedisMetrics> {
    let now = clock::now();
    let asking = async {
        let info = browse.info("everything").await?;
        let ping = browse.ping().await?;
        Ok::<_, redis::Error>((info, ping, browse.slow_count().await))
    };
    let (asked, samples, day, kept) = futures_util::join!(
        asking,
        recent(ctx, browse, now),
        minutes::sums(ctx, now - TimeDelta::hours(24)),
        history::kept(ctx, range, now)
    );
    let (info, ping, slow) = asked?;
    let five_minutes = Sums::of(sample::since(&samples, now - TimeDelta::minutes(5)));
    let hour = Sums::of(&samples);
    let points = match range {
        Range::Hour => Some(history::of_samples(&samples, now)),
        Range::Day | Range::Month => kept.ok(),
    };
    // What the minute that runs has not given to Postgres yet is in the samples.
    let day = day.ok().map(|day| day.plus(&Sums::of(sample::since_with_one_before(&samples, minutes::begin_of(now)))));
    Ok(RedisMetrics { info, ping, slow, samples, five_minutes, hour, day, range, points })
}

/// What the server tells of itself to other programs.
pub struct Export(Info);

/// `None` where it does not answer at once.
pub async fn export(ctx: &Context) -> Option<Export> {
    let browse = ctx.redis.browse();
    tokio::time::timeout(REDIS_TIMEOUT, browse.info("default")).await.ok()?.ok().map(Export)
}

impl Export {
    /// Name, meaning and value.
    pub fn gauges(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.read(&[
            ("larder_redis_memory_bytes", "Memory that Redis uses", "used_memory"),
            ("larder_redis_memory_limit_bytes", "Where it evicts or refuses; 0 is no limit", "maxmemory"),
            ("larder_redis_clients", "Connected clients", "connected_clients"),
        ])
    }

    pub fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.read(&[
            ("larder_redis_keyspace_hits_total", "BrowseCommands-ups of keys that were there", "keyspace_hits"),
            ("larder_redis_keyspace_misses_total", "BrowseCommands-ups of keys that were not there", "keyspace_misses"),
            ("larder_redis_evicted_keys_total", "Keys thrown out to make room", "evicted_keys"),
            ("larder_redis_expired_keys_total", "Keys whose end came", "expired_keys"),
            ("larder_redis_commands_total", "Commands processed", "total_commands_processed"),
        ])
    }

    /// What it does not tell is left out.
    fn read(&self, fields: &[(&'static str, &'static str, &str)]) -> Vec<(&'static str, &'static str, u64)> {
        fields.iter().filter_map(|(name, help, field)| Some((*name, *help, self.0.number(field)?))).collect()
    }
}

/// Samples of the last hour; none where Redis does not answer.
async fn recent(ctx: &Context, browse: &BrowseCommands<'_>, now: DateTime<Utc>) -> Vec<Sample> {
    let least = (now - TimeDelta::hours(1)).timestamp_millis();
    let key = format!("{}{SAMPLES}", ctx.redis.prefix());
    let members = browse.members_from(key.as_bytes(), least).await.unwrap_or_default();
    members.iter().filter_map(|member| serde_json::from_str(member).ok()).collect()
}
