//! Cache of the overview, which is the same for all users of a tenant and rendered about once a second.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::console::view::fragment::Fragment;
use crate::domain::actor::{Actor, Role};
use crate::domain::{Context, audit};

/// How late the page may show actions of others. Users see their own actions on this instance immediately.
const MAX_AGE: Duration = Duration::from_secs(1);
/// How long an event may remain uncommitted after it was written. A page rendered in that time may lack it.
const COMMIT_WINDOW: Duration = Duration::from_secs(1);
const MAX_ENTRIES: usize = 100;

/// When a rendering was started, and from which state.
#[derive(Clone, Copy)]
pub struct Version {
    at: Instant,
    /// The change counter of the health board.
    changes: u64,
}

/// The latest renderings, by tenant and whether for an admin.
#[derive(Default)]
pub struct RenderCache(Mutex<HashMap<(Uuid, bool), (Version, Fragment)>>);

impl RenderCache {
    fn lock(&self) -> MutexGuard<'_, HashMap<(Uuid, bool), (Version, Fragment)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `Err` if something may have changed since, with the version to pass to [`keep`](Self::keep) after rendering.
    pub fn get(&self, ctx: &Context, actor: &Actor) -> Result<Fragment, Version> {
        let now = Version { at: Instant::now(), changes: *ctx.health.changes().borrow() };
        let settled = audit::last_written(actor).map(|at| at + COMMIT_WINDOW);
        match self.lock().get(&key(actor)) {
            Some((version, fragment)) if now.is_current_for(*version) && settled.is_none_or(|settled| version.at >= settled) => {
                Ok(fragment.clone())
            }
            _ => Err(now),
        }
    }

    pub fn keep(&self, actor: &Actor, version: Version, fragment: &Fragment) {
        let (mut all, key) = (self.lock(), key(actor));
        if all.len() >= MAX_ENTRIES && !all.contains_key(&key) {
            all.retain(|_, (version, _)| version.at.elapsed() < MAX_AGE);
            if all.len() >= MAX_ENTRIES {
                return;
            }
        }
        // A slow request that started earlier has older data.
        if all.get(&key).is_none_or(|(kept, _)| kept.at <= version.at) {
            all.insert(key, (version, fragment.clone()));
        }
    }
}

impl Version {
    fn is_current_for(self, kept: Self) -> bool {
        self.changes == kept.changes && self.at.saturating_duration_since(kept.at) < MAX_AGE
    }
}

fn key(actor: &Actor) -> (Uuid, bool) {
    (actor.tenant, actor.role == Role::Admin)
}
