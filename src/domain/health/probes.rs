//! One background task a service, each with connections and deadlines of its own, and never two checks at once.

use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::detail::{Detail, RedisDetail};
use super::fault::Fault;
use super::record::Outcome;
use super::{Board, Service};
use crate::config::Config;
use crate::domain::Context;
use crate::domain::faults::crash_point;
use crate::stores::litellm::LiteLlm;
use crate::stores::qdrant::{Collection, Qdrant, Status};
use crate::stores::{postgres, redis};

/// A slower look at a service after so many checks.
const LOOK_EVERY: u32 = 15;
const LOOK_DEADLINE: Duration = Duration::from_secs(3);
/// So many collections are looked at one by one.
const COLLECTIONS: usize = 50;
/// Two checks by hand of one service are at least so far apart.
pub const APART: Duration = Duration::from_secs(5);
/// How long whoever asks by hand waits for the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long one check may take, connecting included.
fn deadline(service: Service) -> Duration {
    match service {
        Service::Postgres | Service::Redis => Duration::from_secs(1),
        Service::S3 | Service::Qdrant => Duration::from_millis(1500),
        Service::LiteLlm => Duration::from_secs(2),
    }
}

/// Connections that nobody else uses: a busy pool must not read as a service that is down.
#[derive(Default)]
struct Probe {
    postgres: postgres::probe::Probe,
    redis: redis::Probe,
    qdrant: Option<(Qdrant, String)>,
    litellm: Option<(LiteLlm, String)>,
}

/// Checks every service that is configured, for ever.
pub fn start(ctx: &Context) {
    for service in Service::ALL.into_iter().filter(|service| ctx.health.is_configured(*service)) {
        let ctx = ctx.clone();
        ctx.runtime.clone().spawn(async move {
            while let Err(error) = ctx.runtime.spawn(watch(ctx.clone(), service)).await {
                log::error!("the checks of {} broke off, and begin again: {error}", service.name());
                tokio::time::sleep(ctx.config.probe_period).await;
            }
        });
    }
}

async fn watch(ctx: Context, service: Service) {
    let (mut probe, nonce) = (Probe::default(), Uuid::now_v7());
    // Checks since the last look; `None` where the next good check is followed by one.
    let mut looked: Option<u32> = None;
    loop {
        let began = tokio::time::Instant::now();
        if let Err(stuck) = crash_point("health::check") {
            log::error!("the checks of {} stand still: {stuck}", service.name());
            std::future::pending::<()>().await;
        }
        let outcome = check(&ctx, service, &mut probe).await;
        let is_good = outcome.is_ok();
        ctx.health.enter(service, outcome);
        looked = looked.filter(|checks| is_good && *checks < LOOK_EVERY).map(|checks| checks + 1);
        if is_good && looked.is_none() {
            let found = look(&ctx, service, &mut probe, nonce).await;
            // What is ill is looked at again with the next check.
            looked = found.as_ref().is_ok_and(|detail| detail.trouble().is_none()).then_some(0);
            ctx.health.look(service, found);
        }
        let next = began + jittered(ctx.config.probe_period);
        ctx.health.next_check(service, next.saturating_duration_since(tokio::time::Instant::now()));
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = ctx.health.wanted(service) => looked = None,
        }
    }
}

/// Up to a tenth shorter, so that several consoles do not ask in step.
fn jittered(period: Duration) -> Duration {
    let tenth = u32::try_from(Uuid::now_v7().as_u128() & 0xff).unwrap_or(0);
    period - period * tenth / 2560
}

/// Checks one service now, on a new connection; latency and version, or a fault.
pub async fn check_once(ctx: &Context, service: Service) -> Outcome {
    check(ctx, service, &mut Probe::default()).await
}

/// Looks closer at one service, on a new connection.
pub async fn look_once(ctx: &Context, service: Service) -> Result<Detail, Fault> {
    look(ctx, service, &mut Probe::default(), Uuid::now_v7()).await
}

async fn check(ctx: &Context, service: Service, probe: &mut Probe) -> Outcome {
    let (limit, began) = (deadline(service), Instant::now());
    match within(limit, probe, async |probe| ask(ctx, service, probe).await).await {
        Ok(version) => Ok((began.elapsed(), version)),
        Err(fault) => Err(fault),
    }
}

async fn look(ctx: &Context, service: Service, probe: &mut Probe, nonce: Uuid) -> Result<Detail, Fault> {
    within(LOOK_DEADLINE, probe, async |probe| look_closer(ctx, service, probe, nonce).await).await
}

