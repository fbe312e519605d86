//! Single flight within the process: a caller that requests a value being computed waits for that result.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::stats::LookupOutcome;
use crate::domain::Result;

type Shared = (LookupOutcome, Arc<dyn Any + Send + Sync>);

/// The computations in progress, by name.
#[derive(Clone, Default)]
pub(super) struct SingleFlight(Arc<Inner>);

#[derive(Default)]
struct Inner {
    in_progress: Mutex<HashMap<String, Pending>>,
    next_id: AtomicU64,
}

struct Pending {
    id: u64,
    outcome: watch::Receiver<Option<Shared>>,
}

pub(super) enum Role {
    /// No computation is in progress: the caller computes the value.
    Leader(Leader),
    /// Another caller is computing the value.
    Follower(Follower),
}

/// The caller that computes the value. If it is dropped before completing, a waiting caller takes over.
pub(super) struct Leader {
    owner: SingleFlight,
    name: String,
    id: u64,
    outcome: watch::Sender<Option<Shared>>,
}

pub(super) struct Follower(watch::Receiver<Option<Shared>>);

impl SingleFlight {
    fn in_progress(&self) -> MutexGuard<'_, HashMap<String, Pending>> {
        self.0.in_progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn join(&self, name: &str) -> Role {
        let mut in_progress = self.in_progress();
        if let Some(pending) = in_progress.get(name) {
            return Role::Follower(Follower(pending.outcome.clone()));
        }
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = watch::channel(None);
        in_progress.insert(name.to_owned(), Pending { id, outcome: receiver });
        Role::Leader(Leader { owner: self.clone(), name: name.to_owned(), id, outcome: sender })
    }

    /// Callers that join from now on do not wait for computations already in progress.
    pub fn forget(&self, names: impl Fn(&str) -> bool) {
        self.in_progress().retain(|name, _| !names(name));
    }
}

impl Leader {
    pub fn follower(&self) -> Follower {
        Follower(self.outcome.subscribe())
    }

    /// Passes the outcome to all waiting callers and returns it.
    pub fn complete<T: Clone + Send + Sync + 'static>(self, how: LookupOutcome, outcome: Result<T>) -> Result<T> {
        self.remove();
        if self.outcome.receiver_count() == 0 {
            return outcome;
        }
        self.outcome.send_replace(Some((how, Arc::new(outcome.clone()))));
        outcome
    }

    fn remove(&self) {
        let mut in_progress = self.owner.in_progress();
        // After `forget`, another computation may have the same name.
        if in_progress.get(&self.name).is_some_and(|pending| pending.id == self.id) {
            in_progress.remove(&self.name);
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Follower {
    /// `None`: the leader was dropped before completing.
    pub async fn wait<T: Clone + 'static>(mut self) -> Option<(LookupOutcome, Result<T>)> {
        let shared = self.0.wait_for(Option::is_some).await.ok()?;
        let (how, outcome) = shared.as_ref()?;
        Some((*how, outcome.downcast_ref::<Result<T>>()?.clone()))
    }
}
