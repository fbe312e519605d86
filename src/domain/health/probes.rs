//! One background task per service, with its own connections and timeouts, and never two checks at once.

use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt, stream};
use uuid::Uuid;

use super::detail::{Detail, RedisDetail};
use super::error::CheckError;
use super::record::Outcome;
use super::text::Names;
use super::{Board, Service, State, trials};
use crate::config::Config;
use crate::domain::Context;
use crate::domain::faults::crash_point;
use crate::domain::periodic;
use crate::stores::litellm::LiteLlm;
use crate::stores::qdrant::{Qdrant, Status};
use crate::stores::{http, postgres, redis};

/// Number of checks between two inspections of a service.
const INSPECT_EVERY: u32 = 15;
const INSPECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum number of collections inspected.
const MAX_COLLECTIONS: usize = 50;
/// Timeout of requests for optional information.
const OPTIONAL_TIMEOUT: Duration = Duration::from_millis(300);
/// Minimum interval between two manual checks of a service.
pub(super) const MANUAL_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum interval between the first success after an outage and the next check.
const RECOVERY_PERIOD: Duration = Duration::from_millis(500);
/// How long a manual check waits for its result.
const MANUAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Timeout of one check, including the connection.
fn check_timeout(service: Service) -> Duration {
    match service {
        Service::Postgres | Service::Redis => Duration::from_secs(1),
        Service::S3 | Service::Qdrant => Duration::from_millis(1500),
        Service::LiteLlm => Duration::from_secs(2),
    }
}

/// Dedicated connections, so that a busy pool is not reported as an outage.
#[derive(Default)]
pub(super) struct Probe {
    postgres: postgres::probe::Probe,
    redis: redis::Probe,
    /// With the version, once requested.
    qdrant: Option<(Qdrant, Option<String>)>,
    litellm: Option<(LiteLlm, Option<String>)>,
}

impl Probe {
    fn qdrant(&mut self, config: &Config) -> Result<&mut (Qdrant, Option<String>), CheckError> {
        let known = match self.qdrant.take() {
            Some(known) => known,
            None => {
                let url = config.qdrant_url.as_deref().unwrap_or_default();
                (Qdrant::new(url, config.qdrant_api_key.as_ref())?.with_timeout(INSPECT_TIMEOUT), None)
            }
        };
        Ok(self.qdrant.insert(known))
    }

    fn litellm(&mut self, config: &Config) -> Result<&mut (LiteLlm, Option<String>), CheckError> {
        let known = match self.litellm.take() {
            Some(known) => known,
            None => (gateway(config)?.with_timeout(INSPECT_TIMEOUT), None),
        };
        Ok(self.litellm.insert(known))
    }
}

/// Checks all configured services, forever.
pub fn start(ctx: &Context) {
    for service in Service::ALL.into_iter().filter(|service| ctx.health.is_configured(*service)) {
        let ctx = ctx.clone();
        ctx.runtime.clone().spawn(async move {
            let name = format!("the check task of {}", service.name());
            periodic::restart_on_panic(&name, ctx.config.probe_period, || watch(ctx.clone(), service)).await;
        });
    }
}

