//! Commands that blocked the server. Their arguments are user data: hidden until an admin requests them, which is
//! audited.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::change::resource;
use super::name::is_own;
use super::server::{Permitted, permitted};
use crate::domain::actor::Actor;
use crate::domain::audit::{self, Action};
use crate::domain::{Context, Result};
use crate::stores::redis::{BrowseCommands, SlowCommand};

/// Commands whose first argument is a key name, which admins may see.
const OF_ONE_KEY: [&str; 44] = [
    "GET", "SET", "DEL", "UNLINK", "EXISTS", "TYPE", "TTL", "PTTL", "EXPIRE", "PEXPIRE", "PERSIST", "INCR", "INCRBY", "DECR", "APPEND",
    "STRLEN", "GETRANGE", "SETRANGE", "GETSET", "SETEX", "PSETEX", "SETNX", "DUMP", "SORT", "HGET", "HSET", "HDEL", "HGETALL", "HKEYS",
    "HVALS", "HSCAN", "HMGET", "LPUSH", "RPUSH", "LRANGE", "LREM", "SADD", "SMEMBERS", "SSCAN", "ZADD", "ZRANGE", "ZSCAN", "XRANGE",
    "XADD",
];
/// Displayed bytes per argument.
const MAX_BYTES: usize = 128;

pub struct Entry {
    pub at: DateTime<Utc>,
    pub microseconds: u64,
    pub command: String,
    /// Visible arguments.
    pub shown: Vec<Vec<u8>>,
    pub hidden: usize,
    /// The client's name, or its address.
    pub client: String,
}

/// Newest first. With `values`, an audit event is recorded before the entries are read.
pub async fn read(ctx: &Context, browse: &BrowseCommands<'_>, actor: &Actor, count: usize, values: bool) -> Result<Permitted<Vec<Entry>>> {
    if values {
        audit::record_with_retry(ctx, actor, Action::CacheSlowlog, &resource(""), json!({})).await?;
    }
    let slow = permitted(ctx, browse.slow(count).await)?;
    Ok(slow.map(|slow| slow.into_iter().map(|slow| entry(ctx, slow, values)).collect()))
}

fn entry(ctx: &Context, slow: SlowCommand, values: bool) -> Entry {
    let mut arguments = slow.arguments.into_iter();
    let command = arguments.next().map(|name| String::from_utf8_lossy(&name).to_uppercase()).unwrap_or_default();
    let arguments: Vec<Vec<u8>> = arguments.collect();
    // If any argument is one of Larder's own keys, all arguments stay hidden.
    let own = arguments.iter().any(|argument| is_own(&ctx.redis, argument));
    let shown = match (own, values) {
        (true, _) => 0,
        (false, true) => arguments.len(),
        (false, false) => usize::from(OF_ONE_KEY.contains(&command.as_str())).min(arguments.len()),
    };
    Entry {
        at: DateTime::from_timestamp(slow.at, 0).unwrap_or_default(),
        microseconds: slow.microseconds,
        command,
        hidden: arguments.len() - shown,
        shown: arguments.into_iter().take(shown).map(|argument| cut(&argument)).collect(),
        client: if slow.client.is_empty() { slow.address } else { slow.client },
    }
}

fn cut(argument: &[u8]) -> Vec<u8> {
    argument[..argument.len().min(MAX_BYTES)].to_vec()
}
