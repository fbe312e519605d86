//! Waiting for a condition instead of sleeping and hoping.

use std::time::{Duration, Instant};

/// Waits until `condition` holds, at most 30 s; `what` is said when it does not.
pub async fn eventually(what: &str, condition: impl AsyncFnMut() -> bool) {
    eventually_within(Duration::from_secs(30), what, condition).await;
}

/// As `eventually`, with a limit of the test's own.
pub async fn eventually_within(limit: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
