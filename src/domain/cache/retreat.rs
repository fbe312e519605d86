//! Values that must go, where Redis did not hear of it: told again until it has.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::Context;

const PAUSE: Duration = Duration::from_millis(200);
const AT_ONCE: usize = 500;

#[derive(Default)]
pub(super) struct Retreat(Mutex<Left>);

#[derive(Default)]
struct Left {
    keys: BTreeSet<String>,
    somebody_tells: bool,
}

impl Retreat {
    fn with<T>(&self, change: impl FnOnce(&mut Left) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Some of what is left; without any, nobody tells any more.
    fn some(&self) -> Vec<String> {
        self.with(|left| {
            left.somebody_tells = !left.keys.is_empty();
            left.keys.iter().take(AT_ONCE).cloned().collect()
        })
    }
}

pub(super) fn later(ctx: &Context, keys: Vec<String>) {
    let others_tell = ctx.cache.0.retreat.with(|left| {
        left.keys.extend(keys);
        std::mem::replace(&mut left.somebody_tells, true)
    });
    if others_tell {
        return;
    }
    let all = ctx.clone();
    ctx.in_background(async move {
        let retreat = &all.cache.0.retreat;
        loop {
            let keys = retreat.some();
            if keys.is_empty() || all.tasks.is_closed() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
            // One that was added again meanwhile is about the same value, which is gone.
            if all.redis.patiently().unlink(&keys).await.is_ok() {
                retreat.with(|left| left.keys.retain(|key| !keys.contains(key)));
            }
        }
    });
}
