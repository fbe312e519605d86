//! Work that is repeated as long as the process runs.

use std::time::Duration;

use tokio::task::JoinSet;

/// Runs `work` forever, with a pause after each run.
pub(super) async fn run<W: Future<Output = ()>>(pause: Duration, work: impl Fn() -> W) {
    loop {
        work().await;
        tokio::time::sleep(pause).await;
    }
}

/// Runs `task` until it panics, and again after `pause`, forever. Dropping the future aborts the task. `name` is for the log,
/// as in "settling uploads failed".
pub async fn restart_on_panic<T>(name: &str, pause: Duration, task: impl Fn() -> T)
where
    T: Future<Output = ()> + Send + 'static,
{
    loop {
        let mut running = JoinSet::new();
        running.spawn(task());
        if let Some(Err(error)) = running.join_next().await {
            log::error!("{name} failed and is restarted: {error}");
        }
        tokio::time::sleep(pause).await;
    }
}

/// The pause between checks for expired leases: a quarter of a lease, between a second and a minute.
pub(super) fn lease_check_pause(lease: Duration) -> Duration {
    (lease / 4).clamp(Duration::from_secs(1), Duration::from_secs(60))
}
