//! Sessions recently seen by this process: for read-only pages, and for the health page, which must open during an
//! outage.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{COPY, Session, hash_of};
use crate::domain::Context;
use crate::domain::health::Service;

/// How long a session stays valid while Postgres is down, when no session can be ended either.
const OUTAGE: Duration = Duration::from_secs(3600);
/// How long a read-only page may accept a session that was ended at another console.
const RECENT: Duration = Duration::from_secs(1);
const MAX_SESSIONS: usize = 1000;

/// By the digest of the token: the session, and when it was last confirmed.
type Seen = HashMap<Vec<u8>, (Session, Instant)>;

#[derive(Clone, Default)]
pub struct SessionCache(Arc<Inner>);

#[derive(Default)]
struct Inner {
    seen: Mutex<Seen>,
    /// Number of times that a session was removed.
    forgotten: AtomicU64,
}

/// A lookup in progress.
#[derive(Clone, Copy)]
pub(in crate::domain) struct Lookup {
    at: Instant,
    forgotten: u64,
}

impl Lookup {
    pub fn took(&self) -> Duration {
        self.at.elapsed()
    }
}

impl SessionCache {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Call this before looking up the session.
    pub(in crate::domain) fn asking(&self) -> Lookup {
        Lookup { at: Instant::now(), forgotten: self.0.forgotten.load(Ordering::SeqCst) }
    }

    /// Stores the result of a lookup, unless a session was ended here since it started: it may have been this one.
    pub(super) fn enter(&self, hash: &[u8], session: &Session, asking: Lookup) {
        let mut known = self.lock();
        if self.0.forgotten.load(Ordering::SeqCst) != asking.forgotten {
            return;
        }
        if known.len() >= MAX_SESSIONS && !known.contains_key(hash) {
            known.retain(|_, (_, seen)| seen.elapsed() < COPY);
            if known.len() >= MAX_SESSIONS {
                return;
            }
        }
        known.insert(hash.to_vec(), (session.clone(), asking.at));
    }

    /// The session was not found.
    pub(super) fn remove(&self, hash: &[u8]) {
        self.lock().remove(hash);
    }

    /// The session was ended: lookups in progress are not stored.
    pub(super) fn forget(&self, hash: &[u8]) {
        let mut known = self.lock();
        self.0.forgotten.fetch_add(1, Ordering::SeqCst);
        known.remove(hash);
    }

    /// Whether this process has seen the session within the hour.
    pub(in crate::domain) fn has_seen(&self, hash: &[u8]) -> bool {
        self.within(hash, OUTAGE).is_some()
    }

    /// The user of a session that this process has seen within the hour. It may have ended since.
    pub(in crate::domain) fn user_of(&self, hash: &[u8]) -> Option<Uuid> {
        self.within(hash, OUTAGE).map(|session| session.user)
    }

    fn within(&self, hash: &[u8], age: Duration) -> Option<Session> {
        self.lock().get(hash).filter(|(_, seen)| seen.elapsed() < age).map(|(session, _)| session.clone())
    }
}

/// The session, if confirmed within the last second; for read-only pages.
pub fn recently_seen(ctx: &Context, token: &str) -> Option<Session> {
    ctx.session_cache.within(&hash_of(token)?, RECENT)
}

/// The session of a token for a page that must open while no store answers: as this process saw it a moment ago, and
/// while Postgres is unavailable within the hour. A session that was ended at another replica is noticed ten seconds
/// later.
pub fn cached(ctx: &Context, token: &str) -> Option<Session> {
    let age = if ctx.health.one(Service::Postgres).healthy { COPY } else { OUTAGE };
    ctx.session_cache.within(&hash_of(token)?, age)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::actor::Role;

    fn session(name: &str) -> Session {
        let (id, tenant, user) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
        Session { id, tenant, user, name: name.into(), email: String::new(), role: Role::Viewer }
    }

    #[test]
    fn sessions_are_cached_until_removed_and_their_number_is_limited() {
        let known = SessionCache::default();
        known.enter(b"one", &session("one"), known.asking());
        assert_eq!(known.within(b"one", COPY).unwrap().name, "one");
        assert!(known.within(b"one", Duration::ZERO).is_none() && known.within(b"two", COPY).is_none());
        for at in 0..2 * MAX_SESSIONS {
            known.enter(&at.to_be_bytes(), &session("many"), known.asking());
        }
        assert_eq!(known.lock().len(), MAX_SESSIONS);
        known.forget(b"one");
        assert!(known.within(b"one", COPY).is_none());
    }

    #[test]
    fn a_lookup_started_before_the_end_of_a_session_is_not_stored() {
        let known = SessionCache::default();
        let asking = known.asking();
        known.forget(b"one");
        known.enter(b"one", &session("one"), asking);
        assert!(known.within(b"one", COPY).is_none());
        known.enter(b"one", &session("one"), known.asking());
        assert!(known.within(b"one", COPY).is_some());
    }
}
