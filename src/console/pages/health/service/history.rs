//! The latency and uptime charts of a service.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock;
use crate::console::view::charts::{self, Area};
use crate::console::view::{ranges, units};
use crate::domain::Context;
use crate::domain::health::{self, HistoryStep, Seconds, Service, State};
use crate::domain::redis_metrics::Range;

/// After this time a past minute is complete in Postgres: the longest check interval plus the write interval.
const WRITE_DELAY: TimeDelta = TimeDelta::seconds(30);
/// Wait before the next query after Postgres failed to respond.
const RETRY_DELAY: TimeDelta = TimeDelta::seconds(10);

#[derive(Default)]
struct CachedHistory {
    /// The minute of the last successful query.
    minute: Option<i64>,
    failed_at: Option<DateTime<Utc>>,
    history: Option<Arc<History>>,
}

type Slot = Arc<tokio::sync::Mutex<CachedHistory>>;

/// Histories read from Postgres, at most once a minute per service and range for all viewers.
#[derive(Default)]
pub struct HistoryCache(Mutex<HashMap<(Service, Range), Slot>>);

impl HistoryCache {
    /// `None` while Postgres, which stores the history, is unavailable.
    pub async fn get(&self, ctx: &Context, service: Service, range: Range) -> Option<Arc<History>> {
        let postgres = ctx.health.one(Service::Postgres);
        if postgres.state == State::Down && postgres.failures > 0 {
            return None;
        }
        let slot = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry((service, range)).or_default().clone();
        // Concurrent requests wait for the same query.
        let mut cached = slot.lock().await;
        let now = clock::now();
        let minute = (now - WRITE_DELAY).timestamp().div_euclid(60);
        let may_answer = postgres.failures == 0 || cached.history.is_none();
        if cached.minute != Some(minute) && may_answer && cached.failed_at.is_none_or(|at| now - at > RETRY_DELAY) {
            match health::steps(ctx, service, range, now).await {
                Ok(steps) => {
                    *cached = CachedHistory { minute: Some(minute), failed_at: None, history: Some(Arc::new(History::of(&steps, range))) }
                }
                Err(error) => {
                    log::debug!("cannot read the history of {}: {error}", service.name());
                    cached.failed_at = Some(clock::now());
                }
            }
        }
        cached.history.clone()
    }
}

/// A time range in equal intervals.
pub struct History {
    pub area: Option<Area>,
    /// Labels at the top, in the middle and at the bottom.
    pub levels: [String; 3],
    pub now: String,
    pub slowest: String,
    pub times: Vec<String>,
    /// Left edge and tone of each interval.
    pub bars: Vec<(String, &'static str)>,
    pub bar_width: String,
    pub uptime: Seconds,
}

impl History {
    pub fn of(steps: &[Option<HistoryStep>], range: Range) -> Self {
        let means: Vec<Option<f64>> = steps.iter().map(|step| step.and_then(|step| step.mean)).collect();
        let top = means.iter().copied().flatten().fold(1.0, f64::max);
        let most = steps.iter().filter_map(|step| step.and_then(|step| step.most)).fold(0.0, f64::max);
        let mut uptime = Seconds::default();
        for step in steps.iter().flatten() {
            uptime.up += step.seconds.up;
            uptime.down += step.seconds.down;
        }
        let width = 300.0 / steps.len().max(1) as f64;
        let bars = steps.iter().enumerate().filter_map(|(at, step)| {
            let seconds = step.as_ref()?.seconds;
            let tone = match seconds.down {
                ..=0.0 => "ok",
                down if down * 2.0 < seconds.up => "warn",
                _ => "bad",
            };
            Some((format!("{:.2}", at as f64 * width), tone))
        });
        Self {
            area: charts::area(&means, 0.0, top),
            levels: [top, top / 2.0, 0.0].map(units::latency_text),
            now: means.iter().copied().flatten().next_back().map_or_else(|| "unknown".to_owned(), units::latency_text),
            slowest: if most > 0.0 { units::latency_text(most) } else { "unknown".to_owned() },
            times: ranges::axis_labels(range),
            bars: bars.collect(),
            bar_width: format!("{:.2}", (width * 0.8).max(0.6)),
            uptime,
        }
    }
}
