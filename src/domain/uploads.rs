//! Uploads: receiving, publishing only what is whole, and what came in through Larder.
//!
//! A `files` row stands before the first byte; the object is published whole or not at all; the row is `ready`,
//! and audited, in one transaction after that. Whatever dies in between is found by [`reaper`].

mod activity;
mod attempt;
mod batch;
mod engine;
mod failure;
mod fair_pool;
mod history;
mod intake;
mod memory_limit;
pub mod multipart_list;
mod orphans;
mod part_buffer;
mod parts;
mod publish;
pub mod reaper;
mod receiver;
pub mod resume;
pub(super) mod row;
mod send_rate;
mod target;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use activity::Activity;
pub use engine::Upload;
pub(super) use failure::CANCELLED;
pub use failure::{code, cut};
pub(super) use history::known;
pub use history::{BATCH_PAGE, Batch, Filter, Page, batch, list};
pub use intake::Intake;
pub use memory_limit::MemoryLimit;
pub use part_buffer::or_release;
pub use parts::largest;
pub use receiver::{Ended, Receiver};

/// One attempt to store a file.
#[derive(Clone, Debug)]
pub struct File {
    pub id: Uuid,
    pub batch_id: Uuid,
    pub bucket: String,
    pub key: String,
    pub name: String,
    pub size: Option<i64>,
    /// Hexadecimal.
    pub sha256: Option<String>,
    pub etag: Option<String>,
    pub state: FileState,
    /// While it is pending.
    pub activity: Option<Activity>,
    /// Pending, and may be gone on with.
    pub resumable: Option<Progress>,
    pub uploaded_by: String,
    /// Why it failed, a sentence.
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// How far an upload has come that can be resumed; lengths in bytes.
#[derive(Clone, Debug)]
pub struct Progress {
    pub length: i64,
    pub received: i64,
    /// When it is given up, unless another part comes.
    pub kept_until: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    Pending,
    Ready,
    Superseded,
    Deleting,
    Deleted,
    Failed,
    /// By its own sender. The record says `failed`, and why.
    Cancelled,
}

impl FileState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Superseded => "superseded",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Of a row; `error` is what the row says of why it failed.
    fn of_row(state: &str, error: Option<&str>) -> Self {
        let found = [Self::Pending, Self::Ready, Self::Superseded, Self::Deleting, Self::Deleted];
        match found.into_iter().find(|known| known.as_str() == state) {
            Some(known) => known,
            None if error.is_some_and(|why| CANCELLED.contains(&why)) => Self::Cancelled,
            None => Self::Failed,
        }
    }
}

/// The metadata name under which an object carries the id of the row that made it.
pub(in crate::domain) const OWNER: &str = "larder-upload";
