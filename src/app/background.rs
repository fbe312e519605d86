//! What happens at the start: migrations, the first admin, configured buckets, cache warming, health checks; then the schedule.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::SetOnce;
use tokio::task::AbortHandle;

use super::schedule::{self, Start};
use crate::domain::{Context, buckets, health, overview, setup, sign_in, signing};
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

/// Starts the checks, the preparation of database and store, and the [`schedule`].
pub(super) fn start(ctx: &Context, ready: &Ready, setup: &SetupLink, address: SocketAddr) -> Vec<AbortHandle> {
    health::start(ctx);
    let for_tasks = ctx.clone();
    let immediately = async move { schedule::run(&for_tasks, Start::Immediately).await };
    let (for_database, ready, prepared) = (ctx.clone(), ready.clone(), setup.clone());
    let database = async move {
        prepare_database(&for_database, &ready, &prepared, address).await;
        schedule::run(&for_database, Start::WithDatabase).await;
    };
    let (for_store, prepared) = (ctx.clone(), setup.clone());
    let store = async move {
        prepare_store(&for_store, &prepared).await;
        schedule::run(&for_store, Start::WithStore).await;
    };
    [tokio::spawn(immediately), tokio::spawn(database), tokio::spawn(store)].map(|task| task.abort_handle()).into()
}

/// Creates the configured buckets, and fills the cache of the overview once the database is ready.
async fn prepare_store(ctx: &Context, prepared: &SetupLink) {
    // Without the key, information from other replicas is not trusted. Before the first migration there is no key.
    if let Err(error) = signing::load(ctx).await {
        log::debug!("the signing key is not available yet: {error}");
    }
    buckets::ensure_configured(ctx.clone()).await;
    prepared.wait().await;
    overview::warm(ctx).await;
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
        for name in postgres::migrate(ctx.config.migration_url()).await? {
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
