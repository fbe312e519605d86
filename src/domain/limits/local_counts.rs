//! Requests that a process lets through by itself, and tells Redis of a moment later, all together.
//!
//! Only while somebody is far from the limit: their last quarter is counted in Redis request by request. Until Redis has
//! heard of them several consoles may let through more than the limit; all are counted, so it is paid back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::Standing;

/// How late Redis hears of a request.
pub(super) const DELAY: Duration = Duration::from_millis(100);
/// How long what Redis said last is believed.
const BELIEVED: Duration = Duration::from_secs(1);
const MOST: usize = 1000;

/// By person.
#[derive(Clone, Default)]
pub struct LocalCounts(Arc<Mutex<HashMap<Uuid, Account>>>);

struct Account {
    /// As Redis said last.
    standing: Standing,
    asked: Instant,
    /// Let through, and Redis does not know.
    unreported: u64,
}

/// What comes of one request more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// It is let through. Whose it is the first of, tells Redis after [`DELAY`].
    LetThrough { standing: Standing, is_first: bool },
    /// Redis has to be asked, and told of so many before.
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
        if !allowed || left <= policy.limit / 4 || account.asked.elapsed() >= BELIEVED {
            // Until the answer is there.
            account.standing.remaining = left;
            return Count::Ask { before: std::mem::take(&mut account.unreported) };
        }
        account.unreported += 1;
        Count::LetThrough { standing: Standing { remaining: left, ..account.standing }, is_first: account.unreported == 1 }
    }

    /// What Redis has to be told of; it counts as told.
    pub(super) fn take_unreported(&self, user: Uuid) -> u64 {
        let mut accounts = self.lock();
        let Some(account) = accounts.get_mut(&user) else { return 0 };
        account.standing.remaining = account.standing.remaining.saturating_sub(account.unreported);
        std::mem::take(&mut account.unreported)
    }

    /// What Redis says of this person; how they stand with those that it has not been told of.
    pub(super) fn update(&self, user: Uuid, standing: Standing) -> Standing {
        let mut accounts = self.lock();
        if accounts.len() >= MOST && !accounts.contains_key(&user) {
            accounts.retain(|_, account| account.unreported > 0 || account.asked.elapsed() < BELIEVED);
            if accounts.len() >= MOST {
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
    fn redis_hears_of_every_request_once_and_of_the_last_quarter_one_by_one() {
        let (counts, user) = (LocalCounts::default(), Uuid::now_v7());
        assert_eq!(counts.count(user), Count::Ask { before: 0 }, "nobody has asked yet");
        counts.update(user, standing(29));
        assert_eq!([28, 27, 26].map(|_| counts.count(user)), [let_through(28, true), let_through(27, false), let_through(26, false)]);
        assert_eq!(counts.count(user), Count::Ask { before: 3 });
        assert_eq!(counts.count(user), Count::Ask { before: 0 }, "each is told of once");
        counts.update(user, Standing { allowed: false, ..standing(99) });
        assert_eq!(counts.count(user), Count::Ask { before: 0 }, "whoever was refused");
        assert_eq!(counts.count(Uuid::now_v7()), Count::Ask { before: 0 }, "somebody else");
    }

    #[test]
    fn what_redis_does_not_know_yet_is_left_over() {
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
        account.asked = account.asked.checked_sub(BELIEVED).unwrap();
        drop(accounts);
        assert_eq!(counts.count(user), Count::Ask { before: 1 }, "what was said long ago is not believed");
    }

    #[test]
    fn there_is_an_end_to_those_it_knows() {
        let counts = LocalCounts::default();
        for _ in 0..2 * MOST {
            counts.update(Uuid::now_v7(), standing(99));
        }
        assert_eq!(counts.0.lock().unwrap().len(), MOST);
    }
}
