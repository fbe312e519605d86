//! One background task a service, each with connections and deadlines of its own, and never two checks at once.

use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt, stream};
use uuid::Uuid;

use super::detail::{Detail, RedisDetail};
use super::error::CheckError;
use super::record::Outcome;
use super::text::Names;
use super::{Board, Service};
use crate::config::Config;
use crate::domain::Context;
use crate::domain::faults::crash_point;
use crate::stores::litellm::LiteLlm;
use crate::stores::qdrant::{Qdrant, Status};
use crate::stores::{http, postgres, redis};

/// A slower look at a service after so many checks.
const LOOK_EVERY: u32 = 15;
const LOOK_DEADLINE: Duration = Duration::from_secs(3);
/// So many collections are looked at one by one.
const COLLECTIONS: usize = 50;
/// For what is only nice to know.
const IN_PASSING: Duration = Duration::from_millis(300);
/// Two checks by hand of one service are at least so far apart.
pub(super) const APART: Duration = Duration::from_secs(5);
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
    /// With the version, once it was asked for.
    qdrant: Option<(Qdrant, Option<String>)>,
    litellm: Option<(LiteLlm, Option<String>)>,
}

impl Probe {
    fn qdrant(&mut self, config: &Config) -> Result<&mut (Qdrant, Option<String>), CheckError> {
        let known = match self.qdrant.take() {
            Some(known) => known,
            None => {
                let url = config.qdrant_url.as_deref().unwrap_or_default();
                (Qdrant::new(url, config.qdrant_api_key.as_ref())?.with_timeout(LOOK_DEADLINE), None)
            }
        };
        Ok(self.qdrant.insert(known))
    }

