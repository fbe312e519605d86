//! Takes the samples on one replica at a time; another replica takes over when its lock expires.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::minutes::Minutes;
use super::page_lookups;
use super::{RETENTION, SAMPLES, Sample};
use crate::clock;
use crate::domain::Context;
use crate::stores::redis::Error;

pub const PERIOD: Duration = Duration::from_secs(5);
/// Held by the sampling replica, for slightly more than two periods.
const LOCK: &str = "larder:lock:sampler";
const LOCK_TTL: Duration = Duration::from_secs(12);

/// Runs forever.
pub async fn run(ctx: Context) {
    let own = Uuid::now_v7().to_string();
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before: Option<Sample> = None;
    let mut minutes = Minutes::default();
    loop {
        ticks.tick().await;
        match sample(&ctx, &own).await {
            Ok(Some(sample)) => {
                minutes.add(&sample, before.as_ref());
                before = Some(sample);
            }
            // Another replica samples and counts the events in the meantime.
            Ok(None) => before = None,
            // The previous sample stays valid as long as the lock was held throughout.
            Err(_) => drop(before.take_if(|before| clock::now() - before.at > TimeDelta::seconds(10))),
        }
        minutes.save(&ctx, clock::now()).await;
    }
}

/// `None` while another replica samples.
async fn sample(ctx: &Context, own: &str) -> Result<Option<Sample>, Error> {
    let redis = ctx.redis.best_effort(PERIOD / 5);
    if !redis.acquire(LOCK, own, LOCK_TTL).await? {
        page_lookups::report(ctx, &redis).await;
        return Ok(None);
    }
    let browse = ctx.redis.browse();
    let latency = browse.ping().await?;
    let pages = page_lookups::report(ctx, &redis).await;
    let sample = Sample::of(&browse.info("default").await?, clock::now(), latency, pages);
    let member = serde_json::to_string(&sample).map_err(|error| Error::Other(error.to_string()))?;
    let oldest = (sample.at - RETENTION).timestamp_millis();
    let ttl = RETENTION.to_std().unwrap_or(PERIOD);
    match redis.add_and_trim(SAMPLES, sample.at.timestamp_millis(), &member, oldest, ttl).await {
        // With Redis out of memory, the minutes in Postgres still record what happened.
        Ok(()) | Err(Error::OutOfMemory) => Ok(Some(sample)),
        Err(error) => Err(error),
    }
}
