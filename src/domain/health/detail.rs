//! The result of inspecting a service, which is slower than a check.

use std::time::Duration;

use super::text::Names;
use crate::stores::postgres::probe::{ServerState, Writes};
use crate::stores::redis::{self, Info};

/// Percentage of connections or memory in use at which a server is close to its limit.
const NEAR_LIMIT: u64 = 90;
/// Longer transactions keep Postgres from vacuuming.
const LONG_TRANSACTION: f64 = 3600.0;

#[derive(Clone, Debug, PartialEq)]
pub enum Detail {
    Postgres(ServerState),
    Redis(RedisDetail),
    S3 {
        /// To write, read, compare and delete 16 bytes; `None` if Larder must not write.
        round_trip: Option<Duration>,
        /// Nothing is written, because new objects of the bucket cannot be deleted during its default retention.
        keeps_objects: bool,
        bucket_is_missing: bool,
        bucket: String,
    },
    Qdrant {
        collections: usize,
        /// Number of collections inspected, and their points.
        inspected: usize,
        points: u64,
        /// Names of red collections: an operation in them failed.
        red: Names,
    },
    LiteLlm {
        models: Names,
        /// Aliases that applications expect but LiteLLM does not offer.
        missing: Names,
    },
}

/// `None` if the server or the ACL does not allow it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RedisDetail {
    /// In bytes.
    pub memory: Option<u64>,
    /// In bytes; `None` for no limit.
    pub limit: Option<u64>,
    /// Whether keys are evicted when memory is full, instead of failing writes.
    pub evicts: bool,
    pub clients: Option<u64>,
    pub is_replica: bool,
    pub last_save_failed: bool,
}

impl RedisDetail {
    pub fn of(info: &Info) -> Self {
        Self {
            memory: info.number("used_memory"),
            limit: info.number("maxmemory").filter(|limit| *limit > 0),
            evicts: info.text("maxmemory_policy").is_some_and(|policy| policy != "noeviction"),
            clients: info.number("connected_clients"),
            is_replica: info.is_replica(),
            last_save_failed: info.is("rdb_last_bgsave_status", "err") || info.is("aof_last_write_status", "err"),
        }
    }

    /// In percent.
    pub fn memory_percent(&self) -> Option<u64> {
        Some(self.memory? * 100 / self.limit?)
    }
}

impl Detail {
    /// What the service cannot do in its current role. Pages that need the service show it.
    pub fn limitation(&self) -> Option<&'static str> {
        match self {
            Self::Postgres(server) => match server.writes {
                Writes::InRecovery => Some("The server is a standby and accepts no writes."),
                Writes::ReadOnly => Some("The server accepts no writes: default_transaction_read_only is on."),
                Writes::DiskFull => Some("The disk of the server is full: a write failed in the last minute."),
                Writes::Accepted => None,
            },
            Self::Redis(detail) if detail.is_replica => redis::Error::ReadOnly.sentence(),
            _ => None,
        }
    }

    /// Why the service is degraded although it responds.
    pub fn problem(&self) -> Option<String> {
        match self {
            _ if self.limitation().is_some() => self.limitation().map(str::to_owned),
            Self::Postgres(server) if server.connections * 100 >= server.connection_limit * NEAR_LIMIT as i64 => {
                Some(format!("{} of {} connections are in use.", server.connections, server.connection_limit))
            }
            Self::Postgres(server) if server.oldest_transaction.is_some_and(|age| age > LONG_TRANSACTION) => {
                Some("A transaction has been open for over an hour, so Postgres cannot vacuum.".into())
            }
            Self::Redis(redis) if redis.last_save_failed => Some("The last attempt to save data to disk failed.".into()),
            Self::Redis(redis) if !redis.evicts && redis.memory_percent().is_some_and(|memory_percent| memory_percent >= NEAR_LIMIT) => {
                Some(format!("{} % of memory is used. Eviction is off; writes fail when memory is full.", redis.memory_percent()?))
            }
            Self::S3 { bucket_is_missing: true, bucket, .. } => Some(format!("Bucket {bucket} does not exist.")),
            Self::Qdrant { red, .. } if red.count > 0 => Some(format!("Red collections: {}.", red.listed())),
            Self::LiteLlm { missing, .. } if missing.count > 0 => Some(format!("LiteLLM does not offer {}.", missing.listed())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_redis_is_a_problem_only_without_eviction() {
        let info = |policy: &str| Info::parse(&format!("used_memory:95\r\nmaxmemory:100\r\nmaxmemory_policy:{policy}\r\nrole:master\r\n"));
        assert_eq!(Detail::Redis(RedisDetail::of(&info("allkeys-lru"))).problem(), None);
        assert!(Detail::Redis(RedisDetail::of(&info("noeviction"))).problem().unwrap().starts_with("95 %"));
    }

    #[test]
    fn a_server_that_accepts_no_writes_is_degraded() {
        let server =
            ServerState { writes: Writes::Accepted, connections: 89, connection_limit: 100, oldest_transaction: Some(3.0), size: 1 };
        assert_eq!(Detail::Postgres(server.clone()).problem(), None);
        for (writes, named) in [(Writes::InRecovery, "standby"), (Writes::ReadOnly, "read_only"), (Writes::DiskFull, "disk")] {
            assert!(Detail::Postgres(ServerState { writes, ..server.clone() }).problem().unwrap().contains(named));
        }
        assert!(Detail::Postgres(ServerState { connections: 90, ..server }).problem().unwrap().contains("90 of 100"));
    }
}
