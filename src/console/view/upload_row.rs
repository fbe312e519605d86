//! One file of an upload: its row in a table, and its entry in a JSON answer.

use serde_json::{Value, json};

use super::badge::Badge;
use super::paths;
use crate::domain;
use crate::domain::names::{BucketName, ObjectKey};
use crate::domain::uploads::{self, Activity, File, FileState};

pub struct UploadRow {
    pub file: File,
    pub folder: String,
    pub folder_url: Option<String>,
    /// Set if the object is stored.
    pub object_url: Option<String>,
    pub download_url: Option<String>,
}

impl UploadRow {
    pub fn of(file: File) -> Self {
        let key = ObjectKey::parse(file.key.clone());
        let folder = key.as_ref().map_or("", ObjectKey::folder);
        let bucket = BucketName::parse(&file.bucket);
        let stored = bucket.as_ref().zip(key.as_ref()).filter(|_| file.state == FileState::Ready);
        Self {
            folder: format!("{}/{folder}", file.bucket),
            folder_url: bucket.as_ref().map(|bucket| paths::folder(bucket, folder)),
            object_url: stored.map(|(bucket, key)| paths::object(bucket, key)),
            download_url: stored.map(|(bucket, key)| paths::download(bucket, key)),
            file,
        }
    }

    /// Tone, icon and label.
    pub fn badge(&self) -> Badge {
        match self.file.state {
            FileState::Ready => Badge::new("ok", "check", "Stored"),
            FileState::Pending => Badge::of_activity(self.file.activity.unwrap_or(Activity::Stopped)),
            FileState::Failed => Badge::new("bad", "close", "Failed"),
            FileState::Cancelled => Badge::new("off", "close", "Cancelled"),
            FileState::Superseded => Badge::new("off", "minus", "Replaced"),
            FileState::Deleting => Badge::new("off", "minus", "Deleting"),
            FileState::Deleted => Badge::new("off", "minus", "Deleted"),
        }
    }
}

/// The outcome of one file, for programs.
pub fn json(file: &File, error: Option<&domain::Error>) -> Value {
    let status = if file.state == FileState::Ready { "stored" } else { "failed" };
    json!({
        "key": file.key,
        "size": file.size,
        "sha256": file.sha256,
        "etag": file.etag,
        "status": status,
        "code": error.map(uploads::code),
        "error": file.error,
    })
}
