//! What the slower look at a service finds.

use std::time::Duration;

use super::text::Names;
use crate::stores::postgres::probe::ServerState;
use crate::stores::redis::Info;

/// Above this share of its connections or its memory a server is close to refusing.
const CLOSE: u64 = 90;
/// A transaction that is open for longer keeps Postgres from cleaning up.
const LONG_TRANSACTION: f64 = 3600.0;

#[derive(Clone, Debug, PartialEq)]
pub enum Detail {
    Postgres(ServerState),
    Redis(RedisDetail),
    S3 {
        /// To write, read, compare and delete 16 bytes; `None` where Larder is not to write.
        round_trip: Option<Duration>,
        bucket_is_missing: bool,
        bucket: String,
    },
    Qdrant {
        collections: usize,
        /// Of these, how many were looked at, and their points.
        looked: usize,
        points: u64,
        /// Names of those that are red: something in them failed.
        ill: Names,
    },
    LiteLlm {
        models: Names,
        /// Aliases that applications expect and it does not have.
        missing: Names,
    },
}

/// `None` where the server does not tell our user.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RedisDetail {
    /// Bytes.
    pub memory: Option<u64>,
    /// Bytes; `None` for no limit.
    pub limit: Option<u64>,
    /// Whether it throws keys out when it is full, rather than refusing.
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
            is_replica: info.is("role", "slave"),
            last_save_failed: info.is("rdb_last_bgsave_status", "err") || info.is("aof_last_write_status", "err"),
        }
    }

    /// Percent.
    pub fn share(&self) -> Option<u64> {
        Some(self.memory? * 100 / self.limit?)
    }
}

impl Detail {
    /// What is not as it should be, though the service answers.
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::Postgres(survey) if survey.in_recovery => Some("It is a standby, which takes no writes.".into()),
            Self::Postgres(survey) if survey.connections * 100 >= survey.connection_limit * CLOSE as i64 => {
                Some(format!("{} of its {} connections are taken.", survey.connections, survey.connection_limit))
            }
            Self::Postgres(survey) if survey.oldest_transaction.is_some_and(|age| age > LONG_TRANSACTION) => {
                Some("A transaction has been open for over an hour: Postgres cannot clean up behind it.".into())
            }
            Self::Redis(redis) if redis.is_replica => Some("It is a replica, which takes no writes.".into()),
            Self::Redis(redis) if redis.last_save_failed => Some("It could not write its data to disk the last time it tried.".into()),
            Self::Redis(redis) if !redis.evicts && redis.share().is_some_and(|share| share >= CLOSE) => {
                Some(format!("{} % of its memory is used, and it throws nothing out: when it is full it refuses.", redis.share()?))
            }
            Self::S3 { bucket_is_missing: true, bucket, .. } => Some(format!("It has no bucket {bucket}.")),
            Self::Qdrant { ill, .. } if ill.count > 0 => Some(format!("Collections that are red: {}.", ill.listed())),
            Self::LiteLlm { missing, .. } if missing.count > 0 => Some(format!("It does not offer {}.", missing.listed())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_redis_is_trouble_only_where_it_refuses() {
        let info = |policy: &str| Info::parse(&format!("used_memory:95\r\nmaxmemory:100\r\nmaxmemory_policy:{policy}\r\nrole:master\r\n"));
        assert_eq!(Detail::Redis(RedisDetail::of(&info("allkeys-lru"))).trouble(), None);
        assert!(Detail::Redis(RedisDetail::of(&info("noeviction"))).trouble().unwrap().starts_with("95 %"));
    }

    #[test]
    fn a_standby_takes_no_writes() {
        let survey = ServerState { in_recovery: false, connections: 89, connection_limit: 100, oldest_transaction: Some(3.0), size: 1 };
        assert_eq!(Detail::Postgres(survey.clone()).trouble(), None);
        assert!(Detail::Postgres(ServerState { in_recovery: true, ..survey.clone() }).trouble().unwrap().contains("standby"));
        assert!(Detail::Postgres(ServerState { connections: 90, ..survey }).trouble().unwrap().contains("90 of its 100"));
    }
}
