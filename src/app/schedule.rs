//! What runs in the background for the life of the process. Replicas may run all of it at the same time.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::domain::{Context, abilities, cache, health, objects, periodic, redis_metrics, uploads};

/// When a task begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Immediately,
    /// After the migrations.
    WithDatabase,
    /// After the configured buckets exist.
    WithStore,
}

pub(super) struct Task {
    /// For the log, as in "settling uploads failed".
    pub name: &'static str,
    /// How often, for readers and for the log.
    pub interval: &'static str,
    pub start: Start,
    run: fn(Context) -> BoxFuture<'static, ()>,
}

pub(super) const TASKS: [Task; 7] = [
    // One replica at a time, by a lock in Redis.
    Task { name: "sampling Redis metrics", interval: "5 s", start: Start::Immediately, run: |ctx| redis_metrics::run(ctx).boxed() },
    // Hits, misses and computations of this process, added to the totals in Redis.
    Task { name: "adding up cache statistics", interval: "5 s", start: Start::Immediately, run: |ctx| cache::keep_totals(ctx).boxed() },
    // Store connections of downloads whose client does not read.
    Task {
        name: "closing the store connections of slow downloads",
        interval: "1 s",
        start: Start::Immediately,
        run: |ctx| objects::park_slow_downloads(ctx).boxed(),
    },
    // Uploads without a heartbeat, and multipart uploads that no row names.
    Task {
        name: "settling uploads",
        interval: "a quarter of the lease, 1 to 60 s",
        start: Start::WithDatabase,
        run: |ctx| uploads::reaper::run(ctx).boxed(),
    },
    // Deletions whose process ended between the store and the record.
    Task {
        name: "settling deletions",
        interval: "a quarter of the lease, 1 to 60 s",
        start: Start::WithDatabase,
        run: |ctx| objects::deletions::run(ctx).boxed(),
    },
    // The minutes of the health history, to Postgres.
    Task { name: "writing the health history", interval: "10 s", start: Start::WithDatabase, run: |ctx| health::keep(ctx).boxed() },
    // Features of the store that its version may have changed.
    Task { name: "probing the store's features", interval: "1 h", start: Start::WithStore, run: |ctx| abilities::keep_fresh(ctx).boxed() },
];

/// Runs all tasks that begin with `start`.
pub(super) async fn run(ctx: &Context, start: Start) {
    let tasks = TASKS.iter().filter(|task| task.start == start);
    futures_util::future::join_all(tasks.map(|task| run_forever(task, ctx))).await;
}

/// One bad row must not stop the settling of all others.
async fn run_forever(task: &Task, ctx: &Context) {
    log::debug!("{}: every {}", task.name, task.interval);
    periodic::restart_on_panic(task.name, Duration::from_secs(5), || (task.run)(ctx.clone())).await;
}
