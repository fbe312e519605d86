//! While a server is unreachable, requests to it fail immediately. Larder tries the server again every half second, or sooner
//! when a request arrives.

use std::time::Duration;

use tokio::time::Instant;

use super::Service;
use super::error::{CheckError, ErrorClass};
use super::probes::{Probe, check};
use crate::domain::Context;
use crate::stores::availability::Availability;

/// Interval between trials while no requests arrive.
const INTERVAL: Duration = Duration::from_millis(500);
/// Shortest interval between trials.
const MIN_INTERVAL: Duration = Duration::from_millis(200);
/// Timeout of a trial.
const TIMEOUT: Duration = Duration::from_secs(1);

/// `None`: no page waits for this service.
fn availability(ctx: &Context, service: Service) -> Option<&Availability> {
    match service {
        Service::Postgres => Some(ctx.db.availability()),
        Service::Redis => Some(ctx.redis.availability()),
        Service::S3 => Some(ctx.s3.availability()),
        Service::Qdrant | Service::LiteLlm => None,
    }
}

/// Whether requests could not reach the server. If it responds with an error, requests are sent and return that error.
fn is_unreachable(error: &CheckError) -> bool {
    matches!(error.class, ErrorClass::Connect | ErrorClass::Timeout | ErrorClass::Dns)
}

/// Applies the result of a check to the requests of the service. `is_down`: whether it counts as down.
pub(super) fn apply(ctx: &Context, service: Service, error: Option<&CheckError>, is_down: bool) {
    if let Some(availability) = availability(ctx, service) {
        availability.set_down(is_down && error.is_some_and(is_unreachable));
    }
}

/// Waits until a trial succeeds, if requests to the service are refused; otherwise forever.
pub(super) async fn wait_for_return(ctx: &Context, service: Service) {
    let Some(availability) = availability(ctx, service).filter(|availability| availability.is_down()) else {
        return std::future::pending().await;
    };
    loop {
        let began = Instant::now();
        let failed = check(ctx, service, &mut Probe::default(), TIMEOUT).await.err();
        if !failed.as_ref().is_some_and(is_unreachable) {
            availability.set_down(false);
            return;
        }
        tokio::time::sleep_until(began + MIN_INTERVAL).await;
        let _ = tokio::time::timeout_at(began + INTERVAL, availability.wanted()).await;
    }
}
