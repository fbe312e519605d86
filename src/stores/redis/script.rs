//! Lua scripts, which run atomically on the server.

use std::marker::PhantomData;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisError, Script};

use super::pool::Request;

pub(super) struct Invocation<'a, T> {
    script: &'a Script,
    keys: Vec<String>,
    arguments: Vec<String>,
    answer: PhantomData<fn() -> T>,
}

impl<'a, T> Invocation<'a, T> {
    pub fn new(script: &'a Script, keys: Vec<String>, arguments: Vec<String>) -> Self {
        Self { script, keys, arguments, answer: PhantomData }
    }
}

impl<T: FromRedisValue + Send + 'static> Request for Invocation<'_, T> {
    type Response = T;

    /// The script may already have run.
    fn is_retryable(&self) -> bool {
        false
    }

    /// A replica refuses the first write of a script, before any other took effect.
    fn is_single(&self) -> bool {
        true
    }

    /// Sent by digest; the full script is sent only if the server does not know it.
    async fn execute(&self, connection: &mut MultiplexedConnection) -> Result<T, RedisError> {
        let mut invocation = self.script.prepare_invoke();
        for key in &self.keys {
            invocation.key(key);
        }
        for argument in &self.arguments {
            invocation.arg(argument);
        }
        invocation.invoke_async(connection).await
    }
}
