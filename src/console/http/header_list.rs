//! Headers whose value is a list, which may be sent as several lines (RFC 9110, section 5.3).

use actix_web::http::header::HeaderMap;

/// All lines of a header as one list. Bytes that are not UTF-8 are replaced.
pub fn joined(headers: &HeaderMap, name: &str) -> String {
    headers.get_all(name).map(|value| String::from_utf8_lossy(value.as_bytes())).collect::<Vec<_>>().join(",")
}
