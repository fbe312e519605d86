//! Bytes and files that this process has transferred since it started.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How an upload of a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadOutcome {
    Stored,
    /// Larder rejected the file.
    Refused,
    Failed,
    /// Cancelled by a user.
    Cancelled,
}

impl UploadOutcome {
    pub const ALL: [Self; 4] = [Self::Stored, Self::Refused, Self::Failed, Self::Cancelled];

    /// In metrics.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Clone, Default)]
pub struct TransferCounters(Arc<Inner>);

#[derive(Default)]
struct Inner {
    uploads: [AtomicU64; UploadOutcome::ALL.len()],
    uploaded: AtomicU64,
    downloaded: AtomicU64,
}

impl TransferCounters {
    pub(super) fn stored(&self, bytes: i64) {
        self.count_upload(UploadOutcome::Stored);
        self.0.uploaded.fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn count_upload(&self, how: UploadOutcome) {
        self.0.uploads[how as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_downloaded(&self, bytes: usize) {
        self.0.downloaded.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn count(&self, how: UploadOutcome) -> u64 {
        self.0.uploads[how as usize].load(Ordering::Relaxed)
    }

    /// Bytes of stored files.
    pub fn uploaded(&self) -> u64 {
        self.0.uploaded.load(Ordering::Relaxed)
    }

    /// Bytes of objects, including incomplete downloads.
    pub fn downloaded(&self) -> u64 {
        self.0.downloaded.load(Ordering::Relaxed)
    }
}
