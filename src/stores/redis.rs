//! Redis: a pool for Larder's own work, a second one for people who look at keys, and thin operations on both.

mod browse;
mod commands;
mod error;
mod info;
mod keyspace;
mod pool;
mod probe;
mod script;
mod server;
mod value;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::config::RedisConfig;
use pool::{ConnectionOptions, Pool};

pub use browse::{BrowseCommands, Cost};
pub use commands::Commands;
pub use error::Error;
pub use info::{Info, parts};
pub use keyspace::{Described, Life, literal, without_wildcards};
pub use pool::Usage;
pub use probe::Probe;
pub use redis::Script;
pub use server::{Client, Slow};
pub use value::{BYTES, Elements, LARGEST, Page, Pairs};

/// Pages that look at keys share so few connections, whatever many people ask.
const BROWSE_POOL_SIZE: usize = 4;

#[derive(Clone)]
pub struct Redis {
    work: Pool,
    browse: Pool,
    prefix: Arc<str>,
    browse_user: Arc<str>,
    timeout: Duration,
}

impl Redis {
    /// Opens nothing yet. Fails only where a URL cannot be read.
    pub fn new(config: &RedisConfig, runtime: &Handle) -> Result<Self, Error> {
        let work = ConnectionOptions { name: "larder", no_touch: false };
        let browse = ConnectionOptions { name: "larder-browse", no_touch: true };
        let browse_url = config.browse_url.as_ref().unwrap_or(&config.url);
        Ok(Self {
            work: Pool::new(&config.url, config.pool_size, config.timeout, work, runtime)?,
            browse: Pool::new(browse_url, BROWSE_POOL_SIZE, config.timeout, browse, runtime)?,
            prefix: config.prefix.as_str().into(),
            browse_user: pool::user(browse_url)?.into(),
            timeout: config.timeout,
        })
    }

    /// For callers that can do without Redis: they wait at most `limit` once, then not at all for two seconds.
    pub fn best_effort(&self, limit: Duration) -> Commands<'_> {
        Commands { pool: &self.work, prefix: &self.prefix, limit, breaks: true }
    }

    /// For callers that need the answer: the time-out of the configuration.
    pub fn required(&self) -> Commands<'_> {
        Commands { pool: &self.work, prefix: &self.prefix, limit: self.timeout, breaks: false }
    }

    /// For people who look at the server and its keys.
    pub fn browse(&self) -> BrowseCommands<'_> {
        BrowseCommands::new(&self.browse)
    }

    /// Put before every key that Larder itself uses.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Who looks at keys, by the server's access list.
    pub fn browse_user(&self) -> &str {
        &self.browse_user
    }

    pub fn usage(&self) -> Usage {
        self.work.usage()
    }

    pub fn browse_usage(&self) -> Usage {
        self.browse.usage()
    }
}

fn milliseconds(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX).max(1)
}
