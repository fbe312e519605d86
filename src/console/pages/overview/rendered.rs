//! What the first page shows is the same for all of a tenant, so it is put together about once a second for all of them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::console::part::Part;
use crate::domain::actor::{Actor, Role};
use crate::domain::{Context, audit};

/// How late the page may tell of what others did. Of what somebody did here themselves it tells them at once.
const FRESH: Duration = Duration::from_secs(1);
/// How long after an event was written it may be uncommitted, so that a page that was read meanwhile lacks it.
const SETTLED: Duration = Duration::from_secs(1);
const MOST: usize = 100;

/// From when it is.
#[derive(Clone, Copy)]
pub struct Stamp {
    at: Instant,
    /// Of the board of health.
    changes: u64,
}

/// The last ones, by tenant, and whether for an admin.
#[derive(Default)]
pub struct Rendered(Mutex<HashMap<(Uuid, bool), (Stamp, Part)>>);

impl Rendered {
    fn lock(&self) -> MutexGuard<'_, HashMap<(Uuid, bool), (Stamp, Part)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `Err` where something may have changed since, with what to [`keep`](Self::keep) it under that is read now.
    pub fn get(&self, ctx: &Context, actor: &Actor) -> Result<Part, Stamp> {
        let now = Stamp { at: Instant::now(), changes: *ctx.health.changes().borrow() };
        let settled = audit::last_written(actor).map(|at| at + SETTLED);
        match self.lock().get(&key(actor)) {
            Some((stamp, part)) if now.follows_at_once(*stamp) && settled.is_none_or(|settled| stamp.at >= settled) => Ok(part.clone()),
            _ => Err(now),
        }
    }

    pub fn keep(&self, actor: &Actor, stamp: Stamp, part: &Part) {
        let (mut all, key) = (self.lock(), key(actor));
        if all.len() >= MOST && !all.contains_key(&key) {
            all.retain(|_, (stamp, _)| stamp.at.elapsed() < FRESH);
            if all.len() >= MOST {
                return;
            }
        }
        // Who began to read earlier and was slow has seen less.
        if all.get(&key).is_none_or(|(kept, _)| kept.at <= stamp.at) {
            all.insert(key, (stamp, part.clone()));
        }
    }
}

impl Stamp {
    fn follows_at_once(self, kept: Self) -> bool {
        self.changes == kept.changes && self.at.saturating_duration_since(kept.at) < FRESH
    }
}

fn key(actor: &Actor) -> (Uuid, bool) {
    (actor.tenant, actor.role == Role::Admin)
}
