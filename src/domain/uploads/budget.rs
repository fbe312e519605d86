//! What every upload of the process shares: memory for parts, which stays flat however many upload at once, and
//! places, of which nobody may have all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::config::UploadConfig;
use crate::domain::actor::Actor;
use crate::domain::{Error, Result};

/// Permits count kibibytes: a semaphore holds no more than 2^29 of them on 32-bit machines.
const UNIT: usize = 1024;
/// How long an upload waits for memory before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub struct Budget {
    semaphore: Arc<Semaphore>,
    total: u32,
    waiting: Arc<AtomicUsize>,
    /// For small files that wait for company: an eighth beside the rest, so that they never wait for large ones.
    small: Arc<Semaphore>,
    places: Arc<Places>,
}

struct Places {
    most: usize,
    most_each: usize,
    taken: Mutex<HashMap<Option<Uuid>, usize>>,
}

/// A place that is given back when this is dropped.
pub struct Place {
    places: Arc<Places>,
    person: Option<Uuid>,
}

/// Memory that is given back when this is dropped.
pub struct Reserved(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// Counts one who waits, for as long as it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Budget {
    pub fn new(config: &UploadConfig) -> Self {
        let total = u32::try_from(config.memory / UNIT).unwrap_or(u32::MAX).max(1);
        let small = Arc::new(Semaphore::new(total as usize / 8));
        Self {
            semaphore: Arc::new(Semaphore::new(total as usize)),
            total,
            waiting: Arc::default(),
            small,
            places: Arc::new(Places::new(config)),
        }
    }

    /// A place among the uploads of the process and of the person.
    pub fn enter(&self, actor: &Actor) -> Result<Place> {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= self.places.most {
            return Err(full(format!("{} uploads are under way, which is as many as Larder takes at once.", self.places.most)));
        }
        let own = taken.entry(actor.id).or_default();
        if *own >= self.places.most_each {
            return Err(full(format!("{own} of your uploads are under way, which is as many as one person may have.")));
        }
        *own += 1;
        Ok(Place { places: Arc::clone(&self.places), person: actor.id })
    }

    /// Waits its turn, first come first served, at most a minute.
    pub async fn reserve(&self, bytes: usize) -> Result<Reserved> {
        let wanted = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.total);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        match tokio::time::timeout(PATIENCE, Arc::clone(&self.semaphore).acquire_many_owned(wanted)).await {
            Ok(Ok(permit)) => Ok(Reserved(permit)),
            _ => Err(busy("Too many files are arriving at this moment. Try again in a minute.")),
        }
    }

    /// Memory to collect small files in, where there is some now.
    pub fn reserve_small(&self, bytes: usize) -> Option<Reserved> {
        let wanted = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        Arc::clone(&self.small).try_acquire_many_owned(wanted).ok().map(Reserved)
    }

    /// Whether somebody waits for memory.
    pub fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Bytes in all.
    pub fn total(&self) -> usize {
        self.total as usize * UNIT
    }

    /// Bytes in use now.
    pub fn in_use(&self) -> usize {
        (self.total as usize - self.semaphore.available_permits()) * UNIT
    }
}

impl Places {
    fn new(config: &UploadConfig) -> Self {
        Self { most: config.at_once, most_each: config.at_once_each, taken: Mutex::default() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut own) = taken.entry(self.person) {
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

pub(super) fn busy(why: &str) -> Error {
    Error::Busy { why: why.to_owned(), retry_after: PATIENCE }
}
