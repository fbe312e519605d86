//! Memory for parts, shared by every upload of the process: it stays flat however many upload at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits count kibibytes: a semaphore holds no more than 2^29 of them on 32-bit machines.
const UNIT: usize = 1024;

#[derive(Clone)]
pub struct Budget {
    semaphore: Arc<Semaphore>,
    total: u32,
}

/// Memory that is given back when this is dropped.
pub struct Reserved(#[expect(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>);

impl Budget {
    pub fn new(bytes: usize) -> Self {
        let total = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1);
        Self { semaphore: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Waits its turn, first come first served. More than there is in all is given when nobody else holds any.
    pub async fn reserve(&self, bytes: usize) -> Reserved {
        let wanted = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.total);
        Reserved(Arc::clone(&self.semaphore).acquire_many_owned(wanted).await.ok())
    }

    /// Bytes in use now.
    pub fn in_use(&self) -> usize {
        (self.total as usize - self.semaphore.available_permits()) * UNIT
    }
}
