//! Downloads: forwards conditions and ranges; the stream ends with an error if the store's does.

mod read_log;
mod source;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use serde_json::json;
use uuid::Uuid;

use super::{Object, check_key, not_found};
use crate::domain::actor::Actor;
use crate::domain::audit::{self, Action, Outcome};
use crate::domain::names::{BucketName, ObjectKey};
use crate::domain::{Context, Result};
use crate::stores::s3;

use read_log::Read;
pub use read_log::ReadLog;
use source::{Connection, Source, take_slot};
pub use source::{OpenBodies, park_slow_downloads};

/// Conditional and Range headers, forwarded as received.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    pub range: Option<String>,
    pub if_range: Option<String>,
    pub if_match: Option<String>,
    pub if_none_match: Option<String>,
    pub if_modified_since: Option<String>,
    pub if_unmodified_since: Option<String>,
}

/// The response to a download. The stream ends with an error if the store's does.
pub enum Download {
    Body(DownloadBody),
    NotModified {
        etag: Option<String>,
    },
    PreconditionFailed,
    /// The object's size, for `Content-Range: bytes */size`.
    RangeNotSatisfiable {
        size: Option<u64>,
    },
}

pub struct DownloadBody {
    pub stream: BoxStream<'static, std::io::Result<Bytes>>,
    /// Bytes in this response.
    pub length: u64,
    /// Set for 206.
    pub content_range: Option<String>,
    /// Without quotes.
    pub etag: Option<String>,
    pub last_modified: Option<DateTime<Utc>>,
    pub content_type: Option<String>,
    /// How the bytes are compressed.
    pub content_encoding: Option<String>,
}

/// What is requested.
pub struct DownloadRequest<'a> {
    pub bucket: &'a BucketName,
    pub key: &'a ObjectKey,
    pub version: Option<&'a str>,
    pub conditions: &'a Conditions,
    /// Only the object with this ETag, without quotes; otherwise the precondition fails.
    pub etag: Option<&'a str>,
    pub purpose: Purpose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Download,
    /// To be displayed by the browser.
    Preview,
    /// Only the headers; nothing is read and nothing is audited.
    Head,
}

impl Purpose {
    /// The audit action of a read.
    fn action(self) -> Option<Action> {
        match self {
            Self::Download => Some(Action::ObjectDownload),
            Self::Preview => Some(Action::ObjectPreview),
            Self::Head => None,
        }
    }
}

