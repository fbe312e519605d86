//! Single flight inside the process: whoever asks for what is being fetched waits for it.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::figures::How;
use crate::domain::Result;

type Landed = (How, Arc<dyn Any + Send + Sync>);

/// What is being fetched, by name.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Inner>);

#[derive(Default)]
struct Inner {
    under_way: Mutex<HashMap<String, Flight>>,
    flown: AtomicU64,
}

struct Flight {
    number: u64,
    outcome: watch::Receiver<Option<Landed>>,
}

pub(super) enum Seat {
    /// Nobody fetches it: you do.
    First(Lead),
    Another(Passenger),
}

/// Whoever fetches. Dropped before it has landed, one of those who wait goes on in its place.
pub(super) struct Lead {
    flights: Flights,
    name: String,
    number: u64,
    outcome: watch::Sender<Option<Landed>>,
}

pub(super) struct Passenger(watch::Receiver<Option<Landed>>);

impl Flights {
    fn under_way(&self) -> MutexGuard<'_, HashMap<String, Flight>> {
        self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn board(&self, name: &str) -> Seat {
        let mut under_way = self.under_way();
        if let Some(flight) = under_way.get(name) {
            return Seat::Another(Passenger(flight.outcome.clone()));
        }
        let number = self.0.flown.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = watch::channel(None);
        under_way.insert(name.to_owned(), Flight { number, outcome: receiver });
        Seat::First(Lead { flights: self.clone(), name: name.to_owned(), number, outcome: sender })
    }

    /// Who asks from now on does not wait for what is under way.
    pub fn forget(&self, names: impl Fn(&str) -> bool) {
        self.under_way().retain(|name, _| !names(name));
    }
}

impl Lead {
    pub fn passenger(&self) -> Passenger {
        Passenger(self.outcome.subscribe())
    }

    /// Gives the outcome to everybody who waits, and back.
    pub fn land<T: Clone + Send + Sync + 'static>(self, how: How, outcome: Result<T>) -> Result<T> {
        self.leave();
        if self.outcome.receiver_count() == 0 {
            return outcome;
        }
        self.outcome.send_replace(Some((how, Arc::new(outcome.clone()))));
        outcome
    }

    fn leave(&self) {
        let mut under_way = self.flights.under_way();
        // After it was forgotten there may be another of its name.
        if under_way.get(&self.name).is_some_and(|flight| flight.number == self.number) {
            under_way.remove(&self.name);
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Passenger {
    /// `None`: whoever fetched has gone away.
    pub async fn arrive<T: Clone + 'static>(mut self) -> Option<(How, Result<T>)> {
        let landed = self.0.wait_for(Option::is_some).await.ok()?;
        let (how, outcome) = landed.as_ref()?;
        Some((*how, outcome.downcast_ref::<Result<T>>()?.clone()))
    }
}
