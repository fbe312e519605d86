//! Redis: one pool for Larder's own commands, a second one for the pages that browse keys, and thin operations on
//! both.

mod browse;
mod commands;
mod error;
mod field_ttl;
mod greeting;
mod info;
mod keyspace;
mod lookups;
mod manager;
mod module_value;
mod pool;
mod probe;
mod replaced;
mod script;
mod server;
mod stream;
mod value;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::config::RedisConfig;
use crate::stores::availability::Availability;
use crate::stores::pool_usage::PoolUsage;
use greeting::ConnectionOptions;
use lookups::LookupCounter;
use pool::{OutagePolicy, Pool};
use replaced::ReplacedConnections;

pub use browse::{BrowseCommands, Cost};
pub use commands::Commands;
pub use error::Error;
pub use info::{Info, parts};
pub use keyspace::{Described, Ttl, literal, unescaped, without_wildcards};
pub use lookups::Lookups;
pub use probe::Probe;
pub use redis::Script;
pub use server::{Client, SlowCommand};
pub use stream::{PendingEntry, StreamGroup};
pub use value::{BYTES, Elements, LARGEST, Page, Pairs};

/// Connections shared by all pages that browse keys, however many people open them.
const BROWSE_POOL_SIZE: usize = 4;

#[derive(Clone)]
pub struct Redis {
    work: Pool,
    browse: Pool,
    lookups: LookupCounter,
    prefix: Arc<str>,
    browse_user: Arc<str>,
    timeout: Duration,
    availability: Availability,
}

impl Redis {
    /// Opens no connection yet. Fails only if a URL is invalid.
    pub fn new(config: &RedisConfig, runtime: &Handle) -> Result<Self, Error> {
        let work = ConnectionOptions { name: "larder", no_touch: false };
        let browse = ConnectionOptions { name: "larder-browse", no_touch: true };
        let browse_url = config.browse_url.as_ref().unwrap_or(&config.url);
        let replaced = ReplacedConnections::default();
        let availability = Availability::default();
        Ok(Self {
            work: Pool::new(&config.url, config.pool_size, config.timeout, work, runtime, &replaced, &availability)?,
            browse: Pool::new(browse_url, BROWSE_POOL_SIZE, config.timeout, browse, runtime, &replaced, &availability)?,
            lookups: LookupCounter::default(),
            prefix: config.prefix.as_str().into(),
            browse_user: manager::user(browse_url)?.into(),
            timeout: config.timeout,
            availability,
        })
    }

    /// For callers that work without Redis: each waits at most `limit`. After a timeout, calls fail immediately for
    /// two seconds.
    pub fn best_effort(&self, limit: Duration) -> Commands<'_> {
        Commands { pool: &self.work, prefix: &self.prefix, limit, policy: OutagePolicy::Skip }
    }

    /// For callers that need the response: waits up to the configured timeout.
    pub fn required(&self) -> Commands<'_> {
        Commands { pool: &self.work, prefix: &self.prefix, limit: self.timeout, policy: OutagePolicy::Wait }
    }

    /// For pages that show the server and its keys.
    pub fn browse(&self) -> BrowseCommands<'_> {
        BrowseCommands::new(&self.browse, &self.lookups)
    }

    /// The lookups by pages of this process since the last call.
    pub fn take_page_lookups(&self) -> Lookups {
        self.lookups.take()
    }

    /// Returns lookups that could not be reported.
    pub fn return_page_lookups(&self, lookups: Lookups) {
        self.lookups.add(lookups);
    }

    /// Prepended to every key that Larder itself uses.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The ACL user that browses keys.
    pub fn browse_user(&self) -> &str {
        &self.browse_user
    }

    pub fn availability(&self) -> &Availability {
        &self.availability
    }

    pub fn usage(&self) -> PoolUsage {
        self.work.usage()
    }

    pub fn browse_usage(&self) -> PoolUsage {
        self.browse.usage()
    }
}

fn milliseconds(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX).max(1)
}
