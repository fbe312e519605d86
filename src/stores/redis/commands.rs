//! The operations that Larder itself needs, under one deadline; keys have the configured prefix put before them.

use std::sync::LazyLock;
use std::time::Duration;

use redis::{FromRedisValue, Script};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::pool::{CommandRequest, Pool};
use super::script::Invocation;
use super::{Error, milliseconds};

pub struct Commands<'a> {
    pub(super) pool: &'a Pool,
    pub(super) prefix: &'a str,
    pub(super) limit: Duration,
    pub(super) breaks: bool,
}

impl Commands<'_> {
    async fn run<T: FromRedisValue + Send + 'static>(&self, command: redis::Cmd) -> Result<T, Error> {
        self.pool.execute(&CommandRequest::retryable(command), self.limit, self.breaks).await
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    pub async fn get(&self, key: &str) -> Result<Option<String>, Error> {
        self.run(redis::Cmd::get(self.key(key))).await
    }

    /// In the order of `keys`; `None` for each that does not exist.
    pub async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<String>>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<String> = keys.iter().map(|key| self.key(key)).collect();
        self.run(redis::Cmd::mget(keys)).await
    }

    /// With a lifetime, or for ever.
    pub async fn set(&self, key: &str, value: &str, ttl: Option<Duration>) -> Result<(), Error> {
        let mut command = redis::Cmd::set(self.key(key), value);
        if let Some(ttl) = ttl {
            command.arg("PX").arg(milliseconds(ttl));
        }
        self.run(command).await
    }

    /// Whether the key was absent and is set now.
    pub async fn set_if_absent(&self, key: &str, value: &str, ttl: Duration) -> Result<bool, Error> {
        let mut command = redis::Cmd::set(self.key(key), value);
        command.arg("NX").arg("PX").arg(milliseconds(ttl));
        // Sent twice, the second would find the key of the first.
        let answer: Option<String> = self.pool.execute(&CommandRequest::once(command), self.limit, self.breaks).await?;
        Ok(answer.is_some())
    }

    /// Whether there was a key.
    pub async fn delete(&self, key: &str) -> Result<bool, Error> {
        self.run(redis::Cmd::del(self.key(key))).await
    }

    pub async fn exists(&self, key: &str) -> Result<bool, Error> {
        self.run(redis::Cmd::exists(self.key(key))).await
    }

    /// Whether there was a key to give a lifetime to.
    pub async fn expire(&self, key: &str, ttl: Duration) -> Result<bool, Error> {
        self.run(redis::Cmd::pexpire(self.key(key), milliseconds(ttl))).await
    }

    /// What is left of the key's life; `None` where it has no end or does not exist.
    pub async fn ttl(&self, key: &str) -> Result<Option<Duration>, Error> {
        let left: i64 = self.run(redis::Cmd::pttl(self.key(key))).await?;
        Ok(u64::try_from(left).ok().map(Duration::from_millis))
    }

    /// Adds `by`; a key that did not exist counts from 0.
    pub async fn increment(&self, key: &str, by: i64) -> Result<i64, Error> {
        self.pool.execute(&CommandRequest::once(redis::Cmd::incr(self.key(key), by)), self.limit, self.breaks).await
    }

    pub async fn get_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let Some(text) = self.get(key).await? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| Error::Other(format!("the value is not the JSON expected: {error}")))
    }

    pub async fn set_json<T: Serialize + Sync>(&self, key: &str, value: &T, ttl: Option<Duration>) -> Result<(), Error> {
        let text = serde_json::to_string(value).map_err(|error| Error::Other(error.to_string()))?;
        self.set(key, &text, ttl).await
    }

    /// Keys that begin with `prefix`, where the search stands at `cursor`, and where it stands now: 0 at its end. The
    /// server looks at about `count` keys. Without the configured prefix.
    pub async fn scan(&self, cursor: u64, prefix: &str, count: usize) -> Result<(u64, Vec<String>), Error> {
        let pattern = [super::keyspace::literal(self.key(prefix).as_bytes()), b"*".to_vec()].concat();
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(count);
        let (cursor, keys): (u64, Vec<Vec<u8>>) = self.run(command).await?;
        let own = |key: Vec<u8>| String::from_utf8(key).ok()?.strip_prefix(self.prefix).map(str::to_owned);
        Ok((cursor, keys.into_iter().filter_map(own).collect()))
    }

    /// How many there were. The server frees their memory beside its work.
    pub async fn unlink(&self, keys: &[String]) -> Result<u64, Error> {
        if keys.is_empty() {
            return Ok(0);
        }
        let keys: Vec<String> = keys.iter().map(|key| self.key(key)).collect();
        self.run(redis::Cmd::unlink(keys)).await
    }

    /// Whether `token` holds the lock from now on for so long: because nobody else does, or because it does already.
    pub async fn hold(&self, key: &str, token: &str, ttl: Duration) -> Result<bool, Error> {
        static HOLD: LazyLock<Script> = LazyLock::new(|| {
            Script::new(
                "local holder = redis.call('GET', KEYS[1])
                 if holder == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
                 if holder then return 0 end
                 redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
                 return 1",
            )
        });
        // A server whose memory is full takes PEXPIRE, and no SET: whoever holds the lock keeps it.
        self.script(&HOLD, &[key.to_owned()], &[token.to_owned(), milliseconds(ttl).to_string()]).await
    }

    /// Whether `token` held the lock, which is free now.
    pub async fn let_go(&self, key: &str, token: &str) -> Result<bool, Error> {
        static LET_GO: LazyLock<Script> =
            LazyLock::new(|| Script::new("return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0"));
        self.script(&LET_GO, &[key.to_owned()], &[token.to_owned()]).await
    }

    /// Adds to a sorted set, and drops what has a lower score than `oldest`.
    pub async fn add_and_trim(&self, key: &str, score: i64, member: &str, oldest: i64, ttl: Duration) -> Result<(), Error> {
        let key = self.key(key);
        let mut pipeline = redis::pipe();
        pipeline.zadd(&key, member, score).zrembyscore(&key, "-inf", format!("({oldest}")).pexpire(&key, milliseconds(ttl));
        self.pool.execute::<CommandRequest<_, ()>>(&CommandRequest::retryable(pipeline), self.limit, self.breaks).await
    }

    /// Adds to numbers in a hash, and gives the hash so long to live from now. A field that did not exist counts from 0.
    pub async fn add_to_fields(&self, key: &str, numbers: &[(String, u64)], ttl: Duration) -> Result<(), Error> {
        let key = self.key(key);
        let mut pipeline = redis::pipe();
        for (field, by) in numbers {
            pipeline.hincr(&key, field, *by).ignore();
        }
        pipeline.pexpire(&key, milliseconds(ttl)).ignore();
        self.pool.execute::<CommandRequest<_, ()>>(&CommandRequest::once(pipeline), self.limit, self.breaks).await
    }

    /// Fields and numbers of each hash, in the order of `keys`; nothing for one that does not exist.
    pub async fn fields_of(&self, keys: &[String]) -> Result<Vec<Vec<(String, u64)>>, Error> {
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.hgetall(self.key(key));
        }
        self.pool.execute(&CommandRequest::retryable(pipeline), self.limit, self.breaks).await
    }

    /// A script of ours; its keys get the prefix.
    pub async fn script<T: FromRedisValue + Send + 'static>(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[String],
    ) -> Result<T, Error> {
        let keys = keys.iter().map(|key| self.key(key)).collect();
        self.pool.execute(&Invocation::new(script, keys, arguments.to_vec()), self.limit, self.breaks).await
    }
}
