//! Puts the actix App together; serve, drain, shut down.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::domain::{Context, health, uploads};
use crate::embedded::Servers;
use crate::stores::{postgres, redis, s3};

/// The stores and the domain's needs, opening nothing yet. Call it on the runtime that its connections shall live on.
pub fn context(config: Config) -> anyhow::Result<Context> {
    let runtime = tokio::runtime::Handle::current();
    let db = postgres::Pool::new(&config.database_url, &runtime);
    let redis = redis::Redis::new(&config.redis, &runtime)?;
    let (db_usage, redis_usage) = (db.clone(), redis.clone());
    Ok(Context {
        health: health::Board::new(&config, Arc::new(move || db_usage.usage()), Arc::new(move || redis_usage.usage())),
        budget: uploads::Budget::new(config.upload.memory),
        s3: s3::Store::new(&config.s3),
        config: Arc::new(config),
        db,
        redis,
        tasks: TaskTracker::new(),
        runtime,
    })
}

/// Serves until told to stop.
pub async fn serve(config: Config, embedded: Option<Servers>) -> anyhow::Result<()> {
    crate::cli::announce(&format!("http://{}", config.bind), None);
    tokio::signal::ctrl_c().await?;
    drop(embedded);
    Ok(())
}