/// After a fault the next check begins with new connections.
async fn within<T>(limit: Duration, probe: &mut Probe, work: impl AsyncFnOnce(&mut Probe) -> Result<T, Fault>) -> Result<T, Fault> {
    let outcome = tokio::time::timeout(limit, work(probe)).await.unwrap_or_else(|_| Err(Fault::late(limit)));
    if outcome.is_err() {
        *probe = Probe::default();
    }
    outcome
}

/// The version, where the server tells it.
async fn ask(ctx: &Context, service: Service, probe: &mut Probe) -> Result<String, Fault> {
    Ok(match service {
        Service::Postgres => probe.postgres.check(ctx.db.url()).await?,
        Service::Redis => probe.redis.check(&ctx.config.redis).await?,
        Service::S3 => ctx.s3.check(bucket(ctx)).await?.server,
        Service::Qdrant => {
            let (qdrant, version) = match probe.qdrant.take() {
                Some(known) => known,
                None => {
                    let qdrant = qdrant(&ctx.config)?;
                    let version = qdrant.version().await?;
                    (qdrant, version)
                }
            };
            qdrant.ready().await?;
            probe.qdrant.insert((qdrant, version)).1.clone()
        }
        Service::LiteLlm => {
            let (litellm, version) = match probe.litellm.take() {
                Some(known) => known,
                None => {
                    let litellm = gateway(&ctx.config)?.within(LOOK_DEADLINE);
                    // Not every key may ask for it.
                    let version = litellm.version().await.ok().flatten().unwrap_or_default();
                    (litellm, version)
                }
            };
            litellm.ready().await?;
            probe.litellm.insert((litellm, version)).1.clone()
        }
    })
}

fn qdrant(config: &Config) -> Result<Qdrant, Fault> {
    let url = config.qdrant_url.as_deref().unwrap_or_default();
    Ok(Qdrant::new(url, config.qdrant_api_key.as_ref())?.within(LOOK_DEADLINE))
}

pub(super) fn gateway(config: &Config) -> Result<LiteLlm, Fault> {
    let url = config.litellm_url.as_deref().unwrap_or_default();
    Ok(LiteLlm::new(url, config.litellm_master_key.as_ref())?)
}

async fn look_closer(ctx: &Context, service: Service, probe: &mut Probe, nonce: Uuid) -> Result<Detail, Fault> {
    Ok(match service {
        Service::Postgres => Detail::Postgres(probe.postgres.survey(ctx.db.url()).await?),
        Service::Redis => {
            let info = probe.redis.survey(&ctx.config.redis).await?;
            Detail::Redis(info.as_ref().map(RedisDetail::of).unwrap_or_default())
        }
        Service::S3 => {
            let bucket = bucket(ctx);
            let bucket_is_missing = ctx.s3.check(bucket).await?.bucket_is_missing;
            let writes = ctx.config.s3.health_writes && !ctx.config.read_only && !bucket_is_missing;
            let round_trip = if writes { Some(ctx.s3.round_trip(bucket, nonce).await?) } else { None };
            Detail::S3 { round_trip, bucket_is_missing, bucket: bucket.to_owned() }
        }
        Service::Qdrant => {
            let qdrant = match &probe.qdrant {
                Some((known, _)) => known.clone(),
                None => qdrant(&ctx.config)?,
            };
            let names = qdrant.collections().await?;
            let looking: Vec<_> = names.iter().take(COLLECTIONS).map(|name| qdrant.collection(name).boxed()).collect();
            let looked: Vec<Collection> = stream::iter(looking).buffered(4).try_collect().await?;
            Detail::Qdrant {
                points: looked.iter().filter_map(|one| one.points).sum(),
                ill: names.iter().zip(&looked).filter(|(_, one)| one.status == Status::Red).map(|(name, _)| name.clone()).collect(),
                looked: looked.len(),
                collections: names.len(),
            }
        }
        Service::LiteLlm => {
            let litellm = match &probe.litellm {
                Some((known, _)) => known.clone(),
                None => gateway(&ctx.config)?.within(LOOK_DEADLINE),
            };
            let models = litellm.models().await?;
            let missing = ctx.config.litellm_models.iter().filter(|expected| !models.contains(expected)).cloned().collect();
            Detail::LiteLlm { models, missing }
        }
    })
}

fn bucket(ctx: &Context) -> &str {
    ctx.config.s3.buckets.first().map_or("sme-files", String::as_str)
}

impl Board {
    /// Has the service checked now, and waits a little for the answer. `false` where it was checked by hand a moment ago.
    pub async fn check_now(&self, service: Service) -> bool {
        if !self.may_be_asked(service) {
            return false;
        }
        let (mut changes, before) = (self.changes(), self.one(service).checked_at);
        self.want(service);
        let answered = async { while self.one(service).checked_at == before && changes.changed().await.is_ok() {} };
        drop(tokio::time::timeout(PATIENCE, answered).await);
        true
    }
}
