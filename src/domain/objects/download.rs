//! Downloads: conditions and ranges passed on, a stream that ends in an error where the store's did.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::json;

use super::{check_key, not_found};
use crate::domain::actor::Actor;
use crate::domain::audit::{self, Outcome};
use crate::domain::names::{BucketName, ObjectKey};
use crate::domain::transfer_counters::TransferCounters;
use crate::domain::{Context, Result};
use crate::stores::s3;

/// A store that sends nothing for this long has gone.
const IDLE: Duration = Duration::from_secs(30);

/// Conditional and Range headers, passed on as they came.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    pub range: Option<String>,
    pub if_range: Option<String>,
    pub if_match: Option<String>,
    pub if_none_match: Option<String>,
    pub if_modified_since: Option<String>,
    pub if_unmodified_since: Option<String>,
}

/// What a download answers with. The stream ends in an error where the store's did.
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
    /// Bytes in this answer.
    pub length: u64,
    /// Set for 206.
    pub content_range: Option<String>,
    /// Without quotes.
    pub etag: Option<String>,
    pub last_modified: Option<DateTime<Utc>>,
    pub content_type: Option<String>,
}

/// `head`: no body is asked for and no download is audited.
pub async fn download(
    ctx: &Context,
    actor: &Actor,
    bucket: &BucketName,
    key: &ObjectKey,
    version: Option<&str>,
    conditions: &Conditions,
    head: bool,
) -> Result<Download> {
    check_key(ctx, key)?;
    let range = effective_range(ctx, bucket, key, version, conditions).await?;
    let asked = s3::Conditions {
        range: range.clone(),
        if_match: conditions.if_match.clone(),
        // Compared weakly here (RFC 9110, 13.1.2): proxies that compress mark ETags as weak.
        if_none_match: conditions.if_none_match.as_ref().map(|etags| etags.replace("W/\"", "\"")),
        if_modified_since: conditions.if_modified_since.clone().filter(|_| conditions.if_none_match.is_none()),
        if_unmodified_since: conditions.if_unmodified_since.clone().filter(|_| conditions.if_match.is_none()),
    };
    let opened = match ctx.s3.get(bucket.as_str(), key.as_str(), version, &asked).await {
        Ok(opened) => opened,
        Err(s3::Error::NotModified) => return Ok(Download::NotModified { etag: current_etag(ctx, bucket, key, version).await }),
        Err(s3::Error::PreconditionFailed) => return Ok(Download::PreconditionFailed),
        Err(s3::Error::InvalidRange) => {
            let size = ctx.s3.head(bucket.as_str(), key.as_str(), version).await.ok().map(|head| head.size);
            return Ok(Download::RangeNotSatisfiable { size });
        }
        Err(error) => return Err(not_found(error, bucket, key)),
    };
    // The rest of a download that broke off, of the very same object, belongs to the event of its beginning.
    let goes_on = conditions.if_range.is_some() && range.as_deref().is_some_and(|range| first_byte(range) > 0);
    if !head && !goes_on {
        let detail = json!({ "bytes": opened.length, "range": range });
        audit::record_standalone(ctx, actor, "object.download", &audit::object(bucket.as_str(), key.as_str()), Outcome::Ok, detail).await?;
    }
    Ok(Download::Body(DownloadBody {
        stream: stream(opened.body, opened.length, ctx.transfer_counters.clone()),
        length: opened.length,
        content_range: opened.content_range.filter(|_| range.is_some()),
        etag: opened.etag,
        last_modified: opened.modified,
        content_type: opened.content_type,
    }))
}

async fn current_etag(ctx: &Context, bucket: &BucketName, key: &ObjectKey, version: Option<&str>) -> Option<String> {
    ctx.s3.head(bucket.as_str(), key.as_str(), version).await.ok().map(|head| head.etag)
}

/// The Range to ask for: one range of bytes, and only while `If-Range` still holds (RFC 9110, 13.1.5 and 14.2;
/// a server may ignore a Range that it does not understand, or several).
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

fn is_one_range(range: &str) -> bool {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|spec| spec.split_once('-')) else { return false };
    let number = |text: &str| text.is_empty() || (text.len() < 19 && text.bytes().all(|b| b.is_ascii_digit()));
    let ordered = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => first <= last,
        _ => true,
    };
    number(first) && number(last) && ordered && !(first.is_empty() && last.is_empty())
}

/// Where a range that [`is_one_range`] begins; 0 for one that counts from the end, which may be all of it.
fn first_byte(range: &str) -> u64 {
    range.strip_prefix("bytes=").and_then(|spec| spec.split_once('-')).and_then(|(first, _)| first.parse().ok()).unwrap_or(0)
}

/// Ends in an error where the store was silent or short: a short file is never taken for whole.
fn stream(body: s3::Body, length: u64, counters: TransferCounters) -> BoxStream<'static, std::io::Result<Bytes>> {
    let state = (body, length, false, counters);
    futures_util::stream::unfold(state, |(mut body, left, ended, counters)| async move {
        if ended {
            return None;
        }
        let failed = |kind, why: String| Err(std::io::Error::new(kind, why));
        match tokio::time::timeout(IDLE, body.next()).await {
            Err(_) => Some((failed(std::io::ErrorKind::TimedOut, "the store sent nothing for 30 s".into()), (body, left, true, counters))),
            Ok(Some(Err(error))) => Some((failed(std::io::ErrorKind::BrokenPipe, error.to_string()), (body, left, true, counters))),
            Ok(Some(Ok(chunk))) => {
                let left = left.saturating_sub(chunk.len() as u64);
                counters.count_downloaded(chunk.len());
                Some((Ok(chunk), (body, left, false, counters)))
            }
            Ok(None) if left > 0 => Some((
                failed(std::io::ErrorKind::UnexpectedEof, format!("the store ended {left} bytes early")),
                (body, left, true, counters),
            )),
            Ok(None) => None,
        }
    })
    .boxed()
}

/// `Content-Disposition: attachment` for any Unicode name: an ASCII form for old clients, the whole name in
/// RFC 8187 form (RFC 6266).
pub fn disposition(name: &str) -> String {
    let name = name.trim_end_matches('/');
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "!#$&+-.^_`|~ ()[]{}@,;='".contains(c) { c } else { '_' }).collect();
    let plain = if plain.trim().is_empty() { "download".to_owned() } else { plain };
    // What RFC 8187 calls attr-char stays; all else is escaped.
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
    fn any_name_travels_in_a_header() {
        assert_eq!(disposition("a.txt"), "attachment; filename=\"a.txt\"; filename*=UTF-8''a.txt");
        assert_eq!(disposition("Ä \"x\"\r\n.pdf"), "attachment; filename=\"_ _x___.pdf\"; filename*=UTF-8''%C3%84%20%22x%22%0D%0A.pdf");
        assert!(disposition("見積書.pdf").ends_with("filename*=UTF-8''%E8%A6%8B%E7%A9%8D%E6%9B%B8.pdf"));
        assert!(disposition("").contains("filename=\"download\""));
        assert!(disposition("\u{202e}gpj.exe").is_ascii());
    }

    #[test]
    fn only_one_well_formed_range_is_passed_on() {
        for good in ["bytes=0-", "bytes=0-0", "bytes=5-9", "bytes=-5"] {
            assert!(is_one_range(good), "{good}");
        }
        for bad in ["bytes=-", "bytes=9-5", "bytes=0-1,5-6", "items=0-1", "bytes=a-b", "bytes=99999999999999999999-"] {
            assert!(!is_one_range(bad), "{bad}");
        }
    }
}
