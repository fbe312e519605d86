//! Slots for work that holds memory or a connection: limited per process, and further per user, session and address,
//! so that no one can take all of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use super::actor::Actor;
use super::{Error, Result};

/// Who holds a slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A user; `None`: Larder itself or the command line.
    Person(Option<Uuid>),
    Session(Uuid),
    Address(IpAddr),
    /// All addresses of one client.
    Subject(String),
    /// The account that a sign-in names, whether it exists or not.
    Account(String),
}

/// The slots of one kind of work.
#[derive(Clone)]
pub struct Slots(Arc<Shared>);

struct Shared {
    /// What the slots are for, in the plural: "uploads".
    what: &'static str,
    max: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_holder: HashMap<Holder, usize>,
}

/// A slot that is released on drop.
pub struct Slot {
    shared: Arc<Shared>,
    holders: Vec<Holder>,
}

impl Slots {
    pub fn new(what: &'static str, max: usize) -> Self {
        Self(Arc::new(Shared { what, max, taken: Mutex::default() }))
    }

    /// Takes a slot that counts for each of `holders`, up to the given limit per holder. Busy if a limit is reached.
    pub fn take(&self, holders: &[(Holder, usize)]) -> Result<Slot> {
        let mut taken = self.0.taken();
        self.0.check(&taken, holders)?;
        taken.all += 1;
        for (holder, _) in holders {
            *taken.by_holder.entry(holder.clone()).or_default() += 1;
        }
        Ok(Slot { shared: Arc::clone(&self.0), holders: holders.iter().map(|(holder, _)| holder.clone()).collect() })
    }

    /// Like [`Self::take`], for the acting user.
    pub fn take_for(&self, actor: &Actor, max_each: usize) -> Result<Slot> {
        self.take(&[(Holder::Person(actor.id), max_each)])
    }

    /// Whether all slots are taken.
    pub fn is_full(&self) -> bool {
        self.count() >= self.0.max
    }

    /// Number of slots in use.
    pub fn count(&self) -> usize {
        self.0.taken().all
    }
}

impl Shared {
    /// Busy if a limit is reached.
    fn check(&self, taken: &Taken, holders: &[(Holder, usize)]) -> Result<()> {
        let Self { what, max, .. } = self;
        if taken.all >= *max {
            return Err(busy(format!("{max} {what} are in progress, which is as many as Larder runs at the same time.")));
        }
        let full = holders.iter().find(|(holder, max)| taken.by_holder.get(holder).is_some_and(|count| count >= max));
        let Some((holder, max)) = full else { return Ok(()) };
        Err(busy(match holder {
            Holder::Person(_) => format!("{max} of your {what} are in progress, which is as many as one person may have."),
            Holder::Session(_) => format!("{max} {what} of this session are in progress, which is as many as one session may have."),
            Holder::Account(_) => format!("{max} {what} for this account are in progress, which is as many as one account may have."),
            Holder::Address(_) | Holder::Subject(_) => {
                format!("{max} {what} from your address are in progress, which is as many as one address may have.")
            }
        }))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.shared.taken();
        taken.all -= 1;
        for holder in &self.holders {
            if let Some(count) = taken.by_holder.get_mut(holder) {
                *count -= 1;
                if *count == 0 {
                    taken.by_holder.remove(holder);
                }
            }
        }
    }
}

fn busy(why: String) -> Error {
    Error::Busy { why: why + " Try again when some are done.", retry_after: Duration::from_secs(10) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_holder_takes_all_slots_and_each_is_given_back() {
        let slots = Slots::new("uploads", 3);
        let (one, other) = (Holder::Person(Some(Uuid::now_v7())), Holder::Person(Some(Uuid::now_v7())));
        let address = Holder::Address(IpAddr::from([192, 0, 2, 1]));
        let held = [slots.take(&[(one.clone(), 2)]).unwrap(), slots.take(&[(one.clone(), 2), (address.clone(), 1)]).unwrap()];
        assert!(slots.take(&[(one.clone(), 2)]).is_err_and(|error| error.to_string().starts_with("2 of your uploads are in progress")));
        assert!(slots.take(&[(other.clone(), 2), (address.clone(), 1)]).is_err(), "the address has as many as it may");
        let last = slots.take(&[(other, 2)]).unwrap();
        assert!(slots.take(&[(Holder::Person(None), 2)]).is_err_and(|error| error.to_string().starts_with("3 uploads are in progress")));
        drop((held, last));
        assert_eq!(slots.count(), 0);
        assert!(slots.0.taken().by_holder.is_empty());
    }
}
