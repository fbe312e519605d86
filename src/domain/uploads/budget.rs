//! What every upload of the process shares: memory for parts, which stays flat however many upload at once, and
//! places, of which nobody may have all.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::places::{Place, Places};
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
    places: Places,
    spare: Spare,
}

/// Memory that is given back when this is dropped.
pub(super) struct Reserved(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// Room for a part: memory that counts until the last who reads its bytes is done with them.
pub(super) struct Room {
    bytes: Vec<u8>,
    share: usize,
    budget: Budget,
    _reserved: Reserved,
}

/// Buffers to be used again: fresh memory costs a fault for every page.
type Spare = Arc<Mutex<Vec<Vec<u8>>>>;

/// Only parts of the usual size are worth keeping, and only so many while others are being filled.
const USUAL: usize = 8 << 20;
const SPARE: usize = 4;

impl Room {
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_full(&self) -> bool {
        self.bytes.len() == self.share
    }

    /// Takes as much as there is room for; the rest.
    pub fn fill(&mut self, mut chunk: Bytes) -> Bytes {
        let rest = chunk.split_off(chunk.len().min(self.share - self.bytes.len()));
        self.bytes.extend_from_slice(&chunk);
        rest
    }

    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Room {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut spare = self.budget.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let others = self.budget.in_use() > self.share.next_multiple_of(UNIT);
        if !others {
            spare.clear();
        } else if self.bytes.capacity() == USUAL && spare.len() < SPARE {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.clear();
            spare.push(bytes);
        }
    }
}

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
            places: Places::new(config),
            spare: Spare::default(),
        }
    }

    /// A place among the uploads of the process and of the person; Busy where there is none.
    pub fn enter(&self, actor: &Actor) -> Result<Place> {
        self.places.enter(actor)
    }

    /// Room for so many bytes, as [`Self::reserve`].
    pub(super) async fn room(&self, share: usize) -> Result<Room> {
        let reserved = self.reserve(share).await?;
        let used = (share == USUAL).then(|| self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop()).flatten();
        let bytes = used.unwrap_or_else(|| Vec::with_capacity(share));
        Ok(Room { bytes, share, budget: self.clone(), _reserved: reserved })
    }

    /// Uploads under way.
    pub fn under_way(&self) -> usize {
        self.places.count()
    }

    /// Waits its turn, first come first served, at most a minute.
    async fn reserve(&self, bytes: usize) -> Result<Reserved> {
        let wanted = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.total);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        match tokio::time::timeout(PATIENCE, Arc::clone(&self.semaphore).acquire_many_owned(wanted)).await {
            Ok(Ok(permit)) => Ok(Reserved(permit)),
            _ => Err(busy("Too many files are arriving at this moment. Try again in a minute.")),
        }
    }

    /// Memory to collect small files in, where there is some now.
    pub(super) fn reserve_small(&self, bytes: usize) -> Option<Reserved> {
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

pub(super) fn busy(why: &str) -> Error {
    Error::Busy { why: why.to_owned(), retry_after: PATIENCE }
}
