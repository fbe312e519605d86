//! Whether this process accepts traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this process accepts traffic: the first migration check has ended and it is not draining.
#[derive(Clone, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::SeqCst);
    }

    pub fn get(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
