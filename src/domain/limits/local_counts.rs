//! The requests that this process has counted, and what it knows about those of other replicas.
//!
//! The local count is kept in memory and cannot be changed from outside. The counts of other replicas are read from
//! Redis, are accepted only with a signature, and expire with the window.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::counts::Counts;
use super::{Policy, Standing};
use crate::clock;

/// Delay before a count is published that no request publishes immediately.
pub(super) const DELAY: Duration = Duration::from_millis(100);
/// How long the counts of other replicas are used without reading them again.
const MAX_AGE: Duration = Duration::from_secs(1);
const MAX_SUBJECTS: usize = 20_000;
/// Subjects with this prefix are users, of whom there are few. Their counts are never evicted.
pub(super) const USER: &str = "user-";
/// Values that could not be verified are logged this often.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub struct LocalCounts(Arc<Inner>);

struct Inner {
    /// Of this process.
    replica: String,
    accounts: Mutex<HashMap<Id, Account>>,
    rejected: Mutex<Rejected>,
}

impl Default for LocalCounts {
    fn default() -> Self {
        let replica = Uuid::now_v7().simple().to_string();
        Self(Arc::new(Inner { replica, accounts: Mutex::default(), rejected: Mutex::default() }))
    }
}

/// Name of the policy, and subject.
type Id = (&'static str, String);

#[derive(Default)]
struct Account {
    own: Counts,
    /// By replica.
    others: HashMap<String, Counts>,
    /// When the counts of other replicas were last read.
    read: Option<Instant>,
    /// Whether a task will publish the local count.
    is_scheduled: bool,
}

/// Values in Redis that Larder did not sign.
#[derive(Default)]
struct Rejected {
    count: u64,
    logged: Option<Instant>,
}

/// A request whose decision is pending.
pub(super) struct Reservation {
    /// The step in which the request is counted. `None`: the limit seemed to be reached, so it is not counted.
    start: Option<u64>,
    /// Requests counted by this process up to and including this one.
    position: u64,
    /// To be published.
    pub own: Counts,
}

/// The decision about a request.
pub(super) struct Decision {
    pub standing: Standing,
    /// The step in which the request is counted, for [`LocalCounts::withdraw`].
    pub start: Option<u64>,
    /// The published count differs from the local count.
    pub is_outdated: bool,
}

fn now() -> u64 {
    u64::try_from(clock::now().timestamp_millis()).unwrap_or(0)
}

fn milliseconds(window: Duration) -> u64 {
    u64::try_from(window.as_millis()).unwrap_or(u64::MAX).max(1)
}

impl Account {
    fn expire(&mut self, now: u64, window: u64) {
        self.own.expire(now, window);
        self.others.retain(|_, counts| {
            counts.expire(now, window);
            !counts.is_empty()
        });
    }

    fn others(&self) -> u64 {
        self.others.values().map(Counts::total).sum()
    }

    fn used(&self) -> u64 {
        self.own.total() + self.others()
    }

    fn standing(&self, policy: &Policy, allowed: bool, now: u64) -> Standing {
        let used = self.used();
        let mut entries: Vec<(u64, u64)> = self.own.entries().chain(self.others.values().flat_map(Counts::entries)).collect();
        entries.sort_unstable();
        let mut excess = used.saturating_sub(policy.limit);
        let next = entries.iter().find_map(|(start, count)| {
            let is_enough = *count > excess;
            excess = excess.saturating_sub(*count);
            is_enough.then_some(*start)
        });
        let wait = next.map_or(0, |start| (start + milliseconds(policy.window)).saturating_sub(now));
        // The clock of another replica may be ahead.
        let next = Duration::from_secs(wait.div_ceil(1000)).min(Duration::from_secs(policy.window.as_secs().max(1)));
        Standing { policy: *policy, allowed, remaining: policy.limit.saturating_sub(used), next }
    }
}

impl LocalCounts {
    pub(super) fn replica(&self) -> &str {
        &self.0.replica
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Id, Account>> {
        self.0.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, policy: &Policy, subject: &str, work: impl FnOnce(&mut Account, u64) -> T) -> T {
        let (now, window) = (now(), milliseconds(policy.window));
        let id = (policy.name, subject.to_owned());
        let mut accounts = self.lock();
        if accounts.len() >= MAX_SUBJECTS && !accounts.contains_key(&id) {
            make_room(&mut accounts);
        }
        let account = accounts.entry(id).or_default();
        account.expire(now, window);
        work(account, now)
    }

    /// Counts the request for now, unless the limit seems to be reached.
    pub(super) fn reserve(&self, policy: &Policy, subject: &str) -> Reservation {
        self.with(policy, subject, |account, now| {
            let start = (account.used() < policy.limit).then(|| account.own.add(now, milliseconds(policy.window)));
            Reservation { start, position: account.own.total(), own: account.own.clone() }
        })
    }

    /// Decides after the counts of other replicas were read. `None`: they could not be read.
    pub(super) fn decide(
        &self,
        policy: &Policy,
        subject: &str,
        reservation: &Reservation,
        others: Option<Vec<(String, Counts)>>,
    ) -> Decision {
        let is_published = others.is_some();
        self.update(policy, subject, others);
        self.with(policy, subject, |account, now| match reservation.start {
            // Requests that arrived later do not count against this one.
            Some(start) if reservation.position.min(account.own.total()) + account.others() <= policy.limit => {
                Decision { standing: account.standing(policy, true, now), start: Some(start), is_outdated: !is_published }
            }
            Some(start) => {
                account.own.remove(start);
                Decision { standing: account.standing(policy, false, now), start: None, is_outdated: true }
            }
            None if account.used() < policy.limit => {
                let start = account.own.add(now, milliseconds(policy.window));
                Decision { standing: account.standing(policy, true, now), start: Some(start), is_outdated: true }
            }
            None => Decision { standing: account.standing(policy, false, now), start: None, is_outdated: false },
        })
    }

    /// Stores the counts of other replicas. What is missing in Redis is kept until it expires.
    pub(super) fn update(&self, policy: &Policy, subject: &str, others: Option<Vec<(String, Counts)>>) {
        let Some(others) = others else { return };
        let own = &self.0.replica;
        self.with(policy, subject, |account, now| {
            let mut newest: HashMap<String, Counts> = HashMap::new();
            for (replica, mut counts) in others.into_iter().filter(|(replica, _)| replica != own) {
                counts.expire(now, milliseconds(policy.window));
                // A value that was copied to other fields counts once.
                let known = newest.entry(replica).or_default();
                if counts.total() > known.total() {
                    *known = counts;
                }
            }
            account.others.extend(newest);
            account.read = Some(Instant::now());
        });
    }

    /// The state without counting a request.
    pub(super) fn standing(&self, policy: &Policy, subject: &str) -> Standing {
        self.with(policy, subject, |account, now| account.standing(policy, account.used() < policy.limit, now))
    }

    /// Counts a request without Redis if the subject is far from its limit, and other replicas were asked within the
    /// last second.
    pub(super) fn count_locally(&self, policy: &Policy, subject: &str) -> Option<Standing> {
        self.with(policy, subject, |account, now| {
            let is_recent = account.read.is_some_and(|read| read.elapsed() < MAX_AGE);
            if !is_recent || account.used() + 1 + policy.limit / 4 >= policy.limit {
                return None;
            }
            account.own.add(now, milliseconds(policy.window));
            Some(account.standing(policy, true, now))
        })
    }

    /// The request was not the subject's.
    pub(super) fn withdraw(&self, policy: &Policy, subject: &str, start: u64) {
        self.with(policy, subject, |account, _| account.own.remove(start));
    }

    pub(super) fn own(&self, policy: &Policy, subject: &str) -> Counts {
        self.with(policy, subject, |account, _| account.own.clone())
    }

    /// Whether the caller must publish the local count later; no one else does.
    pub(super) fn schedule(&self, policy: &Policy, subject: &str) -> bool {
        self.with(policy, subject, |account, _| !std::mem::replace(&mut account.is_scheduled, true))
    }

    /// The scheduled task starts to publish: later requests need another one.
    pub(super) fn unschedule(&self, policy: &Policy, subject: &str) {
        self.with(policy, subject, |account, _| account.is_scheduled = false);
    }

    /// Records values that Larder did not sign. Logged at most once a minute.
    pub(super) fn reject(&self, count: u64) {
        if count == 0 {
            return;
        }
        let mut rejected = self.0.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        rejected.count += count;
        if rejected.logged.is_none_or(|logged| logged.elapsed() >= LOG_INTERVAL) {
            log::warn!("{} request counts in Redis were ignored, because Larder did not sign them", rejected.count);
            *rejected = Rejected { count: 0, logged: Some(Instant::now()) };
        }
    }
}

/// Removes subjects without requests, or else some addresses. A client with so many addresses has as many limits.
fn make_room(accounts: &mut HashMap<Id, Account>) {
    accounts.retain(|_, account| !account.own.is_empty() || account.is_scheduled);
    if accounts.len() < MAX_SUBJECTS {
        return;
    }
    let mut excess = MAX_SUBJECTS / 16;
    accounts.retain(|(_, subject), _| {
        let is_kept = excess == 0 || subject.starts_with(USER);
        excess -= usize::from(!is_kept);
        is_kept
    });
}

#[cfg(test)]
mod tests;
