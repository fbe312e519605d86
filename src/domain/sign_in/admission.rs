//! Limits simultaneous sign-ins. A flood fills the queue of unknown addresses; addresses that have signed in before
//! have a separate queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use diesel::prelude::{ExpressionMethods, QueryDsl};
use diesel_async::RunQueryDsl;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::slots::{Holder, Slot, Slots};
use crate::domain::{Context, Error, Result};
use crate::schema::sessions;

/// The number of simultaneous sign-ins per queue.
const MAX_RUNNING: usize = 8;
/// The maximum number of waiting and running sign-ins per queue.
const MAX_QUEUED: usize = 96;
/// The maximum from one network.
const MAX_QUEUED_PER_NETWORK: usize = 32;
/// The maximum for one account, so that guesses at one account cannot fill the queue. A program may open 25 sessions at a time;
/// each waiting attempt takes about 30 ms.
const MAX_QUEUED_PER_ACCOUNT: usize = 26;
/// The maximum time to wait in a queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum number of known addresses.
const MAX_ADDRESSES: usize = 10_000;

#[derive(Clone, Default)]
pub struct Admission(Arc<Inner>);

#[derive(Default)]
struct Inner {
    known: Queue,
    unknown: Queue,
    /// Addresses with a successful sign-in or an active session, with the time when that was last seen.
    addresses: Mutex<HashMap<String, Instant>>,
}

struct Queue {
    permits: Arc<Semaphore>,
    /// Running and waiting sign-ins.
    entries: Slots,
}

impl Default for Queue {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(MAX_RUNNING)), entries: Slots::new("sign-ins", MAX_QUEUED) }
    }
}

/// A place in a queue. Dropping it leaves the queue.
pub(super) struct Waiting {
    is_known: bool,
    entry: Slot,
    permits: Arc<Semaphore>,
}

/// A running sign-in. Dropping it lets the next one run.
pub(super) struct Permit {
    /// Whether the address has signed in before.
    pub is_known: bool,
    _entry: Slot,
    _permit: OwnedSemaphorePermit,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    fn enqueue(&self, network: &str, email: &str) -> Option<Slot> {
        let network = (Holder::Subject(network.to_owned()), MAX_QUEUED_PER_NETWORK);
        let account = (Holder::Account(email.to_owned()), MAX_QUEUED_PER_ACCOUNT);
        self.entries.take(&[network, account]).ok()
    }
}

impl Admission {
    fn queue(&self, is_known: bool) -> &Queue {
        if is_known { &self.0.known } else { &self.0.unknown }
    }

    /// `email`: normalised. `None`: too many sign-ins are waiting already.
    pub(super) fn enqueue(&self, address: &str, network: &str, email: &str) -> Option<Waiting> {
        let is_known = self.is_known(address);
        let queue = self.queue(is_known);
        Some(Waiting { is_known, entry: queue.enqueue(network, email)?, permits: queue.permits.clone() })
    }

    /// Whether this address has signed in, as far as this process knows.
    pub(super) fn is_known(&self, address: &str) -> bool {
        lock(&self.0.addresses).contains_key(address)
    }

    /// Records that this address has signed in or has a session.
    pub(in crate::domain) fn remember(&self, address: &str) {
        let mut addresses = lock(&self.0.addresses);
        if addresses.len() >= MAX_ADDRESSES && !addresses.contains_key(address) {
            let Some(oldest) = addresses.iter().min_by_key(|(_, seen)| **seen).map(|(address, _)| address.clone()) else { return };
            addresses.remove(&oldest);
        }
        addresses.insert(address.to_owned(), Instant::now());
    }
}

impl Waiting {
    /// Waits until the sign-in may run. `None` after [`QUEUE_TIMEOUT`].
    pub(super) async fn permit(self) -> Option<Permit> {
        let permit = tokio::time::timeout(QUEUE_TIMEOUT, self.permits.acquire_owned()).await.ok()?.ok()?;
        Some(Permit { is_known: self.is_known, _entry: self.entry, _permit: permit })
    }
}

/// Loads the addresses of the sessions in Postgres, after startup.
pub async fn load_known_addresses(ctx: &Context) -> Result<()> {
    let limit = i64::try_from(MAX_ADDRESSES / 2).unwrap_or(i64::MAX);
    let found: Vec<Option<String>> = ctx
        .db
        .run(async |conn| {
            let newest = sessions::table.filter(sessions::address.is_not_null()).order(sessions::created_at.desc()).limit(limit);
            Ok::<_, Error>(newest.select(sessions::address).load(conn).await?)
        })
        .await?;
    found.into_iter().flatten().for_each(|address| ctx.sign_ins.remember(&address));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_does_not_block_known_addresses_and_other_networks() {
        let admission = Admission::default();
        admission.remember("known");
        let acquire = async |address, network| admission.enqueue(address, network, "a@example.com").unwrap().permit().await.unwrap();
        let mut running = Vec::new();
        for _ in 0..MAX_RUNNING {
            running.push(acquire("stranger", "one").await);
        }
        let mut accounts = 0..;
        let mut other_account = || format!("{}@example.com", accounts.next().unwrap());
        let waiting: Vec<Slot> = std::iter::from_fn(|| admission.0.unknown.enqueue("one", &other_account())).collect();
        assert_eq!(running.len() + waiting.len(), MAX_QUEUED_PER_NETWORK);
        assert!(admission.enqueue("stranger", "one", "a@example.com").is_none());
        assert!(admission.enqueue("stranger", "two", "a@example.com").is_some());
        assert!(acquire("known", "one").await.is_known);
        running.pop();
        drop(waiting);
        assert!(!acquire("stranger", "two").await.is_known);
    }

    #[test]
    fn one_account_does_not_fill_a_queue() {
        let admission = Admission::default();
        let mut networks = 0..;
        let mut enqueue = |email| admission.enqueue("stranger", &networks.next().unwrap().to_string(), email);
        let held: Vec<Waiting> = std::iter::from_fn(|| enqueue("a@example.com")).collect();
        assert_eq!(held.len(), MAX_QUEUED_PER_ACCOUNT);
        assert!(enqueue("b@example.com").is_some());
    }

    #[test]
    fn the_oldest_address_is_evicted() {
        let admission = Admission::default();
        for at in 0..=MAX_ADDRESSES {
            admission.remember(&at.to_string());
        }
        let addresses = lock(&admission.0.addresses);
        assert!(addresses.len() == MAX_ADDRESSES && !addresses.contains_key("0") && addresses.contains_key(&MAX_ADDRESSES.to_string()));
    }
}