async fn watch(ctx: Context, service: Service) {
    let (mut probe, nonce) = (Probe::default(), Uuid::now_v7());
    // Checks until the next inspection.
    let mut until_inspection = 0;
    let mut had_problem = false;
    loop {
        let began = tokio::time::Instant::now();
        let number = ctx.health.start_check(service);
        if let Err(stuck) = crash_point("health::check") {
            log::error!("the check task of {} is suspended: {stuck}", service.name());
            std::future::pending::<()>().await;
        }
        let outcome = check(&ctx, service, &mut probe, check_timeout(service)).await;
        let is_good = outcome.is_ok();
        let error = outcome.as_ref().err().cloned();
        ctx.health.enter(service, number, outcome);
        let is_down = ctx.health.state(service) == State::Down;
        trials::apply(&ctx, service, error.as_ref(), is_down);
        if !is_good {
            until_inspection = 0;
        } else if until_inspection > 0 && !probe.postgres.has_changed() && !probe.redis.role_changed() {
            until_inspection -= 1;
        } else {
            let found = inspect(&ctx, service, &mut probe, nonce).await;
            // A new problem may be fixed quickly, for example by creating the bucket, so the inspection is repeated
            // once immediately. Failed inspections are not repeated faster.
            let has_problem = found.as_ref().is_ok_and(|detail| detail.problem().is_some());
            until_inspection = if has_problem && !had_problem { 0 } else { INSPECT_EVERY };
            had_problem = has_problem;
            ctx.health.inspect(service, found);
        }
        // Confirms a recovery soon.
        let period = if is_good && is_down { RECOVERY_PERIOD } else { ctx.config.probe_period };
        let next = began + jittered(period);
        ctx.health.next_check(service, next.saturating_duration_since(tokio::time::Instant::now()));
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = ctx.health.wanted(service) => until_inspection = 0,
            () = trials::wait_for_return(&ctx, service) => until_inspection = 0,
        }
    }
}

/// Up to 10 % shorter, so that several consoles do not check at the same time.
fn jittered(period: Duration) -> Duration {
    let tenth = u32::try_from(Uuid::now_v7().as_u128() & 0xff).unwrap_or(0);
    period - period * tenth / 2560
}

/// Checks one service now, on a new connection; returns latency and version, or an error.
pub async fn check_once(ctx: &Context, service: Service) -> Outcome {
    check(ctx, service, &mut Probe::default(), check_timeout(service)).await
}

/// Inspects one service, on a new connection.
pub async fn inspect_once(ctx: &Context, service: Service) -> Result<Detail, CheckError> {
    inspect(ctx, service, &mut Probe::default(), Uuid::now_v7()).await
}

pub(super) async fn check(ctx: &Context, service: Service, probe: &mut Probe, limit: Duration) -> Outcome {
    let began = Instant::now();
    match with_timeout_and_reset(limit, probe, async |probe| check_service(ctx, service, probe).await).await {
        Ok(version) => Ok((began.elapsed(), version)),
        Err(error) => Err(error),
    }
}

async fn inspect(ctx: &Context, service: Service, probe: &mut Probe, nonce: Uuid) -> Result<Detail, CheckError> {
    with_timeout_and_reset(INSPECT_TIMEOUT, probe, async |probe| inspect_service(ctx, service, probe, nonce).await).await
}

/// After an error, the next check opens new connections.
async fn with_timeout_and_reset<T>(
    limit: Duration,
    probe: &mut Probe,
    work: impl AsyncFnOnce(&mut Probe) -> Result<T, CheckError>,
) -> Result<T, CheckError> {
    let outcome = tokio::time::timeout(limit, work(probe)).await.unwrap_or_else(|_| Err(CheckError::timeout(limit)));
    if outcome.is_err() {
        *probe = Probe::default();
    }
    outcome
}

/// Returns the version, if the server reports it.
async fn check_service(ctx: &Context, service: Service, probe: &mut Probe) -> Result<String, CheckError> {
    Ok(match service {
        Service::Postgres => probe.postgres.check(&ctx.db).await?,
        Service::Redis => probe.redis.check(&ctx.config.redis).await?,
        Service::S3 => ctx.s3.check(bucket(ctx)).await?.server,
        Service::Qdrant => {
            let (qdrant, version) = probe.qdrant(&ctx.config)?;
            qdrant.ready().await?;
            if version.is_none() {
                *version = Some(optional(async { Ok(Some(qdrant.version().await?)) }).await);
            }
            version.clone().unwrap_or_default()
        }
        Service::LiteLlm => {
            let (litellm, version) = probe.litellm(&ctx.config)?;
            litellm.ready().await?;
            if version.is_none() {
                *version = Some(optional(litellm.version()).await);
            }
            version.clone().unwrap_or_default()
        }
    })
}

