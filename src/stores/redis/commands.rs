//! The operations that Larder itself needs. Each call has one deadline, and the configured prefix is prepended to
//! keys.

use std::sync::LazyLock;
use std::time::Duration;

use redis::{FromRedisValue, Script};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::pool::{CommandRequest, OutagePolicy, Pool};
use super::script::Invocation;
use super::{Error, milliseconds};

pub struct Commands<'a> {
    pub(super) pool: &'a Pool,
    pub(super) prefix: &'a str,
    pub(super) limit: Duration,
    pub(super) policy: OutagePolicy,
}

impl Commands<'_> {
    async fn run<T: FromRedisValue + Send + 'static>(&self, command: redis::Cmd) -> Result<T, Error> {
        self.pool.execute(&CommandRequest::retryable(command), self.limit, self.policy).await
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    pub async fn get(&self, key: &str) -> Result<Option<String>, Error> {
        self.run(redis::Cmd::get(self.key(key))).await
    }

    /// In the order of `keys`; `None` for each key that does not exist.
    pub async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<String>>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<String> = keys.iter().map(|key| self.key(key)).collect();
        self.run(redis::Cmd::mget(keys)).await
    }

    /// With a TTL, or without expiry.
    pub async fn set(&self, key: &str, value: &str, ttl: Option<Duration>) -> Result<(), Error> {
        let mut command = redis::Cmd::set(self.key(key), value);
        if let Some(ttl) = ttl {
            command.arg("PX").arg(milliseconds(ttl));
        }
        self.run(command).await
    }

    /// Whether the key was absent and is now set.
    pub async fn set_if_absent(&self, key: &str, value: &str, ttl: Duration) -> Result<bool, Error> {
        let mut command = redis::Cmd::set(self.key(key), value);
        command.arg("NX").arg("PX").arg(milliseconds(ttl));
        // On a retry, the second command would find the key set by the first.
        let answer: Option<String> = self.pool.execute(&CommandRequest::once(command), self.limit, self.policy).await?;
        Ok(answer.is_some())
    }

    /// Whether the key existed.
    pub async fn delete(&self, key: &str) -> Result<bool, Error> {
        self.run(redis::Cmd::del(self.key(key))).await
    }

    pub async fn exists(&self, key: &str) -> Result<bool, Error> {
        self.run(redis::Cmd::exists(self.key(key))).await
    }

    /// Sets the TTL. Returns whether the key exists.
    pub async fn expire(&self, key: &str, ttl: Duration) -> Result<bool, Error> {
        self.run(redis::Cmd::pexpire(self.key(key), milliseconds(ttl))).await
    }

    /// The remaining TTL; `None` if the key has no expiry or does not exist.
    pub async fn ttl(&self, key: &str) -> Result<Option<Duration>, Error> {
        let left: i64 = self.run(redis::Cmd::pttl(self.key(key))).await?;
        Ok(u64::try_from(left).ok().map(Duration::from_millis))
    }

    /// Adds `by`; a missing key counts as 0.
    pub async fn increment(&self, key: &str, by: i64) -> Result<i64, Error> {
        self.pool.execute(&CommandRequest::once(redis::Cmd::incr(self.key(key), by)), self.limit, self.policy).await
    }

    pub async fn get_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let Some(text) = self.get(key).await? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| Error::Other(format!("the value is not the JSON expected: {error}")))
    }

    pub async fn set_json<T: Serialize + Sync>(&self, key: &str, value: &T, ttl: Option<Duration>) -> Result<(), Error> {
        let text = serde_json::to_string(value).map_err(|error| Error::Other(error.to_string()))?;
        self.set(key, &text, ttl).await
    }

    /// One SCAN step: the next cursor (0 at the end) and the keys that start with `prefix`, without the configured
    /// prefix. The server examines about `count` keys.
    pub async fn scan(&self, cursor: u64, prefix: &str, count: usize) -> Result<(u64, Vec<String>), Error> {
        let pattern = [super::keyspace::literal(self.key(prefix).as_bytes()), b"*".to_vec()].concat();
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(count);
        let (cursor, keys): (u64, Vec<Vec<u8>>) = self.run(command).await?;
        let own = |key: Vec<u8>| String::from_utf8(key).ok()?.strip_prefix(self.prefix).map(str::to_owned);
        Ok((cursor, keys.into_iter().filter_map(own).collect()))
    }

    /// How many keys existed. The server frees their memory in the background.
    pub async fn unlink(&self, keys: &[String]) -> Result<u64, Error> {
        if keys.is_empty() {
            return Ok(0);
        }
        let keys: Vec<String> = keys.iter().map(|key| self.key(key)).collect();
        self.run(redis::Cmd::unlink(keys)).await
    }

    /// Acquires the lock, or extends it if `token` already holds it. Returns whether `token` holds it now.
    pub async fn acquire(&self, key: &str, token: &str, ttl: Duration) -> Result<bool, Error> {
        static ACQUIRE: LazyLock<Script> = LazyLock::new(|| {
            Script::new(
                "local holder = redis.call('GET', KEYS[1])
                 if holder == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
                 if holder then return 0 end
                 redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
                 return 1",
            )
        });
        // A server whose memory is full accepts PEXPIRE but no SET, so the current holder keeps the lock.
        self.script(&ACQUIRE, &[key.to_owned()], &[token.to_owned(), milliseconds(ttl).to_string()]).await
    }

    /// Releases the lock. Returns whether `token` held it.
    pub async fn release(&self, key: &str, token: &str) -> Result<bool, Error> {
        static RELEASE: LazyLock<Script> =
            LazyLock::new(|| Script::new("return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0"));
        self.script(&RELEASE, &[key.to_owned()], &[token.to_owned()]).await
    }

    /// Adds to a sorted set and removes members with a score below `oldest`.
    pub async fn add_and_trim(&self, key: &str, score: i64, member: &str, oldest: i64, ttl: Duration) -> Result<(), Error> {
        let key = self.key(key);
        let mut pipeline = redis::pipe();
        pipeline.zadd(&key, member, score).zrembyscore(&key, "-inf", format!("({oldest}")).pexpire(&key, milliseconds(ttl));
        self.pool.execute::<CommandRequest<_, ()>>(&CommandRequest::retryable(pipeline), self.limit, self.policy).await
    }

    /// Adds to numbers in a hash and sets its TTL. A missing field counts as 0.
    pub async fn add_to_fields(&self, key: &str, numbers: &[(String, u64)], ttl: Duration) -> Result<(), Error> {
        let key = self.key(key);
        let mut pipeline = redis::pipe();
        for (field, by) in numbers {
            pipeline.hincr(&key, field, *by).ignore();
        }
        pipeline.pexpire(&key, milliseconds(ttl)).ignore();
        self.pool.execute::<CommandRequest<_, ()>>(&CommandRequest::once(pipeline), self.limit, self.policy).await
    }

    /// Adds to numbers in a hash, and returns the sums in the order of `numbers`. Unlike a read command, it is not counted
    /// as a lookup by the server.
    pub async fn add_and_read(&self, key: &str, numbers: &[(&str, u64)]) -> Result<Vec<u64>, Error> {
        let key = self.key(key);
        let mut pipeline = redis::pipe();
        for (field, by) in numbers {
            pipeline.hincr(&key, field, *by);
        }
        self.pool.execute(&CommandRequest::once(pipeline), self.limit, self.policy).await
    }

    /// Fields and numbers of each hash, in the order of `keys`; empty for a missing hash.
    pub async fn fields_of(&self, keys: &[String]) -> Result<Vec<Vec<(String, u64)>>, Error> {
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.hgetall(self.key(key));
        }
        self.pool.execute(&CommandRequest::retryable(pipeline), self.limit, self.policy).await
    }

    /// Runs a script; the prefix is prepended to its keys.
    pub async fn script<T: FromRedisValue + Send + 'static>(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[String],
    ) -> Result<T, Error> {
        let keys = keys.iter().map(|key| self.key(key)).collect();
        self.pool.execute(&Invocation::new(script, keys, arguments.to_vec()), self.limit, self.policy).await
    }
}
