//! Layer 2 against real servers: the domain's guarantees, without pages.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

#[path = "../support/mod.rs"]
mod support;

mod abilities;
mod cache;
mod deletions;
mod deny;
mod forged;
mod health;
mod interrupted_deletions;
mod limits;
mod people;
mod reconcile;
mod resume;
mod sign_in;
mod uploads;
