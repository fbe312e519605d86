//! A resource that users share fairly: memory for uploads, connections to the store for downloads. While several users
//! need it, none holds more than a fair share, and each gets at least what one request needs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// A user; `None`: Larder itself.
pub type Person = Option<Uuid>;

#[derive(Clone)]
pub struct FairPool(Arc<Shared>);

struct Shared {
    semaphore: Arc<Semaphore>,
    size: u32,
    /// Whether a share stays free for the next user.
    reserves: bool,
    /// Units that each user holds or waits for.
    held: Mutex<HashMap<Person, u32>>,
    freed: Notify,
}

/// Units that are released on drop.
pub struct Grant {
    share: Share,
    permit: OwnedSemaphorePermit,
}

/// Counts for one user.
struct Share {
    shared: Arc<Shared>,
    person: Person,
    units: u32,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shared.subtract(self.person, self.units);
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, HashMap<Person, u32>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subtract(&self, person: Person, units: u32) {
        let mut held = self.held();
        if let Some(own) = held.get_mut(&person) {
            *own -= units;
            if *own == 0 {
                held.remove(&person);
            }
        }
        drop(held);
        self.freed.notify_waiters();
    }

    /// Counts for the user, unless that would exceed a fair share: one part per user, with one part reserved for the
    /// next user.
    fn try_count(self: &Arc<Self>, person: Person, units: u32) -> Option<Share> {
        let mut held = self.held();
        let own = held.get(&person).copied().unwrap_or(0);
        let people = held.len() + usize::from(own == 0);
        let shares = u32::try_from(people).unwrap_or(u32::MAX - 1) + u32::from(self.reserves);
        let fair = self.size / shares.max(1);
        if own > 0 && own + units > fair {
            return None;
        }
        held.insert(person, own + units);
        Some(Share { shared: Arc::clone(self), person, units })
    }
}

impl FairPool {
    /// A pool of `size` units. A semaphore holds at most 2^29 of them on 32-bit machines. `reserves`: a share stays
    /// free for the next user.
    pub fn new(size: u32, reserves: bool) -> Self {
        let semaphore = Arc::new(Semaphore::new(size as usize));
        Self(Arc::new(Shared { semaphore, size, reserves, held: Mutex::default(), freed: Notify::new() }))
    }

    /// Units in use.
    pub fn in_use(&self) -> usize {
        self.0.size as usize - self.0.semaphore.available_permits()
    }

    fn limited(&self, units: u32) -> u32 {
        units.clamp(1, self.0.size)
    }

    /// The memory that is free now, within a fair share.
    pub fn try_take(&self, person: Person, units: u32) -> Option<Grant> {
        let units = self.limited(units);
        let share = self.0.try_count(person, units)?;
        let permit = Arc::clone(&self.0.semaphore).try_acquire_many_owned(units).ok()?;
        Some(Grant { share, permit })
    }

    /// Waits first for a fair share, then for free memory, in FIFO order. `None`: not available in time.
    pub async fn take(&self, person: Person, units: u32, timeout: Duration) -> Option<Grant> {
        let units = self.limited(units);
        let taking = async {
            let share = loop {
                let freed = self.0.freed.notified();
                tokio::pin!(freed);
                // Registered before the check, so that no notification is missed in between.
                freed.as_mut().enable();
                if let Some(share) = self.0.try_count(person, units) {
                    break share;
                }
                freed.await;
            };
            let permit = Arc::clone(&self.0.semaphore).acquire_many_owned(units).await.ok()?;
            Some(Grant { share, permit })
        };
        tokio::time::timeout(timeout, taking).await.ok().flatten()
    }
}

impl Grant {
    /// Releases all but `kept` units.
    pub fn shrink(&mut self, kept: u32) {
        let Some(unused) = self.share.units.checked_sub(kept).filter(|unused| *unused > 0) else { return };
        drop(self.permit.split(unused as usize));
        self.share.units = kept;
        self.share.shared.subtract(self.share.person, unused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn one_person_leaves_memory_for_the_next() {
        let pool = FairPool::new(96, true);
        let (one, other, third) = (Some(Uuid::now_v7()), Some(Uuid::now_v7()), Some(Uuid::now_v7()));
        let mut held: Vec<Grant> = std::iter::from_fn(|| pool.try_take(one, 8)).collect();
        assert_eq!(held.len(), 6, "half of it while no one else uploads");
        assert!(pool.take(one, 8, SHORT).await.is_none());
        let others: Vec<Grant> = std::iter::from_fn(|| pool.try_take(other, 8)).collect();
        assert_eq!(others.len(), 4, "a third of it while two upload");
        assert!(pool.take(third, 16, SHORT).await.is_some(), "and there is some for a third");
        // Memory released by an inactive user is available to others immediately, and to the user again within a fair
        // share.
        held.iter_mut().for_each(|grant| grant.shrink(1));
        assert_eq!(pool.in_use(), 6 + 32);
        assert!(pool.try_take(one, 8).is_some());
        drop((held, others));
        assert_eq!(pool.in_use(), 0);
        assert!(pool.0.held().is_empty());
        let whole = pool.take(one, u32::MAX, SHORT).await.unwrap();
        assert_eq!(pool.in_use(), 96, "one request gets what it needs, up to all there is");
        drop(whole);
    }

    #[tokio::test]
    async fn a_waiting_person_goes_on_when_its_own_memory_is_free() {
        let pool = FairPool::new(16, true);
        let one = Some(Uuid::now_v7());
        let held = pool.try_take(one, 8).unwrap();
        let (waited, ()) = tokio::join!(pool.take(one, 8, Duration::from_secs(10)), async {
            tokio::time::sleep(SHORT).await;
            drop(held);
        });
        assert!(waited.is_some());
    }
}
