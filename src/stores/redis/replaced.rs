//! Connections that are closed instead of reused, because their server refused a command as a replica.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// While the address leads to a replica, connections are replaced at most this often.
const INTERVAL: Duration = Duration::from_secs(1);

/// Shared by all pools of one server: a failover affects each of their connections.
#[derive(Clone, Default)]
pub(super) struct ReplacedConnections {
    opened_before: Arc<Mutex<Option<Instant>>>,
}

impl ReplacedConnections {
    /// Whether a connection opened at this time must be closed.
    pub fn includes(&self, opened: Instant) -> bool {
        self.opened_before.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|before| opened <= before)
    }

    /// The server refused a command on a connection opened at this time: all current connections are to be replaced. Returns
    /// whether a new connection may reach another server.
    pub fn replace(&self, opened: Instant) -> bool {
        let mut opened_before = self.opened_before.lock().unwrap_or_else(PoisonError::into_inner);
        if opened_before.is_none_or(|before| opened > before && before.elapsed() >= INTERVAL) {
            *opened_before = Some(Instant::now());
        }
        opened_before.is_some_and(|before| opened <= before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_replaced_once_after_a_refusal() {
        let (replaced, old) = (ReplacedConnections::default(), Instant::now());
        assert!(!replaced.includes(old));
        assert!(replaced.replace(old) && replaced.replace(old) && replaced.includes(old));
        let new = Instant::now();
        assert!(!replaced.replace(new) && !replaced.includes(new), "the address still leads to a replica");
    }
}
