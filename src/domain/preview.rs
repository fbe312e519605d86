//! What an object looks like, decided by an allow-list on the bytes themselves, never by its name.

use super::names::{BucketName, ObjectKey};
use super::{Context, Result};

/// At most this much of a text is read, in bytes.
pub const TEXT_LIMIT: u64 = 1 << 20;
/// Rows of a CSV file shown.
pub const CSV_ROWS: usize = 200;

#[derive(Debug, PartialEq, Eq)]
pub enum Preview {
    /// Shown by the browser from `/preview`; `media` is what we say it is (`image/png`, `audio/mpeg`, `application/pdf`).
    Media {
        kind: MediaKind,
        media: &'static str,
        dimensions: Option<(u32, u32)>,
    },
    Text {
        text: String,
        cut: bool,
    },
    /// Indented by us.
    Json {
        text: String,
        cut: bool,
    },
    Csv {
        head: Vec<String>,
        rows: Vec<Vec<String>>,
        cut: bool,
    },
    Markdown {
        text: String,
        cut: bool,
    },
    Empty,
    /// Why there is none, as a sentence.
    None(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    Image,
    Audio,
    Video,
    Pdf,
}

/// Reads the first bytes of the object (up to 1 MiB for text).
pub async fn of(ctx: &Context, bucket: &BucketName, key: &ObjectKey, size: u64) -> Result<Preview> {
    todo!()
}
