//! Settles what crashed processes left behind: rows without a heartbeat, and multipart uploads without a row.

mod orphans;
pub mod reaper;