/// Every read is audited before its first byte is sent, except reads already covered by an event of the same session:
/// the rest of an interrupted download (with `If-Range`), and the parts of a preview.
pub async fn download(ctx: &Context, actor: &Actor, session: Uuid, request: &DownloadRequest<'_>) -> Result<Download> {
    let DownloadRequest { bucket, key, version, conditions, etag, purpose } = *request;
    check_key(ctx, key)?;
    if let (Some(etag), Some(if_match)) = (etag, &conditions.if_match)
        && !matches(if_match, etag)
    {
        return Ok(Download::PreconditionFailed);
    }
    let slot = if purpose == Purpose::Head { None } else { Some(take_slot(ctx, actor)?) };
    let mut range = effective_range(ctx, bucket, key, version, conditions).await?;
    let mut asked = s3::Conditions {
        range: range.clone(),
        if_match: etag.map(|etag| format!("\"{etag}\"")).or_else(|| conditions.if_match.clone()),
        // Compared weakly here (RFC 9110, 13.1.2): proxies that compress mark ETags as weak.
        if_none_match: conditions.if_none_match.as_ref().map(|etags| etags.replace("W/\"", "\"")),
        if_modified_since: conditions.if_modified_since.clone().filter(|_| conditions.if_none_match.is_none()),
        if_unmodified_since: conditions.if_unmodified_since.clone().filter(|_| conditions.if_match.is_none()),
    };
    let grant = ctx.open_bodies.grant(actor.id).await?;
    let mut found = ctx.s3.get(bucket.as_str(), key.as_str(), version, &asked).await;
    let mut size = None;
    if matches!(found, Err(s3::Error::InvalidRange)) {
        size = ctx.s3.head(bucket.as_str(), key.as_str(), version).await.ok().map(|head| head.size);
        // Every range of an empty object is unsatisfiable, but clients that resume or probe with `bytes=0-` expect the object.
        if size == Some(0) {
            (range, asked.range) = (None, None);
            found = ctx.s3.get(bucket.as_str(), key.as_str(), version, &asked).await;
        }
    }
    let opened = match found {
        Ok(opened) => opened,
        Err(s3::Error::NotModified) => return Ok(Download::NotModified { etag: current_etag(ctx, bucket, key, version).await }),
        Err(s3::Error::PreconditionFailed) => return Ok(Download::PreconditionFailed),
        Err(s3::Error::InvalidRange) => return Ok(Download::RangeNotSatisfiable { size }),
        Err(error) => return Err(not_found(error, bucket, key)),
    };
    // Not every store supports If-Match here.
    if etag.is_some() && opened.etag.as_deref() != etag {
        return Ok(Download::PreconditionFailed);
    }
    let content_range = opened.content_range.filter(|_| range.is_some() && opened.length > 0);
    let first = content_range.as_deref().and_then(first_of_content_range).unwrap_or(0);
    if let Some(action) = purpose.action() {
        let read = Read {
            session,
            action,
            resource: audit::object(bucket.as_str(), key.as_str()),
            // Without an ETag, two reads may be of different objects.
            etag: opened.etag.clone().unwrap_or_else(|| Uuid::now_v7().to_string()),
        };
        let bytes = first..=(first + opened.length).saturating_sub(1).max(first);
        let resumes = purpose == Purpose::Preview || conditions.if_range.is_some();
        if !(resumes && ctx.read_log.covers(&read, &bytes, purpose == Purpose::Download)) {
            let detail = json!({ "bytes": opened.length, "range": range });
            audit::record_standalone(ctx, actor, action, &read.resource, Outcome::Ok, detail).await?;
            ctx.read_log.add(read, bytes);
        }
    }
    let source = Source {
        ctx: ctx.clone(),
        bucket: bucket.to_string(),
        key: key.to_string(),
        version: version.map(str::to_owned),
        etag: opened.etag.clone(),
        person: actor.id,
        next: first,
        left: opened.length,
    };
    Ok(Download::Body(DownloadBody {
        stream: source.stream(slot, Connection { body: opened.body, _grant: grant }),
        length: opened.length,
        content_range,
        etag: opened.etag,
        last_modified: opened.modified,
        content_type: opened.content_type,
        content_encoding: opened.content_encoding,
    }))
}

/// Audits that the page of an object shows its text, once an hour for each session and state of the object.
pub async fn record_preview(ctx: &Context, actor: &Actor, session: Uuid, object: &Object, bytes: u64) -> Result<()> {
    let resource = audit::object(object.bucket.as_str(), object.key.as_str());
    let read = Read { session, action: Action::ObjectPreview, resource, etag: object.etag.clone() };
    let shown = 0..=bytes.saturating_sub(1);
    if ctx.read_log.covers(&read, &shown, false) {
        return Ok(());
    }
    let detail = json!({ "bytes": bytes, "range": null });
    audit::record_standalone(ctx, actor, Action::ObjectPreview, &read.resource, Outcome::Ok, detail).await?;
    ctx.read_log.add(read, shown);
    Ok(())
}

async fn current_etag(ctx: &Context, bucket: &BucketName, key: &ObjectKey, version: Option<&str>) -> Option<String> {
    ctx.s3.head(bucket.as_str(), key.as_str(), version).await.ok().map(|head| head.etag)
}

