//! The command line: `larder [serve] [--embedded]`, `migrate`, `user`, `doctor`, `reconcile`.

mod announce;
mod doctor;
mod logging;
mod reconcile;
mod users;

use std::io::Write;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::app;
use crate::config::{Config, EmbeddedUrls, Stores};
use crate::domain::faults;
use crate::domain::names::BucketName;
use crate::embedded::{self, Servers};
use crate::stores::postgres;

use announce::announce;
pub use logging::start as start_logging;

/// The admin console for the storage behind an application.
#[derive(Parser)]
#[command(name = "larder")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Use private PostgreSQL, Redis and S3 servers with their data in DATA_DIR instead of the configured ones.
    #[arg(long, global = true)]
    embedded: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the console (the default).
    Serve,
    /// Migrate the database schema to the latest version, or revert migrations.
    Migrate {
        /// Number of migrations to revert, newest first.
        #[arg(long, value_name = "N")]
        revert: Option<u32>,
    },
    /// Add users, set passwords or disable users.
    User {
        #[command(subcommand)]
        action: users::Action,
    },
    /// Check the configuration and all services, and report how to fix each problem.
    Doctor {
        /// Only check whether the Larder instance at BIND is ready. For container health checks.
        #[arg(long)]
        ready: bool,
    },
    /// Compare the database with the object store and repair the records. Never deletes an object.
    Reconcile {
        /// Only report differences.
        #[arg(long)]
        dry_run: bool,
        /// Only this bucket.
        #[arg(long, value_name = "NAME", value_parser = reconcile::bucket)]
        bucket: Option<BucketName>,
    },
}

/// Runs the command given on the command line. Errors are shown to the user.
pub async fn run() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    faults::set_from_environment();
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let embedded = arguments.embedded;
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve(embedded).await,
        Command::Migrate { revert } => with_stores(embedded, async |config| migrate(&config, revert).await).await,
        Command::User { action } => with_stores(embedded, async |config| users::run(config, action).await).await,
        Command::Doctor { ready: true } => doctor::ready().await,
        Command::Doctor { ready: false } => doctor::run(embedded).await,
        Command::Reconcile { dry_run, bucket } => {
            with_stores(embedded, async |config| reconcile::run(config, dry_run, bucket.as_ref()).await).await
        }
    }
}

async fn serve(embedded: bool) -> anyhow::Result<()> {
    if !embedded {
        return app::serve(Config::from_env(Stores::FromEnvironment)?, None, announce).await;
    }
    // Validate the configuration first, since the servers take a second to start.
    let placeholder = EmbeddedUrls {
        database_url: "postgres:///larder".into(),
        redis_url: "unix:///".into(),
        s3_endpoint: "http://127.0.0.1".into(),
        s3_access_key_id: "none".into(),
        s3_secret_access_key: "none".into(),
    };
    Config::from_env(Stores::Embedded(&placeholder))?;
    let directory = Config::data_dir_from_env();
    print_line(&format!("Starting PostgreSQL, Redis and S3 with their data in {} ...", directory.display()));
    let servers = start_servers().await?;
    let config = Config::from_env(Stores::Embedded(servers.urls()))?;
    app::serve(config, Some(servers), announce).await
}

async fn start_servers() -> Result<Servers, anyhow::Error> {
    let directory = Config::data_dir_from_env();
    let started = tokio::task::spawn_blocking(move || Servers::start(&directory, embedded::Options::default()));
    Ok(started.await.context("starting the servers was aborted")??)
}

/// Runs `work` with the configured services, or with the embedded ones: those of a running Larder, or servers started
/// for this command.
async fn with_stores(embedded: bool, work: impl AsyncFnOnce(Config) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if !embedded {
        return work(Config::from_env(Stores::FromEnvironment)?).await;
    }
    if let Some(urls) = embedded::urls_of_running(&Config::data_dir_from_env()) {
        return work(Config::from_env(Stores::Embedded(&urls))?).await;
    }
    log::warn!("no servers are running in {}; starting them for this command", Config::data_dir_from_env().display());
    let servers = start_servers().await?;
    let outcome = work(Config::from_env(Stores::Embedded(servers.urls()))?).await;
    tokio::task::spawn_blocking(move || servers.stop()).await.context("stopping the servers was aborted")?;
    outcome
}

async fn migrate(config: &Config, revert: Option<u32>) -> anyhow::Result<()> {
    let (done, names) = match revert {
        None => ("Ran", postgres::migrate(config.migration_url()).await?),
        Some(count) => ("Reverted", postgres::revert(config.migration_url(), count).await?),
    };
    for name in &names {
        print_line(&format!("{done} {name}"));
    }
    if names.is_empty() {
        print_line("Nothing to do: the schema is up to date.");
    }
    Ok(())
}

/// Prints a line to standard output. A closed pipe is not an error.
fn print_line(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}
