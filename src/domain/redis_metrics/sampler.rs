//! Takes the samples: on one replica at a time, whichever comes first when the one before it is gone.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::minutes::Minutes;
use super::{KEPT, SAMPLES, Sample};
use crate::clock;
use crate::domain::Context;
use crate::stores::redis::Error;

pub const PERIOD: Duration = Duration::from_secs(5);
/// Who samples, for a little longer than two periods.
const LOCK: &str = "larder:lock:sampler";
const HELD: Duration = Duration::from_secs(12);

/// For ever.
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
                minutes.enter(&sample, before.as_ref());
                before = Some(sample);
            }
            // Another replica samples: what happens meanwhile is its to count.
            Ok(None) => before = None,
            // As long as the lock was ours all the while.
            Err(_) => drop(before.take_if(|before| clock::now() - before.at > TimeDelta::seconds(10))),
        }
        minutes.save(&ctx, clock::now()).await;
    }
}

/// `None` while another replica samples.
async fn sample(ctx: &Context, own: &str) -> Result<Option<Sample>, Error> {
    let redis = ctx.redis.best_effort(PERIOD / 5);
    if !redis.acquire(LOCK, own, HELD).await? {
        return Ok(None);
    }
    let browse = ctx.redis.browse();
    let latency = browse.ping().await?;
    let sample = Sample::of(&browse.info("default").await?, clock::now(), latency);
    let member = serde_json::to_string(&sample).map_err(|error| Error::Other(error.to_string()))?;
    let oldest = (sample.at - KEPT).timestamp_millis();
    let ttl = KEPT.to_std().unwrap_or(PERIOD);
    match redis.add_and_trim(SAMPLES, sample.at.timestamp_millis(), &member, oldest, ttl).await {
        // The minutes in Postgres tell how it came to that.
        Ok(()) | Err(Error::OutOfMemory) => Ok(Some(sample)),
        Err(error) => Err(error),
    }
}
