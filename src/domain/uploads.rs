//! Uploads: receiving files, publishing them only when complete, and their history.
//!
//! A `files` row is written before the first byte; the object is published completely or not at all; then the row
//! becomes `ready` and is audited in one transaction. [`reaper`] finds uploads that crashed in between.

mod activity;
mod attempt;
mod batch;
mod commit;
mod engine;
mod failure;
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
mod row;
mod send_rate;
mod target;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use activity::Activity;
pub use engine::Upload;
pub use failure::{code, cut};
pub(super) use history::records;
pub use history::{BATCH_PAGE, Batch, Filter, Page, batch, list};
pub use intake::Intake;
pub use memory_limit::MemoryLimit;
pub use part_buffer::or_release;
pub use parts::largest;
pub use receiver::{FileOutcome, Receiver};

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
