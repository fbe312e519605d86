//! Private PostgreSQL, Redis and S3 servers under one directory, for a first run and for the tests.
//!
//! They listen on loopback or unix sockets only, die with this process even when it is killed, and are
//! restarted when they die. Everything here blocks: call it from a thread, or through `spawn_blocking`.

mod directory;
mod isolation;
mod postgres;
mod process;
mod programs;
mod redis;
mod relay;
mod s3;
mod server;

use std::path::{Path, PathBuf};

use crate::config::EmbeddedUrls;

use directory::Directory;
pub use programs::S3Kind;
pub use server::Server;

/// Why the servers did not start. The message is printed on the terminal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} is in use by another Larder (process {pid}). Stop it, or choose another DATA_DIR.", .dir.display())]
    Locked { dir: PathBuf, pid: String },
    #[error("Larder needs programs that are not installed:\n{0}`make run` installs them.")]
    Missing(String),
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("{0} did not start: {1}")]
    NotStarted(&'static str, String),
}

impl Error {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether data survives a power failure. Tests turn this off to be faster.
    pub durable: bool,
    pub s3: S3Kind,
}

impl Default for Options {
    fn default() -> Self {
        Self { durable: true, s3: S3Kind::SeaweedFs }
    }
}

/// The three servers. Dropping it stops them, as `stop` does.
pub struct Servers {
    // In the order in which they are stopped.
    s3: Server,
    redis: Server,
    postgres: Server,
    urls: EmbeddedUrls,
    // Last, so that the lock is held until all have stopped.
    _directory: Directory,
}

impl Servers {
    /// Starts the three servers in parallel and returns when all are ready. The directory is created if it does not
    /// exist.
    pub fn start(data_dir: &Path, options: Options) -> Result<Self, Error> {
        let programs = programs::find(options.s3)?;
        let directory = Directory::open(data_dir)?;
        let keys = directory.keys().clone();
        let s3 = Server::launch(s3::S3::new(&directory, options.s3, programs.s3), &directory)?;
        let redis = redis::Redis::new(&directory, programs.redis, options.durable);
        let redis_url = redis.url();
        let redis = Server::launch(redis, &directory)?;
        let postgres = postgres::Postgres::new(&directory, programs.postgres, options.durable);
        let database_url = postgres.url();
        let postgres = Server::launch(postgres, &directory)?;
        postgres.wait_until_up()?;
        redis.wait_until_up()?;
        let s3_endpoint = s3.wait_until_up()?;
        let urls = EmbeddedUrls {
            database_url,
            redis_url,
            s3_endpoint,
            s3_access_key_id: keys.s3_access_key_id,
            s3_secret_access_key: keys.s3_secret_access_key,
        };
        directory.remember(&urls)?;
        Ok(Self { s3, redis, postgres, urls, _directory: directory })
    }

    pub fn urls(&self) -> &EmbeddedUrls {
        &self.urls
    }

    pub fn postgres(&self) -> &Server {
        &self.postgres
    }

    pub fn redis(&self) -> &Server {
        &self.redis
    }

    pub fn s3(&self) -> &Server {
        &self.s3
    }

    /// Stops S3, Redis and Postgres, in that order, and releases the lock of the directory.
    pub fn stop(self) {
        drop(self);
    }
}

/// The addresses of the servers of a Larder process that runs on `data_dir`, or `None` if there is none.
pub fn urls_of_running(data_dir: &Path) -> Option<EmbeddedUrls> {
    directory::remembered(data_dir)
}
