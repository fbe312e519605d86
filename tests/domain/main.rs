//! Floor 2 against the real servers: what Larder promises, without a page in between.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a test that fails")]

#[path = "../support/mod.rs"]
mod support;

mod abilities;
mod cache;
mod deletions;
mod deny;
mod forged;
mod health;
mod limits;
mod people;
mod reconcile;
mod resume;
mod sign_in;
mod unfinished;
mod uploads;
