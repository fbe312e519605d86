//! Limits shared by all uploads of the process: memory for parts, which stays constant however many uploads there
//! are, and upload slots, which no user may use up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use memmap2::MmapMut;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::UploadConfig;
use crate::domain::actor::Actor;
use crate::domain::fair_pool::{FairPool, Grant, Person};
use crate::domain::slots::{Slot, Slots};
use crate::domain::uploads::streaming::part_buffer::SpareBuffers;
use crate::domain::{Error, Result};

/// How long an upload waits for memory before it is rejected.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of one unit.
const UNIT: usize = 1024;

/// The units that hold this many bytes.
pub(in crate::domain::uploads) fn kibibytes(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[derive(Clone)]
pub struct MemoryLimit(Arc<Inner>);

struct Inner {
    /// Total in kibibytes.
    total: u32,
    /// For parts of fast senders.
    parts: FairPool,
    /// For the data received from slow senders.
    steps: FairPool,
    /// For small files waiting to be batched: an additional eighth, so that they never wait for large files.
    small: Arc<Semaphore>,
    waiting: AtomicUsize,
    spare: Mutex<SpareBuffers>,
    slots: Slots,
    max_each: usize,
}

/// Memory that is released on drop.
pub(in crate::domain::uploads) struct Reserved(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// Counts a waiting upload until it is dropped.
struct WaitingGuard<'a>(&'a AtomicUsize);

impl Drop for WaitingGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl MemoryLimit {
    pub fn new(config: &UploadConfig) -> Self {
        let total = u32::try_from(config.memory / UNIT).unwrap_or(u32::MAX).max(4);
        Self(Arc::new(Inner {
            total,
            parts: FairPool::new(total - total / 4, true),
            // Slow senders need little, and fast ones do not wait for it.
            steps: FairPool::new(total / 4, false),
            small: Arc::new(Semaphore::new(total as usize / 8)),
            waiting: AtomicUsize::new(0),
            spare: Mutex::default(),
            slots: Slots::new("uploads", config.at_once),
            max_each: config.at_once_each,
        }))
    }

    /// Takes an upload slot of the process and of the user; Busy if none is free.
    pub fn enter(&self, actor: &Actor) -> Result<Slot> {
        self.0.slots.take_for(actor, self.0.max_each)
    }

    /// Uploads in progress.
    pub fn in_progress(&self) -> usize {
        self.0.slots.count()
    }

    /// Memory for a whole part; waits for its turn, at most a minute.
    pub(in crate::domain::uploads) async fn whole(&self, person: Person, bytes: usize) -> Result<Grant> {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = WaitingGuard(&self.0.waiting);
        self.0.parts.take(person, kibibytes(bytes), WAIT_TIMEOUT).await.ok_or_else(too_many)
    }

    /// Memory for a step of a part, if available now.
    pub(in crate::domain::uploads) fn try_step(&self, person: Person, bytes: usize) -> Option<Grant> {
        self.0.steps.try_take(person, kibibytes(bytes))
    }

    /// Memory for a step of a part; waits like [`Self::whole`].
    pub(in crate::domain::uploads) async fn step(&self, person: Person, bytes: usize) -> Result<Grant> {
        self.0.steps.take(person, kibibytes(bytes), WAIT_TIMEOUT).await.ok_or_else(too_many)
    }

    /// Memory to batch small files, if available now.
    pub(in crate::domain::uploads) fn reserve_small(&self, bytes: usize) -> Option<Reserved> {
        let wanted = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        Arc::clone(&self.0.small).try_acquire_many_owned(wanted).ok().map(Reserved)
    }

    /// A buffer of this size, possibly reused.
    pub(in crate::domain::uploads) fn spare(&self, size: usize) -> Result<MmapMut> {
        self.0.spare.lock().unwrap_or_else(PoisonError::into_inner).take(size)
    }

    /// Keeps the buffer for reuse while uploads are in progress.
    pub(in crate::domain::uploads) fn reclaim(&self, bytes: MmapMut) {
        let mut spare = self.0.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if self.in_use() == 0 { spare.clear() } else { spare.keep(bytes) }
    }

    /// Whether an upload is waiting for memory for a part.
    pub(in crate::domain::uploads) fn is_short(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) > 0
    }

    /// Total in bytes.
    pub fn total(&self) -> usize {
        self.0.total as usize * UNIT
    }

    /// Bytes in use.
    pub fn in_use(&self) -> usize {
        let small = self.0.total as usize / 8 - self.0.small.available_permits();
        (self.0.parts.in_use() + self.0.steps.in_use() + small) * UNIT
    }
}

fn too_many() -> Error {
    busy("Too many files are being uploaded. Try again in a minute.")
}

pub(in crate::domain::uploads) fn busy(why: &str) -> Error {
    Error::Busy { why: why.to_owned(), retry_after: WAIT_TIMEOUT }
}
