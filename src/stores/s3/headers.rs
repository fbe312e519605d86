//! Headers of responses that the client could not read otherwise: applications store arbitrary bytes as metadata, and some
//! stores send values of the wrong type.

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{DateTime as SmithyTime, DateTimeFormat};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Makes every header of a response readable: bytes that are not UTF-8 are escaped, repeated headers are joined, and
/// optional headers with invalid values are removed. So is `x-amz-bucket-region` if it has the configured region:
/// otherwise it is the reason of an error.
#[derive(Debug)]
pub(super) struct ReadableHeaders {
    pub region: String,
}

impl Intercept for ReadableHeaders {
    fn name(&self) -> &'static str {
        "readable-headers"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response_mut().headers_mut();
        let mut names: Vec<String> = headers.iter_bytes().map(|(name, _)| name.to_owned()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let values: Vec<&[u8]> = headers.get_all_bytes(&name).collect();
            let is_text = matches!(values.as_slice(), [one] if std::str::from_utf8(one).is_ok());
            let joined = values.iter().map(|value| escaped(value)).collect::<Vec<_>>().join(", ");
            if !is_valid(&name, &joined) || (name == "x-amz-bucket-region" && joined == self.region) {
                headers.remove(&name);
            } else if !is_text {
                headers.try_insert(name, joined)?;
            }
        }
        Ok(())
    }
}

/// Whether the client can parse the value of a header that it does not need.
fn is_valid(name: &str, value: &str) -> bool {
    let is_date = |format| SmithyTime::from_str(value, format).is_ok();
    match name {
        "last-modified" => is_date(DateTimeFormat::HttpDate),
        "x-amz-object-lock-retain-until-date" => is_date(DateTimeFormat::DateTimeWithOffset),
        "x-amz-missing-meta" | "x-amz-mp-parts-count" | "x-amz-tagging-count" => value.parse::<i32>().is_ok(),
        "x-amz-delete-marker" | "x-amz-server-side-encryption-bucket-key-enabled" => matches!(value, "true" | "false"),
        _ => true,
    }
}

/// The text, with bytes that are not UTF-8 as `\xe9`.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// Decodes the encoded words of RFC 2047, in which AWS returns metadata that is not ASCII. It always uses UTF-8; words
/// in other character sets are kept as they are.
pub(super) fn decoded_words(value: &str) -> String {
    let mut text = String::new();
    let mut rest = value;
    let mut after_word = false;
    while let Some(start) = rest.find("=?") {
        let (before, word) = rest.split_at(start);
        match encoded_word(word) {
            Some((decoded, length)) => {
                // Spaces between two encoded words are not part of the text.
                if !(after_word && before.trim().is_empty()) {
                    text.push_str(before);
                }
                text.push_str(&decoded);
                rest = &word[length..];
                after_word = true;
            }
            None => {
                text.push_str(before);
                text.push_str("=?");
                rest = &word[2..];
                after_word = false;
            }
        }
    }
    text + rest
}

/// The text and the length of the encoded word at the start of `word`: `=?UTF-8?B?…?=` or `=?UTF-8?Q?…?=`.
fn encoded_word(word: &str) -> Option<(String, usize)> {
    let mut fields = word.strip_prefix("=?")?.splitn(3, '?');
    let (charset, encoding, rest) = (fields.next()?, fields.next()?, fields.next()?);
    let (encoded, _) = rest.split_once("?=")?;
    if !charset.eq_ignore_ascii_case("utf-8") && !charset.eq_ignore_ascii_case("us-ascii") {
        return None;
    }
    let bytes = match encoding {
        "B" | "b" => STANDARD.decode(encoded).ok()?,
        "Q" | "q" => percent_encoding::percent_decode_str(&encoded.replace('%', "%25").replace('=', "%").replace('_', " ")).collect(),
        _ => return None,
    };
    let length = "=?".len() + charset.len() + "?".len() + encoding.len() + "?".len() + encoded.len() + "?=".len();
    Some((String::from_utf8(bytes).ok()?, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_words_are_decoded() {
        for (value, text) in [
            ("=?UTF-8?B?w6k=?=", "é"),
            ("a =?utf-8?Q?caf=C3=A9_100%?= b", "a café 100% b"),
            ("=?UTF-8?B?w6k=?= =?UTF-8?B?w6k=?=", "éé"),
            ("=?KOI8-R?B?w6k=?= x", "=?KOI8-R?B?w6k=?= x"),
            ("=?UTF-8?B?%%%?=", "=?UTF-8?B?%%%?="),
            ("=?UTF-8?B?/w==?=", "=?UTF-8?B?/w==?="),
            ("plain =? text", "plain =? text"),
            ("é", "é"),
        ] {
            assert_eq!(decoded_words(value), text);
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_escaped() {
        assert_eq!(escaped(b"caf\xe9 \xc3\xa9"), "caf\\xe9 é");
    }

    #[test]
    fn values_of_the_wrong_type_are_recognized() {
        assert!(is_valid("last-modified", "Thu, 26 Nov 2026 02:00:00 GMT") && !is_valid("last-modified", "yesterday"));
        assert!(is_valid("x-amz-missing-meta", "2") && !is_valid("x-amz-missing-meta", "two"));
        assert!(is_valid("x-amz-object-lock-retain-until-date", "2026-11-27T02:02:03Z"));
        assert!(is_valid("x-amz-meta-any", "two"));
    }
}
