//! What the first page shows is the same for all of a tenant, so it is put together once a second for all of them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::console::part::Part;
use crate::domain::actor::{Actor, Role};
use crate::domain::{Context, audit};

/// How late the page may tell of what happened at another console. Of what happened here it tells at once.
const FRESH: Duration = Duration::from_secs(1);
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
        // An event is written before it is committed: for as long again nothing is taken for settled.
        if !audit::is_quiet_for(FRESH) {
            return Err(now);
        }
        match self.lock().get(&key(actor)) {
            Some((stamp, part)) if stamp.at.elapsed() < FRESH && stamp.changes == now.changes => Ok(part.clone()),
            _ => Err(now),
        }
    }

    pub fn keep(&self, actor: &Actor, stamp: Stamp, part: &Part) {
        let mut all = self.lock();
        if all.len() >= MOST {
            all.retain(|_, (stamp, _)| stamp.at.elapsed() < FRESH);
        }
        all.insert(key(actor), (stamp, part.clone()));
    }
}

fn key(actor: &Actor) -> (Uuid, bool) {
    (actor.tenant, actor.role == Role::Admin)
}
