//! Floor 2: what Larder does, on real servers and without HTTP.

#[path = "../support/mod.rs"]
mod support;
