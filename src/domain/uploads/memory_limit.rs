//! What every upload of the process shares: memory for parts, which stays flat however many upload at once, and
//! places, of which nobody may have all.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use memmap2::MmapMut;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::part_buffer::SpareBuffers;
use crate::config::UploadConfig;
use crate::domain::actor::Actor;
use crate::domain::slots::{Slot, Slots};
use crate::domain::{Error, Result};

/// Permits count kibibytes: a semaphore holds no more than 2^29 of them on 32-bit machines.
const UNIT: usize = 1024;
/// How long an upload waits for memory before it is told to come back.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub struct MemoryLimit(Arc<Shared>);

struct Shared {
    /// Kibibytes in all.
    total: u32,
    /// For parts of senders that fill them fast.
    parts: Pool,
    /// For what slow senders have sent so far.
    steps: Pool,
    /// For small files that wait for company: an eighth beside the rest, so that they never wait for large ones.
    small: Pool,
    waiting: AtomicUsize,
    spare: Mutex<SpareBuffers>,
    slots: Slots,
    max_each: usize,
}

struct Pool {
    semaphore: Arc<Semaphore>,
    size: u32,
}

impl Pool {
    fn new(size: u32) -> Self {
        Self { semaphore: Arc::new(Semaphore::new(size as usize)), size }
    }

    fn in_use(&self) -> usize {
        (self.size as usize - self.semaphore.available_permits()) * UNIT
    }
}

/// Memory that is given back when this is dropped.
pub(super) struct Reserved(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// Counts one who waits, for as long as it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl MemoryLimit {
    pub fn new(config: &UploadConfig) -> Self {
        let total = u32::try_from(config.memory / UNIT).unwrap_or(u32::MAX).max(4);
        Self(Arc::new(Shared {
            total,
            parts: Pool::new(total - total / 4),
            steps: Pool::new(total / 4),
            small: Pool::new(total / 8),
            waiting: AtomicUsize::new(0),
            spare: Mutex::default(),
            slots: Slots::new("uploads", config.at_once),
            max_each: config.at_once_each,
        }))
    }

    /// A place among the uploads of the process and of the person; Busy where there is none.
    pub fn enter(&self, actor: &Actor) -> Result<Slot> {
        self.0.slots.take_for(actor, self.0.max_each)
    }

    /// Uploads under way.
    pub fn under_way(&self) -> usize {
        self.0.slots.count()
    }

    /// Memory for a whole part; waits its turn, first come first served, at most a minute.
    pub(super) async fn whole(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.0.waiting);
        wait(&self.0.parts, bytes).await
    }

    /// Memory for a little of a part, where there is some now.
    pub(super) fn try_step(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let wanted = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        Arc::clone(&self.0.steps.semaphore).try_acquire_many_owned(wanted).ok()
    }

    /// Memory for a little of a part; waits for it as [`Self::whole`] does.
    pub(super) async fn step(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        wait(&self.0.steps, bytes).await
    }

    /// Memory to collect small files in, where there is some now.
    pub(super) fn reserve_small(&self, bytes: usize) -> Option<Reserved> {
        let wanted = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        Arc::clone(&self.0.small.semaphore).try_acquire_many_owned(wanted).ok().map(Reserved)
    }

    /// Memory of this size, perhaps used before.
    pub(super) fn spare(&self, size: usize) -> Result<MmapMut> {
        self.0.spare.lock().unwrap_or_else(PoisonError::into_inner).take(size)
    }

    /// Kept for the next part while anybody sends one.
    pub(super) fn give_back(&self, bytes: MmapMut) {
        let mut spare = self.0.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if self.in_use() == 0 { spare.clear() } else { spare.keep(bytes) }
    }

    /// Whether somebody waits for memory for a part.
    pub(super) fn is_short(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) > 0
    }

    /// Bytes in all.
    pub fn total(&self) -> usize {
        self.0.total as usize * UNIT
    }

    /// Bytes in use now.
    pub fn in_use(&self) -> usize {
        self.0.parts.in_use() + self.0.steps.in_use() + self.0.small.in_use()
    }
}

async fn wait(pool: &Pool, bytes: usize) -> Result<OwnedSemaphorePermit> {
    let wanted = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, pool.size);
    match tokio::time::timeout(WAIT_TIMEOUT, Arc::clone(&pool.semaphore).acquire_many_owned(wanted)).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(busy("Too many files are arriving at this moment. Try again in a minute.")),
    }
}

pub(super) fn busy(why: &str) -> Error {
    Error::Busy { why: why.to_owned(), retry_after: WAIT_TIMEOUT }
}
