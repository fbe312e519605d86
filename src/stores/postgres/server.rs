//! The server at one URL, and what its connections have learned about it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::sqlstate::{DISK_FULL, READ_ONLY_SQL_TRANSACTION};
use crate::config::Secret;

/// Larder writes something every minute, so that a disk that is still full is reported again within this time.
const DISK_FULL_FOR: Duration = Duration::from_secs(70);

#[derive(Clone)]
pub(super) struct Server {
    pub url: Secret,
    pub observed: Arc<Observed>,
}

impl Server {
    pub fn new(url: &Secret) -> Self {
        Self { url: url.clone(), observed: Arc::default() }
    }
}

/// Shared by all connections to one server.
#[derive(Default)]
pub(super) struct Observed {
    read_only_at: Mutex<Option<Instant>>,
    disk_full_at: Mutex<Option<Instant>>,
    access: AtomicU8,
}

/// Whether a pooler that assigns a server connection to each transaction is in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Access {
    Unknown,
    Direct,
    Pooler,
}

impl Observed {
    /// Called for each error of the server.
    pub fn record(&self, code: &[u8]) {
        let last = match code {
            code if code == READ_ONLY_SQL_TRANSACTION.as_bytes() => &self.read_only_at,
            code if code == DISK_FULL.as_bytes() => &self.disk_full_at,
            _ => return,
        };
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// When a statement was last rejected because the server is read-only.
    pub fn read_only_at(&self) -> Option<Instant> {
        *self.read_only_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_disk_full(&self) -> bool {
        self.disk_full_at.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() < DISK_FULL_FOR)
    }

    pub fn access(&self) -> Access {
        match self.access.load(Ordering::Relaxed) {
            1 => Access::Direct,
            2 => Access::Pooler,
            _ => Access::Unknown,
        }
    }

    /// Returns whether this was not known before.
    pub fn set_access(&self, access: Access) -> bool {
        self.access.swap(access as u8, Ordering::Relaxed) != access as u8
    }
}
