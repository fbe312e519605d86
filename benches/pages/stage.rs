//! The environment of every section: the servers, thirty days of health history, a bucket with a hundred files.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use larder::config::EmbeddedUrls;
use larder::embedded::{Options, S3Kind, Servers};
use larder::stores::postgres;
use reqwest::header::ORIGIN;

use crate::binary::Larder;
use crate::cleanup::{self, Cleanup};
use crate::neighbours::Neighbour;

pub const BUCKET: &str = "contracts";
/// Rows of the long listing.
const FILES: usize = 100;

/// Thirty days of minutes for one console and five services, each of which had occasional outages.
const HISTORY: &str = "
    INSERT INTO health_minutes (service, minute, console, checks, good, up_seconds, down_seconds, latency_sum_ms, latency_most_ms)
    SELECT service, date_trunc('minute', now()) - at * interval '1 minute', '00000000-0000-0000-0000-000000000001', 15, CASE WHEN bad THEN 0 ELSE 15 END,
           CASE WHEN bad THEN 0 ELSE 60 END, CASE WHEN bad THEN 60 ELSE 0 END, 15 * (1 + at % 7), 3 + at % 11
    FROM (SELECT service, at, (at + 97 * place) % 9000 < 4 AS bad
          FROM unnest(ARRAY['postgres', 'redis', 's3', 'qdrant', 'litellm']) WITH ORDINALITY AS s (service, place),
               generate_series(1, 43200) AS at) AS minutes;
    INSERT INTO health_incidents (id, instance, service, class, first_message, last_message, began_at, ended_at, seen_at)
    SELECT gen_random_uuid(), 'bench:1', service, class, 'The connection was refused: nothing listens at this address.',
           'It did not answer within 1 s.', began, began + interval '4 minutes', began + interval '4 minutes'
    FROM (SELECT service, class, now() - (6 * at + 2 * place) * interval '1 hour' AS began
          FROM unnest(ARRAY['postgres', 'redis', 's3', 'qdrant', 'litellm'], ARRAY['connect', 'timeout', 'connect', 'auth', 'protocol'])
               WITH ORDINALITY AS s (service, class, place), generate_series(1, 20) AS at) AS incidents;
    ANALYZE health_minutes";

pub struct Stage {
    pub servers: Servers,
    /// Qdrant and LiteLLM.
    pub stub: Neighbour,
    pub directory: PathBuf,
    _cleanup: Cleanup,
}

impl Stage {
    /// Call this on the main thread: processes started here end with the thread that started them.
    pub async fn set() -> Result<Self> {
        let directory = cleanup::directory("bench-pages");
        std::fs::create_dir_all(&directory)?;
        let cleanup = Cleanup::start(None, [directory.clone()]);
        let servers = Servers::start(&directory.join("servers"), Options { durable: true, s3: S3Kind::SeaweedFs })?;
        let stub = Neighbour::start("stub", &directory).await?;
        let stage = Self { servers, stub, directory, _cleanup: cleanup };
        postgres::migrate(&larder::config::Secret::new(stage.urls().database_url.clone())).await?;
        let (sql, connection) = tokio_postgres::connect(&stage.urls().database_url, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        sql.batch_execute(HISTORY).await.context("failed to write thirty days of health history")?;
        stage.fill().await?;
        Ok(stage)
    }

    pub fn urls(&self) -> &EmbeddedUrls {
        self.servers.urls()
    }

    /// The environment of an instance that checks all five services.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = crate::binary::environment(self.urls(), BUCKET);
        environment.extend([("QDRANT_URL", self.stub.url()), ("LITELLM_URL", self.stub.url())]);
        environment
    }

    /// An instance that checks all five services, and a signed-in admin.
    pub async fn larder(&self) -> Result<Larder> {
        self.larder_with(&[]).await
    }

    /// Like [`larder`](Self::larder), with additional variables.
    pub async fn larder_with(&self, more: &[(&str, &str)]) -> Result<Larder> {
        let url = self.stub.url();
        let more = [&[("QDRANT_URL", url.as_str()), ("LITELLM_URL", url.as_str())], more].concat();
        let larder = Larder::start_with(self.urls(), BUCKET, &self.directory.join("larder.log"), &more).await?;
        for _ in 0..300 {
            let health = larder.http.get(format!("{}/health", larder.base)).header("accept", "application/json").send().await?;
            if health.text().await?.contains("\"status\":\"pass\"") {
                return Ok(larder);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!("not all services are healthy within 30 s")
    }

    /// Resets the rate limit counters.
    pub async fn forgive(&self) -> Result<()> {
        let client = redis::Client::open(self.urls().redis_url.as_str())?;
        let mut redis = client.get_multiplexed_async_connection().await?;
        let counted: Vec<String> = redis::cmd("KEYS").arg("larder:rate:pages:*").query_async(&mut redis).await?;
        if !counted.is_empty() {
            redis::cmd("DEL").arg(counted).exec_async(&mut redis).await?;
        }
        Ok(())
    }

    pub fn freeze(&self) -> Result<()> {
        [self.servers.postgres(), self.servers.redis(), self.servers.s3()].iter().for_each(|server| server.freeze());
        self.stub.freeze()
    }

    pub fn thaw(&self) -> Result<()> {
        [self.servers.postgres(), self.servers.redis(), self.servers.s3()].iter().for_each(|server| server.thaw());
        self.stub.thaw()
    }

    /// Files uploaded through Larder, with realistic names.
    async fn fill(&self) -> Result<()> {
        let larder = self.larder().await?;
        let mut form = reqwest::multipart::Form::new();
        for at in 0..FILES {
            let name = format!("Contract {at:03} – Müller & Söhne, signed 2026-{:02}.pdf", at % 12 + 1);
            let part = reqwest::multipart::Part::bytes(vec![b'x'; 1000 + 37 * at]).file_name(name).mime_str("application/pdf")?;
            form = form.part("file", part);
        }
        let request = larder.http.post(larder.form_url(BUCKET, "2026/", false)).header(ORIGIN, &larder.base);
        let answer = request.header("cookie", &larder.cookie).header("accept", "application/json").multipart(form).send().await?;
        ensure!(answer.status() == 201, "the files were rejected: {}", answer.status());
        Ok(())
    }
}

/// The listening address.
pub fn address(larder: &Larder) -> Result<std::net::SocketAddr> {
    Ok(larder.base.trim_start_matches("http://").parse()?)
}
