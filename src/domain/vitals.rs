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
use crate::stores::redis::{self, Info, Look};

pub use history::{Point, Range};
pub use sample::{Counter, Gauge, Sample, Sums};
pub use sampler::{PERIOD, run};

/// The samples, by their time; Redis keeps a day of them.
const SAMPLES: &str = "larder:samples";
const KEPT: TimeDelta = TimeDelta::hours(24);

/// What one page of figures is made of.
pub struct Vitals {
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
pub async fn vitals(ctx: &Context, look: &Look<'_>, range: Range) -> Result<Vitals> {
    let now = clock::now();
    let asking = async {
        let info = look.info("everything").await?;
        let ping = look.ping().await?;
        Ok::<_, redis::Error>((info, ping, look.slow_count().await))
    };
    let (asked, samples, day, kept) =
        futures_util::join!(asking, recent(ctx, look, now), minutes::sums(ctx, now - TimeDelta::hours(24)), history::kept(ctx, range, now));
    let (info, ping, slow) = asked?;
    let five_minutes = Sums::of(sample::since(&samples, now - TimeDelta::minutes(5)));
    let hour = Sums::of(&samples);
    let points = match range {
        Range::Hour => Some(history::of_samples(&samples, now)),
        Range::Day | Range::Month => kept.ok(),
    };
    // What the minute that runs has not given to Postgres yet is in the samples.
    let day = day.ok().map(|day| day.plus(&Sums::of(sample::since(&samples, minutes::begin_of(now)))));
    Ok(Vitals { info, ping, slow, samples, five_minutes, hour, day, range, points })
}

/// Samples of the last hour; none where Redis does not answer.
async fn recent(ctx: &Context, look: &Look<'_>, now: DateTime<Utc>) -> Vec<Sample> {
    let least = (now - TimeDelta::hours(1)).timestamp_millis();
    let key = format!("{}{SAMPLES}", ctx.redis.prefix());
    let members = look.members_from(key.as_bytes(), least).await.unwrap_or_default();
    members.iter().filter_map(|member| serde_json::from_str(member).ok()).collect()
}
