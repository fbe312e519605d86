//! Forms with files, as sent by browsers and API clients.

mod reader;

use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::{mime, web};
use futures_util::StreamExt;
use percent_encoding::percent_decode_str;

pub use reader::{FormReader, PartHead, ReadError};

use super::error::Error;

/// How much of a rejected body is still read, so that the client receives the response instead of a connection reset.
const DRAIN: usize = 16 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// The name of a file part, empty if the client sent none; `None` for other parts.
///
/// Parsed from the raw header: in HTML forms, quotes and line ends are percent-encoded and a backslash is literal, while HTTP
/// header parsers treat it as an escape character. A name that was sent in several forms is taken from `filename*` (RFC 5987).
pub fn file_name(part: &PartHead) -> Option<String> {
    let raw = part.disposition.as_bytes();
    // Old clients send Latin-1, in which each byte is the character of the same number.
    let header = std::str::from_utf8(raw).map_or_else(|_| raw.iter().copied().map(char::from).collect(), str::to_owned);
    let parameters = parameters(&header);
    let value = |name: &str| parameters.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
    let (extended, plain) = (value("filename*"), value("filename"));
    if extended.is_none() && plain.is_none() {
        // Some programs send a file without a name.
        let is_file = value("name") == Some("file") || part.content_type.as_ref().is_some_and(|media| media.type_() != mime::TEXT);
        return is_file.then(String::new);
    }
    let extended = extended.and_then(extended_value).filter(|name| !name.is_empty());
    Some(extended.or_else(|| plain.map(percent_decoded)).unwrap_or_default())
}

/// Decodes the three characters that browsers encode in a name.
fn percent_decoded(name: &str) -> String {
    name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n")
}

/// The parameters of `Content-Disposition`, with names in lower case.
fn parameters(header: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = header.split_once(';').map_or("", |(_, rest)| rest);
    while let Some((name, value)) = rest.split_once('=') {
        // Skips parameters without a value.
        let name = name.rsplit(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let value = value.trim_start();
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted),
            None => {
                let (token, after) = value.split_once(';').unwrap_or((value, ""));
                (token.trim_end().to_owned(), after)
            }
        };
        found.push((name, value));
        rest = after;
    }
    found
}

/// The content of a quoted string and what follows it. Some clients escape quotes and backslashes; browsers do not, so a name may
/// also end in a single backslash. Without an end, everything belongs to the value.
fn quoted_value(text: &str) -> (String, &str) {
    let ends_parameter = |at: usize| {
        let after = text[at + 1..].trim_start();
        after.is_empty() || after.starts_with(';')
    };
    let is_escaped = |at: usize| text[..at].bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1;
    let ends: Vec<usize> = text.match_indices('"').map(|(at, _)| at).filter(|at| ends_parameter(*at)).collect();
    let end = ends.iter().find(|at| !is_escaped(**at)).or(ends.last()).copied();
    let (value, after) = end.map_or((text, ""), |at| (&text[..at], &text[at + 1..]));
    (unescaped(value), after)
}

/// Resolves escaped quotes and backslashes. Other backslashes are literal.
fn unescaped(value: &str) -> String {
    let mut result = String::with_capacity(value.len());
    let mut rest = value.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('\\', Some(next @ ('"' | '\\'))) => {
                result.push(*next);
                rest.next();
            }
            _ => result.push(c),
        }
    }
    result
}

/// A value with its character set, such as `UTF-8''na%C3%AFve.txt` (RFC 5987). `None` if it cannot be decoded.
fn extended_value(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _language, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes: Vec<u8> = percent_decode_str(encoded).collect();
    match charset.to_ascii_lowercase().as_str() {
        "utf-8" => String::from_utf8(bytes).ok(),
        "iso-8859-1" => Some(bytes.into_iter().map(char::from).collect()),
        _ => None,
    }
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
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn name_of(parameters: &[u8], content_type: Option<&str>) -> Option<String> {
        let disposition = HeaderValue::from_bytes(&[b"form-data; ", parameters].concat()).unwrap();
        file_name(&PartHead { disposition, content_type: content_type.map(|media| media.parse().unwrap()) })
    }

    #[test]
    fn browsers_write_backslashes_literally_and_encode_three_characters() {
        for (value, expected) in [
            (r"a\b.txt", r"a\b.txt"),
            (r"ends\", r"ends\"),
            ("a; b=c.txt", "a; b=c.txt"),
            ("say %22hi%22%0D%0A.txt", "say \"hi\"\r\n.txt"),
            ("100%.txt", "100%.txt"),
            // Decomposed, as macOS sends it.
            ("cafe\u{301}.txt", "cafe\u{301}.txt"),
            ("dots... ", "dots... "),
            ("...", "..."),
            (&"n".repeat(255), &"n".repeat(255)),
            ("", ""),
        ] {
            let parameters = format!("name=\"file\"; filename=\"{value}\"");
            assert_eq!(name_of(parameters.as_bytes(), None).as_deref(), Some(expected), "{parameters}");
        }
    }

    #[test]
    fn programs_write_names_in_other_forms() {
        for (parameters, expected) in [
            (r#"name="file"; filename="a\"b""#, "a\"b"),
            (r#"name="file"; filename="a\"; b.txt""#, "a\"; b.txt"),
            (r#"name="file"; filename="a\\b""#, r"a\b"),
            (r#"filename="a\\"; name="file""#, r"a\"),
            (r#"name=file; filename=plain.txt"#, "plain.txt"),
            (r#"filename=plain.txt ; name=file"#, "plain.txt"),
            (r#"name="file"; FileName = "spaced.txt" "#, "spaced.txt"),
            (r#"name="file"; filename="open.txt"#, "open.txt"),
            (r#"name="filename=\"x\""; filename="a""#, "a"),
            (r#"name="file"; filename*=UTF-8''na%C3%AFve%20%22.txt"#, "na\u{ef}ve \".txt"),
            (r#"name="file"; filename="fallback.txt"; filename*=utf-8'en'%E8%A6%8B.txt"#, "\u{898b}.txt"),
            (r#"name="file"; filename*=ISO-8859-1''caf%E9.txt; filename="fallback.txt""#, "caf\u{e9}.txt"),
            (r#"name="file"; filename="fallback.txt"; filename*=UTF-8''%FF"#, "fallback.txt"),
            (r#"name="file"; filename="fallback.txt"; filename*=koi8-r''a"#, "fallback.txt"),
            (r#"name="file"; filename*=UTF-8''%FF"#, ""),
            (r#"name="file""#, ""),
        ] {
            assert_eq!(name_of(parameters.as_bytes(), None).as_deref(), Some(expected), "{parameters}");
        }
        assert_eq!(name_of(b"name=\"file\"; filename=\"caf\xe9.txt\"", None).as_deref(), Some("caf\u{e9}.txt"));
    }

    #[test]
    fn a_part_without_a_file_name_is_a_file_only_if_its_type_indicates_it() {
        assert_eq!(name_of(b"name=\"note\"", None), None);
        assert_eq!(name_of(b"name=\"note\"", Some("text/plain; charset=utf-8")), None);
        assert_eq!(name_of(b"name=\"data\"", Some("application/octet-stream")).as_deref(), Some(""));
    }
}
