//! The memory and slots that all uploads share, and how much of them a sender can use.

pub(super) mod memory_limit;
pub(super) mod send_rate;
