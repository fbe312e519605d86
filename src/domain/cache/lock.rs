//! The lock of a computation, over all replicas. Whoever loses it cannot put a value in its place: an invalidation
//! takes it away.

use std::sync::LazyLock;
use std::time::Duration;

use uuid::Uuid;

use super::{Names, REDIS_TIMEOUT, Spec};
use crate::domain::Context;
use crate::stores::redis::{Error, Script};

/// Keys: value, lock, mark. Arguments: token, milliseconds, mode.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local value = redis.call('GET', KEYS[1])
         if value and ARGV[3] == 'absent' then return {value, 0, ''} end
         local taken
         if ARGV[3] == 'over' then
             taken = redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
         else
             taken = redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2])
         end
         return {value, taken and 1 or 0, redis.call('GET', KEYS[3]) or ''}",
    )
});

/// Keys: value, lock, mark. Arguments: token, the mark as it was, text, milliseconds. The value comes first: a server
/// whose memory is full refuses only the first change that a script makes.
static KEEP: LazyLock<Script> = LazyLock::new(|| {
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
    /// Where nobody has it and there is no value.
    IfAbsent,
    /// Where nobody has it.
    IfFree,
    /// From whoever has it.
    Steal,
}

pub(super) struct Lock {
    names: Names,
    token: String,
    mark: String,
}

/// The value that is there, and the lock where it was taken.
pub(super) async fn take(ctx: &Context, spec: &Spec, names: &Names, mode: LockMode) -> Result<(Option<String>, Option<Lock>), Error> {
    let token = Uuid::now_v7().simple().to_string();
    let mode = match mode {
        LockMode::IfAbsent => "absent",
        LockMode::IfFree => "free",
        LockMode::Steal => "over",
    };
    let keys = [names.value.clone(), names.lock.clone(), names.mark.clone()];
    let arguments = [token.clone(), milliseconds(spec.computing), mode.to_owned()];
    let (value, taken, mark): (Option<String>, bool, String) =
        ctx.redis.best_effort(REDIS_TIMEOUT).script(&TAKE, &keys, &arguments).await?;
    Ok((value, taken.then(|| Lock { names: names.clone(), token, mark })))
}

impl Lock {
    /// The Redis key of the value.
    pub fn value_name(&self) -> &str {
        &self.names.value
    }

    /// Puts the value in its place, where the lock is still held and the namespace was not cleared meanwhile.
    pub async fn keep(self, ctx: &Context, text: &str, ttl: Duration) -> Result<bool, Error> {
        let keys = [self.names.value, self.names.lock, self.names.mark];
        let arguments = [self.token, self.mark, text.to_owned(), milliseconds(ttl)];
        ctx.redis.best_effort(REDIS_TIMEOUT).script(&KEEP, &keys, &arguments).await
    }

    /// Where that fails the lock ends by itself.
    pub async fn release(self, ctx: &Context) {
        let _ = ctx.redis.best_effort(REDIS_TIMEOUT).release(&self.names.lock, &self.token).await;
    }
}

/// Whatever is there, and whoever computes.
pub(super) async fn replace(ctx: &Context, names: &Names, text: &str, ttl: Duration) -> Result<(), Error> {
    let keys = [names.value.clone(), names.lock.clone()];
    let _: i64 = ctx.redis.best_effort(REDIS_TIMEOUT).script(&REPLACE, &keys, &[text.to_owned(), milliseconds(ttl)]).await?;
    Ok(())
}

fn milliseconds(duration: Duration) -> String {
    duration.as_millis().max(1).to_string()
}
