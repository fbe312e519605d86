//! Uploads: receiving, and what came in through Larder.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::actor::Actor;
use super::{Context, Result};

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
    /// No heartbeat for longer than the lease: nobody is sending any more.
    pub stalled: bool,
    pub uploaded_by: String,
    /// Why it failed, a sentence.
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    Pending,
    Ready,
    Superseded,
    Deleting,
    Deleted,
    Failed,
}

#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Beginning of the name or of the key.
    pub q: Option<String>,
    pub bucket: Option<String>,
    pub state: Option<FileState>,
    pub cursor: Option<String>,
}

pub struct Page {
    /// Newest first; only on the first page without a state filter.
    pub unfinished: Vec<File>,
    pub arrived: Vec<File>,
    pub next: Option<String>,
    pub today_files: i64,
    pub today_bytes: i64,
}

pub async fn list(ctx: &Context, actor: &Actor, filter: &Filter) -> Result<Page> {
    todo!()
}

/// The files of one form, in the order in which they came. NotFound where there is none.
pub async fn batch(ctx: &Context, actor: &Actor, id: Uuid) -> Result<Vec<File>> {
    todo!()
}

/// Memory for parts in flight, shared by every upload of the process.
#[derive(Clone)]
pub struct Budget;
