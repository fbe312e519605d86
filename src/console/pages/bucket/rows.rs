//! The rows of the object browser.

use std::collections::{HashMap, HashSet};

use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::console::view::{name_markup, paths};
use crate::domain::names::BucketName;
use crate::domain::objects::{Entry, Folder, Origin};

pub struct FolderRow {
    pub name: String,
    pub url: String,
    /// How this name differs from one that looks the same.
    pub note: Option<&'static str>,
}

pub struct ObjectRow {
    pub name: String,
    pub url: String,
    pub download_url: String,
    /// Key, ETag and size, the value of the checkbox.
    pub pair: String,
    pub entry: Entry,
    /// How this name differs from one that looks the same.
    pub note: Option<&'static str>,
}

/// Marks names that equal another name of the page after normalization, and names that are not in the usual form NFC.
pub(super) fn mark_similar(folders: &mut [FolderRow], objects: &mut [ObjectRow]) {
    let names = folders.iter().map(|row| row.name.as_str()).chain(objects.iter().map(|row| row.name.as_str()));
    let mut spellings: HashMap<String, HashSet<String>> = HashMap::new();
    for name in names.filter(|name| !name.is_ascii()) {
        spellings.entry(name.nfc().collect()).or_default().insert(name.to_owned());
    }
    let note = |name: &str| {
        let is_similar = !name.is_ascii() && spellings.get(&name.nfc().collect::<String>()).is_some_and(|names| names.len() > 1);
        match (is_similar, is_nfc(name)) {
            (true, false) => Some("Looks like another name here, but has decomposed characters (not Unicode NFC)"),
            (true, true) => Some("Looks like another name here, but has composed characters (Unicode NFC)"),
            (false, false) => Some("The name has decomposed characters (not Unicode NFC)"),
            (false, true) => None,
        }
    };
    for row in folders {
        row.note = note(&row.name);
    }
    for row in objects {
        row.note = note(&row.name);
    }
}

impl FolderRow {
    pub fn of(bucket: &BucketName, folder: Folder) -> Self {
        Self { url: paths::folder(bucket, &folder.prefix), name: folder.name, note: None }
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
            note: None,
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