/// The Range to request: a single range of bytes, and only while `If-Range` holds (RFC 9110, 13.1.5 and 14.2; a
/// server may ignore ranges it does not understand, or multiple ranges).
async fn effective_range(
    ctx: &Context,
    bucket: &BucketName,
    key: &ObjectKey,
    version: Option<&str>,
    conditions: &Conditions,
) -> Result<Option<String>> {
    let Some(range) = conditions.range.as_deref().filter(|range| is_one_range(range)) else { return Ok(None) };
    let Some(if_range) = &conditions.if_range else { return Ok(Some(range.to_owned())) };
    let head = ctx.s3.head(bucket.as_str(), key.as_str(), version).await.map_err(|error| not_found(error, bucket, key))?;
    let holds = if if_range.starts_with('"') {
        if_range.trim_matches('"') == head.etag
    } else {
        // A weak ETag never matches; a date matches only exactly.
        let given = DateTime::parse_from_rfc2822(if_range).ok().map(|date| date.timestamp());
        given.is_some() && given == head.modified.map(|modified| modified.timestamp())
    };
    Ok(holds.then(|| range.to_owned()))
}

/// Whether `If-Match` lists this ETag. Weak ETags never match (RFC 9110, 13.1.1).
fn matches(if_match: &str, etag: &str) -> bool {
    if_match.trim() == "*" || if_match.split(',').any(|listed| listed.trim().trim_matches('"') == etag)
}

fn is_one_range(range: &str) -> bool {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|spec| spec.split_once('-')) else { return false };
    let number = |text: &str| text.is_empty() || (text.len() < 19 && text.bytes().all(|b| b.is_ascii_digit()));
    let ordered = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => first <= last,
        _ => true,
    };
    number(first) && number(last) && ordered && !(first.is_empty() && last.is_empty())
}

/// The first byte named by `Content-Range: bytes 5-9/10`.
fn first_of_content_range(content_range: &str) -> Option<u64> {
    content_range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

/// `Content-Disposition: attachment` for any Unicode name: an ASCII form for old clients, and the full name in RFC
/// 8187 form (RFC 6266).
pub fn disposition(name: &str) -> String {
    let name = name.trim_end_matches('/');
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "!#$&+-.^_`|~ ()[]{}@,;='".contains(c) { c } else { '_' }).collect();
    let plain = if plain.trim().is_empty() { "download".to_owned() } else { plain };
    // RFC 8187 attr-chars are kept; everything else is escaped.
    const ATTR: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'!')
        .remove(b'#')
        .remove(b'$')
        .remove(b'&')
        .remove(b'+')
        .remove(b'-')
        .remove(b'.')
        .remove(b'^')
        .remove(b'_')
        .remove(b'`')
        .remove(b'|')
        .remove(b'~');
    let whole = percent_encoding::utf8_percent_encode(if name.is_empty() { "download" } else { name }, ATTR);
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{whole}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_can_be_sent_in_a_header() {
        assert_eq!(disposition("a.txt"), "attachment; filename=\"a.txt\"; filename*=UTF-8''a.txt");
        assert_eq!(disposition("Ä \"x\"\r\n.pdf"), "attachment; filename=\"_ _x___.pdf\"; filename*=UTF-8''%C3%84%20%22x%22%0D%0A.pdf");
        assert!(disposition("見積書.pdf").ends_with("filename*=UTF-8''%E8%A6%8B%E7%A9%8D%E6%9B%B8.pdf"));
        assert!(disposition("").contains("filename=\"download\""));
        assert!(disposition("\u{202e}gpj.exe").is_ascii());
    }

    #[test]
    fn only_a_single_valid_range_is_forwarded() {
        for good in ["bytes=0-", "bytes=0-0", "bytes=5-9", "bytes=-5"] {
            assert!(is_one_range(good), "{good}");
        }
        for bad in ["bytes=-", "bytes=9-5", "bytes=0-1,5-6", "items=0-1", "bytes=a-b", "bytes=99999999999999999999-"] {
            assert!(!is_one_range(bad), "{bad}");
        }
    }
}
