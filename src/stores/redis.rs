//! Redis: one lazy pool with every time-out set.

#[derive(Clone)]
pub struct Redis;
