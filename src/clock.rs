//! The only place that reads the wall clock. Leases and heartbeats use the database's clock instead.

use chrono::{DateTime, Utc};

#[expect(clippy::disallowed_methods, reason = "the only place that reads the wall clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}
