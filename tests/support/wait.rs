//! Waits for a condition instead of sleeping.

use std::time::{Duration, Instant};

/// Waits up to 30 s until `condition` holds; `what` is shown otherwise.
pub async fn eventually(what: &str, condition: impl AsyncFnMut() -> bool) {
    eventually_within(Duration::from_secs(30), what, condition).await;
}

/// Like `eventually`, with the given limit.
pub async fn eventually_within(limit: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
