//! Work that is repeated as long as the process runs.

use std::time::Duration;

/// Runs `work` forever, with a pause after each run.
pub(super) async fn run<W: Future<Output = ()>>(pause: Duration, work: impl Fn() -> W) {
    loop {
        work().await;
        tokio::time::sleep(pause).await;
    }
}

/// The pause between checks for expired leases: a quarter of a lease, between a second and a minute.
pub(super) fn lease_check_pause(lease: Duration) -> Duration {
    (lease / 4).clamp(Duration::from_secs(1), Duration::from_secs(60))
}
