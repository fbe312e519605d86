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
    pub fn set_down(&self, is_down: bool) {
        self.0.is_down.send_replace(is_down);
    }

    pub fn is_down(&self) -> bool {
        *self.0.is_down.borrow()
    }

    /// Fails with the reason if the server is down.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.is_down() { Err("not sent, because the health checks cannot reach the server") } else { Ok(()) }
    }

    /// Like [`Self::check`]; before it fails, requests a trial and waits for its success, up to [`GRACE`].
    pub(super) async fn check_again(&self) -> Result<(), &'static str> {
        if !self.is_down() {
            return Ok(());
        }
        self.0.wanted.notify_one();
        let mut is_down = self.0.is_down.subscribe();
        let _ = tokio::time::timeout(GRACE, is_down.wait_for(|is_down| !is_down)).await;
        self.check()
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
        assert!(availability.check_again().await.is_ok());
        availability.set_down(true);
        assert!(availability.check_again().await.is_err());
        let returns = async {
            availability.wanted().await;
            availability.set_down(false);
        };
        let (checked, ()) = tokio::join!(availability.check_again(), returns);
        assert!(checked.is_ok());
    }
}
