//! Forms with files, as sent by browsers and API clients.

mod reader;

use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::web;
use futures_util::StreamExt;

pub use reader::{FormReader, PartHead, ReadError};

use super::error::Error;

/// How much of a rejected body is still read, so that the client receives the response instead of a connection reset.
const DRAIN: usize = 16 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// The name of a file part; `None` for other parts. Parsed from the raw header: in HTML forms, quotes and line ends are
/// percent-encoded and a backslash is literal, while HTTP header parsers treat it as an escape character.
pub fn file_name(part: &PartHead) -> Option<String> {
    let disposition = part.content_disposition()?;
    // Only API clients send the extended form, which is unambiguous.
    if let Some(name) = disposition.get_filename_ext() {
        return String::from_utf8(name.value.clone()).ok();
    }
    let raw = std::str::from_utf8(part.disposition.as_bytes()).ok()?;
    if let Some(name) = quoted_file_name(raw) {
        return Some(name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n"));
    }
    disposition.get_filename().map(str::to_owned)
}

/// The content of `filename="…"`, up to the quote that ends the parameter. Some clients escape a quote as `\"`.
fn quoted_file_name(header: &str) -> Option<String> {
    let start = header.to_ascii_lowercase().find("filename=\"")? + "filename=\"".len();
    let rest = &header[start..];
    let ends_parameter = |at: usize| rest[at + 1..].trim_start().is_empty() || rest[at + 1..].trim_start().starts_with(';');
    let end = rest.match_indices('"').map(|(at, _)| at).find(|at| ends_parameter(*at))?;
    Some(rest[..end].replace("\\\"", "\""))
}

/// The response for a form that could not be read to its end.
pub fn form_error(error: ReadError) -> Error {
    match error {
        ReadError::Payload(PayloadError::Io(why)) if why.kind() == std::io::ErrorKind::TimedOut => {
            Error::BadRequest(format!("The upload timed out: {why}. Files that were received completely were stored, the others were not."))
        }
        ReadError::NotAForm => Error::BadRequest("This is not a form with files (multipart/form-data). Nothing was stored.".into()),
        _ => Error::BadRequest("The form was incomplete. Files that were received completely were stored, the others were not.".into()),
    }
}

/// Reads a limited rest of the body, so that the client receives the response.
pub async fn drain(form: &mut FormReader) {
    let reading = async {
        let mut left = DRAIN;
        while let Ok(Some(_)) = form.next_part().await {
            left = drain_some(form, left).await;
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME, reading).await;
}

/// Like [`drain`], for the rest of one part.
pub async fn drain_part(form: &mut FormReader) {
    let _ = tokio::time::timeout(DRAIN_TIME, drain_some(form, DRAIN)).await;
}

/// Like [`drain`], for a body that is not a form.
pub async fn drain_payload(body: &mut web::Payload) {
    let reading = async {
        let mut left = DRAIN;
        while let Some(Ok(chunk)) = body.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME, reading).await;
}

/// Discards at most `left` bytes. Returns how many more may be discarded.
async fn drain_some(form: &mut FormReader, mut left: usize) -> usize {
    while left > 0 {
        match form.next_chunk().await {
            Ok(Some(chunk)) => left = left.saturating_sub(chunk.len()),
            Ok(None) | Err(_) => break,
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::quoted_file_name;

    #[test]
    fn file_names_are_parsed_as_browsers_write_them() {
        let header = |name: &str| format!("form-data; name=\"file\"; filename=\"{name}\"");
        assert_eq!(quoted_file_name(&header("a\\b.txt")).as_deref(), Some("a\\b.txt"));
        assert_eq!(quoted_file_name(&header("a; b=c.txt")).as_deref(), Some("a; b=c.txt"));
        assert_eq!(quoted_file_name(&header("a\\\"b")).as_deref(), Some("a\"b"));
        assert_eq!(quoted_file_name("form-data; filename=\"a\"; filename*=UTF-8''b").as_deref(), Some("a"));
        assert_eq!(quoted_file_name("form-data; name=\"file\""), None);
    }
}
