//! Slots among the uploads under way, of which nobody may have all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::config::UploadConfig;
use crate::domain::actor::Actor;
use crate::domain::{Error, Result};

pub(super) struct Slots(Arc<Shared>);

struct Shared {
    most: usize,
    most_each: usize,
    taken: Mutex<HashMap<Option<Uuid>, usize>>,
}

/// A place that is given back when this is dropped.
pub struct Slot {
    shared: Arc<Shared>,
    person: Option<Uuid>,
}

impl Slots {
    pub fn new(config: &UploadConfig) -> Self {
        Self(Arc::new(Shared { most: config.at_once, most_each: config.at_once_each, taken: Mutex::default() }))
    }

    pub fn enter(&self, actor: &Actor) -> Result<Slot> {
        let mut taken = self.0.taken();
        if taken.values().sum::<usize>() >= self.0.most {
            return Err(full(format!("{} uploads are under way, which is as many as Larder takes at once.", self.0.most)));
        }
        let own = taken.entry(actor.id).or_default();
        if *own >= self.0.most_each {
            return Err(full(format!("{own} of your uploads are under way, which is as many as one person may have.")));
        }
        *own += 1;
        Ok(Slot { shared: Arc::clone(&self.0), person: actor.id })
    }

    /// Those that are taken now.
    pub fn count(&self) -> usize {
        self.0.taken().values().sum()
    }
}

impl Shared {
    fn taken(&self) -> MutexGuard<'_, HashMap<Option<Uuid>, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Entry::Occupied(mut own) = self.shared.taken().entry(self.person) {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

fn full(why: String) -> Error {
    Error::Busy { why: why + " Try again when some are done.", retry_after: Duration::from_secs(10) }
}
