//! The command line: `larder [serve] [--embedded]`, `migrate`, `user`, `doctor`, `reconcile`.

mod announce;
mod doctor;
mod logging;
mod people;
mod reconcile;

use std::io::Write;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::app;
use crate::config::{Config, EmbeddedUrls, Stores};
use crate::domain::faults;
use crate::domain::names::BucketName;
use crate::embedded::{self, Servers};
use crate::stores::postgres;

pub use announce::announce;
pub use logging::start as start_logging;

/// The admin console for the storage behind an application.
#[derive(Parser)]
#[command(name = "larder")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Use private PostgreSQL, Redis and S3 servers, with their data under DATA_DIR, instead of the configured ones.
    #[arg(long, global = true)]
    embedded: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the console (the default).
    Serve,
    /// Bring the database's schema up to date, or take steps of it back.
    Migrate {
        /// How many migrations to revert, newest first.
        #[arg(long, value_name = "N")]
        revert: Option<u32>,
    },
    /// Add people, set their passwords, or lock them out.
    User {
        #[command(subcommand)]
        action: people::Action,
    },
    /// Check the configuration and every store; says what is wrong and how to mend it.
    Doctor {
        /// Only ask the Larder that runs at BIND whether it takes requests: for the health check of a container.
        #[arg(long)]
        ready: bool,
    },
    /// Compare what is recorded with what the store holds, and mend the difference; never deletes an object.
    Reconcile {
        /// Only say what differs.
        #[arg(long)]
        dry_run: bool,
        /// Only this bucket.
        #[arg(long, value_name = "NAME", value_parser = reconcile::bucket)]
        bucket: Option<BucketName>,
    },
}

/// Does what the command line says. An error is for the person at the terminal.
pub async fn run() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    faults::set_from_environment();
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let embedded = arguments.embedded;
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve(embedded).await,
        Command::Migrate { revert } => with_stores(embedded, async |config| migrate(&config, revert).await).await,
        Command::User { action } => with_stores(embedded, async |config| people::run(config, action).await).await,
        Command::Doctor { ready: true } => doctor::ready().await,
        Command::Doctor { ready: false } => doctor::run(embedded).await,
        Command::Reconcile { dry_run, bucket } => {
            with_stores(embedded, async |config| reconcile::run(config, dry_run, bucket.as_ref()).await).await
        }
    }
}

async fn serve(embedded: bool) -> anyhow::Result<()> {
    if !embedded {
        return app::serve(Config::from_env(Stores::FromEnvironment)?, None).await;
    }
    // Faults first: the servers take a second to start.
    let placeholder = EmbeddedUrls {
        database_url: "postgres:///larder".into(),
        redis_url: "unix:///".into(),
        s3_endpoint: "http://127.0.0.1".into(),
        s3_access_key_id: "none".into(),
        s3_secret_access_key: "none".into(),
    };
    Config::from_env(Stores::Embedded(&placeholder))?;
    let directory = Config::data_dir_from_env();
    say(&format!("Starting PostgreSQL, Redis and S3 with their data in {} ...", directory.display()));
    let servers = start_servers().await?;
    let config = Config::from_env(Stores::Embedded(servers.urls()))?;
    app::serve(config, Some(servers)).await
}

async fn start_servers() -> Result<Servers, anyhow::Error> {
    let directory = Config::data_dir_from_env();
    let started = tokio::task::spawn_blocking(move || Servers::start(&directory, embedded::Options::default()));
    Ok(started.await.context("the servers' start was cut off")??)
}

/// Runs `work` on the configured stores, or on the embedded ones: those of a Larder that runs, or our own for as long
/// as it takes.
async fn with_stores(embedded: bool, work: impl AsyncFnOnce(Config) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if !embedded {
        return work(Config::from_env(Stores::FromEnvironment)?).await;
    }
    if let Some(urls) = embedded::urls_of_running(&Config::data_dir_from_env()) {
        return work(Config::from_env(Stores::Embedded(&urls))?).await;
    }
    log::warn!("no servers run in {}: they are started for this command", Config::data_dir_from_env().display());
    let servers = start_servers().await?;
    let outcome = work(Config::from_env(Stores::Embedded(servers.urls()))?).await;
    tokio::task::spawn_blocking(move || servers.stop()).await.context("the servers' stop was cut off")?;
    outcome
}

async fn migrate(config: &Config, revert: Option<u32>) -> anyhow::Result<()> {
    let (done, names) = match revert {
        None => ("Ran", postgres::migrate(&config.database_url).await?),
        Some(count) => ("Reverted", postgres::revert(&config.database_url, count).await?),
    };
    for name in &names {
        say(&format!("{done} {name}"));
    }
    if names.is_empty() {
        say("Nothing to do: the schema is as wanted.");
    }
    Ok(())
}

/// A line on standard output. A reader that has gone away is no fault of ours.
fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}
