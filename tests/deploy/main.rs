//! The files of `deploy/`, and the servers configured with them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

#[path = "../support/mod.rs"]
mod support;

mod alerts;
mod containers;
mod database_roles;
mod kubernetes;
mod policies;
mod systemd;