    fn litellm(&mut self, config: &Config) -> Result<&mut (LiteLlm, Option<String>), CheckError> {
        let known = match self.litellm.take() {
            Some(known) => known,
            None => (gateway(config)?.with_timeout(LOOK_DEADLINE), None),
        };
        Ok(self.litellm.insert(known))
    }
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
    // Checks until the next look.
    let mut until_look = 0;
    let mut was_troubled = false;
    loop {
        let began = tokio::time::Instant::now();
        let number = ctx.health.begin_check(service);
        if let Err(stuck) = crash_point("health::check") {
            log::error!("the checks of {} stand still: {stuck}", service.name());
            std::future::pending::<()>().await;
        }
        let outcome = check(&ctx, service, &mut probe).await;
        let is_good = outcome.is_ok();
        ctx.health.enter(service, number, outcome);
        if !is_good {
            until_look = 0;
        } else if until_look > 0 {
            until_look -= 1;
        } else {
            let found = look(&ctx, service, &mut probe, nonce).await;
            // What has just become ill may be well at once, as when a bucket is made. What was refused is not asked faster.
            let is_troubled = found.as_ref().is_ok_and(|detail| detail.trouble().is_some());
            until_look = if is_troubled && !was_troubled { 0 } else { LOOK_EVERY };
            was_troubled = is_troubled;
            ctx.health.look(service, found);
        }
        let next = began + jittered(ctx.config.probe_period);
        ctx.health.next_check(service, next.saturating_duration_since(tokio::time::Instant::now()));
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = ctx.health.wanted(service) => until_look = 0,
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
pub async fn look_once(ctx: &Context, service: Service) -> Result<Detail, CheckError> {
    look(ctx, service, &mut Probe::default(), Uuid::now_v7()).await
}

async fn check(ctx: &Context, service: Service, probe: &mut Probe) -> Outcome {
    let (limit, began) = (deadline(service), Instant::now());
    match within(limit, probe, async |probe| ask(ctx, service, probe).await).await {
        Ok(version) => Ok((began.elapsed(), version)),
        Err(fault) => Err(fault),
    }
}

async fn look(ctx: &Context, service: Service, probe: &mut Probe, nonce: Uuid) -> Result<Detail, CheckError> {
    within(LOOK_DEADLINE, probe, async |probe| look_closer(ctx, service, probe, nonce).await).await
}

/// After a fault the next check begins with new connections.
async fn within<T>(
    limit: Duration,
    probe: &mut Probe,
    work: impl AsyncFnOnce(&mut Probe) -> Result<T, CheckError>,
) -> Result<T, CheckError> {
    let outcome = tokio::time::timeout(limit, work(probe)).await.unwrap_or_else(|_| Err(CheckError::late(limit)));
    if outcome.is_err() {
        *probe = Probe::default();
    }
    outcome
}

/// The version, where the server tells it.
async fn ask(ctx: &Context, service: Service, probe: &mut Probe) -> Result<String, CheckError> {
    Ok(match service {
        Service::Postgres => probe.postgres.check(ctx.db.url()).await?,
        Service::Redis => probe.redis.check(&ctx.config.redis).await?,
        Service::S3 => ctx.s3.check(bucket(ctx)).await?.server,
        Service::Qdrant => {
            let (qdrant, version) = probe.qdrant(&ctx.config)?;
            qdrant.ready().await?;
            if version.is_none() {
                *version = Some(in_passing(async { Ok(Some(qdrant.version().await?)) }).await);
            }
            version.clone().unwrap_or_default()
        }
        Service::LiteLlm => {
            let (litellm, version) = probe.litellm(&ctx.config)?;
            litellm.ready().await?;
            if version.is_none() {
                *version = Some(in_passing(litellm.version()).await);
            }
            version.clone().unwrap_or_default()
        }
    })
}

/// Whether a server is up does not hang on what it is called.
async fn in_passing(asking: impl Future<Output = Result<Option<String>, http::Error>>) -> String {
    let told = tokio::time::timeout(IN_PASSING, asking).await;
    told.ok().and_then(Result::ok).flatten().unwrap_or_default()
}

pub(super) fn gateway(config: &Config) -> Result<LiteLlm, CheckError> {
    let url = config.litellm_url.as_deref().unwrap_or_default();
    Ok(LiteLlm::new(url, config.litellm_master_key.as_ref())?)
}

async fn look_closer(ctx: &Context, service: Service, probe: &mut Probe, nonce: Uuid) -> Result<Detail, CheckError> {
    Ok(match service {
        Service::Postgres => Detail::Postgres(probe.postgres.server_state(ctx.db.url()).await?),
        Service::Redis => {
            let info = probe.redis.info(&ctx.config.redis).await?;
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
            let (qdrant, _) = probe.qdrant(&ctx.config)?;
            let names = qdrant.collections().await?;
            let looking: Vec<_> =
                names.iter().take(COLLECTIONS).map(|name| qdrant.collection(name).map(move |found| (name, found)).boxed()).collect();
            let mut looked = Vec::new();
            for (name, found) in stream::iter(looking).buffered(4).collect::<Vec<_>>().await {
                match found {
                    Ok(collection) => looked.push((name, collection)),
                    // Deleted since it was listed.
                    Err(http::Error::NotFound(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Detail::Qdrant {
                points: looked.iter().filter_map(|(_, one)| one.points).sum(),
                ill: Names::of(looked.iter().filter(|(_, one)| one.status == Status::Red).map(|(name, _)| *name)),
                looked: looked.len(),
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

/// What became of a check that somebody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It has ended: the board shows what it found.
    Checked,
    /// It has not ended within two seconds.
    Running,
    /// There was one by hand a moment ago.
    TooSoon,
}

impl Board {
    /// Has the service checked now, and waits a little for the answer.
    pub async fn check_now(&self, service: Service) -> Asked {
        if !self.may_be_asked(service) {
            return Asked::TooSoon;
        }
        // One that has begun already may have found what was so before.
        let (mut changes, wanted) = (self.changes(), self.begun(service) + 1);
        self.want(service);
        let answered = async { while self.ended(service) < wanted && changes.changed().await.is_ok() {} };
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(()) => Asked::Checked,
            Err(_) => Asked::Running,
        }
    }
}
