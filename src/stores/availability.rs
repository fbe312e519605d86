//! Whether a server is known to be down, so that requests to it fail immediately instead of each waiting for its own deadline.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

/// How long a request waits for a trial that is running, because the server may just have returned.
const GRACE: Duration = Duration::from_millis(40);

/// Shared by all clones of a store. Set by the health checks, which use connections of their own.
#[derive(Clone, Debug, Default)]
pub struct Availability(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    is_down: watch::Sender<bool>,
    /// A request arrived while the server was down.
    wanted: Notify,
}

impl Availability {
    /// For errors of requests that were not sent.
    pub const REASON: &'static str = "not sent, because the health checks cannot reach the server";

    pub fn set_down(&self, is_down: bool) {
        self.0.is_down.send_replace(is_down);
    }

    pub fn is_down(&self) -> bool {
        *self.0.is_down.borrow()
    }

    /// Whether a request may be sent. While the server is down, requests a trial and waits for its success, up to [`GRACE`].
    pub(super) async fn admits(&self) -> bool {
        if !self.is_down() {
            return true;
        }
        self.0.wanted.notify_one();
        let mut is_down = self.0.is_down.subscribe();
        tokio::time::timeout(GRACE, is_down.wait_for(|is_down| !is_down)).await.is_ok()
    }

    /// Waits for a request that arrived while the server was down.
    pub async fn wanted(&self) {
        self.0.wanted.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_at_the_moment_of_the_return_is_not_refused() {
        let availability = Availability::default();
        assert!(availability.admits().await);
        availability.set_down(true);
        assert!(!availability.admits().await);
        let returns = async {
            availability.wanted().await;
            availability.set_down(false);
        };
        let (is_admitted, ()) = tokio::join!(availability.admits(), returns);
        assert!(is_admitted);
    }
}
