//! Redis: a pool for Larder's own work, a second one for people who look at keys, and thin operations on both.

mod commands;
mod error;
mod info;
mod keyspace;
mod line;
mod look;
mod probe;
mod script;
mod server;
mod value;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::config::RedisConfig;
use line::{Line, Manner};

pub use commands::Commands;
pub use error::Error;
pub use info::{Info, parts};
pub use keyspace::{Described, Life, literal, without_wildcards};
pub use line::Usage;
pub use look::{Cost, Look};
pub use probe::Probe;
pub use redis::Script;
pub use server::{Client, Slow};
pub use value::{BYTES, Elements, LARGEST, Page, Pairs};

/// Pages that look at keys share so few connections, whatever many people ask.
const LOOKING: usize = 4;

#[derive(Clone)]
pub struct Redis {
    work: Line,
    looking: Line,
    prefix: Arc<str>,
    looking_user: Arc<str>,
    timeout: Duration,
}

impl Redis {
    /// Opens nothing yet. Fails only where a URL cannot be read.
    pub fn new(config: &RedisConfig, runtime: &Handle) -> Result<Self, Error> {
        let work = Manner { name: "larder", leaves_no_trace: false };
        let looking = Manner { name: "larder-browse", leaves_no_trace: true };
        let browse_url = config.browse_url.as_ref().unwrap_or(&config.url);
        Ok(Self {
            work: Line::new(&config.url, config.pool_size, config.timeout, work, runtime)?,
            looking: Line::new(browse_url, LOOKING, config.timeout, looking, runtime)?,
            prefix: config.prefix.as_str().into(),
            looking_user: line::user(browse_url)?.into(),
            timeout: config.timeout,
        })
    }

    /// For callers that can do without Redis: they wait at most `limit` once, then not at all for two seconds.
    pub fn briefly(&self, limit: Duration) -> Commands<'_> {
        Commands { line: &self.work, prefix: &self.prefix, limit, breaks: true }
    }

    /// For callers that need the answer: the time-out of the configuration.
    pub fn patiently(&self) -> Commands<'_> {
        Commands { line: &self.work, prefix: &self.prefix, limit: self.timeout, breaks: false }
    }

    /// For people who look at the server and its keys.
    pub fn look(&self) -> Look<'_> {
        Look::new(&self.looking)
    }

    /// Put before every key that Larder itself uses.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Who looks at keys, by the server's access list.
    pub fn looking_user(&self) -> &str {
        &self.looking_user
    }

    pub fn usage(&self) -> Usage {
        self.work.usage()
    }

    pub fn usage_of_looking(&self) -> Usage {
        self.looking.usage()
    }
}

fn milliseconds(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX).max(1)
}
