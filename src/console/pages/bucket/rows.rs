//! The rows of the object browser.

use crate::console::view::{name_markup, paths};
use crate::domain::names::BucketName;
use crate::domain::objects::{Entry, Folder, Origin};

pub struct FolderRow {
    pub name: String,
    pub url: String,
}

pub struct ObjectRow {
    pub name: String,
    pub url: String,
    pub download_url: String,
    /// Key, ETag and size, the value of the checkbox.
    pub pair: String,
    pub entry: Entry,
}

impl FolderRow {
    pub fn of(bucket: &BucketName, folder: Folder) -> Self {
        Self { url: paths::folder(bucket, &folder.prefix), name: folder.name }
    }
}

impl ObjectRow {
    pub fn of(bucket: &BucketName, entry: Entry) -> Self {
        Self {
            name: entry.name.clone(),
            url: paths::object(bucket, &entry.key),
            download_url: paths::download(bucket, &entry.key),
            pair: format!("{}:{}:{}", paths::field(entry.key.as_str()), entry.etag, entry.size),
            entry,
        }
    }

    pub fn by(&self) -> &str {
        match &self.entry.origin {
            Origin::Larder { by, .. } => by,
            Origin::Changed => "Changed outside Larder",
            Origin::Outside => "Outside Larder",
        }
    }

    /// The name for screen readers.
    pub fn label(&self) -> String {
        name_markup::plain(&self.name)
    }

    pub fn is_from_larder(&self) -> bool {
        matches!(self.entry.origin, Origin::Larder { .. })
    }
}
