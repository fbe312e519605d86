//! What the store supports: probed at startup and once a day, cached in Redis for all replicas, shown with its age.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;

use super::actor::Actor;
use super::audit::{self, Action};
use super::cache::{self, Key, Namespace};
use super::names::BucketName;
use super::s3_sentences::bucket_not_found;
use super::{Context, Error, Result};
use crate::clock;
use crate::stores::s3;
pub use crate::stores::s3::{Abilities, Ability, KeyRules, Probed};

/// A probe is valid for a day, also across restarts. Older results are still shown, with their age.
pub(super) static CACHE: Namespace<Probed> = Namespace::new("store-abilities", Duration::from_secs(86_400))
    .stale(Duration::from_secs(30 * 86_400))
    .computing(Duration::from_secs(60))
    .waiting(Duration::from_secs(20));
/// A second click within this time returns the result of the first.
const RECENT: TimeDelta = TimeDelta::seconds(5);
const EVERY: Duration = Duration::from_secs(3600);

/// A different store or Larder version does not reuse the result.
fn key(ctx: &Context) -> Key {
    Key::of(&[&ctx.s3.endpoint().unwrap_or("AWS"), &env!("CARGO_PKG_VERSION")])
}

/// The result of the last probe by any replica. `None`: not probed yet.
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

/// Probes again in `bucket`. Conflict if Larder may not write there. If it fails, the previous result is kept.
pub async fn probe(ctx: &Context, actor: &Actor, bucket: &BucketName) -> Result<Probed> {
    if let Some(known) = known(ctx).await.filter(|known| known.bucket == bucket.as_str() && clock::now() - known.at < RECENT) {
        return Ok(known);
    }
    ctx.db.check_available().await?;
    let (task_ctx, actor, bucket) = (ctx.clone(), actor.clone(), bucket.clone());
    ctx.run_to_completion(async move {
        let found = match try_in(&task_ctx, bucket.as_str()).await {
            Err(s3::Error::AccessDenied) => {
                return Err(Error::Conflict(format!(
                    "Larder's key may not write and delete objects in {bucket}, so nothing was tested. Try another bucket."
                )));
            }
            Err(s3::Error::KeepsObjects) => {
                return Err(Error::Conflict(format!(
                    "New objects in {bucket} cannot be deleted during its default retention (object lock), so nothing was written. Try another bucket."
                )));
            }
            Err(s3::Error::NoSuchBucket | s3::Error::NoSuchKey) => {
                return Err(bucket_not_found(&bucket));
            }
            found => found?,
        };
        // Without Redis, only this process knows the result.
        cache::set(&task_ctx, &CACHE, &key(&task_ctx), &found).await;
        audit::record_with_retry(&task_ctx, &actor, Action::StoreProbe, &audit::object(bucket.as_str(), ""), json!({})).await?;
        Ok(found)
    })
    .await
}

/// [`ensure`] in the first bucket that does not keep what is written to it.
pub(super) async fn ensure_in_any(ctx: &Context) -> Result<()> {
    for bucket in &ctx.config.s3.buckets {
        match ensure(ctx, bucket).await {
            Err(Error::S3(s3::Error::KeepsObjects)) => {
                log::info!("the store's abilities were not probed in {bucket}: new objects cannot be deleted during its default retention");
            }
            done => return done,
        }
    }
    Ok(())
}

/// At startup and every hour: uses the cached result, or probes again in `bucket` if it is too old.
async fn ensure(ctx: &Context, bucket: &str) -> Result<()> {
    let (task_ctx, bucket) = (ctx.clone(), bucket.to_owned());
    let trying = move || async move { Ok(try_in(&task_ctx, &bucket).await?) };
    match cache::get_or_compute(ctx, &CACHE, &key(ctx), trying).await {
        Ok(probed) => {
            if ctx.s3.probed().is_none_or(|own| own.at < probed.at) {
                ctx.s3.remember(probed);
            }
            Ok(())
        }
        // A key without write permission can do no harm; unusual names stay rejected.
        Err(Error::S3(s3::Error::AccessDenied)) => {
            log::warn!("the store's abilities were not probed: access denied");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Probes again once a day, forever.
pub async fn keep_fresh(ctx: Context) {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = ensure_in_any(&ctx).await {
            log::info!("the store's abilities were not probed again: {error}");
        }
    }
}

async fn try_in(ctx: &Context, bucket: &str) -> std::result::Result<Probed, s3::Error> {
    let abilities = ctx.s3.probe(bucket, uuid::Uuid::now_v7()).await?;
    let probed = Probed { abilities, bucket: bucket.to_owned(), at: clock::now() };
    ctx.s3.remember(probed.clone());
    Ok(probed)
}
