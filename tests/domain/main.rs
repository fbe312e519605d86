//! Floor 2: what Larder does, on real servers and without HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a test that fails")]

#[path = "../support/mod.rs"]
mod support;
