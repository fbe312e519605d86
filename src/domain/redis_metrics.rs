//! Redis metrics over time, sampled every five seconds by one replica and visible on all. The last hour is stored in
//! Redis at five-second resolution, the last 30 days in Postgres by the minute.

mod history;
mod minutes;
mod page_lookups;
mod sample;
mod sampler;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Context, Result};
use crate::clock;
use crate::stores::redis::{self, BrowseCommands};

pub use history::{Point, Range};
pub use sample::{Counter, Gauge, Sample, Sums};
pub use sampler::{PERIOD, run};

pub use crate::stores::pool_usage::PoolUsage;
pub use crate::stores::redis::{Client, Info, parts};

/// Samples by time; Redis keeps 24 hours.
const SAMPLES: &str = "larder:samples";
/// Longest wait of a metrics scrape.
const REDIS_TIMEOUT: Duration = Duration::from_millis(250);
const RETENTION: TimeDelta = TimeDelta::hours(24);

/// The data of the cache metrics page.
pub struct RedisMetrics {
    pub info: Info,
    /// Round-trip time, just measured.
    pub ping: Duration,
    /// Entries of the slow log. `None` if the server or the ACL does not allow it.
    pub slow: Option<u64>,
    /// The last hour, oldest first.
    pub samples: Vec<Sample>,
    pub five_minutes: Sums,
    pub hour: Sums,
    /// `None`: Postgres is unreachable.
    pub day: Option<Sums>,
    pub range: Range,
    /// Equal steps of the range, oldest first; `None` as for `day`.
    pub points: Option<Vec<Point>>,
}

/// Fails if Redis is unreachable.
pub async fn load(ctx: &Context, browse: &BrowseCommands<'_>, range: Range) -> Result<RedisMetrics> {
    let now = clock::now();
    let request = async {
        let info = browse.info("everything").await?;
        let ping = browse.ping().await?;
        Ok::<_, redis::Error>((info, ping, browse.slow_count().await.ok()))
    };
    let (response, samples, day, kept) = futures_util::join!(
        request,
        recent(ctx, browse, now),
        minutes::sums(ctx, now - TimeDelta::hours(24)),
        history::from_postgres(ctx, range, now)
    );
    let (info, ping, slow) = response?;
    let five_minutes = Sums::of(sample::since(&samples, now - TimeDelta::minutes(5)));
    let hour = Sums::of(&samples);
    let points = match range {
        Range::Hour => Some(history::of_samples(&samples, now)),
        Range::Day | Range::Month => kept.ok(),
    };
    // The current minute is not in Postgres yet; the samples cover it.
    let day = day.ok().map(|day| day.plus(&Sums::of(sample::since_with_preceding(&samples, minutes::start_of(now)))));
    Ok(RedisMetrics { info, ping, slow, samples, five_minutes, hour, day, range, points })
}

/// The server metrics exported to Prometheus.
pub struct Export(Info);

/// `None` if Redis does not respond in time.
pub async fn export(ctx: &Context) -> Option<Export> {
    let browse = ctx.redis.browse();
    tokio::time::timeout(REDIS_TIMEOUT, browse.info("default")).await.ok()?.ok().map(Export)
}

impl Export {
    /// Name, help text and value.
    pub fn gauges(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.read(&[
            ("larder_redis_memory_bytes", "Memory used by Redis", "used_memory"),
            ("larder_redis_memory_limit_bytes", "Memory limit of Redis; 0 means no limit", "maxmemory"),
            ("larder_redis_clients", "Connected clients", "connected_clients"),
        ])
    }

    pub fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.read(&[
            ("larder_redis_keyspace_hits_total", "Key lookups that found the key", "keyspace_hits"),
            ("larder_redis_keyspace_misses_total", "Key lookups that did not find the key", "keyspace_misses"),
            ("larder_redis_evicted_keys_total", "Keys evicted to free memory", "evicted_keys"),
            ("larder_redis_expired_keys_total", "Keys that expired", "expired_keys"),
            ("larder_redis_commands_total", "Commands processed", "total_commands_processed"),
        ])
    }

    /// Omits fields that the server does not report.
    fn read(&self, fields: &[(&'static str, &'static str, &str)]) -> Vec<(&'static str, &'static str, u64)> {
        fields.iter().filter_map(|(name, help, field)| Some((*name, *help, self.0.number(field)?))).collect()
    }
}

/// Samples of the last hour; empty if Redis is unreachable.
async fn recent(ctx: &Context, browse: &BrowseCommands<'_>, now: DateTime<Utc>) -> Vec<Sample> {
    let least = (now - TimeDelta::hours(1)).timestamp_millis();
    let key = format!("{}{SAMPLES}", ctx.redis.prefix());
    let members = browse.members_from(key.as_bytes(), least).await.unwrap_or_default();
    members.iter().filter_map(|member| serde_json::from_str(member).ok()).collect()
}
