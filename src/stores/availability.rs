//! Whether a server is known to be down, so that requests to it fail at once instead of each waiting for its own deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by all clones of a store. Set by the health checks, which use connections of their own.
#[derive(Clone, Debug, Default)]
pub struct Availability(Arc<AtomicBool>);

impl Availability {
    /// For errors of requests that were not sent.
    pub const REASON: &'static str = "not tried, because the health checks find it down";

    pub fn set_down(&self, is_down: bool) {
        self.0.store(is_down, Ordering::Relaxed);
    }

    pub fn is_down(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
