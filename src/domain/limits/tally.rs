//! Requests that one process counts by itself, and tells Redis of a little later.
//!
//! Only while somebody is far from the limit: their last quarter is counted in Redis request by request. Several
//! consoles can let through more than the limit within [`DELAY`], once; it is counted all the same, and paid back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::Standing;

/// How late Redis may hear of a request.
const DELAY: Duration = Duration::from_millis(100);
const MOST: usize = 1000;

/// By person.
#[derive(Clone, Default)]
pub struct Tally(Arc<Mutex<HashMap<Uuid, Account>>>);

struct Account {
    /// As Redis said last.
    standing: Standing,
    asked: Instant,
    /// Let through since.
    untold: u64,
}

impl Tally {
    /// How this person stands after one request more. `Err` where Redis has to be asked, and told of so many before.
    pub(super) fn count(&self, user: Uuid) -> Result<Standing, u64> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(account) = accounts.get_mut(&user) else { return Err(0) };
        let Standing { policy, remaining, .. } = account.standing;
        let (age, left) = (account.asked.elapsed(), remaining.saturating_sub(account.untold + 1));
        if age >= DELAY || left < policy.limit / 4 {
            let untold = std::mem::take(&mut account.untold);
            // Whoever comes meanwhile need not wait for the answer.
            (account.standing.remaining, account.asked) = (left, Instant::now());
            return Err(if age < policy.window { untold } else { 0 });
        }
        account.untold += 1;
        Ok(Standing { remaining: left, ..account.standing })
    }

    /// What Redis says of this person; how they stand with those that it has not been told of.
    pub(super) fn told(&self, user: Uuid, standing: Standing) -> Standing {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= MOST && !accounts.contains_key(&user) {
            accounts.retain(|_, account| {
                let age = account.asked.elapsed();
                age < DELAY || (account.untold > 0 && age < account.standing.policy.window)
            });
            if accounts.len() >= MOST {
                return standing;
            }
        }
        let untold = accounts.get(&user).map_or(0, |account| account.untold);
        accounts.insert(user, Account { standing, asked: Instant::now(), untold });
        Standing { remaining: standing.remaining.saturating_sub(untold), ..standing }
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

    fn age(tally: &Tally, user: Uuid, by: Duration) {
        let mut accounts = tally.0.lock().unwrap();
        let account = accounts.get_mut(&user).unwrap();
        account.asked = account.asked.checked_sub(by).unwrap();
    }

    #[test]
    fn redis_hears_of_every_request_once_and_of_the_last_quarter_one_by_one() {
        let (tally, user) = (Tally::default(), Uuid::now_v7());
        assert_eq!(tally.count(user), Err(0), "nobody has asked yet");
        tally.told(user, standing(28));
        for left in [27, 26, 25] {
            assert_eq!(tally.count(user), Ok(standing(left)));
        }
        assert_eq!(tally.count(user), Err(3));
        assert_eq!(tally.count(user), Err(0), "each is told of once");
        tally.told(user, standing(20));
        assert_eq!(tally.count(user), Err(0));
        assert_eq!(tally.count(Uuid::now_v7()), Err(0), "somebody else");
    }

    #[test]
    fn redis_is_asked_again_soon_and_not_told_of_what_is_over() {
        let (tally, user) = (Tally::default(), Uuid::now_v7());
        tally.told(user, standing(99));
        assert_eq!(tally.count(user), Ok(standing(98)));
        age(&tally, user, DELAY);
        assert_eq!(tally.count(user), Err(1));
        assert_eq!(tally.count(user), Ok(standing(96)), "while the answer is on its way");
        assert_eq!(tally.told(user, standing(97)), standing(96));
        assert_eq!(tally.count(user), Ok(standing(95)), "what came meanwhile is not forgotten");
        age(&tally, user, POLICY.window);
        assert_eq!(tally.count(user), Err(0), "a window later it counts no more");
    }

    #[test]
    fn there_is_an_end_to_those_it_knows() {
        let tally = Tally::default();
        for _ in 0..2 * MOST {
            tally.told(Uuid::now_v7(), standing(99));
        }
        assert_eq!(tally.0.lock().unwrap().len(), MOST);
    }
}
