//! Requests that a process lets through without Redis and reports to it shortly afterwards, in batches.
//!
//! Only used for users far from their limit: the last quarter is counted in Redis request by request. Until requests
//! are reported, several consoles may let through more than the limit; since all are counted, later requests
//! compensate for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::Standing;

/// Delay before requests are reported.
pub(super) const DELAY: Duration = Duration::from_millis(100);
/// How long the last state reported by Redis is used.
const MAX_AGE: Duration = Duration::from_secs(1);
const MAX_USERS: usize = 1000;

/// By user.
#[derive(Clone, Default)]
pub struct LocalCounts(Arc<Mutex<HashMap<Uuid, Account>>>);

struct Account {
    /// As last reported by Redis.
    standing: Standing,
    asked: Instant,
    /// Requests let through that Redis does not know about.
    unreported: u64,
}

/// The decision about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// Let through. The caller of the first such request reports to Redis after [`DELAY`].
    LetThrough { standing: Standing, is_first: bool },
    /// Redis must be asked, and this many earlier requests reported.
    Ask { before: u64 },
}

impl LocalCounts {
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Account>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, user: Uuid) -> Count {
        let mut accounts = self.lock();
        let Some(account) = accounts.get_mut(&user) else { return Count::Ask { before: 0 } };
        let Standing { policy, remaining, allowed, .. } = account.standing;
        let left = remaining.saturating_sub(account.unreported + 1);
        if !allowed || left <= policy.limit / 4 || account.asked.elapsed() >= MAX_AGE {
            // Until the response arrives.
            account.standing.remaining = left;
            return Count::Ask { before: std::mem::take(&mut account.unreported) };
        }
        account.unreported += 1;
        Count::LetThrough { standing: Standing { remaining: left, ..account.standing }, is_first: account.unreported == 1 }
    }

    /// The requests to report; they count as reported.
    pub(super) fn take_unreported(&self, user: Uuid) -> u64 {
        let mut accounts = self.lock();
        let Some(account) = accounts.get_mut(&user) else { return 0 };
        account.standing.remaining = account.standing.remaining.saturating_sub(account.unreported);
        std::mem::take(&mut account.unreported)
    }

    /// Stores the state reported by Redis; returns the state including unreported requests.
    pub(super) fn update(&self, user: Uuid, standing: Standing) -> Standing {
        let mut accounts = self.lock();
        if accounts.len() >= MAX_USERS && !accounts.contains_key(&user) {
            accounts.retain(|_, account| account.unreported > 0 || account.asked.elapsed() < MAX_AGE);
            if accounts.len() >= MAX_USERS {
                return standing;
            }
        }
        let unreported = accounts.get(&user).map_or(0, |account| account.unreported);
        accounts.insert(user, Account { standing, asked: Instant::now(), unreported });
        Standing { remaining: standing.remaining.saturating_sub(unreported), ..standing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::limits::Policy;

    const POLICY: Policy = Policy { name: "t", limit: 100, window: Duration::from_secs(60) };

    fn standing(remaining: u64) -> Standing {
        Standing { policy: POLICY, allowed: true, remaining, next: Duration::from_secs(1) }
    }

    fn let_through(remaining: u64, is_first: bool) -> Count {
        Count::LetThrough { standing: standing(remaining), is_first }
    }

    #[test]
    fn every_request_is_reported_once_and_the_last_quarter_individually() {
        let (counts, user) = (LocalCounts::default(), Uuid::now_v7());
        assert_eq!(counts.count(user), Count::Ask { before: 0 }, "no request yet");
        counts.update(user, standing(29));
        assert_eq!([28, 27, 26].map(|_| counts.count(user)), [let_through(28, true), let_through(27, false), let_through(26, false)]);
        assert_eq!(counts.count(user), Count::Ask { before: 3 });
        assert_eq!(counts.count(user), Count::Ask { before: 0 }, "each is reported once");
        counts.update(user, Standing { allowed: false, ..standing(99) });
        assert_eq!(counts.count(user), Count::Ask { before: 0 }, "a refused user");
        assert_eq!(counts.count(Uuid::now_v7()), Count::Ask { before: 0 }, "another user");
    }

    #[test]
    fn unreported_requests_are_subtracted() {
        let (counts, user) = (LocalCounts::default(), Uuid::now_v7());
        counts.update(user, standing(99));
        assert_eq!(counts.count(user), let_through(98, true));
        assert_eq!(counts.update(user, standing(97)), standing(96), "another console let one through");
        assert_eq!(counts.count(user), let_through(95, false));
        assert_eq!((counts.take_unreported(user), counts.take_unreported(user)), (2, 0));
        counts.update(user, standing(95));
        assert_eq!(counts.count(user), let_through(94, true));
        let mut accounts = counts.lock();
        let account = accounts.get_mut(&user).unwrap();
        account.asked = account.asked.checked_sub(MAX_AGE).unwrap();
        drop(accounts);
        assert_eq!(counts.count(user), Count::Ask { before: 1 }, "an old state is not used");
    }

    #[test]
    fn the_number_of_users_is_limited() {
        let counts = LocalCounts::default();
        for _ in 0..2 * MAX_USERS {
            counts.update(Uuid::now_v7(), standing(99));
        }
        assert_eq!(counts.0.lock().unwrap().len(), MAX_USERS);
    }
}
