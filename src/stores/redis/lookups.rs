//! Counts the lookups by pages that the server includes in `keyspace_hits` and `keyspace_misses`, so that they can be
//! subtracted from the traffic of applications.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::{Arg, Cmd, Value};

use super::Error;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    pub hits: u64,
    pub misses: u64,
}

/// Shared by all connections of the pages.
#[derive(Clone, Default)]
pub(super) struct LookupCounter(Arc<[AtomicU64; 2]>);

impl LookupCounter {
    pub fn add(&self, lookups: Lookups) {
        self.0[0].fetch_add(lookups.hits, Ordering::Relaxed);
        self.0[1].fetch_add(lookups.misses, Ordering::Relaxed);
    }

    /// The lookups since the last call.
    pub fn take(&self) -> Lookups {
        Lookups { hits: self.0[0].swap(0, Ordering::Relaxed), misses: self.0[1].swap(0, Ordering::Relaxed) }
    }

    pub fn record(&self, command: &Cmd, answer: Result<&Value, &Error>) {
        let found = match answer {
            Ok(Value::ServerError(error)) => match error.code() {
                "WRONGTYPE" => Some(true),
                _ => None,
            },
            Ok(answer) => Some(!is_missing(command, answer)),
            Err(Error::WrongType) => Some(true),
            Err(_) => None,
        };
        if let Some(found) = found.filter(|_| COUNTED.contains(&name(command))) {
            self.add(Lookups { hits: u64::from(found), misses: u64::from(!found) });
        }
    }
}

fn name(command: &Cmd) -> &[u8] {
    match command.args_iter().next() {
        Some(Arg::Simple(name)) => name,
        _ => b"",
    }
}

/// Commands that look up one key, as measured with Redis 7.0 and 8.2. MEMORY USAGE, SCAN without TYPE, RANDOMKEY and
/// commands that write are not counted by the server.
const COUNTED: &[&[u8]] = &[
    b"TYPE",
    b"PTTL",
    b"EXISTS",
    b"OBJECT",
    b"STRLEN",
    b"GETRANGE",
    b"HLEN",
    b"HSCAN",
    b"HSTRLEN",
    b"HGET",
    b"HPTTL",
    b"LLEN",
    b"LRANGE",
    b"LINDEX",
    b"SCARD",
    b"SSCAN",
    b"ZCARD",
    b"ZRANGE",
    b"ZRANGEBYSCORE",
    b"XLEN",
    b"XRANGE",
    b"XINFO",
    b"XPENDING",
    b"VINFO",
];

/// Whether the response is that for a missing key. Larder reads a part of a value only after it has found its type, and such a
/// part may be empty.
fn is_missing(command: &Cmd, answer: &Value) -> bool {
    const PARTS: [&[u8]; 9] = [b"XINFO", b"XPENDING", b"HSCAN", b"SSCAN", b"XRANGE", b"ZRANGE", b"ZRANGEBYSCORE", b"LRANGE", b"GETRANGE"];
    match answer {
        _ if PARTS.contains(&name(command)) => false,
        Value::Nil => true,
        Value::Int(number) => *number == if name(command) == b"PTTL" { -2 } else { 0 },
        Value::SimpleString(text) => text == "none",
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
