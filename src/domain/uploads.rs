//! Uploads: receiving files, publishing them only when complete, and their history.
//!
//! A `files` row is written before the first byte; the object is published completely or not at all; then the row
//! becomes `ready` and is audited in one transaction. [`reaper`] finds uploads that crashed in between.

mod activity;
mod attempt;
mod failure;
mod history;
mod limits;
pub mod multipart_list;
mod publishing;
mod receiving;
mod recovery;
pub mod resume;
mod row;
mod streaming;
pub(super) mod today;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use activity::Activity;
pub use failure::{code, incomplete};
pub use history::{BATCH_PAGE, Batch, Filter, Page, batch, list};
pub use limits::memory_limit::MemoryLimit;
pub use receiving::intake::Intake;
pub use receiving::receiver::{FileOutcome, Receiver};
pub use receiving::upload::Upload;
pub use recovery::reaper;
pub use streaming::part_buffer::or_release;
pub use streaming::parts::largest;

pub use super::files::FileState;

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
    /// Only while pending.
    pub activity: Option<Activity>,
    /// Pending, and can be resumed.
    pub resumable: Option<Progress>,
    pub uploaded_by: String,
    /// Why it failed, as a sentence.
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// Progress of a resumable upload, in bytes.
#[derive(Clone, Debug)]
pub struct Progress {
    pub length: i64,
    pub received: i64,
    /// When it is cancelled, unless another part arrives.
    pub kept_until: DateTime<Utc>,
}
