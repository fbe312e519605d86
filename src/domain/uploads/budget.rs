//! Memory for parts, shared by every upload of the process: it stays flat however many upload at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
    pub fn new(bytes: usize) -> Self {
        let total = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1);
        let small = Arc::new(Semaphore::new(total as usize / 8));
        Self { semaphore: Arc::new(Semaphore::new(total as usize)), total, waiting: Arc::default(), small }
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

pub(super) fn busy(why: &str) -> Error {
    Error::Busy { why: why.to_owned(), retry_after: PATIENCE }
}