/// Optional information: its failure does not affect the check.
async fn optional(request: impl Future<Output = Result<Option<String>, http::Error>>) -> String {
    let response = tokio::time::timeout(OPTIONAL_TIMEOUT, request).await;
    response.ok().and_then(Result::ok).flatten().unwrap_or_default()
}

pub(super) fn gateway(config: &Config) -> Result<LiteLlm, CheckError> {
    let url = config.litellm_url.as_deref().unwrap_or_default();
    Ok(LiteLlm::new(url, config.litellm_master_key.as_ref())?)
}

async fn inspect_service(ctx: &Context, service: Service, probe: &mut Probe, nonce: Uuid) -> Result<Detail, CheckError> {
    Ok(match service {
        Service::Postgres => Detail::Postgres(probe.postgres.server_state(&ctx.db).await?),
        Service::Redis => {
            let info = probe.redis.info(&ctx.config.redis).await?;
            let detail = info.as_ref().map(RedisDetail::of).unwrap_or_default();
            Detail::Redis(RedisDetail { is_replica: detail.is_replica || probe.redis.is_replica(), ..detail })
        }
        Service::S3 => {
            let bucket = bucket(ctx);
            let bucket_is_missing = ctx.s3.check(bucket).await?.bucket_is_missing;
            let writes = ctx.config.s3.health_writes && !ctx.config.read_only && !bucket_is_missing;
            let round_trip = if writes { ctx.s3.round_trip(bucket, nonce).await? } else { None };
            Detail::S3 { round_trip, keeps_objects: writes && round_trip.is_none(), bucket_is_missing, bucket: bucket.to_owned() }
        }
        Service::Qdrant => {
            let (qdrant, _) = probe.qdrant(&ctx.config)?;
            let names = qdrant.collections().await?;
            let inspections: Vec<_> =
                names.iter().take(MAX_COLLECTIONS).map(|name| qdrant.collection(name).map(move |found| (name, found)).boxed()).collect();
            let mut inspected = Vec::new();
            for (name, found) in stream::iter(inspections).buffered(4).collect::<Vec<_>>().await {
                match found {
                    Ok(collection) => inspected.push((name, collection)),
                    // Deleted since it was listed.
                    Err(http::Error::NotFound(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Detail::Qdrant {
                points: inspected.iter().filter_map(|(_, one)| one.points).sum(),
                red: Names::of(inspected.iter().filter(|(_, one)| one.status == Status::Red).map(|(name, _)| *name)),
                inspected: inspected.len(),
                collections: names.len(),
            }
        }
        Service::LiteLlm => {
            let models = probe.litellm(&ctx.config)?.0.models().await?;
            let missing = Names::of(ctx.config.litellm_models.iter().filter(|expected| !models.contains(expected)));
            Detail::LiteLlm { models: Names::of(&models), missing }
        }
    })
}

fn bucket(ctx: &Context) -> &str {
    ctx.config.s3.buckets.first().map_or("sme-files", String::as_str)
}

/// The result of a manual check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManualCheck {
    /// It has finished; the board has its result.
    Finished,
    /// It has not finished within two seconds.
    Running,
    /// The previous manual check was only a moment ago.
    TooSoon,
}

impl Board {
    /// Triggers a check of the service and waits briefly for its result.
    pub async fn check_now(&self, service: Service) -> ManualCheck {
        if !self.try_start_manual(service) {
            return ManualCheck::TooSoon;
        }
        // A check that has already started may report an older state, so the next one is awaited.
        let (mut changes, wanted) = (self.changes(), self.started_checks(service) + 1);
        self.want(service);
        let answered = async { while self.finished_checks(service) < wanted && changes.changed().await.is_ok() {} };
        match tokio::time::timeout(MANUAL_TIMEOUT, answered).await {
            Ok(()) => ManualCheck::Finished,
            Err(_) => ManualCheck::Running,
        }
    }
}
