//! What the store can do: tried at the start and once a day, kept in Redis for all replicas, shown with its age.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;

use super::actor::Actor;
use super::audit;
use super::cache::{self, Key, Namespace};
use super::names::BucketName;
use super::{Context, Error, Result};
use crate::clock;
use crate::stores::s3;
pub use crate::stores::s3::{Abilities, Ability, Probed};

/// Who starts within a day of a probe does not try again. What is old is still better shown, with its age, than nothing.
pub(super) static CACHE: Namespace<Probed> = Namespace::new("store-abilities", Duration::from_secs(86_400))
    .stale(Duration::from_secs(30 * 86_400))
    .computing(Duration::from_secs(60))
    .waiting(Duration::from_secs(20));
/// Whoever presses the button twice has seen the new answer.
const RECENT: TimeDelta = TimeDelta::seconds(5);
const EVERY: Duration = Duration::from_secs(3600);

/// Another store, or a Larder that tries other things, does not take it over.
fn key(ctx: &Context) -> Key {
    Key::of(&[&ctx.s3.endpoint().unwrap_or("AWS"), &env!("CARGO_PKG_VERSION")])
}

/// What the last probe found, whichever replica made it. `None`: nobody has been able to try yet.
pub async fn known(ctx: &Context) -> Option<Probed> {
    let own = ctx.s3.probed();
    match cache::get(ctx, &CACHE, &key(ctx)).await.map(|found| found.value) {
        Some(other) if own.as_ref().is_none_or(|own| own.at < other.at) => {
            ctx.s3.remember(other.clone());
            Some(other)
        }
        _ => own,
    }
}

/// Tries again, in `bucket`. Conflict where nothing may be written there. What was known stays where it fails.
pub async fn probe(ctx: &Context, actor: &Actor, bucket: &BucketName) -> Result<Probed> {
    if let Some(known) = known(ctx).await.filter(|known| known.bucket == bucket.as_str() && clock::now() - known.at < RECENT) {
        return Ok(known);
    }
    ctx.db.check_available().await?;
    let (all, actor, bucket) = (ctx.clone(), actor.clone(), bucket.clone());
    ctx.run_to_completion(async move {
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
        // Without Redis this process alone knows.
        cache::set(&all, &CACHE, &key(&all), &found).await;
        audit::record_with_retry(&all, &actor, "store.probe", &audit::object(bucket.as_str(), ""), json!({})).await?;
        Ok(found)
    })
    .await
}

/// At a start, and every hour: what is known is taken over, and tried again in `bucket` once it is old.
pub(super) async fn ensure(ctx: &Context, bucket: &str) -> Result<()> {
    let (all, bucket) = (ctx.clone(), bucket.to_owned());
    let trying = move || async move { Ok(try_in(&all, &bucket).await?) };
    match cache::get_or_compute(ctx, &CACHE, &key(ctx), trying).await {
        Ok(probed) => {
            if ctx.s3.probed().is_none_or(|own| own.at < probed.at) {
                ctx.s3.remember(probed);
            }
            Ok(())
        }
        // A key that may not write cannot harm; unusual names stay refused.
        Err(Error::S3(s3::Error::AccessDenied)) => {
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
    Ok(probed)
}
