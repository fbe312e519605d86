//! The one place that reads the wall clock. Leases and heartbeats do not use it: they go by the database's.

use chrono::{DateTime, Utc};

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}
