//! Fault tests: what must hold when Larder crashes, connections break, the store misbehaves or a disk is full.
//!
//! `LARDER_FAULTS=long` (`make faults`) runs more iterations and waits longer; `LARDER_FAULTS_SEED` repeats a run.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where it stopped")]

#[path = "../support/mod.rs"]
mod support;

mod attacks;
mod checker;
mod child;
mod cuts;
mod disk;
mod health;
mod kills;
mod ledger;
mod points;
mod races;
mod random;
mod raw;
mod resumable;
mod sender;
mod stops;
mod store;

/// Whether the long form is selected.
fn is_long() -> bool {
    std::env::var_os("LARDER_FAULTS").is_some_and(|form| form == "long")
}

/// A count or duration of the short form, or of the long one.
fn either<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}
