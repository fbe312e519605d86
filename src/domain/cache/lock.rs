//! The lock of a computation, shared by all replicas. A computation that loses the lock cannot store its value;
//! invalidating the value removes the lock.

use std::sync::LazyLock;
use std::time::Duration;

use uuid::Uuid;

use super::{Names, REDIS_TIMEOUT, Spec};
use crate::domain::Context;
use crate::stores::redis::{Error, Script};

/// Keys: value, lock, mark. Arguments: token, milliseconds, mode.
static ACQUIRE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local value = redis.call('GET', KEYS[1])
         if value and ARGV[3] == 'absent' then return {value, 0, ''} end
         local acquired
         if ARGV[3] == 'over' then
             acquired = redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
         else
             acquired = redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2])
         end
         return {value, acquired and 1 or 0, redis.call('GET', KEYS[3]) or ''}",
    )
});

/// Keys: value, lock, mark. Arguments: token, the mark when the lock was acquired, text, milliseconds. The value is
/// written first: a server whose memory is full rejects only a script's first write.
static STORE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
         local kept = 0
         if (redis.call('GET', KEYS[3]) or '') == ARGV[2] then
             kept = redis.pcall('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
             if not kept.err then kept = 1 end
         end
         redis.call('DEL', KEYS[2])
         return kept",
    )
});

/// Keys: value, lock. Arguments: text, milliseconds.
static REPLACE: LazyLock<Script> =
    LazyLock::new(|| Script::new("redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return redis.call('DEL', KEYS[2])"));

#[derive(Clone, Copy)]
pub(super) enum LockMode {
    /// If the lock is free and there is no value.
    IfAbsent,
    /// If the lock is free.
    IfFree,
    /// Even if another process holds the lock.
    Steal,
}

pub(super) struct Lock {
    names: Names,
    token: String,
    mark: String,
}

/// The cached value, and the lock if it was acquired.
pub(super) async fn acquire(ctx: &Context, spec: &Spec, names: &Names, mode: LockMode) -> Result<(Option<String>, Option<Lock>), Error> {
    let token = Uuid::now_v7().simple().to_string();
    let mode = match mode {
        LockMode::IfAbsent => "absent",
        LockMode::IfFree => "free",
        LockMode::Steal => "over",
    };
    let keys = [names.value.clone(), names.lock.clone(), names.mark.clone()];
    let arguments = [token.clone(), milliseconds(spec.computing), mode.to_owned()];
    let (value, acquired, mark): (Option<String>, bool, String) =
        ctx.redis.best_effort(REDIS_TIMEOUT).script(&ACQUIRE, &keys, &arguments).await?;
    Ok((value, acquired.then(|| Lock { names: names.clone(), token, mark })))
}

impl Lock {
    /// The Redis key of the value.
    pub fn value_name(&self) -> &str {
        &self.names.value
    }

    /// Stores the value if the lock is still held and the namespace has not been cleared since.
    pub async fn store(self, ctx: &Context, text: &str, ttl: Duration) -> Result<bool, Error> {
        let keys = [self.names.value, self.names.lock, self.names.mark];
        let arguments = [self.token, self.mark, text.to_owned(), milliseconds(ttl)];
        ctx.redis.best_effort(REDIS_TIMEOUT).script(&STORE, &keys, &arguments).await
    }

    /// If this fails, the lock expires by itself.
    pub async fn release(self, ctx: &Context) {
        let _ = ctx.redis.best_effort(REDIS_TIMEOUT).release(&self.names.lock, &self.token).await;
    }
}

/// Stores the value unconditionally and removes the lock, so that a computation in progress is not stored.
pub(super) async fn replace(ctx: &Context, names: &Names, text: &str, ttl: Duration) -> Result<(), Error> {
    let keys = [names.value.clone(), names.lock.clone()];
    let _: i64 = ctx.redis.best_effort(REDIS_TIMEOUT).script(&REPLACE, &keys, &[text.to_owned(), milliseconds(ttl)]).await?;
    Ok(())
}

fn milliseconds(duration: Duration) -> String {
    duration.as_millis().max(1).to_string()
}
