//! `larder doctor`: reports problems of the configuration and the services, and how to fix them.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{print_line, with_stores};
use crate::app;
use crate::config::Config;
use crate::domain::health::{self, Service};
use crate::stores::postgres;

const READY_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn run(embedded: bool) -> anyhow::Result<()> {
    // Configuration errors end the command here, with all errors listed.
    with_stores(embedded, async |config| check_services(config).await).await
}

/// Whether the instance on this machine is ready. Requires no configuration except BIND, and no other program.
pub(super) async fn ready() -> anyhow::Result<()> {
    let mut address = Config::bind_from_env()?;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    let request = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET /readyz HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let mut line = [0; 12];
        stream.read_exact(&mut line).await?;
        Ok::<_, std::io::Error>(line)
    };
    let line =
        tokio::time::timeout(READY_TIMEOUT, request).await.context("no response within 2 s")?.with_context(|| address.to_string())?;
    anyhow::ensure!(line.ends_with(b" 200"), "not ready: {}", String::from_utf8_lossy(&line));
    print_line("ready");
    Ok(())
}

async fn check_services(config: Config) -> anyhow::Result<()> {
    print_line("ok     Configuration");
    for warning in config.warnings() {
        print_line(&format!("note   {warning}"));
    }
    let ctx = app::context(config)?;
    let mut problems = 0;
    for service in Service::ALL {
        if !ctx.health.is_configured(service) {
            print_line(&format!("note   {}: not configured", service.name()));
            continue;
        }
        let (latency, version) = match health::check_once(&ctx, service).await {
            Ok(answer) => answer,
            Err(error) => {
                problems += 1;
                print_line(&format!("error  {}: {} {}", service.name(), error.why, remedy(service)));
                continue;
            }
        };
        let version = if version.is_empty() { version } else { format!(" {version}") };
        print_line(&format!("ok     {}{version}, {:.1} ms", service.name(), latency.as_secs_f64() * 1_000.0));
        match health::inspect_once(&ctx, service).await {
            // The service works; a degraded state may be intended.
            Ok(detail) => detail.problem().into_iter().for_each(|problem| print_line(&format!("note   {}: {problem}", service.name()))),
            Err(error) => {
                problems += 1;
                print_line(&format!("error  {}: {} {}", service.name(), error.why, remedy(service)));
            }
        }
        if service == Service::Postgres {
            problems += schema(&ctx.config).await;
        }
    }
    if problems > 0 {
        let word = if problems == 1 { "problem found" } else { "problems found" };
        anyhow::bail!("{problems} {word}");
    }
    print_line("No problems found.");
    Ok(())
}

/// Checks the schema and returns the number of problems.
async fn schema(config: &Config) -> u32 {
    const OWNER: &str =
        "the user of DATABASE_MIGRATION_URL, or else of DATABASE_URL, must own the database or have the CREATE privilege on it";
    let found = match postgres::applied(&config.database_url).await {
        Ok((applied, 0)) => Ok(format!("ok     Schema, {applied} migrations")),
        Ok((_, pending)) if !config.migrate_on_start => {
            Err(format!("{pending} pending migrations, and MIGRATE_ON_START is false. Run: larder migrate"))
        }
        Ok((_, pending)) => match postgres::may_migrate(config.migration_url()).await {
            Ok(true) => Ok(format!("note   Schema: {pending} pending migrations, run at the next start")),
            Ok(false) => Err(format!("{pending} pending migrations, but {OWNER}: see deploy/postgres/roles.sql")),
            Err(error) => Err(error.to_string()),
        },
        Err(error) => Err(error.to_string()),
    };
    match found {
        Ok(line) => {
            print_line(&line);
            0
        }
        Err(why) => {
            print_line(&format!("error  Schema: {why}."));
            1
        }
    }
}

fn remedy(service: Service) -> &'static str {
    match service {
        Service::Postgres => {
            "Check that the server is running and that DATABASE_URL has the right host, port, database, user and password."
        }
        Service::Redis => "Check that the server is running and that REDIS_URL and REDIS_PASSWORD are correct.",
        Service::S3 => "Check that S3_ENDPOINT_URL is reachable and that AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are valid.",
        Service::Qdrant => "Check that the server is running and that QDRANT_URL and QDRANT_API_KEY are correct.",
        Service::LiteLlm => "Check that the proxy is running and that LITELLM_URL and LITELLM_MASTER_KEY are correct.",
    }
}
