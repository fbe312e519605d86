//! Floor 2 against the real servers: what Larder promises, without a page in between.

#[path = "../support/mod.rs"]
mod support;

mod deletions;
mod people;
mod sign_in;
mod uploads;
