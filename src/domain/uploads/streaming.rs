//! Sends a large file to the store part by part while it is received.

pub(super) mod part_buffer;
pub(super) mod parts;
