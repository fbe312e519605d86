//! What the store can do: tried at the start and once a day, kept in Redis for all replicas, shown with its age.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;

use super::actor::Actor;
use super::audit;
use super::names::BucketName;
use super::{Context, Error, Result};
use crate::clock;
use crate::stores::s3;
pub use crate::stores::s3::{Abilities, Ability, Probed};

const KEY: &str = "cache:store-abilities";
/// Who starts within a day of a probe does not try again.
const FRESH: TimeDelta = TimeDelta::hours(24);
/// Whoever presses the button twice has seen the new answer.
const RECENT: TimeDelta = TimeDelta::seconds(5);
/// What is old is still better shown, with its age, than nothing.
const KEPT: Duration = Duration::from_secs(30 * 86_400);
const PATIENCE: Duration = Duration::from_millis(250);
const EVERY: Duration = Duration::from_secs(3600);

/// As it stands in Redis. Another store, or a Larder that tries other things, does not take it over.
#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    endpoint: Option<String>,
    larder: String,
    probed: Probed,
}

/// What the last probe found, whichever replica made it. `None`: nobody has been able to try yet.
pub async fn known(ctx: &Context) -> Option<Probed> {
    let own = ctx.s3.probed();
    match from_redis(ctx).await {
        Some(other) if own.as_ref().is_none_or(|own| own.at < other.at) => {
            ctx.s3.remember(other.clone());
            Some(other)
        }
        _ => own,
    }
}

async fn from_redis(ctx: &Context) -> Option<Probed> {
    let kept: Kept = ctx.redis.briefly(PATIENCE).get_json(KEY).await.ok().flatten()?;
    let ours = kept.endpoint.as_deref() == ctx.s3.endpoint() && kept.larder == env!("CARGO_PKG_VERSION");
    ours.then_some(kept.probed)
}

/// Tries again, in `bucket`. Conflict where nothing may be written there. What was known stays where it fails.
pub async fn probe(ctx: &Context, actor: &Actor, bucket: &BucketName) -> Result<Probed> {
    if let Some(known) = known(ctx).await.filter(|known| known.bucket == bucket.as_str() && clock::now() - known.at < RECENT) {
        return Ok(known);
    }
    ctx.db.answers().await?;
    let (all, actor, bucket) = (ctx.clone(), actor.clone(), bucket.clone());
    ctx.see_through(async move {
        let found = match try_in(&all, bucket.as_str()).await {
            Err(s3::Error::AccessDenied) => {
                return Err(Error::Conflict(format!(
                    "Larder's key may not write to {bucket} and delete there, so nothing was tried. Try it in another bucket."
                )));
            }
            Err(s3::Error::NoSuchBucket | s3::Error::NoSuchKey) => {
                return Err(Error::NotFound(format!("There is no bucket named {bucket}.")));
            }
            found => found?,
        };
        audit::record_at_last(&all, &actor, "store.probe", &audit::object(bucket.as_str(), ""), json!({})).await?;
        Ok(found)
    })
    .await
}

/// At a start: what is known to be fresh is taken over, else everything is tried in `bucket`.
pub(super) async fn ensure(ctx: &Context, bucket: &str) -> std::result::Result<(), s3::Error> {
    if known(ctx).await.is_some_and(|known| clock::now() - known.at < FRESH) {
        return Ok(());
    }
    let (all, bucket) = (ctx.clone(), bucket.to_owned());
    // Not cut off by a stop that comes meanwhile: what it has written would stay.
    let ended = ctx.in_background(async move { try_in(&all, &bucket).await }).await;
    match ended.unwrap_or_else(|error| Err(s3::Error::Other(error.to_string()))) {
        Ok(_) => Ok(()),
        // A key that may not write cannot harm; unusual names stay refused.
        Err(s3::Error::AccessDenied) => {
            log::warn!("what the store can do was not tried: access denied");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Tries again once a day, for ever.
pub async fn keep_fresh(ctx: Context) {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Some(bucket) = ctx.config.s3.buckets.first()
            && let Err(error) = ensure(&ctx, bucket).await
        {
            log::info!("what the store can do was not tried again: {error}");
        }
    }
}

async fn try_in(ctx: &Context, bucket: &str) -> std::result::Result<Probed, s3::Error> {
    let abilities = ctx.s3.probe(bucket, uuid::Uuid::now_v7()).await?;
    let probed = Probed { abilities, bucket: bucket.to_owned(), at: clock::now() };
    ctx.s3.remember(probed.clone());
    let kept =
        Kept { endpoint: ctx.s3.endpoint().map(str::to_owned), larder: env!("CARGO_PKG_VERSION").to_owned(), probed: probed.clone() };
    // Without Redis this process alone knows.
    let _ = ctx.redis.briefly(PATIENCE).set_json(KEY, &kept, Some(KEPT)).await;
    Ok(probed)
}
