//! The preview of an object, determined by an allow-list on its bytes, never by its name.

mod encoding;
mod text;

use super::names::{BucketName, ObjectKey};
use super::objects::{Object, check_key, not_found};
use super::{Context, Error, Result, s3_sentences};
use crate::stores::s3::Conditions;

pub(super) use encoding::decompressed;
pub use text::json;
use text::{looks_binary, text_preview};

/// Previews of one person that are computed, or part of a large page that is being sent, at the same time.
pub const MAX_PER_PERSON: usize = 8;
/// Maximum length of a text preview in bytes.
pub const TEXT_LIMIT: u64 = 256 << 10;
/// Maximum number of displayed CSV rows.
pub const CSV_ROWS: usize = 200;
/// Maximum number of pixels of a displayed image, which needs 400 MB in a browser.
const MAX_PIXELS: u64 = 100_000_000;
/// Enough for all magic numbers in the list and for the dimensions of most images.
const HEAD: usize = 8 << 10;

#[derive(Debug, PartialEq, Eq)]
pub enum Preview {
    /// Displayed by the browser from `/preview`; `media` is the detected media type (`image/png`, `audio/mpeg`,
    /// `application/pdf`).
    Media {
        kind: MediaKind,
        media: &'static str,
        dimensions: Option<(u32, u32)>,
    },
    /// Includes Markdown, HTML and SVG as source text, which is not executed.
    Text {
        text: String,
        cut: bool,
    },
    /// Indented for display.
    Json {
        text: String,
    },
    Csv {
        head: Vec<String>,
        rows: Vec<Vec<String>>,
        cut: bool,
    },
    Empty,
    /// Why there is no preview, as a sentence.
    None(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    Image,
    Audio,
    Video,
    Pdf,
}

/// Media types that browsers display without executing content. This excludes SVG and HTML.
const ALLOWED: [(&str, MediaKind); 14] = [
    ("image/png", MediaKind::Image),
    ("image/jpeg", MediaKind::Image),
    ("image/gif", MediaKind::Image),
    ("image/webp", MediaKind::Image),
    ("image/avif", MediaKind::Image),
    ("audio/mpeg", MediaKind::Audio),
    ("audio/x-wav", MediaKind::Audio),
    ("audio/ogg", MediaKind::Audio),
    ("audio/x-flac", MediaKind::Audio),
    ("audio/m4a", MediaKind::Audio),
    ("audio/aac", MediaKind::Audio),
    ("video/mp4", MediaKind::Video),
    ("video/webm", MediaKind::Video),
    ("application/pdf", MediaKind::Pdf),
];

/// The media type of a file with these first bytes, if it may be displayed.
pub fn sniff(head: &[u8]) -> Option<(MediaKind, &'static str)> {
    let found = infer::get(head)?.mime_type();
    // Readers accept a PDF header anywhere within the first kilobyte; the bytes before it could be anything.
    if found == "application/pdf" && !head.starts_with(b"%PDF-") {
        return None;
    }
    ALLOWED.into_iter().find(|(media, _)| *media == found).map(|(media, kind)| (kind, media))
}

/// Reads the first bytes of the object (up to 256 KiB for text). If the store refuses them, the preview is the reason.
pub async fn of(ctx: &Context, object: &Object) -> Result<Preview> {
    if let Some(why) = &object.unreadable {
        return Ok(Preview::None(why.clone()));
    }
    if object.size == 0 {
        return Ok(Preview::Empty);
    }
    let Beginning { head, whole, is_cut, .. } = match read(ctx, &object.bucket, &object.key, is_enough).await {
        Ok(beginning) => beginning,
        Err(Error::Refused { field: "key", why }) => return Ok(Preview::None(why)),
        Err(Error::S3(error)) => return s3_sentences::of_reading(&error).map(Preview::None).ok_or(Error::S3(error)),
        Err(error) => return Err(error),
    };
    if let Some((kind, media)) = sniff(&head) {
        return Ok(match dimensions(kind, whole.as_deref().unwrap_or(&head)) {
            Ok(dimensions) => Preview::Media { kind, media, dimensions },
            Err(why) => Preview::None(why),
        });
    }
    let Some(bytes) = whole else {
        return Ok(Preview::None("This file type has no preview. Download the file to open it.".into()));
    };
    let worked = tokio::task::spawn_blocking(move || text_preview(&bytes, is_cut)).await;
    worked.map_err(|error| Error::Internal(format!("the preview was aborted: {error}")))
}

/// What `/preview` may send for an object.
pub struct Media {
    pub kind: MediaKind,
    pub media: &'static str,
    /// Of the bytes that were checked, without quotes. Only these may be sent.
    pub etag: String,
}

/// Rejected if the object has no preview.
pub async fn media_of(ctx: &Context, bucket: &BucketName, key: &ObjectKey) -> Result<Media> {
    let Beginning { head, whole, etag, .. } = read(ctx, bucket, key, |head| sniff(head).is_none() || is_enough(head)).await?;
    let rejected = |why: String| Error::refused("key", why);
    let (kind, media) = sniff(&head).ok_or_else(|| rejected("This file type has no preview. Download the file to open it.".into()))?;
    dimensions(kind, whole.as_deref().unwrap_or(&head)).map_err(rejected)?;
    let no_etag = || rejected("The store reports no ETag for this object, so there is no preview. Download the file to open it.".into());
    Ok(Media { kind, media, etag: etag.ok_or_else(no_etag)? })
}

/// Whether these first bytes are enough to determine the preview.
fn is_enough(head: &[u8]) -> bool {
    match sniff(head) {
        Some((MediaKind::Image, _)) => imagesize::blob_size(head).is_ok(),
        Some(_) => true,
        None => looks_binary(head),
    }
}

/// Width and height of an image, or a message why it is not displayed: browsers reserve memory for every pixel, even if
/// the file is small.
fn dimensions(kind: MediaKind, bytes: &[u8]) -> std::result::Result<Option<(u32, u32)>, String> {
    if kind != MediaKind::Image {
        return Ok(None);
    }
    let size = imagesize::blob_size(bytes).ok();
    let size = size.and_then(|size| Some((u32::try_from(size.width).ok()?, u32::try_from(size.height).ok()?)));
    match size {
        Some((width, height)) if u64::from(width) * u64::from(height) <= MAX_PIXELS => Ok(Some((width, height))),
        Some((width, height)) => {
            Err(format!("This image has {width} × {height} pixels, which is too large for a preview. Download the file to open it."))
        }
        None => Err("The size of this image cannot be read, so there is no preview. Download the file to open it.".into()),
    }
}

/// The start of an object.
struct Beginning {
    head: Vec<u8>,
    /// Up to `TEXT_LIMIT`, unless the head is enough.
    whole: Option<Vec<u8>>,
    /// Whether the object is longer.
    is_cut: bool,
    /// Of these bytes, without quotes.
    etag: Option<String>,
}

async fn read(ctx: &Context, bucket: &BucketName, key: &ObjectKey, enough: impl Fn(&[u8]) -> bool) -> Result<Beginning> {
    check_key(ctx, key)?;
    let conditions = Conditions { range: Some(format!("bytes=0-{}", TEXT_LIMIT - 1)), ..Conditions::default() };
    let mut opened = match ctx.s3.get(bucket.as_str(), key.as_str(), None, &conditions).await {
        Ok(opened) => opened,
        // An empty object has no range.
        Err(crate::stores::s3::Error::InvalidRange) => {
            return Ok(Beginning { head: Vec::new(), whole: Some(Vec::new()), is_cut: false, etag: None });
        }
        Err(error) => return Err(not_found(error, bucket, key)),
    };
    let etag = opened.etag.take();
    let encoding = opened.content_encoding.take();
    let size = opened.content_range.as_deref().and_then(|range| range.rsplit_once('/')?.1.parse().ok()).unwrap_or(opened.length);
    let mut bytes = Vec::new();
    let reading = async {
        while bytes.len() < HEAD {
            let Some(chunk) = opened.body.next().await else { break };
            bytes.extend_from_slice(&chunk?);
        }
        let head = bytes[..bytes.len().min(HEAD)].to_vec();
        if encoding.is_none() && enough(&head) {
            return Ok(Beginning { head, whole: None, is_cut: true, etag });
        }
        while let Some(chunk) = opened.body.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        let is_cut = size > bytes.len() as u64;
        match encoding.as_deref() {
            None => Ok(Beginning { head, whole: Some(std::mem::take(&mut bytes)), is_cut, etag }),
            Some(encoding) => decoded(encoding, std::mem::take(&mut bytes), is_cut, enough, etag).await,
        }
    };
    let silent = || Error::from(crate::stores::s3::Error::Unreachable("it stopped sending".into()));
    tokio::time::timeout(std::time::Duration::from_secs(4), reading).await.map_err(|_| silent())?
}

/// The start of an object that is stored compressed. Rejected if its encoding is unknown.
async fn decoded(encoding: &str, bytes: Vec<u8>, is_cut: bool, enough: impl Fn(&[u8]) -> bool, etag: Option<String>) -> Result<Beginning> {
    let name = encoding.to_owned();
    let worked = tokio::task::spawn_blocking(move || decompressed(&name, &bytes, TEXT_LIMIT)).await;
    let decoded = worked.map_err(|error| Error::Internal(format!("the decompression was aborted: {error}")))?;
    let (bytes, ended) = decoded.ok_or_else(|| {
        let why = format!(
            "This object cannot be decompressed (Content-Encoding: {encoding}), so there is no preview. Download the file to open it."
        );
        Error::refused("key", why)
    })?;
    let head = bytes[..bytes.len().min(HEAD)].to_vec();
    let whole = (!enough(&head)).then_some(bytes);
    Ok(Beginning { head, whole, is_cut: is_cut || !ended, etag })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preview(text: &str) -> Preview {
        text_preview(text.as_bytes(), false)
    }

    #[test]
    fn active_content_is_only_shown_as_text() {
        for hostile in [
            "<html><script>alert(1)</script></html>",
            "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
            "<?xml version='1.0'?><a/>",
        ] {
            assert_eq!(sniff(hostile.as_bytes()).map(|(_, media)| media), None, "{hostile}");
            assert_eq!(preview(hostile), Preview::Text { text: hostile.into(), cut: false });
        }
    }

    #[test]
    fn media_types_are_detected_by_their_bytes() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\0\x03\x08\x06\0\0\0";
        assert_eq!(sniff(png), Some((MediaKind::Image, "image/png")));
        assert_eq!(sniff(b"%PDF-1.7\n"), Some((MediaKind::Pdf, "application/pdf")));
        assert_eq!(sniff(b"ID3\x04\0\0\0\0\0\0"), Some((MediaKind::Audio, "audio/mpeg")));
        assert_eq!(sniff(b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41"), Some((MediaKind::Video, "video/mp4")));
        assert_eq!(sniff(b"MZ\x90\0"), None);
        assert_eq!(sniff(b"<script>alert(1)</script>%PDF-1.7\n"), None);
    }

    #[test]
    fn text_json_and_tables_are_distinguished() {
        assert_eq!(preview("{\"b\":1,\"a\":[2]}"), Preview::Json { text: "{\n  \"b\": 1,\n  \"a\": [\n    2\n  ]\n}".into() });
        assert_eq!(
            preview("# Title\n\nWords, and more words.\n"),
            Preview::Text { text: "# Title\n\nWords, and more words.\n".into(), cut: false }
        );
        assert_eq!(
            preview("a;b\n1;2\n"),
            Preview::Csv { head: vec!["a".into(), "b".into()], rows: vec![vec!["1".into(), "2".into()]], cut: false }
        );
        assert!(matches!(text_preview(b"\xff\xfe\x00a", false), Preview::None(_)));
        assert_eq!(text_preview("é".as_bytes().split_at(1).0, true), Preview::Text { text: String::new(), cut: true });
    }

    #[test]
    fn indenting_changes_no_value_and_is_limited() {
        let text = r#" {"id":12345678901234567890123,"a":1,"a":[ ],"f":1.10,"s":"a\"{,:\\","n":[{}]} "#;
        let expected = "{\n  \"id\": 12345678901234567890123,\n  \"a\": 1,\n  \"a\": [],\n  \"f\": 1.10,\n  \"s\": \"a\\\"{,:\\\\\",\n  \"n\": [\n    {}\n  ]\n}";
        assert_eq!(preview(text), Preview::Json { text: expected.into() });
        let deep = format!("{}{}0{}", "[".repeat(100), "0,".repeat(200_000), "]".repeat(100));
        assert!(matches!(preview(&deep), Preview::Text { .. }));
    }

    #[test]
    fn a_wide_table_is_truncated() {
        let Preview::Csv { head, .. } = preview(&format!("{}\n", ",".repeat(50_000)).repeat(3)) else { panic!("not a table") };
        assert_eq!(head.len(), text::CSV_COLUMNS);
    }

    #[test]
    fn a_long_table_shows_two_hundred_rows() {
        let text = "a,b\n".repeat(500);
        let Preview::Csv { rows, cut, .. } = preview(&text) else { panic!("not a table") };
        assert_eq!((rows.len(), cut), (CSV_ROWS, true));
    }
}
