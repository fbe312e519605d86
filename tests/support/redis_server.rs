//! A Redis server on a TCP port with its own options, for tests of replicas, clusters, Sentinel and settings.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::cleanup::{self, Cleanup};
use super::eventually;

pub struct RedisServer {
    pub port: u16,
    _process: Child,
    _cleanup: Cleanup,
}

impl RedisServer {
    /// With these command line options.
    pub async fn start(options: &[&str]) -> Self {
        let directory = cleanup::directory("redis");
        // Sentinel rewrites its configuration file.
        std::fs::write(directory.join("redis.conf"), "").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("redis-server")
            .args(["./redis.conf", "--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
            .args(options)
            .current_dir(&directory)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let cleanup = Cleanup::start(Some(process.id()), [directory]);
        let server = Self { port, _process: process, _cleanup: cleanup };
        eventually("Redis responds", async || server.try_connection().await.is_ok()).await;
        server
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// `127.0.0.1:<port>`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    async fn try_connection(&self) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
        let mut connection = redis::Client::open(self.url())?.get_multiplexed_async_connection().await?;
        redis::cmd("PING").query_async::<()>(&mut connection).await?;
        Ok(connection)
    }

    pub async fn connection(&self) -> redis::aio::MultiplexedConnection {
        self.try_connection().await.unwrap()
    }

    /// The response to a command whose arguments are separated by spaces.
    pub async fn run<T: redis::FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        command.arg(words.collect::<Vec<_>>());
        command.query_async(&mut self.connection().await).await.unwrap()
    }
}
