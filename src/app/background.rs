//! What runs beside the requests: migrations, the first admin, configured buckets, a warm cache, health, the
//! reaper.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::SetOnce;
use tokio::task::{AbortHandle, JoinSet};

use crate::domain::{Context, abilities, buckets, cache, health, objects, overview, redis_metrics, setup, sign_in, signing, uploads};
use crate::ready::Ready;
use crate::stores::postgres;

/// The link that the log shows on a first start.
#[derive(Clone, Default)]
pub struct SetupLink(Arc<SetOnce<Option<String>>>);

impl SetupLink {
    /// Waits until it is known whether a set-up is needed; the link, if it is.
    pub async fn wait(&self) -> Option<String> {
        self.0.wait().await.clone()
    }
}

pub(super) fn start(ctx: &Context, ready: &Ready, setup: &SetupLink, address: SocketAddr) -> Vec<AbortHandle> {
    health::start(ctx);
    let for_sampler = ctx.clone();
    let sampler = for_ever("sampling Redis", move || redis_metrics::run(for_sampler.clone()));
    let for_warmth = setup.clone();
    let (for_database, ready, setup) = (ctx.clone(), ready.clone(), setup.clone());
    let database = async move {
        prepare_database(&for_database, &ready, &setup, address).await;
        let (for_uploads, for_deletions, for_health) = (for_database.clone(), for_database.clone(), for_database);
        tokio::join!(
            for_ever("settling uploads", move || uploads::reaper::run(for_uploads.clone())),
            for_ever("settling deletions", move || objects::unfinished::run(for_deletions.clone())),
            for_ever("keeping the history of health", move || health::keep(for_health.clone())),
        );
    };
    let (for_store, prepared) = (ctx.clone(), for_warmth);
    let store = async move {
        // Without the key, what other replicas have found out is not believed. Before a first migration there is none.
        if let Err(error) = signing::load(&for_store).await {
            log::debug!("the signing key is not available yet: {error}");
        }
        buckets::ensure_configured(for_store.clone()).await;
        prepared.wait().await;
        overview::warm(&for_store).await;
        abilities::keep_fresh(for_store).await;
    };
    let for_totals = ctx.clone();
    let totals = async move { for_ever("adding up lookups", move || cache::keep_totals(for_totals.clone())).await };
    let for_downloads = ctx.clone();
    let downloads = async move {
        for_ever("closing the store connections of slow downloads", move || objects::park_slow_downloads(for_downloads.clone())).await;
    };
    let spawn = |work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| tokio::spawn(work).abort_handle();
    [Box::pin(database) as _, Box::pin(store) as _, Box::pin(sampler) as _, Box::pin(totals) as _, Box::pin(downloads) as _]
        .map(spawn)
        .into()
}

/// Migrates, then sees to the first admin; tries again until Postgres has answered, so that Larder may start
/// before it. Ready after the first try, whatever its end: the health page must be reachable.
async fn prepare_database(ctx: &Context, ready: &Ready, setup: &SetupLink, address: SocketAddr) {
    let mut pause = Duration::from_millis(250);
    loop {
        let outcome = prepare_once(ctx, address).await;
        ready.set(true);
        match outcome {
            Ok(link) => {
                // Told once: this loop ends here.
                let _ = setup.0.set(link);
                return;
            }
            Err(error) => log::error!("the database is not ready: {error}; trying again in {pause:?}"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

async fn prepare_once(ctx: &Context, address: SocketAddr) -> anyhow::Result<Option<String>> {
    if ctx.config.migrate_on_start {
        for name in postgres::migrate(ctx.db.url()).await? {
            log::info!("migrated the database: {name}");
        }
    }
    signing::load(ctx).await?;
    sign_in::load_known_addresses(ctx).await?;
    if setup::from_environment(ctx).await? {
        log::info!("made the admin that ADMIN_EMAIL names");
    }
    let Some(token) = setup::issue_token(ctx).await? else { return Ok(None) };
    let base = ctx.config.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
    let link = format!("{base}/setup?token={token}");
    log::warn!("Larder has no users yet. Make the first admin at {link}");
    Ok(Some(link))
}

/// Begins again what has panicked: one bad row must not end the settling of all others.
async fn for_ever<W: Future<Output = ()> + Send + 'static>(what: &str, work: impl Fn() -> W) {
    loop {
        // Aborted with this future.
        let mut running = JoinSet::new();
        running.spawn(work());
        if let Some(Err(error)) = running.join_next().await {
            log::error!("{what} broke off, and begins again: {error}");
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}
