//! The `files` table: one row for each attempt to store an object.

mod records;

use diesel::sql_types::{Array, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

pub use records::Origin;
pub(super) use records::records;

use crate::stores::postgres::text_enum;

text_enum! {
    pub enum FileState {
        Pending = "pending",
        Ready = "ready",
        /// Replaced by another object with the same key.
        Superseded = "superseded",
        Deleting = "deleting",
        Deleted = "deleted",
        Failed = "failed",
        /// Cancelled by its sender.
        Cancelled = "cancelled",
    }
}

impl FileState {
    /// The states of attempts that ended without storing an object.
    pub const NOT_STORED: [Self; 2] = [Self::Failed, Self::Cancelled];

    pub fn is_not_stored(self) -> bool {
        Self::NOT_STORED.contains(&self)
    }
}

/// The object metadata that contains the ID of the row that created the object.
pub(super) const OWNER: &str = "larder-upload";

/// Serializes the transactions that decide which row of a key is `ready`: uploads, and deletions that kept the object.
pub(super) async fn lock_keys(conn: &mut AsyncPgConnection, bucket: &str, keys: Vec<&str>) -> diesel::QueryResult<()> {
    // In a fixed order, so that two batches cannot deadlock.
    let query = diesel::sql_query(
        "SELECT pg_advisory_xact_lock(id) FROM (
             SELECT DISTINCT hashtextextended($1 || '/' || key, 20261125) AS id FROM unnest($2) AS key ORDER BY id
         ) AS ids",
    );
    query.bind::<Text, _>(bucket).bind::<Array<Text>, _>(keys).execute(conn).await.map(|_| ())
}
