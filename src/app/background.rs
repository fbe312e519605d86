//! Background tasks: migrations, the first admin, configured buckets, cache warming, health checks, and the reaper.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::SetOnce;
use tokio::task::{AbortHandle, JoinSet};

use crate::domain::{Context, abilities, buckets, cache, health, objects, overview, redis_metrics, setup, sign_in, signing, uploads};
use crate::ready::Ready;
use crate::stores::postgres;

/// The setup link logged at the first start.
#[derive(Clone, Default)]
pub struct SetupLink(Arc<SetOnce<Option<String>>>);

impl SetupLink {
    /// Waits until it is known whether setup is needed; returns the link if so.
    pub async fn wait(&self) -> Option<String> {
        self.0.wait().await.clone()
    }
}

pub(super) fn start(ctx: &Context, ready: &Ready, setup: &SetupLink, address: SocketAddr) -> Vec<AbortHandle> {
    health::start(ctx);
    let for_sampler = ctx.clone();
    let sampler = run_forever("sampling Redis metrics", move || redis_metrics::run(for_sampler.clone()));
    let for_warmth = setup.clone();
    let (for_database, ready, setup) = (ctx.clone(), ready.clone(), setup.clone());
    let database = async move {
        prepare_database(&for_database, &ready, &setup, address).await;
        let (for_uploads, for_deletions, for_health) = (for_database.clone(), for_database.clone(), for_database);
        tokio::join!(
            run_forever("settling uploads", move || uploads::reaper::run(for_uploads.clone())),
            run_forever("settling deletions", move || objects::deletions::run(for_deletions.clone())),
            run_forever("writing the health history", move || health::keep(for_health.clone())),
        );
    };
    let (for_store, prepared) = (ctx.clone(), for_warmth);
    let store = async move {
        // Without the key, information from other replicas is not trusted. Before the first migration there is no
        // key.
        if let Err(error) = signing::load(&for_store).await {
            log::debug!("the signing key is not available yet: {error}");
        }
        buckets::ensure_configured(for_store.clone()).await;
        prepared.wait().await;
        overview::warm(&for_store).await;
        abilities::keep_fresh(for_store).await;
    };
    let for_totals = ctx.clone();
    let totals = async move { run_forever("adding up cache statistics", move || cache::keep_totals(for_totals.clone())).await };
    let for_downloads = ctx.clone();
    let downloads = async move {
        run_forever("closing the store connections of slow downloads", move || objects::park_slow_downloads(for_downloads.clone())).await;
    };
    let spawn = |work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| tokio::spawn(work).abort_handle();
    [Box::pin(database) as _, Box::pin(store) as _, Box::pin(sampler) as _, Box::pin(totals) as _, Box::pin(downloads) as _]
        .map(spawn)
        .into()
}

/// Migrates and ensures the first admin. Retries until Postgres responds, so that Larder may start before it. Ready
/// after the first attempt, whatever its result, because the health page must be reachable.
async fn prepare_database(ctx: &Context, ready: &Ready, setup: &SetupLink, address: SocketAddr) {
    let mut pause = Duration::from_millis(250);
    loop {
        let outcome = prepare_once(ctx, address).await;
        ready.set(true);
        match outcome {
            Ok(link) => {
                // Set only once, because this loop ends here.
                let _ = setup.0.set(link);
                return;
            }
            Err(error) => log::error!("the database is not ready: {error}; next attempt in {pause:?}"),
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
        log::info!("created the admin named by ADMIN_EMAIL");
    }
    let Some(token) = setup::issue_token(ctx).await? else { return Ok(None) };
    let base = ctx.config.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
    let link = format!("{base}/setup?token={token}");
    log::warn!("Larder has no users yet. Create the first admin at {link}");
    Ok(Some(link))
}

/// Restarts the task after a panic: one bad row must not stop the settling of all others.
async fn run_forever<W: Future<Output = ()> + Send + 'static>(what: &str, work: impl Fn() -> W) {
    loop {
        // Aborted together with this future.
        let mut running = JoinSet::new();
        running.spawn(work());
        if let Some(Err(error)) = running.join_next().await {
            log::error!("{what} failed and is restarted: {error}");
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}
