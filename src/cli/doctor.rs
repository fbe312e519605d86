//! `larder doctor`: what is wrong with the configuration and the stores, and how to mend it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{say, with_stores};
use crate::app;
use crate::config::Config;
use crate::domain::health::{self, Service};
use crate::stores::postgres;

const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn run(embedded: bool) -> anyhow::Result<()> {
    // A fault of the configuration ends it here, with every fault named.
    with_stores(embedded, async |config| examine(config).await).await
}

/// Whether the Larder of this machine takes requests. Needs no configuration but BIND, and no other program.
pub(super) async fn ready() -> anyhow::Result<()> {
    let mut address = Config::bind_from_env()?;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    let asking = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET /readyz HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let mut line = [0; 12];
        stream.read_exact(&mut line).await?;
        Ok::<_, std::io::Error>(line)
    };
    let line = tokio::time::timeout(PATIENCE, asking).await.context("no answer within 2 s")?.with_context(|| address.to_string())?;
    anyhow::ensure!(line.ends_with(b" 200"), "it is not ready: {}", String::from_utf8_lossy(&line));
    say("ready");
    Ok(())
}

async fn examine(config: Config) -> anyhow::Result<()> {
    say("ok     Configuration");
    for warning in config.warnings() {
        say(&format!("note   {warning}"));
    }
    let ctx = app::context(config)?;
    let mut faults = 0;
    for service in Service::ALL {
        if !ctx.health.is_configured(service) {
            say(&format!("note   {}: not configured", service.name()));
            continue;
        }
        let (latency, version) = match health::check_once(&ctx, service).await {
            Ok(answer) => answer,
            Err(fault) => {
                faults += 1;
                say(&format!("FAULT  {}: {} {}", service.name(), fault.why, mend(service)));
                continue;
            }
        };
        let version = if version.is_empty() { version } else { format!(" {version}") };
        say(&format!("ok     {}{version}, {:.1} ms", service.name(), latency.as_secs_f64() * 1_000.0));
        match health::inspect_once(&ctx, service).await {
            // The server works: what is not as it should be may be wanted so.
            Ok(detail) => detail.problem().into_iter().for_each(|trouble| say(&format!("note   {}: {trouble}", service.name()))),
            Err(fault) => {
                faults += 1;
                say(&format!("FAULT  {}: {} {}", service.name(), fault.why, mend(service)));
            }
        }
        if service == Service::Postgres {
            faults += schema(&ctx.config).await;
        }
    }
    if faults > 0 {
        let word = if faults == 1 {
            "thing that Larder needs is not as it should be"
        } else {
            "things that Larder needs are not as they should be"
        };
        anyhow::bail!("{faults} {word}");
    }
    say("All is well.");
    Ok(())
}

/// How many faults the schema has.
async fn schema(config: &Config) -> u32 {
    const OWNER: &str = "Larder's user must own the database, or at least be allowed to create in it";
    let found = match postgres::applied(&config.database_url).await {
        Ok((applied, 0)) => Ok(format!("ok     Schema, {applied} migrations")),
        Ok((_, pending)) if !config.migrate_on_start => {
            Err(format!("migrations that are missing: {pending}, and MIGRATE_ON_START is false. Run: larder migrate"))
        }
        Ok((_, pending)) => match postgres::may_migrate(&config.database_url).await {
            Ok(true) => Ok(format!("note   Schema: migrations to run at the next start: {pending}")),
            Ok(false) => {
                Err(format!("migrations that are missing: {pending}. {OWNER}, or another runs them: see deploy/postgres/roles.sql"))
            }
            Err(error) => Err(error.to_string()),
        },
        Err(error) => Err(error.to_string()),
    };
    match found {
        Ok(line) => {
            say(&line);
            0
        }
        Err(why) => {
            say(&format!("FAULT  Schema: {why}."));
            1
        }
    }
}

fn mend(service: Service) -> &'static str {
    match service {
        Service::Postgres => "See that the server runs and that DATABASE_URL has its host, port, database, user and password.",
        Service::Redis => "See that the server runs and that REDIS_URL and REDIS_PASSWORD are its own.",
        Service::S3 => "See that S3_ENDPOINT_URL can be reached and that AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are valid there.",
        Service::Qdrant => "See that the server runs and that QDRANT_URL and QDRANT_API_KEY are its own.",
        Service::LiteLlm => "See that the proxy runs and that LITELLM_URL and LITELLM_MASTER_KEY are its own.",
    }
}
