//! What people look at in a server: through a pool of its own, which leaves no trace on the keys, and counting what
//! it costs. Keys are bytes, and whole: the configured prefix is not put before them.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use redis::{Cmd, FromRedisValue, Pipeline, Value};

use super::pool::{CommandRequest, Pool};
use super::{Error, Info};

/// A page waits no longer for one answer.
const LIMIT: Duration = Duration::from_secs(2);

/// What one page has asked of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub commands: usize,
    /// From request to answer, the way there and back included: the server took less.
    pub time: Duration,
}

pub struct BrowseCommands<'a> {
    pool: &'a Pool,
    cost: Mutex<Cost>,
}

impl<'a> BrowseCommands<'a> {
    pub(super) fn new(pool: &'a Pool) -> Self {
        Self { pool, cost: Mutex::new(Cost::default()) }
    }

    pub fn cost(&self) -> Cost {
        *self.cost.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) async fn run<T: FromRedisValue + Send + 'static>(&self, command: Cmd) -> Result<T, Error> {
        let began = Instant::now();
        let answer = self.pool.execute(&CommandRequest::retryable(command), LIMIT, true).await;
        self.count(1, began);
        answer
    }

    /// Not sent again where the connection broke before an answer came: the second answer would not be that of the first.
    pub(super) async fn run_once<T: FromRedisValue + Send + 'static>(&self, command: Cmd) -> Result<T, Error> {
        let began = Instant::now();
        let answer = self.pool.execute(&CommandRequest::once(command), LIMIT, true).await;
        self.count(1, began);
        answer
    }

    /// One answer a command; an error of one does not touch the others.
    pub(super) async fn run_all(&self, mut commands: Pipeline) -> Result<Vec<Value>, Error> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        commands.ignore_errors();
        let (count, began) = (commands.len(), Instant::now());
        let answers = self.pool.execute(&CommandRequest::retryable(commands), LIMIT, true).await;
        self.count(count, began);
        answers
    }

    fn count(&self, commands: usize, began: Instant) {
        let mut cost = self.cost.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        cost.commands += commands;
        cost.time += began.elapsed();
    }

    /// `everything`, `default` or one section.
    pub async fn info(&self, section: &str) -> Result<Info, Error> {
        let mut command = redis::cmd("INFO");
        command.arg(section);
        self.run::<String>(command).await.map(|text| Info::parse(&text))
    }

    /// There and back.
    pub async fn ping(&self) -> Result<Duration, Error> {
        let began = Instant::now();
        self.run::<Value>(redis::cmd("PING")).await?;
        Ok(began.elapsed())
    }

    /// Members of a sorted set from this score on, lowest first.
    pub async fn members_from(&self, key: &[u8], least: i64) -> Result<Vec<String>, Error> {
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(key).arg(least).arg("+inf");
        self.run(command).await
    }

    /// Keys in our database.
    pub async fn count_keys(&self) -> Result<u64, Error> {
        self.run(redis::cmd("DBSIZE")).await
    }
}

/// The answer of one command among several.
pub(super) fn answer<T: FromRedisValue>(value: Value) -> Result<T, Error> {
    match value {
        Value::ServerError(error) => Err(redis::RedisError::from(error).into()),
        value => redis::from_redis_value(value).map_err(|error| Error::Other(error.to_string())),
    }
}
