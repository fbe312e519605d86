//! Invalidations that Redis did not acknowledge, retried until it does.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::Context;

const RETRY_INTERVAL: Duration = Duration::from_millis(200);
const BATCH: usize = 500;

#[derive(Default)]
pub(super) struct PendingInvalidations(Mutex<State>);

#[derive(Default)]
struct State {
    keys: BTreeSet<String>,
    retrying: bool,
}

impl PendingInvalidations {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next keys to delete. If there are none, the retry task counts as finished.
    fn next_batch(&self) -> Vec<String> {
        self.with(|state| {
            state.retrying = !state.keys.is_empty();
            state.keys.iter().take(BATCH).cloned().collect()
        })
    }
}

pub(super) fn retry_later(ctx: &Context, keys: Vec<String>) {
    let is_retrying = ctx.cache.0.pending_invalidations.with(|state| {
        state.keys.extend(keys);
        std::mem::replace(&mut state.retrying, true)
    });
    if is_retrying {
        return;
    }
    let task_ctx = ctx.clone();
    ctx.in_background(async move {
        let pending = &task_ctx.cache.0.pending_invalidations;
        loop {
            let keys = pending.next_batch();
            if keys.is_empty() || task_ctx.tasks.is_closed() {
                return;
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
            // A key that was added again meanwhile names the same value, which is now deleted.
            if task_ctx.redis.required().unlink(&keys).await.is_ok() {
                pending.with(|state| state.keys.retain(|key| !keys.contains(key)));
            }
        }
    });
}
