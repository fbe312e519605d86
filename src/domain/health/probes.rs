//! One background task a service, each with its own connection and deadline.

use std::time::{Duration, Instant};

use super::Service;
use crate::domain::Context;
use crate::stores::{postgres, redis, s3};

/// How long one check may take, connecting included.
fn deadline(service: Service) -> Duration {
    match service {
        Service::Postgres | Service::Redis => Duration::from_secs(1),
        Service::S3 => Duration::from_millis(1500),
        Service::Qdrant | Service::LiteLlm => Duration::from_secs(2),
    }
}

/// The services that are checked so far.
const CHECKED: [Service; 3] = [Service::Postgres, Service::Redis, Service::S3];

#[derive(Default)]
struct Probes {
    postgres: postgres::probe::Probe,
    redis: redis::Probe,
}

/// Checks every service for ever.
pub fn start(ctx: &Context) {
    for service in CHECKED {
        let ctx = ctx.clone();
        let runtime = ctx.runtime.clone();
        runtime.spawn(async move {
            let mut probes = Probes::default();
            let mut ticks = tokio::time::interval(super::Board::PERIOD);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let outcome = check(&ctx, service, &mut probes).await;
                ctx.health.enter(service, outcome);
            }
        });
    }
}

/// Checks one service now, on a new connection; latency and version, or a sentence.
pub async fn check_once(ctx: &Context, service: Service) -> Result<(Duration, String), String> {
    check(ctx, service, &mut Probes::default()).await
}

async fn check(ctx: &Context, service: Service, probes: &mut Probes) -> Result<(Duration, String), String> {
    let limit = deadline(service);
    let started = Instant::now();
    match tokio::time::timeout(limit, ask(ctx, service, probes)).await {
        Ok(Ok(version)) => Ok((started.elapsed(), version)),
        Ok(Err(why)) => {
            *probes = Probes::default();
            Err(why)
        }
        Err(_) => {
            *probes = Probes::default();
            Err(format!("No answer within {} ms.", limit.as_millis()))
        }
    }
}

/// Sentences name no host, password or statement: the page that shows them may be public.
async fn ask(ctx: &Context, service: Service, probes: &mut Probes) -> Result<String, String> {
    match service {
        Service::Postgres => probes.postgres.check(ctx.db.url()).await.map_err(|error| match error {
            postgres::Error::Unreachable(why) if why.contains("authentication") => "It refused the password.".into(),
            postgres::Error::Unreachable(why) => refused_or_lost(&why),
            postgres::Error::Timeout => "It took too long.".into(),
            postgres::Error::Query(_) => "It answered with an error.".into(),
        }),
        Service::Redis => probes.redis.check(&ctx.config.redis).await.map_err(|error| match error {
            redis::Error::Unreachable(why) => refused_or_lost(&why),
            redis::Error::Timeout => "It took too long.".into(),
            redis::Error::Auth => "It refused the password.".into(),
            redis::Error::Loading => "It is still loading its data.".into(),
            redis::Error::NotPermitted => "It does not permit our user to ask.".into(),
            _ => "It answered with an error.".into(),
        }),
        Service::S3 => {
            let bucket = ctx.config.s3.buckets.first().map_or("sme-files", String::as_str);
            match ctx.s3.check(bucket).await {
                // A missing bucket is an answer; making it is another task's work.
                Ok(()) | Err(s3::Error::NoSuchBucket | s3::Error::NoSuchKey) => Ok(String::new()),
                Err(s3::Error::AccessDenied) => Err("It refused Larder's key.".into()),
                Err(s3::Error::Unreachable(why)) => Err(refused_or_lost(&why)),
                Err(s3::Error::SlowDown) => Err("It asks to slow down.".into()),
                Err(_) => Err("It answered with an error.".into()),
            }
        }
        Service::Qdrant | Service::LiteLlm => Err("It is not checked yet.".into()),
    }
}

fn refused_or_lost(why: &str) -> String {
    if why.contains("refused") || why.contains("No such file") {
        "The connection was refused: nothing listens there.".into()
    } else if why.contains("resolve") || why.contains("lookup") || why.contains("Name or service") {
        "Its name was not found.".into()
    } else {
        "The connection was lost or not made.".into()
    }
}
