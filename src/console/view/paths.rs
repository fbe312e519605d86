//! Builders of all URLs that pages link to. Keys and prefixes are in the query, percent-encoded as in RFC 3986, never in
//! the path: browsers and proxies rewrite `..`, `//` and `%2F` there.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use uuid::Uuid;

use crate::domain::names::{BucketName, ObjectKey};

/// All but the unreserved characters of RFC 3986, section 2.3.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub fn encode(value: &str) -> String {
    utf8_percent_encode(value, STRICT).to_string()
}

/// A key for a form field. Browsers would normalize line ends in plain text.
pub fn field(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

/// The reverse of [`field`]; `None` if the value is not base64url of UTF-8.
pub fn from_field(value: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(value).ok()?).ok()
}

/// A path with its query parameters. Empty parameters are omitted.
fn with(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut url = path.to_owned();
    let mut mark = '?';
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        url.push(mark);
        url.push_str(name);
        url.push('=');
        url.push_str(&encode(value));
        mark = '&';
    }
    url
}

pub fn sign_in(next: &str) -> String {
    with("/session", &[("next", if next == "/" { "" } else { next })])
}

pub fn bucket(bucket: &BucketName) -> String {
    format!("/buckets/{bucket}")
}

pub fn folder(bucket: &BucketName, prefix: &str) -> String {
    with(&format!("/buckets/{bucket}"), &[("prefix", prefix)])
}

/// One page of a folder.
pub fn listing(bucket: &BucketName, parameters: &[(&str, &str)]) -> String {
    with(&format!("/buckets/{bucket}"), parameters)
}

pub fn settings(bucket: &BucketName) -> String {
    format!("/buckets/{bucket}/settings")
}

pub fn abilities(bucket: &BucketName) -> String {
    format!("/buckets/{bucket}/abilities")
}

/// One page of the unfinished uploads: `parameters` are the store's cursor.
pub fn unfinished(bucket: &BucketName, parameters: &[(&str, &str)]) -> String {
    with(&format!("/buckets/{bucket}/unfinished"), parameters)
}

pub fn unfinished_deletion(bucket: &BucketName) -> String {
    format!("/buckets/{bucket}/unfinished/deletion")
}

pub fn bucket_deletion(bucket: &BucketName) -> String {
    format!("/buckets/{bucket}/deletion")
}

pub fn object(bucket: &BucketName, key: &ObjectKey) -> String {
    with(&format!("/buckets/{bucket}/object"), &[("key", key.as_str())])
}

pub fn download(bucket: &BucketName, key: &ObjectKey) -> String {
    with(&format!("/buckets/{bucket}/download"), &[("key", key.as_str())])
}

pub fn preview(bucket: &BucketName, key: &ObjectKey) -> String {
    with(&format!("/buckets/{bucket}/preview"), &[("key", key.as_str())])
}

pub fn links(bucket: &BucketName) -> String {
    format!("/buckets/{bucket}/links")
}

pub fn deletions(bucket: &BucketName) -> String {
    format!("/buckets/{bucket}/deletions")
}

pub fn deletion_result(bucket: &BucketName, id: Uuid) -> String {
    format!("/buckets/{bucket}/deletions?id={id}")
}

pub fn folders(bucket: &BucketName, prefix: &str) -> String {
    with(&format!("/buckets/{bucket}/folders"), &[("prefix", prefix)])
}

/// The target of the multipart form.
pub fn uploads_into(bucket: &BucketName, prefix: &str, overwrite: bool) -> String {
    with(&format!("/buckets/{bucket}/uploads"), &[("prefix", prefix), ("overwrite", if overwrite { "1" } else { "" })])
}

pub fn new_upload(bucket: Option<&BucketName>, prefix: &str) -> String {
    with("/uploads/new", &[("bucket", bucket.map_or("", BucketName::as_str)), ("prefix", prefix)])
}

pub fn batch(id: Uuid) -> String {
    format!("/uploads/{id}")
}

pub fn uploads(parameters: &[(&str, &str)]) -> String {
    with("/uploads", parameters)
}

pub fn audit(parameters: &[(&str, &str)]) -> String {
    with("/audit", parameters)
}

/// A Redis key, which is bytes and therefore always base64url in URLs and forms.
pub fn bytes_field(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The reverse of [`bytes_field`].
pub fn bytes_from_field(value: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(value).ok()
}

/// A key search with the `parameters` of its form.
pub fn cache_keys(parameters: &[(&str, &str)]) -> String {
    with("/cache/keys", parameters)
}

/// One key and the position in its value; `parameters` are added to `k`.
pub fn cache_key(name: &[u8], parameters: &[(&str, &str)]) -> String {
    // Also for the empty name, which `with` would omit.
    let parameters: String = with("", parameters).replacen('?', "&", 1);
    format!("/cache/key?k={}{parameters}", bytes_field(name))
}

pub fn cache_key_download(name: &[u8]) -> String {
    format!("/cache/key/download?k={}", bytes_field(name))
}

/// One field of a hash, whose name may be empty.
pub fn cache_field_download(name: &[u8], field: &[u8]) -> String {
    format!("{}&field={}", cache_key_download(name), bytes_field(field))
}

/// One element of a list.
pub fn cache_index_download(name: &[u8], index: u64) -> String {
    format!("{}&index={index}", cache_key_download(name))
}

pub fn cache_scan(id: Uuid) -> String {
    format!("/cache/scans/{id}")
}

pub fn user(id: Uuid, what: &str) -> String {
    format!("/users/{id}/{what}")
}

/// `next` if it is a path on our own origin, else `/`.
pub fn safe_next(next: &str) -> &str {
    let ours = next.starts_with('/') && !next.starts_with("//") && !next.contains('\\') && !next.chars().any(char::is_control);
    if ours && next.len() <= 4096 { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_percent_encoded_strictly() {
        let bucket = BucketName::parse("scans").unwrap();
        let key = ObjectKey::parse("a b/../ü+%2F?#&=\n").unwrap();
        assert_eq!(object(&bucket, &key), "/buckets/scans/object?key=a%20b%2F..%2F%C3%BC%2B%252F%3F%23%26%3D%0A");
    }

    #[test]
    fn a_key_survives_a_form_field() {
        for key in ["a", "a\r\nb", "\u{202e}fdp.exe", "//", " "] {
            assert_eq!(from_field(&field(key)).as_deref(), Some(key));
        }
        assert_eq!(from_field("a=="), None);
        assert_eq!(from_field("_w"), None, "not UTF-8");
    }

    #[test]
    fn empty_parameters_are_omitted() {
        let bucket = BucketName::parse("scans").unwrap();
        assert_eq!(folder(&bucket, ""), "/buckets/scans");
        assert_eq!(uploads_into(&bucket, "a/", true), "/buckets/scans/uploads?prefix=a%2F&overwrite=1");
    }

    #[test]
    fn sign_in_redirects_only_to_own_paths() {
        for good in ["/", "/buckets/a?prefix=b%2F", "/audit?from=2026-01-01"] {
            assert_eq!(safe_next(good), good);
        }
        for bad in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\r\nSet-Cookie: x",
            "javascript:alert(1)",
            "\t//evil.example",
        ] {
            assert_eq!(safe_next(bad), "/", "{bad:?}");
        }
    }
}
