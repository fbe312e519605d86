//! Commands for pages that browse a server. They use a separate pool, do not change the keys' last access times, and
//! record their cost. Keys are complete byte strings: the configured prefix is not prepended.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use redis::{Cmd, FromRedisValue, Pipeline, Value};

use super::lookups::LookupCounter;
use super::pool::{CommandRequest, OutagePolicy, Pool};
use super::{Error, Info};

/// Longest wait of a page for one response.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The commands that one page has sent, and their duration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub commands: usize,
    /// Including the round trips, so the server itself took less.
    pub time: Duration,
}

pub struct BrowseCommands<'a> {
    pool: &'a Pool,
    lookups: &'a LookupCounter,
    cost: Mutex<Cost>,
}

impl<'a> BrowseCommands<'a> {
    pub(super) fn new(pool: &'a Pool, lookups: &'a LookupCounter) -> Self {
        Self { pool, lookups, cost: Mutex::new(Cost::default()) }
    }

    pub fn cost(&self) -> Cost {
        *self.cost.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) async fn run<T: FromRedisValue + Send + 'static>(&self, command: Cmd) -> Result<T, Error> {
        let began = Instant::now();
        let result: Result<Value, Error> =
            self.pool.execute(&CommandRequest::retryable(command.clone()), TIMEOUT, OutagePolicy::Browse).await;
        self.count(1, began);
        self.lookups.record(&command, result.as_ref());
        answer(result?)
    }

    /// Not retried after a broken connection: the second response would differ from the first.
    pub(super) async fn run_once<T: FromRedisValue + Send + 'static>(&self, command: Cmd) -> Result<T, Error> {
        let began = Instant::now();
        let answer = self.pool.execute(&CommandRequest::once(command), TIMEOUT, OutagePolicy::Browse).await;
        self.count(1, began);
        answer
    }

    /// One response per command; an error of one command does not affect the others.
    pub(super) async fn run_all(&self, mut commands: Pipeline) -> Result<Vec<Value>, Error> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        commands.ignore_errors();
        let (count, began) = (commands.len(), Instant::now());
        let answers = self.pool.execute(&CommandRequest::retryable(commands.clone()), TIMEOUT, OutagePolicy::Browse).await;
        self.count(count, began);
        let answers: Vec<Value> = answers?;
        for (command, answer) in commands.cmd_iter().zip(&answers) {
            self.lookups.record(command, Ok(answer));
        }
        self.pool.examine(&answers);
        Ok(answers)
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

    /// The round-trip time.
    pub async fn ping(&self) -> Result<Duration, Error> {
        let began = Instant::now();
        self.run::<Value>(redis::cmd("PING")).await?;
        Ok(began.elapsed())
    }

    /// Members of a sorted set with at least this score, lowest first.
    pub async fn members_from(&self, key: &[u8], least: i64) -> Result<Vec<String>, Error> {
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(key).arg(least).arg("+inf");
        self.run(command).await
    }

    /// Number of keys in the configured database.
    pub async fn count_keys(&self) -> Result<u64, Error> {
        self.run(redis::cmd("DBSIZE")).await
    }
}

/// The response to one command of a pipeline.
pub(super) fn answer<T: FromRedisValue>(value: Value) -> Result<T, Error> {
    match value {
        Value::ServerError(error) => Err(redis::RedisError::from(error).into()),
        value => redis::from_redis_value(value).map_err(|error| Error::Other(error.to_string())),
    }
}
