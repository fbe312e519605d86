//! Extractors that are read only when a handler asks, so that the role is checked before any parameter or body.

use std::future::{Ready, ready};
use std::marker::PhantomData;

use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{FromRequest, HttpRequest, web};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::body::{SMALL, Unread};
use super::error::{Error, Result};
use super::fields;
use crate::domain::names::{BucketName, ObjectKey};

/// Fields of a form, so that its parts do not take more memory than the form.
const MAX_FIELDS: usize = 20_000;

const FORM: &str = "application/x-www-form-urlencoded";

/// No page uses half as many.
const MAX_PARAMETERS: usize = 32;

/// The raw query string.
pub struct Query(String);

impl FromRequest for Query {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self::of(req)))
    }
}

impl Query {
    pub fn of(req: &HttpRequest) -> Self {
        Self(req.query_string().to_owned())
    }

    /// Decodes strictly: invalid UTF-8, a broken escape or a repeated parameter is a bad request.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        let pairs = pairs(&self.0)?;
        fields::read("parameter", pairs).map_err(Error::BadRequest)
    }
}

fn pairs(query: &str) -> Result<Vec<(String, String)>> {
    // Each is compared with all previous ones.
    if query.split('&').count() > MAX_PARAMETERS {
        return Err(Error::BadRequest(format!("The address of this page has more than {MAX_PARAMETERS} parameters.")));
    }
    let mut pairs: Vec<(String, String)> = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        if pairs.iter().any(|(seen, _)| *seen == name) {
            return Err(Error::BadRequest("The address of this page contains a parameter twice.".to_owned()));
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// A plus sign is a space, as browsers encode form fields. Larder's own links never contain one.
fn decode(text: &str) -> Result<String> {
    let bytes = text.as_bytes();
    let escapes_whole = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'%')
        .all(|(at, _)| bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)));
    let spaced = text.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(text) if escapes_whole => Ok(text.into_owned()),
        _ => Err(Error::BadRequest("The address of this page is not valid percent-encoded UTF-8.".to_owned())),
    }
}

/// The unread body of a form of at most `LIMIT` bytes.
pub struct Form<T, const LIMIT: usize = SMALL> {
    body: Unread,
    /// The Content-Type of the body, if any.
    media: Option<String>,
    fields: PhantomData<T>,
}

impl<T, const LIMIT: usize> FromRequest for Form<T, LIMIT> {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let media = req.headers().get(CONTENT_TYPE).map(|media| String::from_utf8_lossy(media.as_bytes()).to_ascii_lowercase());
        let body = web::Payload::from_request(req, payload).into_inner();
        let body = body.map_err(|_| Error::BadRequest("The body of this request is invalid.".to_owned()));
        ready(body.map(|body| Self { body: Unread::new(req, body), media, fields: PhantomData }))
    }
}

impl<T: DeserializeOwned, const LIMIT: usize> Form<T, LIMIT> {
    /// An empty body is a form without fields, with any Content-Type.
    pub async fn read(self) -> Result<T> {
        let body = self.body.read(LIMIT).await?;
        if !body.bytes.is_empty() && !self.media.as_deref().is_some_and(is_form) {
            let found = self.media.map_or_else(|| "none".to_owned(), |media| media.chars().take(100).collect());
            return Err(Error::BadRequest(format!("The Content-Type of a form must be {FORM}, but this request has {found}.")));
        }
        if memchr::memchr_iter(b'&', &body.bytes).count() >= MAX_FIELDS {
            return Err(Error::TooLarge(format!("This form has more than {MAX_FIELDS} fields. Select fewer items.")));
        }
        fields::read("field", form_urlencoded::parse(&body.bytes).into_owned().collect()).map_err(Error::BadRequest)
    }
}

/// Only UTF-8 is accepted, which every page of Larder sends.
fn is_form(media: &str) -> bool {
    let mut parts = media.split(';').map(str::trim);
    parts.next() == Some(FORM) && parts.all(|part| part.strip_prefix("charset=").is_none_or(|name| name.trim_matches('"') == "utf-8"))
}

/// The bucket in the path. An invalid name is a 404.
pub struct Bucket(pub BucketName);

impl FromRequest for Bucket {
    type Error = Error;
    type Future = Ready<std::result::Result<Self, Error>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let name = req.match_info().get("bucket").and_then(BucketName::parse);
        ready(name.map(Self).ok_or_else(|| Error::NotFound("This is not a valid bucket name.".to_owned())))
    }
}

/// The object key of a link.
pub fn key(text: String) -> Result<ObjectKey> {
    ObjectKey::parse(text).ok_or_else(|| Error::BadRequest("An object key must have 1 to 1,024 bytes.".to_owned()))
}

/// The object key of a form field, in base64url.
pub fn key_of_field(field: &str) -> Result<ObjectKey> {
    key(crate::console::view::paths::from_field(field)
        .ok_or_else(|| Error::BadRequest("The form contains an invalid object key.".to_owned()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug, PartialEq)]
    struct Sample {
        prefix: String,
        #[serde(default)]
        limit: Option<i32>,
    }

    fn read(query: &str) -> Result<Sample> {
        Query(query.to_owned()).read()
    }

    #[test]
    fn a_query_is_decoded_as_it_was_encoded() {
        assert_eq!(read("prefix=a%2Fb%2B%26+c&limit=5").unwrap(), Sample { prefix: "a/b+& c".into(), limit: Some(5) });
        assert_eq!(read("prefix=a=b").unwrap(), Sample { prefix: "a=b".into(), limit: None });
    }

    #[test]
    fn a_broken_query_is_a_bad_request() {
        for bad in ["prefix=%FF", "prefix=a&prefix=b", "prefix=%2", "prefix=%zz", "prefix=a&limit=x", "prefix=a&pre%66ix=b", ""] {
            assert!(matches!(read(bad), Err(Error::BadRequest(_))), "{bad}");
        }
    }

    #[test]
    fn only_urlencoded_utf8_forms_are_accepted() {
        for good in [FORM, "application/x-www-form-urlencoded; charset=utf-8", "application/x-www-form-urlencoded;charset=\"utf-8\""] {
            assert!(is_form(good), "{good}");
        }
        for bad in ["", "application/json", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded; charset=latin1"] {
            assert!(!is_form(bad), "{bad}");
        }
    }

    #[test]
    fn a_query_with_too_many_parameters_is_a_bad_request() {
        let many = |count: usize| (1..count).fold("prefix=a".to_owned(), |query, at| format!("{query}&p{at}="));
        assert!(read(&many(32)).is_ok());
        assert!(matches!(read(&many(33)), Err(Error::BadRequest(_))));
    }
}
