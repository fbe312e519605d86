//! Reads that the audit log has recorded recently, so that resumed downloads and seeking in videos do not
//! fill it.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::domain::audit::Action;

/// How long reads of the remaining bytes count as part of a recorded read.
const WINDOW: Duration = Duration::from_secs(3600);
const MAX: usize = 10_000;

/// Other replicas record the same read again, but no read is missed.
#[derive(Clone, Default)]
pub struct ReadLog(Arc<Mutex<HashMap<Read, Recorded>>>);

/// One session and one state of one object.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Read {
    pub session: Uuid,
    pub action: Action,
    pub resource: String,
    pub etag: String,
}

struct Recorded {
    /// The bytes in the event.
    bytes: RangeInclusive<u64>,
    at: Instant,
}

impl ReadLog {
    /// Whether an event of this session covers these bytes. `resumed`: only those after its first byte.
    pub(super) fn covers(&self, read: &Read, bytes: &RangeInclusive<u64>, resumed: bool) -> bool {
        let recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.get(read).filter(|recorded| recorded.at.elapsed() < WINDOW).is_some_and(|recorded| {
            let contained = recorded.bytes.contains(bytes.start()) && recorded.bytes.contains(bytes.end());
            contained && (!resumed || bytes.start() > recorded.bytes.start())
        })
    }

    /// Stores that an event with these bytes was recorded.
    pub(super) fn add(&self, read: Read, bytes: RangeInclusive<u64>) {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recorded.len() >= MAX {
            recorded.retain(|_, recorded| recorded.at.elapsed() < WINDOW);
            if recorded.len() >= MAX {
                recorded.clear();
            }
        }
        recorded.insert(read, Recorded { bytes, at: Instant::now() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bytes_that_the_same_session_read_of_the_same_object_are_covered() {
        let log = ReadLog::default();
        let read = Read { session: Uuid::now_v7(), action: Action::ObjectDownload, resource: "s3://a/b".into(), etag: "e".into() };
        log.add(read.clone(), 10..=99);
        assert!(log.covers(&read, &(10..=99), false) && log.covers(&read, &(50..=60), true));
        assert!(!log.covers(&read, &(9..=20), false) && !log.covers(&read, &(50..=100), false));
        assert!(!log.covers(&read, &(10..=99), true), "a whole download again is another one");
        for other in [
            Read { session: Uuid::now_v7(), ..read.clone() },
            Read { action: Action::ObjectPreview, ..read.clone() },
            Read { resource: "s3://a/c".into(), ..read.clone() },
            Read { etag: "f".into(), ..read.clone() },
        ] {
            assert!(!log.covers(&other, &(50..=60), false));
        }
    }
}
