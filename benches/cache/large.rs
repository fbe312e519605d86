//! A dedicated Redis with very many keys, and Larder's users on it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use larder::config::EmbeddedUrls;
use redis::aio::MultiplexedConnection;

use crate::process::Running;

const BROWSE: &str = include_str!("../../deploy/redis/browse.acl");
const PASSWORD: &str = "only-for-benches";

pub struct Large {
    url: String,
    _process: Running,
}

impl Large {
    pub async fn start(directory: &Path, keys: u64) -> Result<Self> {
        // Socket paths must be short.
        let socket = std::env::temp_dir().join(format!("larder-bench-{}.sock", std::process::id()));
        let configuration = format!(
            "port 0\nunixsocket {}\nsave \"\"\nappendonly no\nenable-debug-command yes\nrequirepass {PASSWORD}\n{}",
            socket.display(),
            BROWSE.replace("PASSWORD", PASSWORD)
        );
        let path = directory.join("large.conf");
        std::fs::write(&path, configuration)?;
        let process = Running::start("redis-server", &[&path.display().to_string()], &[], &directory.join("large.log"))?;
        let large = Self { url: format!("unix://{}?pass={PASSWORD}", socket.display()), _process: process };
        let mut connection = large.connect_soon().await?;
        eprintln!("creating {keys} keys");
        let _: () = redis::cmd("DEBUG").arg("POPULATE").arg(keys).arg("cache:listing").arg(32).query_async(&mut connection).await?;
        let _: () = redis::cmd("SLOWLOG").arg("RESET").query_async(&mut connection).await?;
        Ok(large)
    }

    async fn connect_soon(&self) -> Result<MultiplexedConnection> {
        for _ in 0..200 {
            if let Ok(connection) = self.connect().await {
                return Ok(connection);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.connect().await
    }

    pub async fn connect(&self) -> Result<MultiplexedConnection> {
        let patient = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(300)));
        Ok(redis::Client::open(self.url.as_str())?.get_multiplexed_async_connection_with_config(&patient).await?)
    }

    /// The other servers, with this Redis.
    pub fn urls(&self, others: &EmbeddedUrls) -> EmbeddedUrls {
        EmbeddedUrls { redis_url: self.url.clone(), ..others.clone() }
    }

    /// Total execution time of all commands so far, in microseconds.
    pub async fn busy(&self) -> Result<u64> {
        let text: String = redis::cmd("INFO").arg("commandstats").query_async(&mut self.connect().await?).await?;
        let mut sum = 0;
        for part in text.split(',').filter_map(|part| part.strip_prefix("usec=")) {
            sum += part.parse::<u64>().context("failed to parse INFO commandstats")?;
        }
        Ok(sum)
    }

    /// Number of slow commands (10 ms) of Larder's pages in the server's slow log.
    pub async fn slow(&self) -> Result<usize> {
        type Entry = (u64, i64, u64, Vec<String>, String, String);
        let entries: Vec<Entry> = redis::cmd("SLOWLOG").arg("GET").arg(128).query_async(&mut self.connect().await?).await?;
        Ok(entries.iter().filter(|entry| entry.5.starts_with("larder")).count())
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        if let Some((path, _)) = self.url.trim_start_matches("unix://").split_once('?') {
            drop(std::fs::remove_file(path));
        }
    }
}
