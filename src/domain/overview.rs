//! The data of the overview page, read from the modules that own it.

use super::actor::Actor;
use super::audit::{self, Event};
use super::{Context, Result, buckets, uploads};

pub use super::buckets::Stored;

pub struct Overview {
    /// `None`: nothing has been counted yet.
    pub stored: Option<Stored>,
    pub uploads_today: i64,
    pub bytes_today: i64,
    /// Excludes uploads cancelled by their senders.
    pub failed_today: i64,
    /// Files stored in each hour of today (UTC), 24 values.
    pub by_hour: [i64; 24],
    pub events: Vec<Event>,
}

/// The page must open even if the store is down.
pub async fn overview(ctx: &Context, actor: &Actor) -> Result<Overview> {
    let (events, today, stored) =
        futures_util::join!(audit::newest(ctx, actor, 10), uploads::today::today(ctx, actor), buckets::stored(ctx));
    let mut overview = Overview { stored, uploads_today: 0, bytes_today: 0, failed_today: 0, by_hour: [0; 24], events: events? };
    for row in today? {
        if row.failed {
            overview.failed_today += row.files;
            continue;
        }
        overview.uploads_today += row.files;
        overview.bytes_today += row.bytes;
        if let Some(hour) = usize::try_from(row.hour).ok().and_then(|hour| overview.by_hour.get_mut(hour)) {
            *hour += row.files;
        }
    }
    Ok(overview)
}

/// Computes in advance what the first visitor would have to wait for: today's totals, and counts of uncounted
/// buckets.
pub async fn warm(ctx: &Context) {
    if let Err(error) = uploads::today::today(ctx, &Actor::system("Larder")).await {
        log::info!("today's totals are not available yet: {error}");
    }
    if let Err(error) = buckets::count_unknown(ctx).await {
        log::info!("the buckets could not be counted yet: {error}");
    }
}
